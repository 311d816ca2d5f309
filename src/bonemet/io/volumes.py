"""Volumes on disk: folders of slices, multi-page TIFF, NIfTI, NRRD, MHA and MHD."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, MissingInputError, SettingsError, UnknownFormatError
from bonemet.core.grid import Grid, Triple
from bonemet.core.volume import SlicedArray, Volume
from bonemet.io import imagefiles, omezarr, sidecar, slicefiles, stacks
from bonemet.io.scans import projections_of
from bonemet.io.skyscan import SkyScanLog, read_log
from bonemet.io.vendors import vendor_of

_NO_VOXEL = "The voxel size of {} is not known from a sidecar, log or header; give it with --voxel-um."


class VoxelSizeError(InputError):
    """The voxel size of a volume is not known from anywhere."""


@dataclass(frozen=True)
class Meaning:
    """What is known about a volume beside its numbers; None where nothing is."""

    spacing_mm: Triple | None = None
    origin_mm: Triple = (0.0, 0.0, 0.0)
    quantity: Quantity | None = None
    name: str = ""
    notes: tuple[str, ...] = ()


def open_volume(path: Path, voxel_um: float | None = None) -> Volume:
    """Return the volume at a path; its numbers are read when they are asked for.

    Parameters
    ----------
    path
        A folder of slices, an OME-Zarr store, or a multi-page TIFF, NIfTI, NRRD, MHA or MHD file.
    voxel_um
        Edge of the cubic voxels in micrometres. Overrides sidecar, log and header; origins are
        scaled with it, so that crops of one volume still fit each other.

    Returns
    -------
    Volume
        With the grid of its sidecar or header (ITK's physical coordinates, LPS), else at the origin.

    Raises
    ------
    MissingInputError
        If nothing is there.
    UnknownFormatError
        If it is of a kind that is not read.
    InputError
        If it is damaged; VoxelSizeError, a kind of it, if its voxel size is not known.
    """
    path = Path(path)
    if voxel_um is not None and not (np.isfinite(voxel_um) and voxel_um > 0):
        raise SettingsError(f"A voxel has a positive size in micrometres, not {voxel_um}.")
    if path.is_dir():
        volume = (_open_store if omezarr.is_store(path) else _open_folder)(path, voxel_um)
    elif not path.is_file():
        raise MissingInputError(f"{path} does not exist; check the path.")
    elif path.suffix.lower() in (".tif", ".tiff"):
        volume = _placed(*_tiff(path), path, voxel_um)
    elif imagefiles.is_image_file(path):
        volume = _open_header_file(path, voxel_um)
    else:
        vendor = vendor_of(path)
        whose = f"a {vendor} file" if vendor else "of an unknown kind"
        raise UnknownFormatError(
            f"{path} is {whose}; volumes are read from folders of slices, OME-Zarr, TIFF, NIfTI, NRRD, MHA "
            "and MHD."
        )
    return volume


def write_volume(path: Path, volume: Volume) -> None:
    """Write a volume as NIfTI, NRRD, MHA or OME-Zarr by the suffix, on its physical grid, with its meaning.

    Points are ITK's physical coordinates. Raises SettingsError for other suffixes.
    """
    if Path(path).name.endswith(omezarr.SUFFIX):
        depth = volume.grid.shape[0]
        step = omezarr.DEPTH
        slabs = (np.asarray(volume.data[a : min(a + step, depth)]) for a in range(0, depth, step))
        omezarr.write(Path(path), slabs, volume.grid, volume.quantity, volume.name)
    else:
        imagefiles.write(Path(path), volume)


def write_slabs(path: Path, slabs: Iterable[NDArray[Any]], grid: Grid, quantity: Quantity) -> None:
    """Write a ``.nii.gz`` volume of any size in little memory; the same numbers give the same bytes.

    Parameters
    ----------
    path
        The file.
    slabs
        (z, y, x) arrays of one type, which together make the volume; taken one at a time.
    grid
        Of the whole volume, along the axes.
    quantity
        What the numbers mean.

    Raises
    ------
    SettingsError
        If the grid is turned, or the numbers are not uint8, uint16, int16 or float32.
    """
    imagefiles.write_slabs(Path(path), slabs, grid, quantity)


def _placed(data: SlicedArray, meaning: Meaning, path: Path, voxel_um: float | None) -> Volume:
    """Put data without a header's grid on the grid that its meaning or the caller gives."""
    spacing = meaning.spacing_mm
    if voxel_um is not None:
        spacing = (voxel_um / 1000,) * 3
    if spacing is None:
        raise VoxelSizeError(_NO_VOXEL.format(path))
    z, y, x = data.shape
    quantity = meaning.quantity or default_quantity(data.dtype)
    return Volume(data, Grid((z, y, x), spacing, meaning.origin_mm), quantity, meaning.name, meaning.notes)


def default_quantity(dtype: np.dtype[Any]) -> Quantity:
    """Return what numbers of a type mean where nothing is said: grey values without a window."""
    return Quantity(Kind.GREY, None, _grey_max(dtype))


def _grey_max(dtype: np.dtype[Any]) -> int:
    return int(np.iinfo(dtype).max) if dtype.kind in "ui" else 255


def respaced(grid: Grid, voxel_um: float) -> Grid:
    """Return a grid with other, cubic voxels; the origin stays at the same voxel index."""
    old = np.asarray(grid.direction) * np.asarray(grid.spacing_mm[::-1])
    index = np.linalg.solve(old, np.asarray(grid.origin_mm))
    h = voxel_um / 1000
    x, y, z = (float(v) for v in np.asarray(grid.direction) @ (index * h))
    return replace(grid, spacing_mm=(h, h, h), origin_mm=(x, y, z))


# Folders of slices


def _open_store(path: Path, voxel_um: float | None) -> Volume:
    """Return the volume of an OME-Zarr store."""
    data, grid, quantity, name = omezarr.read(path)
    meaning = Meaning(quantity=quantity, name=name or path.name.removesuffix(omezarr.SUFFIX))
    if grid is None:
        return _placed(data, meaning, path, voxel_um)
    grid = grid if voxel_um is None else respaced(grid, voxel_um)
    return Volume(data, grid, quantity or default_quantity(data.dtype), meaning.name)


def _open_folder(folder: Path, voxel_um: float | None) -> Volume:
    known = sidecar.read(folder)
    store = omezarr.inside(folder)
    if store is not None and not stacks.find_series(folder):
        volume = _open_store(store, voxel_um)
        return volume if known is None or voxel_um is not None else replace(volume, view=known.core_view())
    alone = only_tiff(folder)
    if alone is not None and known is None:
        return _placed(*_tiff(alone), alone, voxel_um)
    logs = _logs(folder)
    wanted = [p for log in logs if log.is_reconstruction_log for p in (log.slice_prefix, log.path.stem)]
    series = stacks.choose_series(folder, [*wanted, *([known.name] if known else [])])
    if known is None:
        _refuse_projections(logs, series)
    single = series.paths[0]
    if len(series.paths) == 1 and slicefiles.plain_name(single.suffix) == "tiff":
        data: SlicedArray = imagefiles.open_tiff(single)  # one file of many pages, or of one
    else:
        data = stacks.open_series(series)
    log = _log_of(logs, series.prefix)
    meaning = _from_log(log, data.dtype) if log is not None else Meaning()
    if meaning.spacing_mm is None and len(series.paths) == 1:
        meaning = replace(meaning, spacing_mm=imagefiles.tiff_spacing_mm(single))
    meaning = replace(meaning, name=_title(series.prefix))
    if series.step > 1:
        note = f"The slices' numbers rise in steps of {series.step}."
        meaning = replace(meaning, notes=(*meaning.notes, note))
    grid = None if known is None else known.core_grid()
    if known is None or grid is None:
        return _placed(data, meaning, folder, voxel_um)
    if grid.shape != tuple(data.shape):
        raise InputError(
            f"{folder} holds slices of shape {tuple(data.shape)}, but its {sidecar.NAME} says {grid.shape}; "
            "make the folder anew, or delete the sidecar and give --voxel-um."
        )
    grid = grid if voxel_um is None else respaced(grid, voxel_um)
    quantity = known.core_quantity() or meaning.quantity or default_quantity(data.dtype)
    view = known.core_view() if voxel_um is None else None
    return Volume(data, grid, quantity, known.name or meaning.name, view=view)


def only_tiff(folder: Path) -> Path | None:
    """Return the TIFF file of a folder that holds but one, without a number: a stack in one file."""
    if stacks.find_series(folder):
        return None
    tiffs = [p for p in folder.iterdir() if p.suffix.lower() in (".tif", ".tiff")]
    return tiffs[0] if len(tiffs) == 1 else None


def _title(prefix: str) -> str:
    """Return the name of what slices show: their prefix without NRecon's ``_rec``."""
    return re.sub(r"_rec$", "", prefix.strip().rstrip("_-. "), flags=re.IGNORECASE)


def _refuse_projections(logs: list[SkyScanLog], series: stacks.Series) -> None:
    """Refuse the raw projections of a scan, which are no slices."""
    for log in logs:
        if log.is_reconstruction_log:
            continue
        views = projections_of(log)
        if views is not None and views.prefix == series.prefix:
            raise InputError(
                f"{series.paths[0].parent} holds the projections of a scan, not slices; reconstruct it first."
            )


def log_of_slices(folder: Path, prefix: str) -> SkyScanLog | None:
    """Return the log in a folder that describes its slices, or None."""
    return _log_of(_logs(folder), prefix)


def _logs(folder: Path) -> list[SkyScanLog]:
    """Return the SkyScan logs that lie in a folder; other logs are none of our business."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == ".log" and path.is_file():
            try:
                found.append(read_log(path))
            except UnknownFormatError:
                continue
    return found


def _log_of(logs: list[SkyScanLog], prefix: str) -> SkyScanLog | None:
    """Return the log that describes the slices of a prefix, a ``_rec.log`` before a scan log."""
    candidates = [log for log in logs if log.is_reconstruction_log]
    candidates = candidates or [log for log in logs if log.reconstructed]
    name = _title(prefix)
    fitting = [c for c in candidates if name in (_title(c.slice_prefix), _title(c.path.stem))]
    chosen = fitting or candidates
    return chosen[0] if len(chosen) == 1 else None


def _from_log(log: SkyScanLog, dtype: np.dtype[Any]) -> Meaning:
    """Return what a ``_rec.log`` says about its slices."""
    pixel_um = log.find_number("Pixel Size (um)", "Reconstruction")
    pixel_um = log.find_number("Image Pixel Size (um)") if pixel_um is None else pixel_um
    spacing = None
    if pixel_um is not None and pixel_um > 0:
        step = log.find_number("Section to Section Step") or 1.0
        spacing = (pixel_um * step / 1000, pixel_um / 1000, pixel_um / 1000)
    quantity, note = window_of(log, _grey_max(dtype)) if dtype.kind == "u" else (None, "")
    return Meaning(spacing, quantity=quantity, notes=(note,) if note else ())


def window_of(log: SkyScanLog, grey_max: int) -> tuple[Quantity | None, str]:
    """Return the quantity of grey slices that a ``_rec.log`` describes, and the note that goes with it.

    NRecon does not print the unit of its limits; 1/mm is assumed, see docs/formats.md.
    """
    window = log.window
    if window is None:
        return None, ""
    if log.flag("HU Calibration"):
        return None, (
            f"{log.path.name} says HU Calibration=ON, so its limits are no attenuations "
            "and what a grey value means in 1/mm is not known."
        )
    if not window[1] > window[0]:
        raise InputError(
            f"{log.path} gives a window from {window[0]} to {window[1]}, which does not rise; mend it."
        )
    note = f"The limits for CS to image conversion in {log.path.name} are taken as attenuation in 1/mm."
    return Quantity(Kind.GREY, window, grey_max), note


# Single files


def _tiff(path: Path) -> tuple[SlicedArray, Meaning]:
    return imagefiles.open_tiff(path), Meaning(imagefiles.tiff_spacing_mm(path), name=path.stem)


def _open_header_file(path: Path, voxel_um: float | None) -> Volume:
    data, grid, known, quantity = imagefiles.open_image(path)
    if voxel_um is not None:
        grid = respaced(grid, voxel_um)
    elif not known:
        raise VoxelSizeError(_NO_VOXEL.format(path))
    return Volume(data, grid, quantity or default_quantity(data.dtype), imagefiles.stem(path))
