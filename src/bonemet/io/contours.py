"""A person's contours in files: masks, ImageJ's ROI files and their archives, napari's shapes."""

from __future__ import annotations

import csv
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from bonemet.core.errors import InputError, MissingInputError
from bonemet.io.volumes import open_volume

Outline = tuple[int, NDArray[np.float64]]

_POLYGONS = (0, 7, 8)  # polygon, freehand, traced
_RECTANGLE, _OVAL = 1, 2
_KINDS = {3: "a line", 4: "a line", 5: "a line", 6: "nothing", 9: "an angle", 10: "points"}
_SUB_PIXEL, _SUB_PIXEL_VERSION = 128, 222
_HEADER = 64
_OVAL_POINTS = 144


def read_contours(
    path: Path, shape: tuple[int, int, int], voxel_um: float | None = None
) -> dict[int, NDArray[np.bool_]]:
    """Read contours as masks by slice number.

    Parameters
    ----------
    path
        ``.roi`` or ``.zip`` of ImageJ (slices counted from 1 there), ``.csv`` of napari's shapes layer, or a
        mask: a volume or a folder of slices of the stack's own size, drawn in any of its slices.
    shape
        (z, y, x) of the stack that they were drawn in.
    voxel_um
        For masks that do not bring their voxel size.

    Raises
    ------
    MissingInputError
        If there is no such file.
    InputError
        If it is none of these, is damaged, does not say its slice, or lies outside the stack.
    """
    if not path.exists():
        raise MissingInputError(f"{path} is not there; give a file or folder with contours.")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix not in (".roi", ".zip", ".csv"):
        return _from_mask(path, shape, voxel_um)
    outlines = list(_napari(path) if suffix == ".csv" else _imagej(path))
    masks: dict[int, NDArray[np.bool_]] = {}
    for z, points in outlines:
        if not 0 <= z < shape[0]:
            raise InputError(
                f"{path} holds a contour in slice {z}, and the stack has slices 0 to {shape[0] - 1}."
            )
        mask: NDArray[np.bool_] = polygon2mask(shape[1:], points)  # type: ignore[no-untyped-call]
        if not mask.any():
            raise InputError(f"A contour of {path} in slice {z} encloses no pixel of the stack.")
        masks[z] = masks[z] | mask if z in masks else mask
    if not masks:
        raise InputError(f"{path} holds no contour.")
    return masks


def _from_mask(
    path: Path, shape: tuple[int, int, int], voxel_um: float | None
) -> dict[int, NDArray[np.bool_]]:
    """Return the slices of a mask in which something is drawn."""
    volume = open_volume(path, voxel_um)
    if volume.grid.shape != shape:
        raise InputError(
            f"The contours in {path} have the shape {volume.grid.shape} and the stack {shape}; "
            "draw them on the stack itself."
        )
    slices = ((z, np.asarray(volume.data[z]) != 0) for z in range(shape[0]))
    return {z: mask for z, mask in slices if mask.any()}


def _imagej(path: Path) -> Iterator[Outline]:
    """Yield the outlines of an ImageJ ROI file or of an archive of such."""
    if path.suffix.lower() == ".roi":
        yield _outline(path.read_bytes(), path.name)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(n, archive.read(n)) for n in archive.namelist() if n.lower().endswith(".roi")]
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is no archive of ROI files: {error}.") from error
    for name, data in members:
        yield _outline(data, f"{path.name}/{name}")


def _outline(data: bytes, name: str) -> Outline:
    """Return slice and corners (row, column), pixel centres being whole numbers, of one ImageJ ROI.

    The format is big-endian: a header of 64 bytes, then the corners relative to the bounding box as 16-bit
    numbers, and where the options say so as 32-bit floats of the image after these.
    """
    if len(data) < _HEADER or data[:4] != b"Iout":
        raise InputError(f"{name} is no ImageJ ROI; save contours with ImageJ's ROI Manager.")
    version, kind = struct.unpack_from(">h", data, 4)[0], data[6]
    top, left, bottom, right, count = struct.unpack_from(">4hH", data, 8)
    composite, options = struct.unpack_from(">i", data, 36)[0], struct.unpack_from(">h", data, 50)[0]
    z = _slice_of(data, name)
    if composite:
        raise InputError(f"{name} is a composite of several shapes; split it in ImageJ, and save the parts.")
    if kind == _RECTANGLE:
        corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
        return z, np.array(corners, dtype=np.float64) - 0.5
    if kind == _OVAL:
        angle = 2 * np.pi * np.arange(_OVAL_POINTS) / _OVAL_POINTS
        rows = (top + bottom) / 2 + (bottom - top) / 2 * np.sin(angle)
        columns = (left + right) / 2 + (right - left) / 2 * np.cos(angle)
        return z, np.column_stack([rows, columns]) - 0.5
    if kind not in _POLYGONS:
        raise InputError(f"{name} is {_KINDS.get(kind, 'of an unknown kind')}, not a closed contour.")
    fine = bool(options & _SUB_PIXEL) and version >= _SUB_PIXEL_VERSION
    start, width, form = (_HEADER + 4 * count, 4, ">f4") if fine else (_HEADER, 2, ">i2")
    if count < 3 or len(data) < start + 2 * count * width:
        raise InputError(f"{name} is cut short, or has fewer than three corners.")
    x = np.frombuffer(data, form, count, start).astype(np.float64)
    y = np.frombuffer(data, form, count, start + count * width).astype(np.float64)
    if not fine:
        x, y = x + left, y + top
    return z, np.column_stack([y, x]) - 0.5


def _slice_of(data: bytes, name: str) -> int:
    """Return the slice (from 0) of an ImageJ ROI: in its header, or first in its name."""
    position, second = (int(v) for v in struct.unpack_from(">2i", data, 56))
    if position <= 0 and 0 < second <= len(data) - 16:
        position = int(struct.unpack_from(">i", data, second + 8)[0])
    if position <= 0:
        told = re.match(r"(\d+)-\d+", Path(name).name)
        position = int(told[1]) if told else 0
    if position <= 0:
        raise InputError(
            f"{name} does not say its slice; add it to ImageJ's ROI Manager in its slice, and save."
        )
    return position - 1


def _napari(path: Path) -> Iterator[Outline]:
    """Yield the outlines of napari's CSV of a three-dimensional shapes layer."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    table = list(csv.DictReader(lines))
    needed = {"index", "shape-type", "axis-0", "axis-1", "axis-2"}
    if not table or not needed <= set(table[0]):
        raise InputError(
            f"{path} is no table of napari's shapes in a stack; "
            f"it needs the columns {', '.join(sorted(needed))}."
        )
    shapes: dict[str, list[dict[str, str]]] = {}
    for row in table:
        shapes.setdefault(row["index"], []).append(row)
    for index, rows in shapes.items():
        try:
            points = np.array([[float(row[f"axis-{i}"]) for i in range(3)] for row in rows])
        except (TypeError, ValueError) as error:
            raise InputError(f"Shape {index} of {path} has a corner that is no number.") from error
        levels = np.unique(np.rint(points[:, 0]))
        if len(levels) != 1 or rows[0]["shape-type"] in ("line", "path"):
            raise InputError(f"Shape {index} of {path} is no closed contour in one slice.")
        yield int(levels[0]), _ellipse(points[:, 1:]) if rows[0]["shape-type"] == "ellipse" else points[:, 1:]


def _ellipse(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ellipse in a box of four corners."""
    centre = corners.mean(axis=0)
    first, second = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = 2 * np.pi * np.arange(_OVAL_POINTS)[:, None] / _OVAL_POINTS
    return np.asarray(centre + np.cos(angle) * first + np.sin(angle) * second)
