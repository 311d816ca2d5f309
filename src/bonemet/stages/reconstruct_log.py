"""The ``_rec.log`` of a reconstruction: what was done, in NRecon's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bonemet._version import __version__
from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.io import skyscan
from bonemet.recon import fdk
from bonemet.stages.reconstruct_range import Range
from bonemet.stages.reconstruct_settings import Settings

FILTER_NAMES = {  # NRecon's words and numbers
    "hamming": ("Hamming (Alpha=0.54)", 0),
    "hann": ("Hann", 1),
    "ramp": ("Ramp", 2),
    "cosine": ("Cosine", 4),
    "shepp-logan": ("Shepp-Logan", 5),
}
FILE_TYPES = {"png": "PNG", "tiff": "TIF(16)", "bmp": "BMP", "float": "TIF(32)", "ome-zarr": "OME-Zarr"}


@dataclass(frozen=True)
class Done:
    """What was done.

    Attributes
    ----------
    name
        What the scan is called.
    log
        The scan's own log, whose sections come first.
    geometry
        Of the scan, with the axis that was used.
    what
        All that could have been reconstructed, and what was.
    settings
        What was asked for.
    parts
        What was found about each part of connected scans.
    """

    name: str
    log: skyscan.SkyScanLog | None
    geometry: ConeGeometry
    what: Range
    settings: Settings
    parts: Sequence[Mapping[str, Any]] = ()


def write(folder: Path, done: Done) -> None:
    """Write what was done, in NRecon's words, as ``NAME_rec.log``."""
    full, grid = done.what.full, done.what.grid
    first = round((grid.origin_mm[2] - full.origin_mm[2]) / grid.spacing_mm[0])
    entries = _done(done.name, done.geometry, grid, first, done.settings)
    entries |= _region(full, grid) | _parts(done.parts) | _files(done.name, done.settings)
    skyscan.write_rec_log(folder / f"{done.name}_rec.log", done.log, entries)


def _parts(parts: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Return NRecon's entries about connected scans."""
    if not parts:
        return {}
    entries: dict[str, object] = {"Connected Reconstruction (parts)": len(parts)}
    for k, part in enumerate(parts):
        entries[f"Sub-scan post alignment [{k}]"] = f"{part['axis_offset_px']:.6f}"
    for k, part in enumerate(parts):
        entries[f"Sub-scan scan length [{k}]"] = part["slices"][1] - part["slices"][0]
    return entries


def _done(name: str, geometry: ConeGeometry, grid: Grid, first: int, settings: Settings) -> dict[str, object]:
    count, height, width = grid.shape
    percent = settings.hardening if isinstance(settings.hardening, float) else 0
    words, number = FILTER_NAMES[settings.filter]
    return {
        "Reconstruction Program": "bonemet",
        "Program Version": f"Version: {__version__}",
        "Reconstruction engine": "FDK",
        "Postalignment Applied": 1,
        "Postalignment": f"{geometry.axis_offset_px:.6f}",
        "Dataset Prefix": name,
        "First Section": first,
        "Last Section": first + count - 1,
        "Section to Section Step": 1,
        "Sections Count": count,
        "Result Image Width (pixels)": width,
        "Result Image Height (pixels)": height,
        "Pixel Size (um)": f"{grid.spacing_mm[0] * 1000:.5f}",
        "Reconstruction Angular Range (deg)": f"{geometry.range_deg:.2f}",
        "Use 180+": "OFF",
        "Angular Step (deg)": f"{abs(geometry.step_deg):.4f}",
        "Smoothing": f"{settings.smooth:g}",
        "Ring Artifact Correction": settings.ring_level,
        "Object Bigger than FOV": "ON" if settings.extend else "OFF",
        "Filter cutoff relative to Nyquist frequency": round(100 * fdk.cutoff(geometry, grid)),
        "Filter type": number,
        "Filter type description": words,
        "Undersampling factor": settings.undersample,
        "Threshold for defect pixel mask (%)": 0,
        "Beam Hardening Correction (%)": f"{percent:g}",
        "CS Static Rotation (deg)": f"{settings.rotate_deg:.2f}",
        "HU Calibration": "OFF" if settings.hounsfield is None else "ON",
        "Cone-beam Angle Horiz.(deg)": f"{geometry.cone_angle_horizontal_deg:.6f}",
        "Cone-beam Angle Vert.(deg)": f"{geometry.cone_angle_vertical_deg:.6f}",
    }


def _region(full: Grid, grid: Grid) -> dict[str, object]:
    """Return NRecon's entries about a part of the slices; it counts rows from below."""
    x, y = (
        round((a - b) / grid.spacing_mm[2])
        for a, b in zip(grid.origin_mm[:2], full.origin_mm[:2], strict=True)
    )
    _, height, width = grid.shape
    if (height, width) == full.shape[1:]:
        return {"Reconstruction from ROI": "OFF"}
    return {
        "Reconstruction from ROI": "ON",
        "ROI Top (pixels)": full.shape[1] - 1 - y,
        "ROI Bottom (pixels)": full.shape[1] - y - height,
        "ROI Left (pixels)": x,
        "ROI Right (pixels)": x + width - 1,
        "ROI reference length": full.shape[2],
    }


def _files(name: str, settings: Settings) -> dict[str, object]:
    """Return NRecon's entries about the files; floats need no conversion and get none."""
    entries: dict[str, object] = {"Result File Type": FILE_TYPES[settings.format]}
    if settings.grey_window is not None:
        low, high = settings.grey_window
        entries["Minimum for CS to Image Conversion"] = f"{low:.6f}"
        entries["Maximum for CS to Image Conversion"] = f"{high:.6f}"
    return entries | {"Filename Index Length": 8, "Filename Prefix": f"{name}_rec"}
