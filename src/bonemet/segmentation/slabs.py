"""Out of core: a scan of any size, of which only a working copy and packed labels stay in memory.

Bones are found on a copy with voxels of about :data:`WORK_MM`, read slab by slab, which resolves a cortex and
its outline to a fraction of a voxel. Its labels then come out on the scan's own grid slab by slab, their
boundaries interpolated. Copy and labels depend on the voxel size alone, not on memory or threads.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.volume import SlicedArray
from bonemet.kernels import labelling
from bonemet.segmentation.choices import Cut
from bonemet.segmentation.components import Spacing
from bonemet.segmentation.limbs import segment_limbs
from bonemet.segmentation.names import Box, Label, LimbSegmentation
from bonemet.segmentation.revision import Revision, accept
from bonemet.segmentation.threshold import LOCAL_REACH_MM, local_bone

Triple = tuple[int, int, int]

WORK_MM = 0.04
CHUNK_BYTES = 1 << 26
PACK_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class Limbs:
    """The bones of a scan on the working copy.

    Attributes
    ----------
    found
        Labels, bones and notes on the working copy.
    factors
        Voxels of the scan along a working voxel's edges.
    shape, spacing_mm
        Of the scan (z, y, x).
    """

    found: LimbSegmentation
    factors: Triple
    shape: Triple
    spacing_mm: Spacing

    def slabs(self, mapper: Mapper = map) -> Iterator[NDArray[np.uint8]]:
        """Yield the labels (z, y, x) of the scan slab by slab, from its first slice to its last."""
        _, rows, columns = self.shape
        step = _step(self.shape, 1)

        def slab(first: int) -> NDArray[np.uint8]:
            if self.factors == (1, 1, 1):
                return self.found.labels[first : first + step]
            out = np.empty((min(step, self.shape[0] - first), rows, columns), np.uint8)
            labelling.refine_labels(self.found.labels, self.factors, first, out)
            return out

        yield from mapper(slab, range(0, self.shape[0], step))

    def judged(self, boxes: Boxes) -> LimbSegmentation:
        """Return what was found, bones and knees in voxels of the scan, whose labels have these boxes.

        The labels are still those of the working copy.
        """
        if self.factors == (1, 1, 1):
            return self.found
        bones = tuple(
            replace(b, voxels=boxes.found[b.label][0], box=boxes.found[b.label][1])
            for b in self.found.bones
            if b.label in boxes.found
        )
        details = dict(self.found.details) | {"spacing_mm": list(self.spacing_mm)}
        details["working_spacing_mm"] = list(_scaled(self.spacing_mm, self.factors))
        details["legs"] = [self._leg(leg) for leg in details.get("legs", [])]
        return replace(self.found, bones=bones, details=details)

    def _leg(self, leg: dict[str, Any]) -> dict[str, Any]:
        pairs = zip(leg["knee_voxel"], self.factors, strict=True)
        return leg | {"knee_voxel": [round((v + 0.5) * f - 0.5, 1) for v, f in pairs]}


def find_limbs(
    grey: SlicedArray,
    spacing_mm: Spacing,
    cut: Cut,
    *,
    left: Literal["low-x", "high-x"] = "low-x",
    revision: Revision | None = None,
    mapper: Mapper = map,
) -> Limbs:
    """Find the bones of a scan of any size; as :func:`bonemet.segmentation.limbs.segment_limbs`.

    Parameters
    ----------
    grey
        (z, y, x), anything that slices along z; read once.
    spacing_mm
        (z, y, x).
    cut
        The threshold, which may be a local one.
    left
        At which end of the columns (x) the animal's left leg lies.
    revision
        What a person wants changed, in voxels of the scan.
    mapper
        An ordered map over chunks of slices.

    Raises
    ------
    InputError
        If nothing is as bright as bone, or a revision speaks of bone that is not there.
    """
    shape = (int(grey.shape[0]), int(grey.shape[1]), int(grey.shape[2]))
    factors = work_factors(shape, spacing_mm)
    copy = working_copy(grey, spacing_mm, cut, factors, mapper)
    said = revision or Revision()
    found = segment_limbs(
        copy, _scaled(spacing_mm, factors), cut.value, left=left, revision=said.on_coarser(factors)
    )
    return Limbs(accept(found, said), factors, shape, spacing_mm)


def work_factors(shape: Triple, spacing_mm: Spacing) -> Triple:
    """Return how many voxels of a scan make one of its working copy, along each axis (z, y, x)."""
    z, y, x = (max(1, min(round(WORK_MM / s), n)) for s, n in zip(spacing_mm, shape, strict=True))
    return z, y, x


def working_copy(
    grey: SlicedArray, spacing_mm: Spacing, cut: Cut, factors: Triple, mapper: Mapper = map
) -> NDArray[Any]:
    """Return the means of blocks of voxels in the scan's own type, read in chunks of slices.

    With a local threshold, what it finds to be bone is raised to the global one. Incomplete blocks at the
    far ends are left out.
    """
    depth = grey.shape[0]
    z, y, x = (n // f for n, f in zip(grey.shape, factors, strict=True))
    if factors == (1, 1, 1) and cut.low is None and isinstance(grey, np.ndarray):
        return grey
    out = np.empty((z, y, x), grey.dtype)
    step = factors[0] * max(
        1, _step((depth, grey.shape[1], grey.shape[2]), grey.dtype.itemsize) // factors[0]
    )
    around = 0 if cut.low is None else int(np.ceil(LOCAL_REACH_MM / spacing_mm[0]))

    def one(first: int) -> None:
        start, stop = max(0, first - around), min(depth, first + step + around)
        values = np.asarray(grey[start:stop])
        if cut.low is not None:
            bone = local_bone(values, spacing_mm, cut.value, cut.low)
            values = np.where(bone, np.maximum(values, np.ceil(cut.value)), values).astype(values.dtype)
        values = values[first - start :][:step]
        part = np.zeros((len(values) // factors[0], y, x), np.float32)
        labelling.block_means(values, factors, part)
        at = first // factors[0]
        out[at : at + len(part)] = np.rint(part) if out.dtype.kind in "ui" else part

    for _ in mapper(one, range(0, z * factors[0], step)):
        pass
    return out


def _step(shape: Triple, itemsize: int) -> int:
    return max(1, CHUNK_BYTES // (shape[1] * shape[2] * itemsize))


def _scaled(spacing_mm: Spacing, factors: Triple) -> Spacing:
    z, y, x = (s * f for s, f in zip(spacing_mm, factors, strict=True))
    return z, y, x


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
