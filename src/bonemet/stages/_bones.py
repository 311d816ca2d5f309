"""Labels and bones of a segmented scan on disk, some slices at a time, so that a scan of any size fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet._version import __version__
from bonemet.core.calibration import Kind, Quantity
from bonemet.core.context import Context
from bonemet.core.grid import Grid
from bonemet.core.rim import RIM_VOXELS, with_rim
from bonemet.core.step import Step
from bonemet.core.volume import SlicedArray, Volume
from bonemet.io import sidecar, stacks
from bonemet.io.volumes import write_slabs, write_volume
from bonemet.segmentation.names import BoneFound
from bonemet.segmentation.slabs import Boxes, PackedLabels

MARGIN = RIM_VOXELS + 2  # voxels around a bone
CHUNK_BYTES = 1 << 26
IN_MEMORY = 0.3  # of the memory that may be used: a scan that is larger is read from disk more than once

Triple = tuple[int, int, int]


def loaded(volume: Volume, context: Context) -> Volume:
    """Return a volume in memory if it is small beside what may be used, else as it is."""
    shape, dtype = volume.grid.shape, volume.data.dtype
    if float(np.prod(shape)) * dtype.itemsize > IN_MEMORY * 1e9 * context.memory_gb:
        return volume
    out = np.empty(shape, dtype)

    def one(part: slice) -> None:
        out[part] = volume.data[part]

    for _ in context.map(one, chunks(shape, dtype)):
        pass
    return volume.with_data(out)


def chunks(shape: Triple, dtype: np.dtype[Any]) -> Iterator[slice]:
    """Yield ranges of slices that together are the volume, each of some tens of megabytes."""
    step = max(1, CHUNK_BYTES // (shape[1] * shape[2] * dtype.itemsize))
    for first in range(0, shape[0], step):
        yield slice(first, min(shape[0], first + step))


def write_labels(
    path: Path, slabs: Iterator[NDArray[np.uint8]], grid: Grid, context: Context
) -> tuple[PackedLabels, Boxes]:
    """Write labels that come slab by slab, and return them packed, with their sizes and boxes."""
    packed, boxes = PackedLabels(grid.shape), Boxes()

    def passing() -> Iterator[NDArray[np.uint8]]:
        for slab in slabs:
            packed.add(slab, context.map)
            boxes.add(slab)
            yield slab

    labels = Quantity(Kind.LABELS)
    if np.array_equal(grid.direction, np.eye(3)):
        write_slabs(path, passing(), grid, labels)
    else:
        write_volume(path, Volume(np.concatenate(list(passing())), grid, labels))
    return packed, boxes


@dataclass(frozen=True)
class _Piece:
    """A bone's place: first and last-plus-one voxel (z, y, x) of its stack, and where it is written."""

    bone: BoneFound
    start: Triple
    stop: Triple
    folder: Path
    title: str


def write_bones(
    partial: Path,
    volume: Volume,
    labels: SlicedArray,
    bones: tuple[BoneFound, ...],
    title: str,
    *,
    step: Step,
    context: Context,
) -> None:
    """Write each bone of a scan as a folder of slices with its sidecar.

    Parameters
    ----------
    partial
        Folder in which the bones' folders are made.
    volume
        The scan.
    labels
        (z, y, x) uint8 on its grid.
    bones
        The bones found.
    title
        Of the scan; a bone's own title is this and its name.
    step
        What was done.
    context
        Threads.
    """
    pieces = [_piece(partial, bone, volume.grid.shape, f"{title} {bone.name}") for bone in bones]
    for piece in pieces:
        piece.folder.mkdir(parents=True, exist_ok=True)

    def one(part: slice) -> None:
        here = [p for p in pieces if p.start[0] < part.stop and p.stop[0] > part.start]
        if here:
            low = max(0, part.start - RIM_VOXELS)
            near = np.asarray(labels[low : part.stop + RIM_VOXELS])
            grey = np.asarray(volume.data[part])
            for piece in here:
                _write_part(piece, part, grey, near, low)

    for _ in context.map(one, chunks(volume.grid.shape, volume.data.dtype)):
        pass
    for piece in pieces:
        _write_sidecar(piece, volume, step)


def _piece(partial: Path, bone: BoneFound, shape: Triple, title: str) -> _Piece:
    low = [max(0, a - MARGIN) for a in bone.box[0]]
    high = [min(n, b + MARGIN) for b, n in zip(bone.box[1], shape, strict=True)]
    return _Piece(bone, (low[0], low[1], low[2]), (high[0], high[1], high[2]), partial / title, title)


def _write_part(piece: _Piece, part: slice, grey: NDArray[Any], near: NDArray[np.uint8], low: int) -> None:
    """Write those slices of a bone that lie in a range, grey values beyond its contour's rim set to 0.

    ``grey`` begins at the range, ``near`` (labels) at slice ``low`` a rim's width before it.
    """
    first, last = max(piece.start[0], part.start), min(piece.stop[0], part.stop)
    begin, end = max(piece.start[0], first - RIM_VOXELS), min(piece.stop[0], last + RIM_VOXELS)
    across = tuple(slice(a, b) for a, b in zip(piece.start[1:], piece.stop[1:], strict=True))
    box = near[(slice(begin - low, end - low), *across)]
    own = box == piece.bone.label
    inside = with_rim(own, (box > 0) & ~own)[first - begin : last - begin]
    values = grey[(slice(first - part.start, last - part.start), *across)]
    planes = np.where(inside, values, np.zeros(1, values.dtype))
    kind = "png" if planes.dtype in (np.uint8, np.uint16) else "float"
    stacks.write_slices(
        piece.folder,
        f"{piece.title} ",
        iter(planes),
        format="png" if kind == "png" else "float",
        start=first - piece.start[0],
    )


def _write_sidecar(piece: _Piece, volume: Volume, step: Step) -> None:
    sidecar.write(
        piece.folder,
        sidecar.Sidecar(
            bonemet=__version__,
            name=piece.title,
            grid=sidecar.grid_model(volume.grid.crop(piece.start, piece.stop)),
            quantity=sidecar.quantity_model(volume.quantity),
            view=sidecar.view_model(volume.view),
            steps=[sidecar.step_model(step)],
            warnings=list(piece.bone.reasons),
        ),
    )
