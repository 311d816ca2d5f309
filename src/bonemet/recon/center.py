"""The rotation axis, and the sense of rotation, from rays that were measured twice.

In the plane of the source every line through the object is seen a second time from the other side,
wherever the scan covers more than half a turn. Only with the right axis do both views agree. In a fan the
second look comes ``180 - 2 turn gamma`` later, so the sense of rotation shows as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.errors import InputError
from bonemet.core.scan import ConeGeometry
from bonemet.kernels.jit import kernel
from bonemet.recon.weights import is_full_turn

SEARCH = 0.06  # share of the columns, to each side, within which the axis is looked for
EVEN = 0.05  # share of a step by which views may be off equal steps
CLEAR = 0.8  # the best residual must be below this share of the typical one
GOOD = 0.01  # a residual below which a sense is not doubted
CONTRADICTED = 0.6  # the other sense is believed where its residual is below this share


@dataclass(frozen=True)
class AxisEstimate:
    """Where the axis was found.

    Attributes
    ----------
    offset_px
        Column of the axis minus (columns - 1) / 2.
    turn
        The sense of rotation that fits the data: the geometry's, unless the data contradict it clearly.
    turn_ok
        Whether it is the geometry's.
    residual
        Root mean square difference of opposite rays over their root mean square.
    sharpness
        Residual at the axis over the typical residual of the search; small is good.
    turn_ratio
        Residual of the geometry's sense over that of the other; below 1 speaks for the geometry's.
        1 where the data cannot tell (a parallel beam).
    reliable
        Whether the minimum is a clear one inside the search range.
    notes
        What a person should know.
    """

    offset_px: float
    turn: int
    turn_ok: bool
    residual: float
    sharpness: float
    turn_ratio: float
    reliable: bool
    notes: tuple[str, ...] = ()


def rows_near_axis(geometry: ConeGeometry, count: int = 7) -> tuple[int, int]:
    """Return the rows (first, stop) nearest to the plane of the source."""
    count = min(count, geometry.rows)
    first = round(geometry.optical_axis_row - (count - 1) / 2)
    first = min(max(first, 0), geometry.rows - count)
    return first, first + count


def find_axis_offset(sinograms: NDArray[np.float32], geometry: ConeGeometry) -> AxisEstimate:
    """Find the rotation axis from sinograms near the plane of the source.

    The whole of +-6 % of the columns is searched, then refined; rows count together.

    Parameters
    ----------
    sinograms
        (views, rows, columns) or (views, columns) line integrals.
    geometry
        Of the scan; its own axis offset is not used. Where views are missing, others are put in between.

    Raises
    ------
    InputError
        If the sinograms do not fit the geometry.
    """
    rays = np.asarray(sinograms, dtype=np.float32)
    rays = rays[:, None, :] if rays.ndim == 2 else rays
    if rays.shape[::2] != (len(geometry.angles_deg), geometry.columns):
        raise InputError(
            f"Sinograms of {rays.shape[0]} views and {rays.shape[2]} columns do not fit a scan of "
            f"{len(geometry.angles_deg)} views and {geometry.columns} columns."
        )
    rays, geometry = _evenly(rays, geometry)
    ours = _search(rays, geometry, geometry.turn)
    ratio = 1.0
    best = ours
    if _fan_in_views(geometry) > 1:
        other = _search(rays, geometry, -geometry.turn)
        ratio = ours.residual / max(other.residual, 1e-12)
        if ratio > 1 / CONTRADICTED and other.reliable and ours.residual > GOOD:
            best = other
    ok = best.turn == geometry.turn
    return replace(best, turn_ok=ok, turn_ratio=ratio, notes=_notes(best, geometry, ratio))


def _evenly(rays: NDArray[np.float32], geometry: ConeGeometry) -> tuple[NDArray[np.float32], ConeGeometry]:
    """Return sinograms with views in equal steps, interpolated where some were dropped."""
    angles = np.asarray(geometry.angles_deg, dtype=np.float64)
    steps = np.diff(angles)
    usual = float(np.median(steps))
    if np.abs(steps - usual).max() <= EVEN * abs(usual):
        return rays, geometry
    even = angles[0] + usual * np.arange(round((angles[-1] - angles[0]) / usual) + 1)
    place = np.interp(even * np.sign(usual), angles * np.sign(usual), np.arange(len(angles)))
    below = np.minimum(place.astype(int), len(angles) - 2)
    part = (place - below).astype(np.float32)[:, None, None]
    filled = rays[below] + part * (rays[below + 1] - rays[below])
    return np.asarray(filled, np.float32), replace(geometry, angles_deg=even)


def _fan_in_views(geometry: ConeGeometry) -> float:
    """Return by how many views the two senses differ about where opposite rays are found, at the edge."""
    fan = math.radians(geometry.cone_angle_horizontal_deg)
    return 2 * fan / math.radians(abs(geometry.step_deg))


def _notes(best: AxisEstimate, geometry: ConeGeometry, ratio: float) -> tuple[str, ...]:
    notes = []
    if best.turn != geometry.turn:
        notes.append(
            "The projections turn the other way than the log says (opposite rays disagree "
            f"{ratio:.1f} times more with the log's sense); their own sense was used."
        )
    if not best.reliable:
        notes.append("The rotation axis could not be found reliably from the projections.")
    if not 0 <= geometry.optical_axis_row <= geometry.rows - 1:
        notes.append(
            "The optical axis lies outside the images, so the rotation axis was looked for in the nearest "
            "rows and is less certain."
        )
    return tuple(notes)


def _search(rays: NDArray[np.float32], geometry: ConeGeometry, sense: int) -> AxisEstimate:
    """Find the axis with one sense of rotation: coarse on smooth data, then ever finer."""
    reach = max(4.0, SEARCH * geometry.columns)
    coarse = ndimage.gaussian_filter1d(rays, 2.0, axis=2)
    grid = np.arange(-math.ceil(reach), math.ceil(reach) + 1.0)
    curve = _curve(coarse, geometry, sense, grid)
    if not np.isfinite(curve).any():
        return AxisEstimate(0.0, sense, True, math.inf, 1.0, 1.0, False)
    best = int(np.nanargmin(curve))
    inside = 0 < best < grid.size - 1
    sharpness = float(curve[best] / max(np.nanmedian(curve), 1e-12))
    offset, residual = _refined(rays, geometry, sense, float(grid[best]))
    return AxisEstimate(offset, sense, True, residual, sharpness, 1.0, inside and sharpness < CLEAR)


def _refined(
    rays: NDArray[np.float32], geometry: ConeGeometry, sense: int, offset: float
) -> tuple[float, float]:
    """Return the best axis offset near one, by parabolas, and its residual."""
    smooth = ndimage.gaussian_filter1d(rays, 1.0, axis=2)
    for half, step in ((1.5, 0.25), (0.5, 0.125)):
        fine = offset + np.arange(-half, half + step / 2, step)
        a, b, _ = np.polyfit(fine - offset, _curve(smooth, geometry, sense, fine) ** 2, 2)
        offset += float(np.clip(-b / (2 * a), -half, half)) if a > 0 else 0.0
    return offset, float(_curve(smooth, geometry, sense, np.array([offset]))[0])


def disagreement(
    rays: NDArray[np.float32], geometry: ConeGeometry, offsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the relative residual of opposite rays (views, rows, columns) for each axis offset."""
    return _curve(rays, geometry, geometry.turn, offsets)


def _curve(
    rays: NDArray[np.float32], geometry: ConeGeometry, sense: int, offsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the relative residual of opposite rays for each axis offset."""
    step = math.radians(geometry.step_deg)
    full = is_full_turn(geometry)
    scale = geometry.pixel_mm / geometry.sod_mm
    middle = (geometry.columns - 1) / 2
    out = np.empty(offsets.size)
    for k, offset in enumerate(offsets):
        difference, power = _disagreement(rays, middle + offset, scale, sense / step, 1 / abs(step), full)
        out[k] = math.sqrt(difference / power) if power > 0 else math.nan
    return out


@kernel
def _disagreement(
    rays: Any, axis: float, scale: float, per_gamma: float, per_angle: float, full: bool
) -> tuple[float, float]:
    """Return sums of squares over opposite rays: of their differences, and of the rays.

    ``per_gamma`` and ``per_angle`` turn angles into views; ``scale`` is pixel over distance to the source.
    """
    views, rows, columns = rays.shape
    difference, power = 0.0, 0.0
    for i in range(columns):
        opposite = 2 * axis - i
        if not 0 <= opposite <= columns - 1:
            continue
        k = min(int(opposite), columns - 2)
        t = opposite - k
        later = np.pi * per_angle - 2 * np.arctan((i - axis) * scale) * per_gamma
        for p in range(views // 2 if full else views):  # a whole turn holds every pair twice
            q = p + later
            if full:
                q %= views
            elif q > views:  # up to one view past the end is taken as the end
                break
            elif q < 0:
                continue
            n = min(int(q), views - 1)
            n1 = (n + 1) % views if full else min(n + 1, views - 1)
            f = q - n
            for r in range(rows):
                a = (1 - t) * rays[n, r, k] + t * rays[n, r, k + 1]
                b = (1 - t) * rays[n1, r, k] + t * rays[n1, r, k + 1]
                d = rays[p, r, i] - (a + f * (b - a))
                difference += d * d
                power += 0.5 * (rays[p, r, i] ** 2 + a * a)
    return difference, power
