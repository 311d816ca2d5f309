"""Whether the object moved during a scan, from the projections alone.

Three looks, each in pixels, none of which needs a reconstruction:

- *opposite*: lines seen twice, at the beginning and near the end of the scan, show how far the object has
  gone between; both along the columns and along the rows.
- *path*: of any object that only turns, the centre of mass runs along a sinusoid from view to view (the first
  of the Helgason-Ludwig conditions, doi:10.1002/cpa.3160190207). It is looked at in the plane of the source,
  rebinned to parallel rays, and says nothing where the object is cut off by the field.
- *jumps*: from one view to the next, nothing moves along the axis, and the centre of mass moves smoothly
  across it. A view that has moved against its neighbours has caught a twitch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from bonemet.core.scan import ConeGeometry
from bonemet.recon.weights import axis_column, fan_angles, is_full_turn

SMOOTH = 1.5  # pixels by which rays are smoothed before they are compared
STANDS_OUT = 10.0  # standard deviations of the noise, judged by the middle half of the views
WINDOW = 15  # views over which a still object's centre of mass follows a cubic
HARDENING_MM = 0.15  # by which bone and flesh together move the path at 50 kVp, corrected as far as can be
CUT_OFF = 0.03  # share of the largest line integral that may stand at the field's edge


@dataclass(frozen=True)
class Motion:
    """How far the object seems to have moved, in pixels; None where it cannot be told.

    Attributes
    ----------
    opposite_px
        Between the two looks at the same lines: the larger of along columns and along rows.
    path_px
        Largest departure of the centre of mass from its sinusoid.
    jump_px
        Largest sudden move from one view to the next, 0 where nothing stands out from the noise.
    path_counts
        Whether the path departs by more than beam hardening explains.
    """

    opposite_px: float | None
    path_px: float | None
    jump_px: float | None
    path_counts: bool = True

    @property
    def px(self) -> float | None:
        """The largest of all that could be told and that nothing else explains."""
        path = self.path_px if self.path_counts else None
        known = [v for v in (self.opposite_px, path, self.jump_px) if v is not None]
        return max(known) if known else None


def find_motion(rays: NDArray[np.float32], geometry: ConeGeometry, first_row: int) -> Motion:
    """Look for motion in rows about the plane of the source.

    Parameters
    ----------
    rays
        (views, rows, columns) line integrals, at equal angles.
    geometry
        Of the scan, with its axis and sense of rotation.
    first_row
        Detector row of the first of ``rays``.
    """
    smooth = ndimage.gaussian_filter(rays, (0, SMOOTH if rays.shape[1] > 4 else 0, SMOOTH))
    middle = round(geometry.optical_axis_row) - first_row
    near = smooth[:, max(0, middle - 3) : middle + 4]
    if near.shape[1] == 0:  # the plane of the source lies outside the images
        return Motion(None, None, _jump(smooth))
    path = _path(near.mean(axis=1), geometry)
    counts = path is not None and path * geometry.pixel_mm > HARDENING_MM
    return Motion(_opposite(near, geometry), path, _jump(smooth), counts)


def _opposite(rays: NDArray[np.float32], geometry: ConeGeometry) -> float | None:
    """Return how far opposite looks stand apart, least squares over pixels, a straight line over views.

    The axis found from the same rays takes up the mean along columns, but not what changes from view to view.
    """
    views, _, columns = rays.shape
    gamma = fan_angles(geometry)
    later = (math.pi - 2 * _sense(geometry) * gamma) / math.radians(abs(geometry.step_deg))
    opposite = 2 * axis_column(geometry) - np.arange(columns)
    across = np.gradient(rays, axis=2)
    along = np.gradient(rays, axis=1) if rays.shape[1] > 2 else np.zeros_like(rays)
    moves = []
    for view in range(0, views, max(1, views // 256)):
        at = view + later
        ok = (at <= views - 1) & (at >= 0) & (opposite >= 0) & (opposite <= columns - 1)
        if is_full_turn(geometry):
            at, ok = at % (views - 1), (opposite >= 0) & (opposite <= columns - 1)
        if ok.sum() < columns / 8:
            continue
        seen = np.stack(
            [
                ndimage.map_coordinates(rays[:, row], (at[ok], opposite[ok]), order=1)
                for row in range(rays.shape[1])
            ]
        )
        moves.append(_least_squares(seen - rays[view][:, ok], across[view][:, ok], along[view][:, ok]))
    if len(moves) < 8:
        return None
    course = np.linspace(-1, 1, len(moves))
    slope, level = np.polyfit(course, np.array(moves), 1)  # of columns and rows
    return float(max(np.abs(level - slope).max(), np.abs(level + slope).max()))


def _sense(geometry: ConeGeometry) -> int:
    return geometry.turn * (1 if geometry.step_deg >= 0 else -1)


def _least_squares(
    difference: NDArray[np.float32], across: NDArray[np.float32], along: NDArray[np.float32]
) -> tuple[float, float]:
    """Return the shift (columns, rows) whose first-order effect is the difference; 0 where none shows."""
    aa, ab, bb = (float((p * q).sum()) for p, q in ((across, across), (across, along), (along, along)))
    a, b = float((across * difference).sum()), float((along * difference).sum())
    if aa <= 0:
        return 0.0, 0.0
    determinant = aa * bb - ab * ab
    if bb < 0.02 * aa or determinant < 0.01 * aa * bb:  # upright walls do not show what moves along them
        return a / aa, 0.0
    return (a * bb - b * ab) / determinant, (b * aa - a * ab) / determinant


def _path(sinogram: NDArray[np.float32], geometry: ConeGeometry) -> float | None:
    """Return the largest departure of the centre of mass from a sinusoid, or None where rays are cut off."""
    edge = max(2, sinogram.shape[1] // 50)
    ends = np.median(sinogram[:, :edge], axis=1), np.median(sinogram[:, -edge:], axis=1)
    if max(e.max() for e in ends) > CUT_OFF * sinogram.max():
        return None
    pixel, sod = geometry.pixel_mm, geometry.sod_mm
    limit = float(np.abs(fan_angles(geometry)).max())
    step = math.radians(abs(geometry.step_deg))
    span = (len(sinogram) - 1) * step - 2 * limit
    if span < math.radians(90):
        return None
    theta = limit + np.arange(0, span, step)
    half = (geometry.columns - 1) / 2 - abs(geometry.axis_offset_px)
    s = np.arange(-half, half + 1) * pixel * math.cos(limit)
    gamma = np.arcsin(s / sod)
    column = axis_column(geometry) + sod * np.tan(gamma) / pixel
    view = (theta[:, None] + _sense(geometry) * gamma) / step
    parallel = ndimage.map_coordinates(sinogram, (view, np.broadcast_to(column, view.shape)), order=1)
    powers = [parallel, parallel**2, parallel**3]
    masses = np.stack([p.sum(axis=1, dtype=np.float64) for p in powers], axis=1)
    if not masses[:, 0].min() > 0:
        return None
    hardening = _hardening(masses)
    mass = masses @ hardening
    centre = sum(h * (p @ (s / pixel)) for h, p in zip(hardening, powers, strict=True)) / mass
    basis = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)], axis=1)
    rest = centre - basis @ np.linalg.lstsq(basis, centre, rcond=None)[0]
    return float(np.abs(ndimage.median_filter(rest, 3, mode="nearest")).max())


def _hardening(masses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights (1, b, c) of the powers of line integrals with which all views have one mass.

    Beam hardening moves the centre of mass from its sinusoid as motion does, but it changes the mass as well.
    """
    first, others = masses[:, 0], masses[:, 1:]
    centred = others - others.mean(axis=0)
    found = np.linalg.lstsq(centred, first.mean() - first, rcond=1e-6)[0]
    weights = np.array([1.0, *found])
    return weights if (masses @ weights).min() > 0.2 * first.min() else np.array([1.0, 0.0, 0.0])


def _jump(rays: NDArray[np.float32]) -> float | None:
    """Return the largest sudden move between neighbouring views, along the axis and across it."""
    mass = rays.sum(axis=(1, 2), dtype=np.float64)
    if len(rays) < 2 * WINDOW or not mass.min() > 0:
        return None
    column = np.arange(rays.shape[2], dtype=np.float64)
    centre = rays.sum(axis=1, dtype=np.float64) @ column / mass
    found = [_outstanding(centre - signal.savgol_filter(centre, WINDOW, 3))]
    if rays.shape[1] >= 8:
        inner = slice(2, -2)
        moves = []
        for before, after in pairwise(rays):
            along = np.gradient((before + after) / 2, axis=0)[inner]
            across = np.gradient((before + after) / 2, axis=1)[inner]
            moves.append(_least_squares((before - after)[inner], across, along)[1])
        found.append(_outstanding(np.array(moves) - ndimage.median_filter(moves, 9, mode="nearest")))
    return max(found)


def _outstanding(rest: NDArray[np.float64]) -> float:
    """Return the largest deviation where it stands out from the others, else 0."""
    noise = 1.4826 * float(np.median(np.abs(rest)))
    largest = float(np.abs(rest).max())
    return largest if largest > STANDS_OUT * noise else 0.0
