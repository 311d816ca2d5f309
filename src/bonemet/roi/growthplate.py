"""The proximal growth plate of a tibia: the plane of cartilage between epiphysis and metaphysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Spacing = tuple[float, float, float]

_SHELL_MM = 0.25  # bone this near to the surface bridges the plate and is left out
_CLOSE_MM = 0.15  # half the widest gap of the cortex that the outline passes over
_TILTS = np.linspace(-0.25, 0.25, 11)  # slopes of the plane along y and x
_BIN_MM = 0.02
_HALF_MM = 0.05  # half the thickness of what is taken for the plate
_BESIDE_MM = (0.1, 0.3)  # where on both sides bone is expected
_FIRST_MM, _LAST_MM = 0.9, 3.5  # where below the bone's proximal end a plate may lie
_SAMPLES = 60_000
_CHANCE, _CLEAR = 0.5, 0.65  # how empty a gap is by chance, and how empty a plate is beyond doubt


@dataclass(frozen=True)
class GrowthPlate:
    """A plane across the bone.

    Attributes
    ----------
    slice
        Where it crosses the middle of the bone, in slices of the stack (a fraction).
    middle
        (row, column) of the middle of the bone there.
    slopes
        Slices per row and per column.
    confidence
        0 to 1: how much bone is missing in it, compared with both sides.
    """

    slice: float
    middle: tuple[float, float]
    slopes: tuple[float, float]
    confidence: float

    def slices_beyond(self, index: NDArray[Any]) -> NDArray[np.float64]:
        """Return how many slices voxels (n, 3) given as (z, y, x) lie beyond the plane, towards rising z."""
        z, y, x = np.asarray(index, dtype=np.float64).T
        dy, dx = self.slopes
        return np.asarray(z - self.slice - dy * (y - self.middle[0]) - dx * (x - self.middle[1]))


def find_growth_plate(share: NDArray[Any], spacing_mm: Spacing, direction: int) -> GrowthPlate | None:
    """Find the proximal growth plate: the tilted gap across the inside of the bone, with bone on both sides.

    Parameters
    ----------
    share
        (z, y, x) share of bone in each voxel, 0 to 1, or a mask, of the whole bone or of its proximal part.
    spacing_mm
        Voxel (z, y, x).
    direction
        +1 if the slice number rises distally, else -1.

    Returns
    -------
    GrowthPlate | None
        None where no gap is found, as in old animals, or where a lesion has taken its surroundings.
    """
    order = slice(None) if direction > 0 else slice(None, None, -1)
    found = np.flatnonzero((share >= 0.5).any(axis=(1, 2)))
    if len(found) == 0:
        return None
    end = int(found[0] if direction > 0 else found[-1])
    reach = int(np.ceil((_LAST_MM + 0.5) / spacing_mm[0]))
    slab = share[end : end + reach] if direction > 0 else share[max(0, end - reach + 1) : end + 1]
    points, bone = _inside(np.asarray(slab)[order], spacing_mm)
    if len(points) < 100:
        return None
    middle = points[:, 1:].mean(axis=0)
    best = (0.0, 0.0, 0.0, 0.0, 0.0)
    for a in _TILTS:
        for b in _TILTS:
            depth = points[:, 0] - a * (points[:, 1] - middle[0]) - b * (points[:, 2] - middle[1])
            gap, level, empty = _deepest_gap(depth, bone)
            if gap > best[0]:
                best = (gap, level, empty, float(a), float(b))
    gap, level, empty, a, b = best
    if gap <= 0:
        return None
    dz, dy, dx = spacing_mm
    return GrowthPlate(
        end + direction * level / dz,
        (float(middle[0] / dy), float(middle[1] / dx)),
        (direction * a * dy / dz, direction * b * dx / dz),
        round(float(np.clip((empty - _CHANCE) / (_CLEAR - _CHANCE), 0, 1)), 3),
    )


def _inside(slab: NDArray[Any], spacing_mm: Spacing) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points (z, y, x) in mm well within the bone, at most so many, and the share of bone there."""
    pixel = spacing_mm[1:]
    steps = max(1, round(_CLOSE_MM / min(pixel)))
    inner = np.zeros(slab.shape, dtype=bool)
    for z, values in enumerate(slab):
        mask = np.pad(values >= 0.5, steps)
        closed = ndimage.binary_fill_holes(ndimage.binary_closing(mask, iterations=steps))
        deep = ndimage.distance_transform_edt(closed, sampling=pixel) > _SHELL_MM
        inner[z] = deep[steps:-steps, steps:-steps]
    index = np.argwhere(inner)
    index = index[:: max(1, len(index) // _SAMPLES)]
    return index * np.asarray(spacing_mm), slab[tuple(index.T)].astype(np.float64)


def _deepest_gap(depth_mm: NDArray[np.float64], bone: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the best gap's score, its depth in mm, and how empty it is (0 to 1) beside its poorer side.

    The score is how much less bone it holds than its poorer side, weighed by how empty and how wide it is.
    """
    bins = np.clip(np.floor(depth_mm / _BIN_MM), 0, None).astype(np.int64)
    size = int((_LAST_MM + _BESIDE_MM[1]) / _BIN_MM) + 2
    keep = bins < size
    count = np.bincount(bins[keep], minlength=size).cumsum()
    total = np.bincount(bins[keep], bone[keep], minlength=size).cumsum()

    def mean(first_mm: float, last_mm: float, at: NDArray[np.int64]) -> NDArray[np.float64]:
        low, high = at + round(first_mm / _BIN_MM), at + round(last_mm / _BIN_MM)
        return np.asarray((total[high] - total[low]) / np.maximum(count[high] - count[low], 1))

    at = np.arange(int(_FIRST_MM / _BIN_MM), int(_LAST_MM / _BIN_MM))
    near, far = _BESIDE_MM
    beside = np.minimum(mean(-far, -near, at), mean(near, far, at))
    gap = beside - mean(-_HALF_MM, _HALF_MM, at)
    half = round(_HALF_MM / _BIN_MM)
    area = (count[at + half] - count[at - half]) / max(1, np.max(count[2 * half :] - count[: -2 * half]))
    empty = np.clip(gap / np.maximum(beside, 1e-9), 0.0, 1.0)
    score = gap * area**2 * np.sqrt(empty)
    best = int(np.argmax(score))
    return float(score[best]), float((at[best] + 1) * _BIN_MM), float(empty[best])
