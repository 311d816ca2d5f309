"""Weights and filters of filtered backprojection.

Angles of a ray in its fan: ``gamma = atan(u / sod)``, with ``u`` the ray's distance from the axis on a
detector imagined at the axis. In the scanner's frame (see :mod:`bonemet.core.scan`) the ray that runs
the other way along the same line is seen at ``angle + 180 - 2 * turn * gamma``, at ``-gamma``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from bonemet.core.errors import InputError, SettingsError
from bonemet.core.scan import ConeGeometry

FILTERS = ("ramp", "shepp-logan", "cosine", "hamming", "hann")


def axis_column(geometry: ConeGeometry) -> float:
    """Return the column, 0-based, on which the rotation axis is seen."""
    return (geometry.columns - 1) / 2 + geometry.axis_offset_px


def fan_angles(geometry: ConeGeometry) -> NDArray[np.float64]:
    """Return the angle in the fan (columns,) of the rays to each column, in radians."""
    u = (np.arange(geometry.columns) - axis_column(geometry)) * geometry.pixel_mm
    return np.asarray(np.arctan2(u, geometry.sod_mm))


def field_radius_mm(geometry: ConeGeometry) -> float:
    """Return the radius of the circle about the axis that every view sees whole."""
    half = (geometry.columns - 1) / 2 - abs(geometry.axis_offset_px)
    if half <= 0:
        raise InputError(
            f"The rotation axis, {geometry.axis_offset_px:g} px from the middle, lies outside the "
            f"{geometry.columns} columns; check the axis offset."
        )
    return geometry.sod_mm * math.sin(math.atan2(half * geometry.pixel_mm, geometry.sod_mm))


def view_widths(angles_deg: NDArray[np.float64], whole_turn: bool = False) -> NDArray[np.float64]:
    """Return the angle in radians (views,) for which each view stands.

    Half the way to both neighbours, so that views next to one that was dropped stand for more. An end view
    stands for as much beyond as before it, so equally spaced views stand for one step each; in a whole turn
    its neighbour is the view at the other end.

    Parameters
    ----------
    angles_deg
        (views,) rising or falling, in any steps.
    whole_turn
        Whether the first view follows on the last.
    """
    angles = np.radians(np.asarray(angles_deg, dtype=np.float64))
    if angles.size < 2:
        raise InputError("A reconstruction needs at least two views.")
    steps = np.abs(np.diff(angles))
    across = 2 * math.pi - abs(angles[-1] - angles[0])
    ends = (steps[:1], steps[-1:]) if not whole_turn else ([across], [across])
    padded = np.concatenate([ends[0], steps, ends[1]])
    return np.asarray((padded[:-1] + padded[1:]) / 2)


def is_full_turn(geometry: ConeGeometry) -> bool:
    """Tell whether the views cover a whole turn, to within half a step."""
    return geometry.range_deg >= 360 - abs(geometry.step_deg) / 2


def follows_on(geometry: ConeGeometry) -> bool:
    """Tell whether the views make one whole turn and no more, so that the first follows on the last.

    A view may be missing at its end.
    """
    gap = 360 - abs(float(geometry.angles_deg[-1] - geometry.angles_deg[0]))
    return is_full_turn(geometry) and 0.5 <= gap / abs(geometry.step_deg) < 2.5


def needed_range_deg(geometry: ConeGeometry) -> float:
    """Return the angle that a short scan of this fan needs; an offset axis widens the fan."""
    return 180 + 2 * math.degrees(float(np.abs(fan_angles(geometry)).max()))


def range_note(geometry: ConeGeometry) -> str | None:
    """Return what should be known about the angle that the views cover, if anything.

    Raises
    ------
    InputError
        If it is less than half a turn.
    """
    covered, needed = geometry.range_deg, needed_range_deg(geometry)
    slack = abs(geometry.step_deg) / 2
    if covered < 180 - slack:
        raise InputError(
            f"The {len(geometry.angles_deg)} views cover {covered:.2f} degrees, and a reconstruction needs "
            "at least 180; use the whole scan."
        )
    if covered < needed - slack and not is_full_turn(geometry):
        return (
            f"The views cover {covered:.2f} degrees and the fan needs {needed:.2f}; "
            "regions far from the axis are shaded."
        )
    return None


def redundancy_weights(geometry: ConeGeometry) -> NDArray[np.float32]:
    """Return the weight (views, columns) with which each ray enters the backprojection, in radians.

    It holds the angle for which a view stands, and shares each line among the views that saw it.

    Short scans: Parker's weights (doi:10.1118/1.595078) with the virtual half-fan (range - 180) / 2, so
    that the whole of the angle that was scanned is used (overscan, doi:10.1118/1.1323594). Whole turns:
    one half, views seen more than once blended in linearly.
    """
    widths = view_widths(geometry.angles_deg, follows_on(geometry))
    # a view stands for half a step to both sides, so the scan begins half a step before the first
    beta = np.radians(np.abs(geometry.angles_deg - geometry.angles_deg[0])) + widths[0] / 2
    if is_full_turn(geometry):
        share = np.broadcast_to(_full_turn(beta, float(widths.sum()))[:, None], (beta.size, geometry.columns))
    else:
        sense = geometry.turn * (1 if geometry.step_deg >= 0 else -1)
        share = parker(beta, -sense * fan_angles(geometry), (math.radians(geometry.range_deg) - math.pi) / 2)
    return (share * widths[:, None]).astype(np.float32)


def _full_turn(beta: NDArray[np.float64], covered: float) -> NDArray[np.float64]:
    over = covered - 2 * math.pi
    if over <= covered / beta.size / 2:
        return np.full(beta.size, 0.5)
    return 0.5 * np.clip(np.minimum(beta, covered - beta) / over, 0, 1)


def parker(beta: NDArray[np.float64], gamma: NDArray[np.float64], half_fan: float) -> NDArray[np.float64]:
    """Return Parker's weights (views, columns) for a virtual half-fan; all angles in radians.

    A ray (beta, gamma) and its opposite (beta + pi + 2 gamma, -gamma) share one line, and their weights
    add to 1. ``beta`` runs from 0 to pi + 2 ``half_fan``.
    """
    b, g = np.meshgrid(beta, gamma, indexing="ij")
    weight = np.ones_like(b)
    rising = (b <= 2 * (half_fan - g)) & (half_fan - g > 0)
    weight[rising] = np.sin(np.pi / 4 * b[rising] / (half_fan - g[rising])) ** 2
    falling = (b >= np.pi - 2 * g) & (half_fan + g > 0) & ~rising
    left = np.maximum(np.pi + 2 * half_fan - b[falling], 0)
    weight[falling] = np.sin(np.pi / 4 * left / (half_fan + g[falling])) ** 2
    return weight


def padded_length(columns: int) -> int:
    """Return the power of two to which rows are padded with zeros, so that their ends do not meet."""
    return 1 << max(2, (2 * columns - 1).bit_length())


def ramp_filter(
    length: int, pixel_mm: float, name: str = "hamming", cutoff: float = 1.0
) -> NDArray[np.float32]:
    """Return the transfer function (length // 2 + 1,) of the ramp filter, in 1/mm.

    The ramp is the transform of its exact band-limited kernel in space, which keeps the mean right where
    a sampled |f| does not (Kak and Slaney 1988, eq. 3.61, doi:10.1137/1.9780898719277).

    Parameters
    ----------
    length
        Padded length of a row.
    pixel_mm
        Pixel size at the axis.
    name
        One of ``FILTERS``; hamming has alpha 0.54, as NRecon's.
    cutoff
        Where the window ends, in units of the Nyquist frequency, 0 to 1.

    Raises
    ------
    SettingsError
        If there is no such filter or cutoff.
    """
    if name not in FILTERS:
        raise SettingsError(f"There is no filter {name!r}; choose one of {', '.join(FILTERS)}.")
    if not 0 < cutoff <= 1:
        raise SettingsError(f"A filter's cutoff lies between 0 and 1 (Nyquist), not at {cutoff}.")
    k = np.arange(length)
    k = np.minimum(k, length - k).astype(np.float64)
    kernel = np.zeros(length)
    kernel[0] = 1 / 4
    odd = k % 2 == 1
    kernel[odd] = -1 / (np.pi * k[odd]) ** 2
    ramp = fft.rfft(kernel).real / pixel_mm
    f = np.arange(ramp.size) / (length / 2) / cutoff
    return np.asarray(np.where(f <= 1 + 1e-12, ramp * _window(name, f), 0), dtype=np.float32)


def _window(name: str, f: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the window at frequencies in units of the cutoff."""
    if name == "ramp":
        return np.ones_like(f)
    if name == "shepp-logan":
        return np.sinc(f / 2)
    if name == "cosine":
        return np.cos(np.pi * f / 2)
    alpha = 0.54 if name == "hamming" else 0.5
    return alpha + (1 - alpha) * np.cos(np.pi * f)
