"""Register: one bone brought onto another's grid; orient: a tibia set upright by its own anatomy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind
from bonemet.core.context import SILENT, Context
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.core.transform import Transform, TransformKind
from bonemet.core.volume import Volume
from bonemet.io import output, stacks
from bonemet.io.transforms import write_transform
from bonemet.io.volumes import open_volume
from bonemet.kernels.interpolate import ORDERS, Order
from bonemet.kernels.resample import resample
from bonemet.registration import Registration, anatomical_frame, register_published
from bonemet.registration import register as align
from bonemet.stages.outcome import Outcome, Product, produce

METHODS = ("default", "published")
SliceRange = tuple[int | None, int | None]
_WHOLE: SliceRange = (None, None)
_SEED = 1


def register(
    moving: str | Path,
    fixed: str | Path,
    out: str | Path,
    *,
    method: str = "default",
    kind: str = "rigid",
    initial_angles: Sequence[float] | None = None,
    mirror: bool = False,
    interpolation: Order = "linear",
    moving_slices: SliceRange = _WHOLE,
    fixed_slices: SliceRange = _WHOLE,
    voxel_um: float | None = None,
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Align one bone with another and write it on the other's grid.

    Parameters
    ----------
    moving
        Volume to bring over (folder of slices or file).
    fixed
        Volume that stays.
    out
        Folder for the moving volume on the fixed grid: slices of the moving volume's type, interpolated
        once. The transform stands beside it, in ``OUT.tfm``.
    method
        ``default``: coarse pose over the whole circle, then robust least squares; ``published``: mutual
        information by gradient descent.
    kind
        ``rigid``, ``similarity`` or ``affine`` (the last two with the default method).
    initial_angles
        Axial angles in radian to begin from; the whole circle by default.
    mirror
        Whether the moving bone may be mirrored where its mirror image fits better (the other leg).
    interpolation
        ``linear``, ``cubic``, ``sinc`` or, for masks, ``nearest``.
    moving_slices, fixed_slices
        First slice and the one after the last to use; None for all to that side.
    voxel_um
        Voxel size of both that overrides log and header.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    context
        Workers and progress.

    Returns
    -------
    Outcome
        ``matrix`` (4 x 4, takes points of FIXED to points of MOVING), ``correlation``, ``overlap``,
        ``coverage``, ``mutual_information``, ``confidence``, ``review`` with ``reasons``,
        ``translation_mm``, ``angle_deg``, ``mirrored``, ``mirrored_correlation``.

    Raises
    ------
    InputError
        If an input is empty or holds labels.
    SettingsError
        If a setting makes no sense.
    """
    _refuse_settings(method, kind, interpolation, mirror)
    target = Path(out)
    paths = [Path(moving), Path(fixed)]
    angles = None if initial_angles is None else [float(a) for a in initial_angles]
    parameters = {
        "method": method,
        "kind": kind,
        "initial_angles": angles,
        "mirror": mirror,
        "interpolation": interpolation,
        "moving_slices": list(moving_slices),
        "fixed_slices": list(fixed_slices),
        "voxel_um": voxel_um,
    }

    def work(partial: Path) -> Product:
        there = _load(paths[1], voxel_um, fixed_slices)
        here = _load(paths[0], voxel_um, moving_slices)
        if method == "published":
            found = register_published(there, here, initial_angles=angles, seed=_SEED, mapper=context.map)
        else:
            found = align(
                there,
                here,
                initial_angles=angles,
                kind=kind,
                seed=_SEED,
                allow_mirror=mirror,
                mapper=context.map,
            )
        results = _results(found) | {"method": method}
        return _write(partial, target, here, there.grid, (found.transform, results), interpolation, context)

    return produce(target, "register", parameters, paths, work, overwrite=overwrite)


def orient(
    moving: str | Path,
    out: str | Path,
    *,
    side: str,
    interpolation: Order = "linear",
    moving_slices: SliceRange = _WHOLE,
    voxel_um: float | None = None,
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Set a tibia upright by its anatomy and write it so: knee first, crest to the top of each slice.

    Parameters
    ----------
    moving
        Volume of one tibia.
    out
        Folder for the upright stack; the transform stands beside it, in ``OUT.tfm``.
    side
        ``left`` or ``right``; checked against where the fibula lies.
    interpolation, moving_slices, voxel_um, overwrite, context
        As in :func:`register`.

    Returns
    -------
    Outcome
        ``matrix`` (4 x 4, takes points of the upright stack to points of MOVING), ``confidence``,
        ``review`` with ``reasons``, ``translation_mm``, ``angle_deg``, ``mirrored`` (never).

    Raises
    ------
    InputError
        If the input is empty, holds labels or no long bone.
    SettingsError
        If a setting makes no sense.
    """
    _refuse_settings("default", "rigid", interpolation, mirror=False)
    target = Path(out)
    parameters = {
        "side": side,
        "interpolation": interpolation,
        "moving_slices": list(moving_slices),
        "voxel_um": voxel_um,
    }

    def work(partial: Path) -> Product:
        here = _load(Path(moving), voxel_um, moving_slices)
        frame = anatomical_frame(here, side, context.map)
        results = _placement(frame.transform) | {
            "confidence": frame.confidence,
            "review": frame.review,
            "reasons": list(frame.reasons),
            "side": side,
        }
        return _write(partial, target, here, frame.grid, (frame.transform, results), interpolation, context)

    return produce(target, "orient", parameters, [Path(moving)], work, overwrite=overwrite)


def _refuse_settings(method: str, kind: str, interpolation: str, mirror: bool) -> None:
    if method not in METHODS:
        raise SettingsError(f"The method is {' or '.join(METHODS)}, not {method!r}.")
    if kind not in list(TransformKind):
        raise SettingsError(f"The kind of transform is one of {', '.join(TransformKind)}, not {kind!r}.")
    if interpolation not in ORDERS:
        raise SettingsError(f"The interpolation is one of {', '.join(ORDERS)}, not {interpolation!r}.")
    if method == "published" and (kind != "rigid" or mirror):
        raise SettingsError("The published method is rigid and never mirrors; use the default method.")


def _load(path: Path, voxel_um: float | None, part: SliceRange) -> Volume:
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


def _placement(transform: Transform) -> dict[str, Any]:
    return {
        "matrix": transform.matrix.tolist(),
        "translation_mm": transform.matrix[:3, 3].tolist(),
        "angle_deg": transform.angle_deg,
        "mirrored": transform.mirrored,
    }


def _results(found: Registration) -> dict[str, Any]:
    return _placement(found.transform) | {
        "kind": str(found.transform.kind),
        "correlation": found.correlation,
        "overlap": found.overlap,
        "coverage": found.coverage,
        "mutual_information": found.mutual_information,
        "confidence": found.confidence,
        "review": found.review,
        "reasons": list(found.reasons),
        "notes": list(found.notes),
        "mirrored_correlation": found.mirrored_correlation,
    }


def _write(
    partial: Path,
    out: Path,
    moving: Volume,
    grid: Grid,
    found: tuple[Transform, dict[str, Any]],
    interpolation: Order,
    context: Context,
) -> Product:
    """Write the moving volume on a grid, and the transform beside the output folder."""
    transform, results = found
    data = resample(moving.array(), moving.grid, grid, transform, order=interpolation, mapper=context.map)
    name = moving.name or "bone"

    def slices() -> Iterator[NDArray[Any]]:
        with context.progress("write", len(data)) as tick:
            for plane in data:
                yield plane
                tick(1)

    stacks.write_slices(partial, f"{name} registered ", slices(), format=_format(data.dtype))
    beside = out.with_name(out.name + ".tfm")
    with output.whole_file(output.staged(beside)) as path:
        write_transform(path, transform)
    warnings = [*results["reasons"], *results.get("notes", [])]
    if results["review"]:
        warnings.insert(0, f"{name} was registered, but a person should look at it.")
    view = None if moving.view is None else moving.view.seen_through(transform)
    return Product(results, name, grid, moving.quantity, warnings, [beside], view)


def _format(dtype: np.dtype[Any]) -> stacks.Format:
    if dtype.kind == "f":
        return "float"
    return "tiff" if dtype == np.uint16 else "png"
