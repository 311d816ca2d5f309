"""How blurred walls of bone look: where a wall's outer face lies, and how bright solid bone is.

A scan shows a cortex as a wall blurred by a Gaussian. For a wall of thickness t between soft tissue on both
sides, blurred with the standard deviation s, the highest value reaches ``2 P(t / 2 s) - 1`` of the step
from soft tissue to bone, and the value at its faces is ``P(t / s) - 1/2`` of it (P is the normal
distribution). So a thick wall ends at half its height, and a thin one nearer to its top; how bright it gets
tells how thin it is. This is the model of cortical bone mapping (Treece et al. 2010,
doi:10.1016/j.media.2010.01.003), with the brightness of solid bone known from the thick cortex of the shafts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bonemet.kernels.jit import fast_kernel, kernel

Floats = NDArray[np.float64]

STEP = 0.25  # of profiles, in voxels
OUTSIDE, INWARDS = 2.5, 3.0  # voxels: how far outwards and inwards a wall is looked for
RISE = 0.05  # of the step from soft tissue to bone: what counts as a rise or a fall
WALLS = 500  # of each tibia, looked at for the brightness of solid bone
REACH = 6.0  # voxels: how far on either side of a surface they are looked at
BLURS = tuple(0.1 * k for k in range(5, 21))
STEPS = 9  # of Gauss and Newton
GAINS = tuple(0.97 + 0.03 * k for k in range(14))


@dataclass(frozen=True)
class Levels:
    """Grey values that tell where bone ends.

    Attributes
    ----------
    soft
        Of the soft tissue around bones.
    bone
        Of solid cortex, were there no blur.
    blur
        Standard deviation of the blur in voxels.
    """

    soft: float
    bone: float
    blur: float

    def grey(self, share: float) -> float:
        """Return the grey value at a share of the step from soft tissue to bone."""
        return self.soft + share * (self.bone - self.soft)


def edge_share(top: Floats) -> Floats:
    """Return the value at a wall's face for its highest value, both as shares of soft tissue to bone."""
    t = 2 * special.ndtri(0.5 * (1 + np.clip(top, 0.0, 0.9999)))
    return np.asarray(np.maximum(special.ndtr(t) - 0.5, 0.5 * np.maximum(top - 1.0, 0.0) + 0.5 * (top > 1.0)))


@fast_kernel
def sample(grey: NDArray[Any], z: float, y: float, x: float) -> float:
    """Return the value between voxels by cubic convolution (Keys 1981, doi:10.1109/TASSP.1981.1163711)."""
    k = min(max(math.floor(z), 1), grey.shape[0] - 3)
    j = min(max(math.floor(y), 1), grey.shape[1] - 3)
    i = min(max(math.floor(x), 1), grey.shape[2] - 3)
    a, b, c = z - k, y - j, x - i
    wz = (a * (-0.5 + a * (1 - 0.5 * a)), 1 + a * a * (1.5 * a - 2.5), a * (0.5 + a * (2 - 1.5 * a)))
    wy = (b * (-0.5 + b * (1 - 0.5 * b)), 1 + b * b * (1.5 * b - 2.5), b * (0.5 + b * (2 - 1.5 * b)))
    wx = (c * (-0.5 + c * (1 - 0.5 * c)), 1 + c * c * (1.5 * c - 2.5), c * (0.5 + c * (2 - 1.5 * c)))
    z4 = a * a * (0.5 * a - 0.5)
    y4 = b * b * (0.5 * b - 0.5)
    x4 = c * c * (0.5 * c - 0.5)
    total = 0.0
    for q in range(4):
        plane = 0.0
        for r in range(4):
            row = grey[k - 1 + q, j - 1 + r]
            line = wx[0] * row[i - 1] + wx[1] * row[i] + wx[2] * row[i + 1] + x4 * row[i + 2]
            plane += (wy[r] if r < 3 else y4) * line
        total += (wz[q] if q < 3 else z4) * plane
    return total


@fast_kernel
def _reach_outwards(own: NDArray[np.uint8], point: Floats, normal: Floats) -> int:
    """Return how many steps outwards from a point a bone's own place goes on, within :data:`OUTSIDE`."""
    for q in range(1, int(OUTSIDE / STEP) + 1):
        s = q * STEP
        k = round(point[0] + s * normal[0])
        j = round(point[1] + s * normal[1])
        i = round(point[2] + s * normal[2])
        if not (0 <= k < own.shape[0] and 0 <= j < own.shape[1] and 0 <= i < own.shape[2]):
            return q - 1
        if own[k, j, i] == 0:
            return q - 1
    return int(OUTSIDE / STEP)


@fast_kernel
def tops(
    grey: NDArray[Any],
    own: NDArray[np.uint8],
    points: Floats,
    normals: Floats,
    rise: float,
    top: Floats,
    at: Floats,
) -> None:
    """Find the outermost wall along the normal through each point.

    Parameters
    ----------
    grey
        (z, y, x).
    own
        (z, y, x) not zero where the bone may be.
    points, normals
        (n, 3) in voxels (z, y, x); normals point outwards.
    rise
        By how much values must fall behind a top for it to be one.
    top, at
        (n,) filled: the wall's highest value, and where it lies, in voxels outwards from the point.
    """
    last = -int(INWARDS / STEP)
    for n in range(points.shape[0]):
        z, y, x = points[n, 0], points[n, 1], points[n, 2]
        dz, dy, dx = normals[n, 0], normals[n, 1], normals[n, 2]
        first = _reach_outwards(own, points[n], normals[n])
        low, high, place, falling = 1e30, -1e30, first, True
        for q in range(first, last - 1, -1):
            s = q * STEP
            value = sample(grey, z + s * dz, y + s * dy, x + s * dx)
            # From another bone beside this one the values fall at first.
            falling = falling and value < low and first - q <= int(1.0 / STEP)
            low = min(low, value)
            if falling or value > high:
                high, place = value, q
            elif value < high - rise and high > low + 3 * rise:
                break
        top[n], at[n] = high, place * STEP


@kernel
def profiles(grey: NDArray[Any], points: Floats, normals: Floats, out: Floats) -> None:
    """Fill ``out`` (n, m) with the values along the normals of points, the middle column at the point."""
    half = out.shape[1] // 2
    for n in range(points.shape[0]):
        for q in range(out.shape[1]):
            s = (q - half) * STEP
            out[n, q] = sample(
                grey,
                points[n, 0] + s * normals[n, 0],
                points[n, 1] + s * normals[n, 1],
                points[n, 2] + s * normals[n, 2],
            )


@fast_kernel
def _normal(u: float) -> float:
    return 0.5 * math.erfc(-u * 0.7071067811865476)


@fast_kernel
def _density(u: float) -> float:
    return 0.3989422804014327 * math.exp(-0.5 * u * u)


@fast_kernel
def _span(v: Floats, soft: float, rise: float) -> tuple[int, int]:
    """Return the columns of a profile between which its highest wall lies: its foot behind and before it."""
    top = int(np.argmax(v))
    low = back = top
    while low + 1 < v.size and v[low + 1] < v[low] + rise and v[low] > soft + rise:
        low += 1
    for q in range(top, -1, -1):
        if v[q] < v[back]:
            back = q
        elif v[q] > v[back] + rise:
            break
    return back, low


@fast_kernel
def _residual(
    v: Floats, q: int, shape: tuple[float, float], levels: tuple[float, float, float, float]
) -> tuple[float, float, float]:
    """Return how far a value lies above a wall's, and the wall's slopes by place and by thickness."""
    (place, thick), (soft, bone, behind, blur) = shape, levels
    u, w = (place - q * STEP) / blur, (place - thick - q * STEP) / blur
    by_thick = (bone - behind) * _density(w) / blur
    by_place = (bone - soft) * _density(u) / blur - by_thick
    return v[q] - (soft + (bone - soft) * _normal(u) + (behind - bone) * _normal(w)), by_place, by_thick


@fast_kernel
def _fit(
    v: Floats, span: tuple[int, int], ceiling: float, levels: tuple[float, float, float, float]
) -> float:
    """Return the mean square that the best wall leaves of a profile."""
    blur = levels[3]
    place, thick = np.argmax(v) * STEP + blur, 2.0 * blur
    total = 0.0
    for _ in range(STEPS):
        a = b = c = d = e = total = 0.0
        count = 0
        for q in range(span[0], span[1] + 1):
            if v[q] >= ceiling:
                continue
            r, jp, jt = _residual(v, q, (place, thick), levels)
            a, b, c = a + jp * jp, b + jp * jt, c + jt * jt
            d, e = d + jp * r, e + jt * r
            total, count = total + r * r, count + 1
        a, c = 1.01 * a + 1e-9, 1.01 * c + 1e-9
        det = a * c - b * b
        place += min(max((c * d - b * e) / det, -1.0), 1.0)
        thick = min(max(thick + min(max((a * e - b * d) / det, -1.0), 1.0), 0.2), 30.0)
        total /= max(count, 1)
    return total


@fast_kernel
def misfit(rows: Floats, soft: float, bone: float, blur: float, ceiling: float, out: Floats) -> None:
    """Fit a wall to each profile (n, m), outwards along the columns, and fill ``out`` (n,) with mean squares.

    Free are the wall's place and thickness. What lies behind it has the lowest value there. Values at or
    above ``ceiling`` are left out.
    """
    for n in range(rows.shape[0]):
        span = _span(rows[n], soft, RISE * (bone - soft))
        behind = min(max(rows[n, span[0]], soft), bone)
        out[n] = _fit(rows[n], span, ceiling, (soft, bone, behind, blur))


def find_levels(surfaces: Sequence[tuple[NDArray[Any], Floats, Floats]], ceiling: float) -> Levels:
    """Return the levels that explain the brighter, that is thicker, walls of bones best.

    Parameters
    ----------
    surfaces
        Of each bone the grey values (z, y, x), points (n, 3) on its surface, and outward normals, in voxels.
    ceiling
        Values at or above it are cut off by the data type.
    """
    reach = round(REACH / STEP)
    every = []
    for grey, points, normals in surfaces:
        rows = np.empty((len(points), 2 * reach + 1))
        profiles(grey, points, normals, rows)
        every.append(rows)
    rows = np.concatenate(every)
    soft = float(np.median(rows[:, -reach // 4 :]))
    highest = rows.max(axis=1)
    rows = rows[highest >= np.quantile(highest, 0.6)]
    bright = float(np.median(rows.max(axis=1)))
    best = (np.inf, bright, 1.0)
    out = np.empty(len(rows))
    for blur in BLURS:
        for gain in GAINS:
            bone = soft + gain * (bright - soft)
            misfit(rows, soft, bone, blur, ceiling, out)
            score = float(np.median(out))
            if score < best[0]:
                best = (score, bone, blur)
    return Levels(soft, best[1], best[2])
