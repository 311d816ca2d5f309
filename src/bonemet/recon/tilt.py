"""The tilt of the camera against the rotation axis, from where rows at several heights see the axis."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bonemet.core.scan import ConeGeometry
from bonemet.recon.center import refine_axis_offset

BANDS = 9
SPREAD = 0.12  # share of the rows, to each side of the plane of the source, over which bands lie
CERTAIN = 4.0  # times its own error that a tilt must be to be believed
WORTH_PX = 0.5  # by how much the axis must wander between first and last row to be worth a correction
LARGEST_DEG = 2.0  # more than this is no camera's


@dataclass(frozen=True)
class TiltEstimate:
    """A tilt as found: see :class:`bonemet.core.scan.ConeGeometry` for its sense.

    Attributes
    ----------
    tilt_deg, error_deg
        The tilt, and its standard error.
    wander_px
        By how many columns the axis wanders from the first row to the last.
    certain
        Whether the tilt is clear, and worth a correction.
    """

    tilt_deg: float
    error_deg: float
    wander_px: float
    certain: bool


def band_rows(geometry: ConeGeometry) -> list[tuple[int, int]]:
    """Return the rows (first, stop) of the bands, from the lowest row number to the highest."""
    half = max(1.5, SPREAD * geometry.rows)
    middle = min(max(geometry.optical_axis_row, half), geometry.rows - half)
    edges = np.rint(np.linspace(max(0, middle - half), min(geometry.rows, middle + half), BANDS + 1))
    return [(int(a), max(int(b), int(a) + 1)) for a, b in pairwise(edges)]


def find_tilt(bands: NDArray[np.float32], geometry: ConeGeometry) -> TiltEstimate:
    """Find the tilt from line integrals averaged over the rows of each band.

    Away from the plane of the source opposite rays are not quite the same lines, which shifts what is found
    either way; so bands lie near it, and the scatter about a straight line counts as error.

    Parameters
    ----------
    bands
        (views, bands, columns).
    geometry
        Of the scan, with its axis.
    """
    rows = np.array([(a + b - 1) / 2 for a, b in band_rows(geometry)]) - geometry.optical_axis_row
    found = np.array([refine_axis_offset(bands[:, k : k + 1], geometry) for k in range(len(rows))])
    offsets, residuals = found.T
    weight = 1 / np.maximum(residuals, 1e-6)
    weight[~np.isfinite(residuals)] = 0
    slope, error = _line(rows, offsets, weight)
    tilt, error_deg = math.degrees(math.atan(slope)), math.degrees(error)
    wander = slope * (geometry.rows - 1)
    certain = CERTAIN * error_deg < abs(tilt) < LARGEST_DEG and abs(wander) >= WORTH_PX
    return TiltEstimate(tilt, error_deg, wander, certain)


def _line(x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Return the slope of a straight line through points, and its standard error."""
    if np.count_nonzero(weight) < 4:
        return 0.0, math.inf
    w = weight / weight.sum()
    x, y = x - w @ x, y - w @ y
    spread = float(w @ x**2)
    slope = float(w @ (x * y)) / spread
    scatter = float(w @ (y - slope * x) ** 2)
    return slope, math.sqrt(scatter / spread / (np.count_nonzero(weight) - 2))


def upright(geometry: ConeGeometry) -> ConeGeometry:
    """Return the geometry of views that were turned upright."""
    return replace(geometry, axis_tilt_deg=0.0)
