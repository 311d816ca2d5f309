"""Implicit shapes: signed distances of the pieces that bones and bodies are joined from.

A shape is a signed distance (mm, negative inside), so it is known at any point, in any pose, at any
resolution. Two kinds of pieces (ellipsoids and round cones) and a sweep (a cross-section whose radius varies
around and along a curved centreline) are joined by smooth minima and cut by smooth maxima. The
distances are first-order ones: exact at the surface to within its curvature.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bonemet.kernels.jit import fast_kernel

Array = NDArray[np.float64]
Point = Sequence[float] | Array
PIECE = 22
"""Numbers that make a piece; the last four are centre and radius of a ball that holds it."""
_BALL = 18
_CONE, _ELLIPSOID = 0.0, 1.0
NO_SWEEP = 2
"""Levels of a sweep that is nowhere."""
_FAR = 1e6


class Sweep(NamedTuple):
    """A cross-section that varies along z: tables over (level, angle), angle 0 at +x, 90 degrees at +y.

    Attributes
    ----------
    frame
        (4,): z of the first level, distance between levels, and the levels (z) at which the ends are capped.
    centre
        (levels, 2): x and y of the centreline.
    radius
        (levels, angles): distance of the surface from the centreline.
    lean
        (levels, angles): cosine between the surface's normal and the radius, which turns a difference of
        radii into a distance.
    wall
        (levels, angles): thickness of the cortical shell.
    tube
        (levels, 4): x, y, radius and wall of a round tube beside the sweep (the fibula); radius 0 is none.
    """

    frame: Array
    centre: Array
    radius: Array
    lean: Array
    wall: Array
    tube: Array


def cone(
    a: Point,
    b: Point,
    radii: tuple[float, float],
    *,
    blend: float = 0.1,
    cut: bool = False,
) -> Array:
    """Return the piece between balls of two ``radii`` about the points ``a`` and ``b``."""
    row = np.zeros(PIECE)
    row[:3] = _CONE, -1.0 if cut else 1.0, blend
    row[3:6], row[6:9], row[9:11] = a, b, radii
    row[_BALL : _BALL + 3] = 0.5 * (row[3:6] + row[6:9])
    row[_BALL + 3] = 0.5 * np.linalg.norm(row[6:9] - row[3:6]) + max(radii)
    return row


def ellipsoid(
    centre: Point,
    radii: Point,
    *,
    axes: Array | None = None,
    blend: float = 0.1,
    cut: bool = False,
) -> Array:
    """Return an ellipsoid; the columns of ``axes`` (3, 3) are the directions of its radii."""
    row = np.zeros(PIECE)
    row[:3] = _ELLIPSOID, -1.0 if cut else 1.0, blend
    row[3:6], row[6:9] = centre, radii
    row[9:18] = (np.eye(3) if axes is None else np.asarray(axes).T).ravel()
    row[_BALL : _BALL + 3], row[_BALL + 3] = centre, max(radii)
    return row


def pieces(rows: Sequence[Array]) -> Array:
    """Return pieces as one table, in the order in which they are joined."""
    return np.ascontiguousarray(rows, dtype=np.float64).reshape(-1, PIECE)


def no_sweep(wall: float) -> Sweep:
    """Return a sweep that is nowhere, for shapes of pieces only, with shells of one thickness."""
    table = np.zeros((NO_SWEEP, 4))
    return Sweep(
        np.array([0.0, 1.0, -_FAR, _FAR]),
        np.zeros((NO_SWEEP, 2)),
        table - _FAR,
        table + 1.0,
        table + wall,
        np.zeros((NO_SWEEP, 4)),
    )


def lean(radius: Array, step: float) -> Array:
    """Return the cosine between normal and radius of a table of radii (levels, angles)."""
    around = (np.roll(radius, -1, 1) - np.roll(radius, 1, 1)) * radius.shape[1] / (4 * np.pi)
    along = np.gradient(radius, step, axis=0)
    return np.asarray(1.0 / np.sqrt(1.0 + (around / np.maximum(radius, 1e-3)) ** 2 + along**2))


@fast_kernel
def smooth_min(a: float, b: float, k: float) -> float:
    """Return the minimum, rounded where the two are nearer than ``k``."""
    h = k - abs(a - b)
    low = min(a, b)
    return low - h * h / (4.0 * k) if h > 0.0 else low


@fast_kernel
def piece_distance(t: Array, o: int, x: float, y: float, z: float) -> float:
    """Return the signed distance of a point from the piece whose numbers begin at ``t[o]``."""
    px, py, pz = x - t[o + 3], y - t[o + 4], z - t[o + 5]
    if t[o] == 0.0:
        bx, by, bz = t[o + 6] - t[o + 3], t[o + 7] - t[o + 4], t[o + 8] - t[o + 5]
        along = (px * bx + py * by + pz * bz) / max(bx * bx + by * by + bz * bz, 1e-12)
        along = min(max(along, 0.0), 1.0)
        dx, dy, dz = px - along * bx, py - along * by, pz - along * bz
        return math.sqrt(dx * dx + dy * dy + dz * dz) - float(t[o + 9] + along * (t[o + 10] - t[o + 9]))
    a, b, c = t[o + 6], t[o + 7], t[o + 8]
    u = (t[o + 9] * px + t[o + 10] * py + t[o + 11] * pz) / a
    v = (t[o + 12] * px + t[o + 13] * py + t[o + 14] * pz) / b
    w = (t[o + 15] * px + t[o + 16] * py + t[o + 17] * pz) / c
    k = math.sqrt(u * u + v * v + w * w)
    if k < 1e-3:
        return -float(min(a, b, c))
    u, v, w = u / a, v / b, w / c
    return float(k * (k - 1.0)) / math.sqrt(u * u + v * v + w * w)


@fast_kernel
def _out_of_reach(t: Array, o: int, d: float, x: float, y: float, z: float) -> bool:
    """Tell whether a piece is too far away to change the distance ``d`` of what it is joined to."""
    near = t[o + 2] + (d if t[o + 1] > 0.0 else -d)
    # distances of ellipsoids may come out too short by a quarter
    reach = t[o + _BALL + 3] + (1.25 * near if near > 0.0 else near)
    dx, dy, dz = x - t[o + _BALL], y - t[o + _BALL + 1], z - t[o + _BALL + 2]
    gap: float = dx * dx + dy * dy + dz * dz
    return bool(reach < 0.0 or gap > reach * reach)


@fast_kernel
def pieces_distance(t: Array, first: int, count: int, start: float, x: float, y: float, z: float) -> float:
    """Return the signed distance from ``count`` pieces, packed from ``t[first]`` on, joined to ``start``."""
    d = start
    for i in range(count):
        o = first + i * PIECE
        if _out_of_reach(t, o, d, x, y, z):
            continue
        e = piece_distance(t, o, x, y, z)
        d = smooth_min(d, e, t[o + 2]) if t[o + 1] > 0.0 else -smooth_min(-d, e, t[o + 2])
    return d


@fast_kernel
def bearing(y: float, x: float) -> float:
    """Return the arc tangent of y / x in the right quadrant, good to 1e-5."""
    a, b = abs(x), abs(y)
    r = min(a, b) / max(a, b, 1e-300)
    s = r * r
    out = 0.05265332 - 0.01172120 * s
    out = r * (0.99997726 + s * (-0.33262347 + s * (0.19354346 + s * (-0.11643287 + s * out))))
    out = 0.5 * math.pi - out if b > a else out
    out = math.pi - out if x < 0.0 else out
    return -out if y < 0.0 else out


@fast_kernel
def sweep_distance(t: Array, x: float, y: float, z: float) -> tuple[float, float, float, float]:
    """Return distance and wall of a packed shape's sweep, and distance and wall of its tube, at a point."""
    levels, angles = int(t[0]), int(t[1])
    if levels == NO_SWEEP:
        return _FAR, t[int(t[6])], _FAR, 0.0
    frame, centre, radius, slope, walls, tubes = (
        int(t[2]),
        int(t[3]),
        int(t[4]),
        int(t[5]),
        int(t[6]),
        int(t[7]),
    )
    u = min(max((z - t[frame]) / t[frame + 1], 0.0), levels - 1.000001)
    i = int(u)
    f = u - i
    c = centre + 2 * i
    dx = x - (t[c] * (1 - f) + t[c + 2] * f)
    dy = y - (t[c + 1] * (1 - f) + t[c + 3] * f)
    v = bearing(dy, dx) * (angles / (2 * math.pi)) + angles
    j = int(v)
    g = v - j
    j = j % angles
    k = (j + 1) % angles
    w00, w01, w10, w11 = (1 - f) * (1 - g), (1 - f) * g, f * (1 - g), f * g
    p00, p01 = i * angles + j, i * angles + k
    p10, p11 = p00 + angles, p01 + angles
    reach = w00 * t[radius + p00] + w01 * t[radius + p01] + w10 * t[radius + p10] + w11 * t[radius + p11]
    slant = w00 * t[slope + p00] + w01 * t[slope + p01] + w10 * t[slope + p10] + w11 * t[slope + p11]
    wall = w00 * t[walls + p00] + w01 * t[walls + p01] + w10 * t[walls + p10] + w11 * t[walls + p11]
    d = (math.sqrt(dx * dx + dy * dy) - reach) * slant
    d = -smooth_min(-d, z - t[frame + 2], 0.35)
    d = -smooth_min(-d, t[frame + 3] - z, 0.35)
    q = tubes + 4 * i
    r = t[q + 2] * (1 - f) + t[q + 6] * f
    if r <= 0.0:
        return d, wall, _FAR, 0.0
    tx = x - (t[q] * (1 - f) + t[q + 4] * f)
    ty = y - (t[q + 1] * (1 - f) + t[q + 5] * f)
    return d, wall, math.sqrt(tx * tx + ty * ty) - r, t[q + 3] * (1 - f) + t[q + 7] * f
