"""The files of a reconstruction: numbered slices and NRecon's log, whoever made the attenuation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bonemet._version import __version__
from bonemet.core.calibration import to_grey
from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.io import skyscan, stacks
from bonemet.recon import fdk

Format = Literal["png", "tiff", "float"]

DEFAULT_WINDOW = (0.0, 0.30)  # 1/mm; one for all scans, so that one grey means one density in a whole study
GREY_MAX = {"png": 255, "tiff": 65535}

FILTER_NAMES = {
    "hamming": "Hamming (Alpha=0.54)",
    "hann": "Hann",
    "ramp": "Ramp",
    "cosine": "Cosine",
    "shepp-logan": "Shepp-Logan",
}


@dataclass(frozen=True)
class Recipe:
    """How slices were made and written.

    Attributes
    ----------
    filter, ring_level
        Of the reconstruction.
    format
        Of the slices.
    window
        Attenuations (1/mm) at grey 0 and at the largest grey; None for floats.
    """

    filter: str = "hamming"
    ring_level: int = 0
    format: Format = "png"
    window: tuple[float, float] | None = DEFAULT_WINDOW


def write_slice(
    folder: Path,
    name: str,
    index: int,
    image: NDArray[np.float32],
    format: Format,
    window: tuple[float, float] | None,
) -> int:
    """Write one slice of attenuation, and return how many of its voxels lie beyond the window."""
    data: NDArray[Any] = image if window is None else to_grey(image, window, GREY_MAX[format])
    stacks.write_slices(folder, f"{name}_rec", [data], format=format, start=index)
    return 0 if window is None else int(np.count_nonzero(image > window[1]))


def write_log(
    folder: Path,
    name: str,
    log: skyscan.SkyScanLog | None,
    geometry: ConeGeometry,
    grid: Grid,
    first: int,
    recipe: Recipe,
) -> None:
    """Write what was done, in NRecon's words, as ``NAME_rec.log``.

    Parameters
    ----------
    folder, name
        Where, and what the scan is called.
    log
        The scan's own log, whose sections come first.
    geometry, grid
        Of the scan, and of the slices.
    first
        Number of the first slice.
    recipe
        How the slices were made.
    """
    entries = _rec_entries(name, geometry, grid, first, recipe) | _result_entries(recipe)
    skyscan.write_rec_log(folder / f"{name}_rec.log", log, entries)


def _rec_entries(
    name: str, geometry: ConeGeometry, grid: Grid, first: int, recipe: Recipe
) -> dict[str, object]:
    """Return what was done, in NRecon's words."""
    count, height, width = grid.shape
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
        "Smoothing": 0,
        "Ring Artifact Correction": recipe.ring_level,
        "Object Bigger than FOV": "OFF",
        "Reconstruction from ROI": "OFF",
        "Filter cutoff relative to Nyquist frequency": round(100 * fdk.cutoff(geometry, grid)),
        "Filter type description": FILTER_NAMES[recipe.filter],
        "Undersampling factor": 1,
        "Threshold for defect pixel mask (%)": 0,
        "Beam Hardening Correction (%)": 0,
        "CS Static Rotation (deg)": "0.00",
        "HU Calibration": "OFF",
        "Cone-beam Angle Horiz.(deg)": f"{geometry.cone_angle_horizontal_deg:.6f}",
        "Cone-beam Angle Vert.(deg)": f"{geometry.cone_angle_vertical_deg:.6f}",
        "Filename Index Length": 8,
        "Filename Prefix": f"{name}_rec",
    }


def _result_entries(recipe: Recipe) -> dict[str, object]:
    """Return NRecon's entries about the files; floats need no conversion and get none."""
    kind = {"png": "PNG", "tiff": "TIF(16)", "float": "TIF(32)"}[recipe.format]
    entries: dict[str, object] = {"Result File Type": kind}
    if recipe.window is not None:
        low, high = recipe.window
        entries["Minimum for CS to Image Conversion"] = f"{low:.6f}"
        entries["Maximum for CS to Image Conversion"] = f"{high:.6f}"
    return entries
