"""An image at several sizes, its grey values put on one scale on which bones of all scans compare."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.errors import InputError
from bonemet.core.grid import Grid
from bonemet.core.volume import Volume
from bonemet.kernels.interpolate import smooth_gradients, smooth_samples
from bonemet.kernels.pyramid import pool, pooled_grid

# On the common scale empty space is 32 and bone on average 160: noise below and dense bone above
# still fit into 8 bits, and every threshold of this room is one of these constants.
EMPTY: Final = 32.0
BONE: Final = 160.0
SURFACE: Final = (EMPTY + BONE) / 2
TRACE: Final = EMPTY + (BONE - EMPTY) / 6  # a voxel that may hold a little bone

_SAMPLE: Final = 2_000_000  # voxels from which the grey scale is found
_NOISE_SAMPLE: Final = 100_000
_SMALLEST: Final = 8  # an axis with fewer voxels than twice this is not halved any more
_BINS: Final = 1024


@dataclass(frozen=True, eq=False)
class Level:
    """An image at one size.

    Attributes
    ----------
    image
        (z, y, x) numbers.
    grid
        Where the voxels are.
    low, scale
        ``scale * (number - low)`` is the value on the common scale.
    """

    image: NDArray[Any]
    grid: Grid
    low: float = 0.0
    scale: float = 1.0

    @property
    def spacing(self) -> float:
        """Mean edge of a voxel in mm."""
        return float(self.grid.voxel_mm3 ** (1 / 3))

    def sample(
        self, points: NDArray[np.float64], matrix: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return smoothed values at points (n, 3) taken through a 4 x 4 matrix, and which lie inside."""
        values = np.empty(len(points), np.float32)
        inside = np.empty(len(points), np.bool_)
        to_index = np.linalg.inv(self.grid.matrix) @ matrix
        smooth_samples(self.image, points, to_index, self.low, self.scale, values, inside)
        return values, inside

    def gradients(self, index: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return smoothed values (n,) and gradients (n, 3) per mm, (x, y, z), at voxels (n, 3)."""
        out = np.empty((len(index), 4))
        smooth_gradients(self.image, index, self.low, self.scale, out)
        # by the chain rule the gradient by points is the gradient by index times d(index)/d(point)
        return out[:, 0], out[:, 1:] @ np.linalg.inv(self.grid.matrix[:3, :3])

    @cached_property
    def bone(self) -> NDArray[np.bool_]:
        """The voxels that may hold bone: a trace of it, where noise does not look the same."""
        values = self.scale * (self.image.astype(np.float32) - self.low)
        sample = values.reshape(-1)[:: max(1, values.size // _NOISE_SAMPLE)]
        empty = sample[sample < SURFACE]
        noise = 1.4826 * float(np.median(np.abs(empty - np.median(empty)))) if len(empty) else 0.0
        return np.asarray(values > min(max(TRACE, EMPTY + 4 * noise), SURFACE))

    def bone_points(self) -> NDArray[np.float64]:
        """Return the points (n, 3) in mm of the voxels that are bone."""
        values = self.scale * (self.image.astype(np.float32) - self.low)
        return self.grid.index_to_mm(np.argwhere(values > SURFACE))

    @cached_property
    def cells(self) -> NDArray[np.int64]:
        """The index (n, 3) of each voxel that may hold bone."""
        return np.argwhere(self.bone)


def otsu(counts: NDArray[Any]) -> int:
    """Return the bin above which Otsu's upper class begins (1979, doi:10.1109/TSMC.1979.4310076)."""
    weights = counts.astype(np.float64)
    below = np.cumsum(weights)
    above = below[-1] - below
    moment = np.cumsum(weights * np.arange(len(counts)))
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = moment / below - (moment[-1] - moment) / above
        between = np.nan_to_num(below * above * gap * gap)
    return int(np.argmax(between))


def grey_scale(data: NDArray[Any], name: str) -> tuple[float, float]:
    """Return ``low`` and ``scale`` that put an image on the common scale.

    Raises
    ------
    InputError
        If the image holds nothing, or numbers that are not finite.
    """
    sample = _block_means(data)
    title = f"The stack {name!r}" if name else "A stack"
    if not np.isfinite(sample).all():
        raise InputError(f"{title} holds numbers that are not finite; it cannot be registered.")
    least, most = float(sample.min()), float(sample.max())
    if not most > least:
        raise InputError(f"{title} is empty (one grey value everywhere); there is nothing to register.")
    counts, edges = np.histogram(sample, bins=_BINS, range=(least, most))
    cut = float(edges[otsu(counts) + 1])
    empty, bone = sample[sample < cut], sample[sample >= cut]
    if not len(empty) or not len(bone):
        raise InputError(f"{title} shows no bone against its background; there is nothing to register.")
    low, high = float(np.median(empty)), float(bone.mean(dtype=np.float64))
    scale = (BONE - EMPTY) / (high - low)
    return low - EMPTY / scale, scale


def _block_means(data: NDArray[Any]) -> NDArray[np.float32]:
    """Return means of blocks of 2 x 2 x 2 voxels all over an image, in which noise is less."""
    step = max(2, round((data.size / _SAMPLE) ** (1 / 3)))
    shape = tuple(-(-max(n - 1, 1) // step) for n in data.shape)
    total = np.zeros(shape, np.float32)
    for shift in product(*(range(min(n, 2)) for n in data.shape)):
        z, y, x = (slice(a, a + (n - 1) * step + 1, step) for a, n in zip(shift, shape, strict=True))
        total += data[z, y, x]
    total /= np.float32(np.prod([min(n, 2) for n in data.shape]))
    return total.ravel()


@dataclass(frozen=True, eq=False)
class Pyramid:
    """An image at sizes halved again and again; the first level is the image itself.

    Attributes
    ----------
    levels
        Finest first.
    bone_mm
        (n, 3) points of the coarsest level that hold bone.
    """

    levels: tuple[Level, ...]
    bone_mm: NDArray[np.float64]

    def at(self, spacing: float) -> Level:
        """Return the level whose voxels come closest to a size in mm."""
        return min(self.levels, key=lambda level: abs(math.log(level.spacing / spacing)))


def _halves(grid: Grid) -> tuple[int, int, int]:
    """Return by what to divide each axis (z, y, x): long voxel edges wait for the shorter ones."""
    target = 2 * min(grid.spacing_mm)
    pairs = zip(grid.spacing_mm, grid.shape, strict=True)
    z, y, x = (2 if s * 1.5 <= target and n >= 2 * _SMALLEST else 1 for s, n in pairs)
    return z, y, x


def build(volume: Volume, mapper: Mapper = map) -> Pyramid:
    """Return the pyramid of a volume; only halved copies are made, in 8 bits.

    Raises
    ------
    InputError
        If the volume is empty or holds numbers that are not finite.
    """
    data = np.ascontiguousarray(volume.array())
    if data.dtype == np.bool_:
        data = data.view(np.uint8)
    low, scale = grey_scale(data, volume.name)
    levels = [Level(data, volume.grid, low, scale)]
    while (factors := _halves(levels[-1].grid)) != (1, 1, 1):
        last = levels[-1]
        image = pool(last.image, factors, low=last.low, scale=last.scale, mapper=mapper)
        levels.append(Level(image, pooled_grid(last.grid, factors)))
    return Pyramid(tuple(levels), _bone_points(levels))


def _bone_points(levels: list[Level]) -> NDArray[np.float64]:
    """Return where bone is, at the coarsest level that still shows enough of it."""
    index = np.empty((0, 3), np.int64)
    for level in reversed(levels):
        index = np.argwhere(level.scale * (level.image.astype(np.float32) - level.low) > SURFACE)
        if len(index) >= 400:
            break
    if len(index) < 20:
        raise InputError("A stack holds hardly any bone; there is nothing to register.")
    return level.grid.index_to_mm(index)
