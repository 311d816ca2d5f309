"""``info``: what a path holds, in numbers, without changing anything."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError
from bonemet.core.scan import ConeGeometry
from bonemet.core.volume import Volume
from bonemet.dataset import layout
from bonemet.io.scans import find_parts, open_scan
from bonemet.io.skyscan import SkyScanLog, geometry_from_log, geometry_notes, read_log
from bonemet.io.sniff import sniff
from bonemet.io.transforms import read_transform
from bonemet.io.volumes import VoxelSizeError, log_of_slices, open_volume, window_of
from bonemet.stages.outcome import Outcome, peak_memory_mb

_NO_LOG = "no scan log lies beside it"


def info(path: str | Path, *, voxel_um: float | None = None) -> Outcome:
    """Tell what a scan, a log, a stack, a volume, a transform or a study holds.

    Nothing is written. A number that is not known is None, and ``reason`` says why, by its name.
    ``shape`` and ``spacing_mm`` of a scan are those of its default reconstruction.

    Parameters
    ----------
    path
        A folder or a file.
    voxel_um
        Voxel size in micrometres; overrides sidecar, log and header.

    Returns
    -------
    Outcome
        With ``kind``, ``scanner``, ``shape``, ``spacing_mm``, ``geometry``, ``window`` and more in
        its results.

    Raises
    ------
    MissingInputError
        If nothing is there.
    UnknownFormatError
        If it is of a kind that is not read.
    InputError
        If it is damaged or incomplete.
    """
    start = time.perf_counter()
    found = sniff(Path(path))
    notes: list[str] = []
    if found.kind == "study":
        results = _study(found.path)
    elif found.kind == "transform":
        results = _transform(found.path)
    elif found.kind == "scan":
        results = _scan(found.path, notes)
    elif found.kind in ("stack", "volume"):
        results = _volume(found.path, voxel_um, notes)
    elif found.kind == "reconstruction log":
        results = _reconstruction_log(read_log(found.path), notes)
    else:
        log = read_log(found.path)
        results = _scan_numbers(log, geometry_from_log(log), notes)
        if found.path.suffix.lower() == ".oog":
            notes.append("This is the log of a reference scan of the original geometry.")
    return Outcome(
        [],
        time.perf_counter() - start,
        peak_memory_mb(),
        notes,
        {"kind": found.kind, **_with_reasons(results)},
    )


def _with_reasons(results: dict[str, Any]) -> dict[str, Any]:
    """Keep only those reasons whose number is indeed missing, and none where nothing is."""
    reasons = {k: v for k, v in results.pop("reason", {}).items() if results.get(k) is None}
    return results | {"reason": reasons} if reasons else results


def _study(path: Path) -> dict[str, Any]:
    counts = {component.value: len(layout.find(path, component)) for component in layout.Component}
    return {"components": counts}


def _transform(path: Path) -> dict[str, Any]:
    transform = read_transform(path)
    return {
        "transform": str(transform.kind),
        "matrix": transform.matrix.tolist(),
        "angle_deg": transform.angle_deg,
        "mirrored": transform.mirrored,
    }


def _scan(path: Path, notes: list[str]) -> dict[str, Any]:
    log, _ = find_parts(path)[0]
    scan = open_scan(log.path)
    own: list[str] = []
    results = _scan_numbers(log, scan.geometry, own)
    notes += dict.fromkeys([*scan.notes, *own])
    bits = 8 * scan.projections.dtype.itemsize
    return results | {"name": scan.name, "bit_depth": bits, "white": scan.white}


def _scan_numbers(log: SkyScanLog, geometry: ConeGeometry, notes: list[str]) -> dict[str, Any]:
    """Return what ``info`` says of a scan; its window is that of a reconstruction its log tells of."""
    notes += geometry_notes(log)
    views, rows, columns = len(geometry.angles_deg), geometry.rows, geometry.columns
    bits = log.find_number("Depth (bits)", "Acquisition")
    results = {
        "name": (log.prefix or log.path.stem).rstrip("_- "),
        "scanner": log.scanner or None,
        "projections_shape": [views, rows, columns],
        "shape": [rows, columns, columns],
        "spacing_mm": [geometry.pixel_mm] * 3,
        "geometry": geometry_numbers(geometry, log),
        **_log_window(log, notes),
        "bit_depth": None if bits is None else int(bits),
        "memory_gb": {
            "projections_float32": _gb(views * rows * columns * 4),
            "reconstruction_uint8": _gb(rows * columns * columns),
        },
    }
    results["reason"] |= {"bit_depth": "the log does not say it", "scanner": "the log does not say it"}
    if results["window"] is None:
        results["grey_means"] = "X-ray intensity"
    return results


def _log_window(log: SkyScanLog, notes: list[str]) -> dict[str, Any]:
    """Return the window that a log prints, what it means, and why not where it does not say."""
    quantity, note = window_of(log, 255)
    notes += [note] if note else []
    reason = note or "the log tells of no reconstruction, and projections have no grey window"
    return {
        "window": None if log.window is None else list(log.window),
        "grey_step_per_mm": None,
        "grey_means": _meaning(quantity),
        "reason": {
            "window": reason,
            "grey_means": reason,
            "grey_step_per_mm": "the bit depth of the slices is not in the log" if quantity else reason,
        },
    }


def _log_geometry(log: SkyScanLog | None) -> tuple[dict[str, Any] | None, str]:
    """Return the geometry in a log of slices, or why there is none: slices are good without."""
    if log is None:
        return None, _NO_LOG
    try:
        return geometry_numbers(geometry_from_log(log), log), ""
    except InputError as error:
        return None, str(error)


def _gb(size: float) -> float:
    return round(size / 1e9, 6)


def geometry_numbers(geometry: ConeGeometry, log: SkyScanLog | None = None) -> dict[str, Any]:
    """Return a geometry as ``info`` prints it, with the cone angles that a log prints, if any."""
    horizontal = None if log is None else log.find_number("Cone-beam Angle Horiz.(deg)")
    vertical = None if log is None else log.find_number("Cone-beam Angle Vert.(deg)")
    return {
        "cone_angle_horizontal_deg": geometry.cone_angle_horizontal_deg if horizontal is None else horizontal,
        "cone_angle_vertical_deg": geometry.cone_angle_vertical_deg if vertical is None else vertical,
        "sod_mm": geometry.sod_mm,
        "sdd_mm": geometry.sdd_mm,
        "pixel_um": round(geometry.pixel_mm * 1000, 9),
        "projections": len(geometry.angles_deg),
        "step_deg": round(geometry.step_deg, 9),
        "range_deg": round(geometry.range_deg, 9),
        "optical_axis_row": geometry.optical_axis_row,
        "axis_offset_px": geometry.axis_offset_px,
    }


def _reconstruction_log(log: SkyScanLog, notes: list[str]) -> dict[str, Any]:
    """Return what a ``_rec.log`` says about slices that need not be there."""
    notes += geometry_notes(log)
    count, height, width = (
        log.find_number(key, "Reconstruction")
        for key in ("Sections Count", "Result Image Height (pixels)", "Result Image Width (pixels)")
    )
    shape = (
        None if count is None or height is None or width is None else [int(count), int(height), int(width)]
    )
    pixel_um = log.find_number("Pixel Size (um)", "Reconstruction")
    step = log.find_number("Section to Section Step", "Reconstruction") or 1.0
    geometry, no_geometry = _log_geometry(log)
    results = {
        "name": log.slice_prefix or log.path.stem,
        "scanner": log.scanner or None,
        "shape": shape,
        "spacing_mm": None
        if pixel_um is None
        else [pixel_um * step / 1000, pixel_um / 1000, pixel_um / 1000],
        "geometry": geometry,
        **_log_window(log, notes),
        "bit_depth": None,
        "memory_gb": None if shape is None else {"volume_uint8": _gb(shape[0] * shape[1] * shape[2])},
    }
    results["reason"] |= {
        "scanner": "the log does not say it",
        "shape": "the log does not give the slices' size and number",
        "memory_gb": "the log does not give the slices' size and number",
        "spacing_mm": "the log gives no Pixel Size",
        "geometry": no_geometry,
        "bit_depth": "the log does not say it; the slices do",
    }
    return results


def _meaning(quantity: Quantity | None) -> str | None:
    if quantity is None or (quantity.kind is Kind.GREY and quantity.window is None):
        return None
    if quantity.kind is Kind.GREY and quantity.window is not None:
        low, high = quantity.window
        return f"attenuation from {low:g} 1/mm at grey 0 to {high:g} 1/mm at the largest grey"
    return f"{quantity.kind} in {quantity.unit}" if quantity.unit else str(quantity.kind)


def _volume(path: Path, voxel_um: float | None, notes: list[str]) -> dict[str, Any]:
    reason = ""
    try:
        volume = open_volume(path, voxel_um)
    except VoxelSizeError:
        reason = "no sidecar, log or header says the voxel size; give it with --voxel-um"
        volume = open_volume(path, 1.0)
    notes += volume.notes
    log = log_of_slices(path, volume.name) if path.is_dir() else None
    geometry, no_geometry = _log_geometry(log)
    spacing = None if reason else list(volume.grid.spacing_mm)
    return {
        "name": volume.name,
        "scanner": None if log is None else log.scanner or None,
        "shape": list(volume.grid.shape),
        "spacing_mm": spacing,
        "origin_mm": None if reason else list(volume.grid.origin_mm),
        "geometry": geometry,
        "window": None if volume.quantity.window is None else list(volume.quantity.window),
        "grey_step_per_mm": volume.quantity.step,
        "grey_means": _meaning(volume.quantity),
        "bit_depth": 8 * volume.data.dtype.itemsize,
        "number_type": str(volume.data.dtype),
        "memory_gb": {"volume": _gb(_count(volume) * volume.data.dtype.itemsize)},
        "reason": {
            "spacing_mm": reason,
            "origin_mm": reason,
            "scanner": _NO_LOG if log is None else "the log does not say it",
            "geometry": no_geometry,
            **dict.fromkeys(("window", "grey_step_per_mm", "grey_means"), _no_window(volume.quantity)),
        },
    }


def _no_window(quantity: Quantity) -> str:
    """Return why a quantity has no grey window."""
    if quantity.kind is Kind.GREY:
        return "nothing says what its grey values mean in 1/mm"
    return f"its numbers are {quantity.kind}, not windowed grey"


def _count(volume: Volume) -> int:
    z, y, x = volume.grid.shape
    return z * y * x
