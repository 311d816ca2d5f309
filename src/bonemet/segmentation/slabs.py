"""Out of core: what a segmentation keeps of a scan of any size, and how labels come out of it in slabs.

Of the scan only a mask of one bit for each voxel and a coarse copy stay in memory. Everything is decided on
the coarse copy; then the names are carried to the scan's voxels in blocks of :data:`BLOCK` coarse slices,
each with :data:`HALO` more on either side. The blocks do not depend on memory or threads; nor do the labels.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.errors import InputError
from bonemet.core.volume import SlicedArray
from bonemet.kernels import labelling
from bonemet.segmentation.components import Mask, Spacing
from bonemet.segmentation.fine import carry
from bonemet.segmentation.names import Box, Label
from bonemet.segmentation.threshold import LOCAL_REACH_MM, local_bone

Triple = tuple[int, int, int]

BLOCK = 20  # coarse slices
HALO = 6  # coarse slices (0.6 mm): longer than a speck, and than the pores that a bone's outline passes over
CHUNK_BYTES = 1 << 26
PACK_BYTES = 1 << 24


class PackedMask:
    """A mask of one bit for each voxel, which is sliced as a (z, y, x) array of 0 and 1."""

    def __init__(self, bits: NDArray[np.uint8], columns: int) -> None:
        self.bits = bits
        self.shape: Triple = (bits.shape[0], bits.shape[1], columns)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, box: tuple[slice, ...]) -> NDArray[np.uint8]:
        """Return a box, given as three slices with whole bounds, as uint8."""
        z, y, x = box
        first = x.start // 8
        bits = self.bits[z, y, first : -(-x.stop // 8)]
        out = np.unpackbits(bits, axis=-1)
        return np.asarray(out[..., x.start - 8 * first : x.stop - 8 * first])

    def slices(self, first: int, stop: int) -> PackedMask:
        """Return a range of slices, not copied."""
        return PackedMask(self.bits[first:stop], self.shape[2])


@dataclass(frozen=True, eq=False)
class Survey:
    """A scan as a mask, and the share of bone in its coarse voxels (z, y, x)."""

    mask: PackedMask
    share: NDArray[np.float32]
    factors: Triple


def survey(
    grey: SlicedArray,
    spacing_mm: Spacing,
    threshold: float,
    factors: Triple,
    *,
    low: float | None = None,
    mapper: Mapper = map,
) -> Survey:
    """Read a scan once.

    Parameters
    ----------
    grey
        (z, y, x), anything that slices along z.
    spacing_mm
        (z, y, x).
    threshold
        Bone is grey >= threshold.
    factors
        Voxels along a coarse voxel's edges; incomplete blocks at the far ends are not in the coarse copy.
    low
        Below it nothing is bone, by a local threshold; see :func:`bonemet.segmentation.threshold.local_bone`.
    mapper
        An ordered map over chunks of slices.

    Raises
    ------
    InputError
        If the scan is smaller than one block.
    """
    depth, rows, columns = grey.shape
    coarse = tuple(n // f for n, f in zip(grey.shape, factors, strict=True))
    if min(coarse) < 1:
        raise InputError(f"A volume of {tuple(grey.shape)} voxels is too small to look for bones in.")
    bits = np.zeros((depth, rows, -(-columns // 8)), np.uint8)
    counts = np.zeros(coarse, np.uint16)
    step = factors[0] * max(1, CHUNK_BYTES // (rows * columns * factors[0]))

    around = 0 if low is None else int(np.ceil(LOCAL_REACH_MM / spacing_mm[0]))

    def one(first: int) -> None:
        start = max(0, first - around)
        values = np.asarray(grey[start : min(depth, first + step + around)])
        bone = values >= threshold if low is None else local_bone(values, spacing_mm, threshold, low)
        bone = bone[first - start :][:step].view(np.uint8)
        bits[first : first + step] = np.packbits(bone, axis=-1)
        part = counts[first // factors[0] : (first + step) // factors[0]]
        if len(part):
            labelling.block_counts(bone[: len(part) * factors[0]], 1.0, part)

    for _ in mapper(one, range(0, depth, step)):
        pass
    share = counts.astype(np.float32) / np.float32(np.prod(factors))
    return Survey(PackedMask(bits, columns), share, factors)


@dataclass(frozen=True, eq=False)
class Named:
    """Coarse names (z, y, x) in a box of the coarse grid, to be carried to the scan's voxels.

    Attributes
    ----------
    labels, filled, holder
        (z, y, x) coarse labels, filled bone and holder.
    corner
        Coarse voxel at the box's first corner.
    spacing_mm
        Of the scan (z, y, x).
    """

    labels: NDArray[np.uint8]
    filled: Mask
    holder: Mask
    corner: Triple
    spacing_mm: Spacing


def label_slabs(seen: Survey, named: Named, mapper: Mapper = map) -> Iterator[NDArray[np.uint8]]:
    """Yield the labels of a scan slab by slab, from its first slice to its last.

    Parameters
    ----------
    seen
        The scan.
    named
        The names on the coarse grid.
    mapper
        An ordered map over blocks.
    """
    depth, fz = seen.mask.shape[0], seen.factors[0]
    height, first = len(named.labels), named.corner[0]
    last = first + height >= depth // fz  # incomplete blocks at the far end go with the last complete one
    end = depth if last else (first + height) * fz

    def block(start: int) -> NDArray[np.uint8]:
        low, high = max(0, start - HALO), min(height, start + BLOCK + HALO)
        top = end if high == height else (first + high) * fz
        window = slice(low, high)
        out = carry(
            seen.mask.slices((first + low) * fz, top),  # type: ignore[arg-type]  # sliced by boxes alone
            1,
            named.labels[window],
            named.filled[window],
            named.holder[window],
            (0, *named.corner[1:]),
            seen.factors,
            named.spacing_mm,
        )
        stop = len(out) if start + BLOCK >= height else (start + BLOCK - low) * fz
        return out[(start - low) * fz : stop]

    yield from _empty(first * fz, seen.mask.shape)
    yield from mapper(block, range(0, height, BLOCK))
    yield from _empty(depth - end, seen.mask.shape)


def _empty(count: int, shape: Triple) -> Iterator[NDArray[np.uint8]]:
    """Yield slices without labels, a few at a time."""
    step = max(1, CHUNK_BYTES // (shape[1] * shape[2]))
    for first in range(0, count, step):
        yield np.zeros((min(step, count - first), *shape[1:]), np.uint8)


@dataclass
class PackedLabels:
    """Labels of a scan, compressed slab by slab in memory; sliced along z as an array."""

    shape: Triple
    slabs: list[tuple[int, int, bytes]] = field(default_factory=list)
    dtype = np.dtype(np.uint8)

    def add(self, slab: NDArray[np.uint8], mapper: Mapper = map) -> None:
        """Add the slices that follow."""
        first = self.slabs[-1][1] if self.slabs else 0
        step = max(1, PACK_BYTES // (self.shape[1] * self.shape[2]))
        parts = [slab[k : k + step] for k in range(0, len(slab), step)]
        for part, packed in zip(parts, mapper(_packed, parts), strict=True):
            self.slabs.append((first, first + len(part), packed))
            first += len(part)

    def __getitem__(self, key: slice) -> NDArray[np.uint8]:
        """Return a range of slices."""
        start, stop, _ = key.indices(self.shape[0])
        out = np.zeros((max(0, stop - start), *self.shape[1:]), np.uint8)
        for first, last, packed in self.slabs:
            a, b = max(start, first), min(stop, last)
            if a < b:
                slab = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(-1, *self.shape[1:])
                out[a - start : b - start] = slab[a - first : b - first]
        return out


def _packed(part: NDArray[np.uint8]) -> bytes:
    return zlib.compress(np.ascontiguousarray(part).data, 1)


class Boxes:
    """Sizes and boxes of labels, gathered slab by slab."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[int, Box]] = {}
        self._depth = 0

    def add(self, slab: NDArray[np.uint8]) -> None:
        """Take the slices that follow."""
        for k, row in enumerate(labelling.label_boxes(slab, len(Label))):
            if row[0]:
                low = (int(row[1]) + self._depth, int(row[2]), int(row[3]))
                high = (int(row[4]) + self._depth, int(row[5]), int(row[6]))
                self.found[k] = _joined(self.found.get(k), int(row[0]), (low, high))
        self._depth += len(slab)


def _joined(before: tuple[int, Box] | None, voxels: int, box: Box) -> tuple[int, Box]:
    if before is None:
        return voxels, box
    (low, high), (a, b) = before[1], box
    first = (min(low[0], a[0]), min(low[1], a[1]), min(low[2], a[2]))
    last = (max(high[0], b[0]), max(high[1], b[1]), max(high[2], b[2]))
    return before[0] + voxels, (first, last)
