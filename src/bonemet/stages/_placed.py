"""What the stages that put a stack on another's grid share: reading, resampling, writing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind
from bonemet.core.context import Context
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.core.ids import SIDES
from bonemet.core.transform import Piece, Transform
from bonemet.core.volume import SlicedArray, Volume
from bonemet.io import output, stacks
from bonemet.io.transforms import write_transform
from bonemet.io.volumes import open_volume
from bonemet.kernels.interpolate import ORDERS, Order
from bonemet.kernels.resample import resampled
from bonemet.stages.outcome import Product

SliceRange = tuple[int | None, int | None]
WHOLE: SliceRange = (None, None)


def load(path: Path, voxel_um: float | None, part: SliceRange) -> Volume:
    """Return a volume in memory, cropped to a range of slices, of a type that can be resampled."""
    volume = open_volume(path, voxel_um)
    if volume.quantity.kind is Kind.LABELS:
        raise InputError(f"{path} holds labels, not grey values; give the scan of the bone.")
    depth, rows, columns = volume.grid.shape
    first, last, _ = slice(*part).indices(depth)
    if last <= first:
        raise SettingsError(f"Slices {part[0]} to {part[1]} of {path}, which has {depth}, are none.")
    if (first, last) != (0, depth):
        volume = volume.crop((first, 0, 0), (last, rows, columns))
    return volume.with_data(_plain(volume.array()))


def _plain(data: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as bool, uint8, uint16 or float32, whichever holds them."""
    if data.dtype in (np.bool_, np.uint8, np.uint16, np.float32):
        return data
    if data.dtype.kind in "ui" and data.size and data.min() >= 0 and data.max() <= np.iinfo(np.uint16).max:
        return data.astype(np.uint16)
    return data.astype(np.float32)


def said_side(name: str) -> str | None:
    """Return whose form the name of a stack says: left, right or None; a mirrored one has the other's."""
    text = name.lower()
    words = [word for word in SIDES if word in text]
    if len(words) != 1:
        return None
    return SIDES[1 - SIDES.index(words[0])] if "mirrored" in text else words[0]


def side_of(name: str) -> str:
    """Return whose form the name of a stack says it has, left or right.

    Raises
    ------
    InputError
        If it says none.
    """
    said = said_side(name)
    if said is None:
        raise InputError(f"{name!r} does not say its side; name it as in '871 week 0 left tibia'.")
    return said


def called(moving: Volume, transform: Transform) -> str:
    """Return the name of a registered bone: a mirrored one says so."""
    name = moving.name or "bone"
    return f"{name} mirrored" if transform.mirrored else name


def placement(transform: Transform) -> dict[str, Any]:
    """Return a transform as results."""
    return {
        "matrix": transform.matrix.tolist(),
        "translation_mm": transform.matrix[:3, 3].tolist(),
        "angle_deg": transform.angle_deg,
        "mirrored": transform.mirrored,
    }


def beside(out: Path, transform: Transform, what: str = "") -> Path:
    """Write a transform to be put beside an output folder and return where it will stand."""
    path = out.with_name(f"{out.name}{what}.tfm")
    with output.whole_file(output.staged(path)) as staged:
        write_transform(staged, transform)
    return path


def write(
    partial: Path,
    moving: Volume,
    grid: Grid,
    transform: Transform,
    order: Order,
    context: Context,
    pieces: Sequence[Piece] = (),
) -> None:
    """Write a volume on a grid as slices, some at a time; pieces that broke off have their own places."""
    name = called(moving, transform)

    def slices() -> Iterator[NDArray[Any]]:
        made = resampled(
            moving.data, moving.grid, grid, transform, order=order, pieces=pieces, mapper=context.map
        )
        with context.progress("write", grid.shape[0]) as tick:
            for slab in made:
                for plane in slab:
                    yield plane
                    tick(1)

    stacks.write_slices(partial, f"{name} registered ", slices(), format=form(moving.data))


def form(data: SlicedArray) -> stacks.Format:
    """Return the format in which numbers of a type are written."""
    if data.dtype.kind == "f":
        return "float"
    return "tiff" if data.dtype == np.uint16 else "png"


def product(
    moving: Volume,
    grid: Grid,
    transform: Transform,
    results: Mapping[str, Any],
    files: list[Path],
) -> Product:
    """Return what the sidecar of a registered stack says; what a person should know comes first."""
    name = called(moving, transform)
    warnings = [*results.get("reasons", []), *results.get("notes", [])]
    if results.get("review"):
        warnings.insert(0, f"{name} was registered, but a person should look at it.")
    view = None if moving.view is None else moving.view.seen_through(transform)
    return Product(dict(results), name, grid, moving.quantity, warnings, files, view)


def refuse_interpolation(order: str) -> None:
    """Refuse an interpolation that is not known."""
    if order not in ORDERS:
        raise SettingsError(f"The interpolation is one of {', '.join(ORDERS)}, not {order!r}.")
