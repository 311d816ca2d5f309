"""A raw scan made ready: bad views left out, thermal shifts undone, pixels binned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Context
from bonemet.core.scan import ConeGeometry, Scan
from bonemet.io import scans
from bonemet.recon import center, correct
from bonemet.recon.binning import binned_geometry
from bonemet.recon.projections import Projections
from bonemet.recon.views import BinnedViews, CheckedViews, ShiftedViews, at_even_angles
from bonemet.stages.reconstruct_settings import Settings

SAMPLES = 12  # views that are looked at for air, spread over the scan
SATURATED = 1e-3  # share of pixels, or of voxels beyond the window, that is worth a warning
BETTER = 0.9  # a table of shifts is used where opposite rays then disagree by less than this share of before
NONE = (0, 0)
SENSES = ((1, 1), (-1, -1), (1, -1), (-1, 1))  # signs of a table's shifts along rows and along columns


@dataclass(frozen=True, eq=False)
class Source:
    """A scan as it will be reconstructed.

    Attributes
    ----------
    scan
        With the views as they will be read.
    native
        The geometry before pixels were binned.
    left_out
        Names of the files that were left out, and why.
    thermal
        What was done about thermal shifts.
    checked
        Where the views are looked at as they are read.
    warnings
        What a person should know: one sentence each.
    """

    scan: Scan
    native: ConeGeometry
    left_out: tuple[str, ...]
    thermal: str
    checked: CheckedViews
    warnings: tuple[str, ...]


def open_source(path: Path, settings: Settings, context: Context) -> Source:
    """Open a scan and make it ready.

    Raises
    ------
    MissingInputError, UnknownFormatError, InputError
        As :func:`bonemet.io.scans.open_acquisition`.
    """
    found = scans.open_acquisition(path, skip_bad=settings.skip_bad, mapper=context.map)
    scan = found.scan
    checked = CheckedViews(scan.projections, found.files)
    scan = replace(scan, projections=checked)
    warnings = []
    if found.left_out:
        warnings.append(
            f"Views were left out, and their neighbours weighted for them: {', '.join(found.left_out)}."
        )
    scan, thermal, note = _without_shifts(scan, found, settings, context)
    warnings += [note] if note else []
    native = scan.geometry
    if settings.undersample > 1:
        binned = BinnedViews(scan.projections, settings.undersample)
        scan = replace(scan, projections=binned, geometry=binned_geometry(native, settings.undersample))
    return Source(scan, native, found.left_out, thermal, checked, tuple(warnings))


def _without_shifts(
    scan: Scan, found: scans.Acquisition, settings: Settings, context: Context
) -> tuple[Scan, str, str | None]:
    """Return the scan with its table of thermal shifts applied, what was done, and a note."""
    if settings.thermal == "off":
        return scan, "off", None
    table = found.shifts()
    if table is None:
        return scan, "no table", None
    if settings.thermal in ("plus", "minus"):
        sign = 1 if settings.thermal == "plus" else -1
        moved = ShiftedViews(scan.projections, sign * table)
        return replace(scan, projections=moved), f"applied, sign {settings.thermal}", None
    sense, ratio = _best_sense(scan, table, context)
    if sense == NONE:
        return (
            scan,
            "not applied",
            "The table of thermal shifts was not applied: opposite rays agree no better with it, so the "
            "projections seem to hold it already (--thermal plus or minus applies it all the same).",
        )
    words = f"applied, signs {sense[0]:+d} along rows and {sense[1]:+d} along columns"
    moved = ShiftedViews(scan.projections, table * np.array(sense))
    note = f"The table of thermal shifts was {words}: opposite rays then disagree {1 / ratio:.1f} times less."
    return replace(scan, projections=moved), words, note


def _best_sense(scan: Scan, table: NDArray[np.float64], context: Context) -> tuple[tuple[int, int], float]:
    """Return the signs with which a table makes opposite rays agree best, and residuals as a ratio."""
    a, b = center.rows_near_axis(scan.geometry)
    residual: dict[tuple[int, int], float] = {}
    for sense in (NONE, *SENSES):
        views = ShiftedViews(scan.projections, table * np.array(sense))
        beam = correct.find_white(_samples(replace(scan, projections=views)), scan.white)
        rays = Projections(replace(scan, projections=views), beam.value, mapper=context.map).sinograms(a, b)
        even, angles = at_even_angles(rays, scan.geometry.angles_deg)
        estimate = center.find_axis_offset(even, replace(scan.geometry, angles_deg=angles))
        residual[sense] = estimate.residual if estimate.reliable else np.inf
    best = min(residual, key=lambda s: residual[s])
    if not residual[best] < BETTER * residual[NONE]:
        return NONE, 1.0
    return best, residual[best] / residual[NONE] if np.isfinite(residual[NONE]) else 0.5


def _samples(scan: Scan) -> list[NDArray[Any]]:
    views = len(scan.geometry.angles_deg)
    chosen = sorted({round(v) for v in np.linspace(0, views - 1, min(SAMPLES, views))})
    return [np.asarray(scan.projections[v]) for v in chosen]


@dataclass(frozen=True, eq=False)
class Beam:
    """The open beam and the camera, as found in some views.

    Attributes
    ----------
    white
        The open beam.
    stuck
        (rows, columns) pixels that read full in every view.
    saturated
        Share of the other pixels that are full.
    warnings
        What a person should know: one sentence each.
    """

    white: correct.White
    stuck: NDArray[np.bool_]
    saturated: float
    warnings: tuple[str, ...]


def find_beam(scan: Scan) -> Beam:
    """Find the open beam and the camera's stuck pixels, and say what is wrong with the images."""
    images = _samples(scan)
    flats = scan.flats
    logged, kind = (scan.white, "log") if flats is None else (float(np.mean(flats)), "flats")
    white = correct.find_white(images, logged, kind)
    warnings = list(white.notes) if white.source != "air" else []
    stuck = correct.stuck_pixels(images)
    full = float(np.mean([np.mean((i == np.iinfo(i.dtype).max) & ~stuck) for i in images]))
    if full > SATURATED:
        warnings.append(
            f"{full:.1%} of the pixels are saturated, so attenuation is wrong there; "
            "scan again with a shorter exposure."
        )
    return Beam(white, stuck, full, tuple(warnings))
