"""How blurred walls of bone look: where a wall's outer face lies, and how bright solid bone is.

A scan shows a cortex as a wall blurred by a Gaussian. For a wall of thickness t between soft tissue on both
sides, blurred with the standard deviation s, the highest value reaches ``2 P(t / 2 s) - 1`` of the step
from soft tissue to bone, and the value at its faces is ``P(t / s) - 1/2`` of it (P is the normal
distribution). So a thick wall ends at half its height, and a thin one nearer to its top; how bright it gets
tells how thin it is. This is the model of cortical bone mapping (Treece et al. 2010,
doi:10.1016/j.media.2010.01.003), with the brightness of solid bone known from the thick cortex of the shafts.

Walls of bones are bent. About a face of curvature k (the sum of the principal ones, positive where the
bone bulges) the blurred step ``P(u)`` becomes, to first order, ``P(u) - k s p(u) / 2`` with the density p: a
convex face is darker. The inner face of a wall of thickness t is bent by ``k / (1 - k t)``.
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
WALLS = 2000  # of each tibia, looked at for the brightness of solid bone
REACH = 6.0  # voxels: how far on either side of a surface they are looked at
BESIDE = (3.0, 4.25)  # voxels: where outside of a wall soft tissue is looked at
BLURS = tuple(0.1 * k for k in range(5, 21))
STEPS = 9  # of Gauss and Newton
GAINS = tuple(0.97 + 0.03 * k for k in range(14))
FINER_GAIN, FINER_BLUR = tuple(0.01 * k for k in range(-5, 6)), (-0.05, 0.0, 0.05)  # about the best
FEW = 6  # of so many walls one is looked at first
CAP = 4.0  # times the usual misfit: more says no more
ROUNDS = 3
THINNER = 0.75  # share of the walls that are too thin to tell how bright solid bone is
ENDS = (0.03, 0.97)  # quantiles between which walls are taken as spread along the bone
LIFT = (0.01, 0.05)
"""Of legs scanned with 0.5 mm of aluminium, as volumes of the digital mouse show it; a profile across a wall
cannot tell it from a wall that stands further out."""
ELSEWHERE = -0.25  # as this place along the tibiae are femora
LEANS = tuple(0.02 * k for k in range(-10, 11))
ROD = (0.55, 0.8)  # thickness over radius from which on a bent wall is more and more a solid rod
LEAST_INNER = 0.3  # radius of a wall's inner face, as a share of the outer one's: what bends more is solid


@dataclass(frozen=True)
class Levels:
    """Grey values that tell where bone ends.

    Hardening of the beam lifts the slender end of a leg and lowers the massive one, so they change along it.

    Attributes
    ----------
    soft
        Of the soft tissue around bones.
    bone
        Of solid cortex, were there no blur; halfway down the walls looked at.
    blur
        Standard deviation of the blur in voxels.
    reach_mm
        From where to where, below the knee, walls were looked at.
    lean
        By which share the step from soft tissue to bone grows from the first of these places to the last.
    lift
        What hardening adds to walls halfway down, and by how much more at the last place than at the first,
        as shares of the step.
    """

    soft: float
    bone: float
    blur: float
    reach_mm: tuple[float, float] = (0.0, 1.0)
    lean: float = 0.0
    lift: tuple[float, float] = (0.0, 0.0)

    def grey(self, share: float) -> float:
        """Return the grey value at a share of the step from soft tissue to bone."""
        return self.soft + share * (self.bone - self.soft)

    def at(self, below_mm: Floats) -> tuple[Floats, Floats]:
        """Return the value (n,) that walls stand on, and the step from there to bone, so far below the knee.

        Nearer than the first wall both are as at that, beyond the last one as there; where the place is not a
        number, as for femora, as halfway between the first and the middle.
        """
        along = np.nan_to_num(_along(below_mm, self.reach_mm), nan=ELSEWHERE)
        step = self.bone - self.soft
        return self.soft + step * (self.lift[0] + self.lift[1] * along), step * (1 + self.lean * along)


def _along(below_mm: Floats, reach_mm: tuple[float, float]) -> Floats:
    """Return places from -0.5, the first looked at, to 0.5, the last."""
    first, last = reach_mm
    return np.asarray(np.clip((below_mm - first) / max(last - first, 1e-9), 0.0, 1.0) - 0.5)


def edge_share(top: Floats, bend: Floats) -> Floats:
    """Return the value at a wall's face for its highest value, both as shares of soft tissue to bone.

    Parameters
    ----------
    top
        (n,) highest values.
    bend
        (n,) curvature of the faces times the blur.
    """
    t = 2 * special.ndtri(0.5 * (1 + np.clip(top, 0.0, 0.9999)))
    for _ in range(ROUNDS):
        lift = 0.5 * _bell(0.5 * t) * (_inner_bend(bend, t) - bend)
        t = 2 * special.ndtri(0.5 * (1 + np.clip(top - lift, 0.0, 0.9999)))
    flat = np.maximum(special.ndtr(t) - 0.5, 0.5 * np.maximum(top - 1.0, 0.0) + 0.5 * (top > 1.0))
    wall = flat - 0.5 * (_bell(0.0) * bend - _bell(t) * _inner_bend(bend, t))
    solid = np.clip((bend * t - ROD[0]) / (ROD[1] - ROD[0]), 0.0, 1.0)
    return np.asarray(wall + solid * (np.minimum(_rod_share(top), wall) - wall))


def _rod_share(top: Floats) -> Floats:
    """Return the value at the surface of a solid rod for that on its axis."""
    return np.asarray(0.5 * (1 - special.i0e(-2 * np.log1p(-np.clip(top, 0.0, 0.9999)))))


def _bell(u: Any) -> Any:
    return np.exp(-0.5 * np.square(u)) / math.sqrt(2 * math.pi)


def _inner_bend(bend: Floats, t: Floats) -> Floats:
    return np.asarray(bend / np.maximum(1 - bend * t, LEAST_INNER))


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
    v: Floats, q: int, shape: tuple[float, float, float], levels: tuple[float, float, float, float]
) -> tuple[float, float, float]:
    """Return how far a value lies above a wall's, and the wall's slopes by place and by thickness."""
    (place, thick, bend), (soft, bone, behind, blur) = shape, levels
    u, w = (place - q * STEP) / blur, (place - thick - q * STEP) / blur
    outer = 0.5 * bend * blur
    inner = outer / max(1 - bend * thick, LEAST_INNER)
    p, r = _density(u), _density(w)
    by_thick = (bone - behind) * r * (1 + inner * w) / blur
    by_place = (bone - soft) * p * (1 + outer * u) / blur - by_thick
    wall = soft + (bone - soft) * (_normal(u) - outer * p) + (behind - bone) * (_normal(w) - inner * r)
    return v[q] - wall, by_place, by_thick


@fast_kernel
def _fit(
    v: Floats, bend: float, span: tuple[int, int], ceiling: float, levels: tuple[float, float, float, float]
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
            r, jp, jt = _residual(v, q, (place, thick, bend), levels)
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
def misfit(
    rows: Floats, bends: Floats, soft: float, steps: Floats, blur: float, ceiling: float, out: Floats
) -> None:
    """Fit a wall to each profile (n, m), outwards along the columns, and fill ``out`` (n,) with mean squares.

    ``bends`` (n,) are the curvatures of the outer faces in 1/voxel, ``soft`` the value of soft tissue,
    ``steps`` (n,) those from there to bone. Free are the wall's place and thickness. What lies behind it has
    the lowest value there. Values at or above ``ceiling`` are left out.
    """
    for n in range(rows.shape[0]):
        bone = soft + steps[n]
        span = _span(rows[n], soft, RISE * steps[n])
        behind = min(max(rows[n, span[0]], soft), bone)
        out[n] = _fit(rows[n], bends[n], span, ceiling, (soft, bone, behind, blur))


@dataclass(frozen=True, eq=False)
class Surface:
    """Places on a bone's surface.

    Attributes
    ----------
    points, normals
        (n, 3) in voxels (z, y, x); normals point outwards.
    bends
        (n,) sums of the principal curvatures, in 1/voxel.
    """

    points: Floats
    normals: Floats
    bends: Floats


def find_levels(tibiae: Sequence[tuple[NDArray[Any], Surface, Floats]], ceiling: float) -> Levels:
    """Return the levels that explain the brighter, that is thicker, walls of tibiae best.

    Parameters
    ----------
    tibiae
        Of each tibia the grey values (z, y, x), its surface, and how far (n,) its places lie below the knee
        (mm).
    ceiling
        Values at or above it are cut off by the data type.
    """
    reach = round(REACH / STEP)
    every = []
    for grey, surface, _ in tibiae:
        rows = np.empty((len(surface.points), 2 * reach + 1))
        profiles(grey, surface.points, surface.normals, rows)
        every.append(rows)
    rows = np.concatenate(every)
    highest = rows.max(axis=1)
    thick = highest >= np.quantile(highest, THINNER)
    rows, bends = rows[thick], np.concatenate([t[1].bends for t in tibiae])[thick]
    below = np.concatenate([t[2] for t in tibiae])[thick]
    first, last = np.quantile(below, ENDS)
    along = _along(below, (first, last))
    beside = slice(reach + round(BESIDE[0] / STEP), reach + round(BESIDE[1] / STEP))
    soft = float(np.median(rows[:, beside]))
    bright = float(np.median(rows.max(axis=1))) - soft
    out = np.empty(len(rows))

    def misfits(shape: tuple[float, float, float], every: int) -> Floats:
        gain, blur, lean = shape
        few = slice(None, None, every)
        steps = gain * bright * (1 + lean * along[few])
        misfit(rows[few], bends[few], soft, steps, blur, ceiling, out[few])
        return out[few]

    def rough(shape: tuple[float, float, float]) -> float:
        return float(np.median(misfits(shape, FEW)))

    gain, blur, _ = min(((g, b, 0.0) for b in BLURS for g in GAINS), key=rough)
    usual = CAP * rough((gain, blur, 0.0))

    def fine(shape: tuple[float, float, float]) -> float:
        return float(np.minimum(misfits(shape, 1), usual).mean())

    gain, blur, lean = min(((gain, blur, k) for k in LEANS), key=fine)
    near = ((gain + f, blur + h, lean) for h in FINER_BLUR for f in FINER_GAIN)
    gain, blur, lean = min(near, key=fine)
    return Levels(soft, soft + gain * bright, blur, (float(first), float(last)), lean, LIFT)
