"""Femur, tibia and fibula: cross-sections swept along the bones, with condyles, head, neck and trochanters.

Bone frame (mm): origin at the proximal end on the long axis, z distal, y anterior, x medial. It is
right-handed in the right leg; the left leg is its mirror image. Along each bone the profiles below
are given at fractions of the length and joined by monotone curves; their proportions were drawn by eye
to look like published micro-CT (for the form of the hind limb see Charles 2016,
doi:10.1371/journal.pone.0147669). Ridges and hollows of the cross-sections are bumps over the angle
(0 medial, 90 anterior, 180 lateral, 270 posterior) whose heights are profiles too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from bonemet.simulation.anatomy import Sizes
from bonemet.simulation.shapes import Array, Sweep, cone, ellipsoid, lean, pieces

STEP_MM = 0.05
ANGLES = 120
CONDYLE_MM = 1.0
"""Radius of the femoral condyles seen from the side."""
KNEE_GAP_MM = 0.18
"""Joint space at the knee: cartilage, which X-rays pass."""
MALLEOLI_MM = 0.4
"""By how much the malleoli reach beyond the tibia's joint surface."""
_BOWL_MM = 0.14
_BALL_MM = 8.0

_TIBIA_AT = (0.0, 0.03, 0.06, 0.09, 0.12, 0.16, 0.22, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80, 0.88, 0.94, 1.0)
_TIBIA_HALF_WIDTH = (
    1.4,
    1.5,
    1.46,
    1.28,
    1.06,
    0.88,
    0.74,
    0.65,
    0.59,
    0.55,
    0.52,
    0.51,
    0.53,
    0.64,
    0.82,
    0.86,
)
_TIBIA_HALF_DEPTH = (
    1.0,
    1.12,
    1.16,
    1.14,
    1.06,
    0.96,
    0.88,
    0.80,
    0.71,
    0.63,
    0.56,
    0.53,
    0.54,
    0.60,
    0.70,
    0.68,
)
_TIBIA_TRIANGLE = (0.0, 0.0, 0.0, 0.03, 0.06, 0.10, 0.13, 0.15, 0.15, 0.13, 0.09, 0.04, 0.02, 0.0, 0.0, 0.0)
_TIBIA_CREST = (0.0, 0.02, 0.14, 0.36, 0.50, 0.54, 0.48, 0.40, 0.22, 0.06, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_TIBIA_BUMPS = (  # angle above and below in degrees, half breadth in radians, heights in mm at the levels
    # the notch between the condyles behind, and the condyles beside it
    (270, 270, 0.36, (-0.34, -0.34, -0.28, -0.17, -0.08, -0.03, *(0.0,) * 10)),
    (218, 218, 0.40, (0.12, 0.13, 0.13, 0.08, 0.03, *(0.0,) * 11)),
    (322, 322, 0.40, (0.14, 0.15, 0.13, 0.07, 0.02, *(0.0,) * 11)),
    # the hollow of the tibialis anterior on the lateral side, and a flatter one on the medial side
    (148, 152, 0.42, (0.0, 0.0, -0.03, -0.09, -0.14, -0.16, -0.15, -0.12, -0.07, -0.02, *(0.0,) * 6)),
    (42, 40, 0.40, (0.0, 0.0, 0.0, -0.03, -0.05, -0.05, -0.04, -0.03, -0.01, *(0.0,) * 7)),
    # the posterolateral border; below the fusion, the fibula's trace
    (
        228,
        200,
        0.26,
        (0.0, 0.0, 0.0, 0.02, 0.04, 0.05, 0.06, 0.06, 0.06, 0.06, 0.07, 0.09, 0.12, 0.12, 0.06, 0.0),
    ),
    (318, 330, 0.30, (0.0, 0.0, 0.0, 0.02, 0.04, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01, *(0.0,) * 5)),
)
_TIBIA_X = (0.0, 0.0, 0.0, 0.01, 0.04, 0.08, 0.15, 0.22, 0.26, 0.23, 0.14, 0.04, -0.02, -0.02, 0.0, 0.0)
_TIBIA_Y = (-0.25, -0.24, -0.2, -0.14, -0.06, 0.05, 0.19, 0.30, 0.35, 0.31, 0.21, 0.09, 0.0, -0.02, 0.0, 0.0)
_TIBIA_WALL = (
    0.10,
    0.10,
    0.10,
    0.11,
    0.13,
    0.165,
    0.195,
    0.21,
    0.215,
    0.215,
    0.21,
    0.21,
    0.20,
    0.16,
    0.13,
    0.13,
)

_FEMUR_AT = (0.0, 0.05, 0.1, 0.15, 0.22, 0.3, 0.4, 0.5, 0.6, 0.7, 0.78, 0.85, 0.9, 0.95, 1.0)
_FEMUR_HALF_WIDTH = (0.7, 0.85, 1.0, 1.08, 1.0, 0.93, 0.88, 0.85, 0.85, 0.9, 1.0, 1.16, 1.26, 1.2, 1.0)
_FEMUR_HALF_DEPTH = (0.55, 0.65, 0.75, 0.75, 0.69, 0.65, 0.62, 0.62, 0.64, 0.70, 0.8, 0.94, 1.0, 0.9, 0.7)
_FEMUR_Y = (-0.1, -0.08, -0.04, 0.0, 0.06, 0.12, 0.18, 0.2, 0.18, 0.12, 0.04, -0.06, -0.12, -0.15, -0.15)
_FEMUR_WALL = (0.12, 0.13, 0.15, 0.18, 0.20, 0.215, 0.22, 0.22, 0.215, 0.2, 0.17, 0.13, 0.11, 0.11, 0.11)


def _curve(at: Sequence[float], values: Sequence[float], z: Array) -> Array:
    return np.asarray(PchipInterpolator(np.asarray(at), np.asarray(values))(np.clip(z, at[0], at[-1])))


def _angle() -> Array:
    return (2 * np.pi / ANGLES) * np.arange(ANGLES, dtype=np.float64)


def _bump(angle: Array, at_deg: float | Array, width: float) -> Array:
    gap = np.angle(np.exp(1j * (angle - np.radians(at_deg))))
    return np.asarray(np.exp(-((gap / width) ** 2)))


def _bumps(
    rows: Sequence[tuple[float, float, float, Sequence[float]]], at: Sequence[float], u: Array
) -> Array:
    """Return the heights (levels, angles) of ridges and hollows along a bone; see ``_TIBIA_BUMPS``."""
    out = np.zeros((len(u), ANGLES))
    for above, below, width, heights in rows:
        angle_deg = above + (below - above) * u[:, None]
        out += _curve(at, heights, u)[:, None] * _bump(_angle()[None], angle_deg, width)
    return out


def _modes(modes: Sequence[float], u: Array) -> Array:
    """Return the factors (levels, angles) by which an animal's cross-sections differ from the mean form."""
    t = _angle()[None]
    shaft = np.sin(np.pi * np.clip(u, 0.0, 1.0))[:, None]
    ends = np.exp(-((u / 0.14) ** 2)) + np.exp(-(((1 - u) / 0.14) ** 2))
    out = 1 + 0.025 * shaft * (modes[0] * np.cos(2 * t) + modes[1] * np.sin(2 * t))
    out += 0.015 * shaft * (modes[2] * np.cos(3 * t) + modes[3] * np.sin(3 * t))
    return np.asarray(
        out + 0.02 * modes[4] * ends[:, None] + 0.012 * modes[5] * np.sin(2 * np.pi * u)[:, None]
    )


def _twisted(table: Array, u: Array, degrees: float) -> Array:
    """Return a table (levels, angles) turned ever more along the bone, by ``degrees`` at its end."""
    shift = u[:, None] * degrees * ANGLES / 360
    column = (np.arange(ANGLES)[None] - shift) % ANGLES
    low, part = np.floor(column).astype(int) % ANGLES, column % 1.0
    row = np.arange(len(u))[:, None]
    return np.asarray((1 - part) * table[row, low] + part * table[row, (low + 1) % ANGLES])


def _oval(half_width: Array, half_depth: Array) -> Array:
    """Return the radii (levels, angles) of ellipses."""
    a, b, t = half_width[:, None], half_depth[:, None], _angle()[None]
    return np.asarray(a * b / np.hypot(b * np.cos(t), a * np.sin(t)))


def _levels(length: float) -> Array:
    return STEP_MM * np.arange(int(length / STEP_MM + 1.5), dtype=np.float64)


def knee_in_tibia(sizes: Sizes) -> Array:
    """Return the point (x, y, z) of the tibia's frame about which the knee bends."""
    return np.array([0.0, -0.3, -(CONDYLE_MM + KNEE_GAP_MM) + _BOWL_MM]) * sizes.girth


def knee_in_femur(sizes: Sizes) -> Array:
    """Return the point (x, y, z) of the femur's frame about which the knee bends."""
    g = sizes.girth
    return np.array([0.0, -0.55 * g, sizes.femur_mm - CONDYLE_MM * g])


def head_in_femur(sizes: Sizes) -> tuple[Array, float]:
    """Return centre and radius of the femoral head in the femur's frame."""
    return np.array([1.65, 0.05, 0.85]) * sizes.girth, 0.74 * sizes.girth


def tibia(sizes: Sizes) -> tuple[Sweep, Array]:
    """Return the sweep (with the fibula as its tube) and the pieces of the tibia."""
    length, g = sizes.tibia_mm, sizes.girth
    z = _levels(length)
    u, t = z / length, _angle()[None]
    radius = _oval(_curve(_TIBIA_AT, _TIBIA_HALF_WIDTH, u), _curve(_TIBIA_AT, _TIBIA_HALF_DEPTH, u))
    triangle = np.cos(3 * (t - np.pi / 2))
    radius *= 1 + _curve(_TIBIA_AT, _TIBIA_TRIANGLE, u)[:, None] * triangle
    crest = 101.0 - 10.0 * u[:, None]
    radius += sizes.crest * _curve(_TIBIA_AT, _TIBIA_CREST, u)[:, None] * _bump(t, crest, 0.31)
    radius += _bumps(_TIBIA_BUMPS, _TIBIA_AT, u)
    radius = _twisted(g * radius * _modes(sizes.modes, u), u, -sizes.torsion_deg)
    centre = np.stack(
        [sizes.bow * _curve(_TIBIA_AT, _TIBIA_X, u), sizes.bow * _curve(_TIBIA_AT, _TIBIA_Y, u)], 1
    )
    wall = _curve(_TIBIA_AT, _TIBIA_WALL, u)[:, None] * _tibia_wall(u, t)
    wall = sizes.cortex * _twisted(wall * (1 + 0.04 * sizes.modes[3] * np.sin(t)), u, -sizes.torsion_deg)
    tube = _fibula(sizes, z, centre, radius)
    frame = np.array([0.0, STEP_MM, 0.0, length - MALLEOLI_MM])
    sweep = Sweep(frame, centre, radius, lean(radius, STEP_MM), wall, tube)
    return sweep, _tibia_pieces(sizes)


def _tibia_wall(u: Array, t: Array) -> Array:
    """Return the factor (levels, angles) of the wall: thick at crest and back corners, thin between."""
    shaft = np.sin(np.pi * np.clip((u - 0.05) / 0.8, 0.0, 1.0))[:, None]
    around = 0.30 * _bump(t, 96, 0.45) + 0.16 * _bump(t, 222, 0.5) + 0.10 * _bump(t, 318, 0.5)
    around = around - 0.12 * _bump(t, 155, 0.5) - 0.10 * _bump(t, 30, 0.5)
    return np.asarray(1 + shaft * around)


def _tibia_pieces(sizes: Sizes) -> Array:
    g, length = sizes.girth, sizes.tibia_mm
    knee = knee_in_tibia(sizes)
    reach = CONDYLE_MM * g + KNEE_GAP_MM * g
    bowls = [
        ellipsoid(np.add(knee, (side * 0.72 * g, 0, 0)), (0.62 * g, reach, reach), blend=0.08, cut=True)
        for side in (-1, 1)
    ]
    spines = [ellipsoid((side * 0.14 * g, -0.35 * g, 0.1), (0.1, 0.35, 0.2), blend=0.15) for side in (-1, 1)]
    # a ball so large that it cuts the plateau off aslant, higher in front
    slope = np.radians(sizes.slope_deg)
    above = np.array([0.0, 0.2 * g, 0.0]) - _BALL_MM * np.array([0.0, np.sin(slope), np.cos(slope)])
    plateau = ellipsoid(above, (_BALL_MM,) * 3, blend=0.2, cut=True)
    ankle = [
        ellipsoid((0.72 * g, 0.05, length - 0.72), (0.26, 0.44, 0.72), blend=0.2),
        ellipsoid((-0.74 * g, -0.1, length - 0.62), (0.26, 0.36, 0.62), blend=0.2),
        ellipsoid((0.0, 0.0, length - 0.02), (0.62 * g, 0.9 * g, 0.62), blend=0.1, cut=True),
    ]
    return pieces([plateau, *spines, *bowls, *ankle])


def fusion_mm(sizes: Sizes) -> float:
    """Return the level of the distal fusion that the fibula's centreline is drawn for."""
    return sizes.fusion * sizes.tibia_mm


def _fibula(sizes: Sizes, z: Array, centre: Array, radius: Array) -> Array:
    """Return the fibula (levels, 4): x, y, radius, wall; it touches the tibia where no gap is left."""
    g, top, end = sizes.girth, sizes.junction_mm, fusion_mm(sizes)
    tail = end + 2.5
    at = (top - 0.9, top - 0.3, top, top + 0.4, top + 1.4, 0.5 * (top + end), end - 2.5, end - 0.8, end, tail)
    gap = _curve(at, (-0.30, -0.14, 0.0, 0.26, 0.62, 0.80, 0.50, 0.18, 0.0, -0.40), z)
    thick = g * _curve(
        (top - 0.95, top - 0.8, top - 0.4, top, top + 1.0, top + 2.5, 0.5 * (top + end), end, tail),
        (0.02, 0.26, 0.42, 0.40, 0.28, 0.20, 0.165, 0.185, 0.02),
        z,
    )
    angle = np.radians(
        _curve((0.0, top, top + 2.0, 0.5 * (top + end), end, tail), (198, 201, 207, 212, 216, 217), z)
    )
    column = angle * ANGLES / (2 * np.pi)
    low, part, row = np.floor(column).astype(int), column % 1.0, np.arange(len(z))
    surface = (1 - part) * radius[row, low % ANGLES] + part * radius[row, (low + 1) % ANGLES]
    # a curve through so few levels has kinks that bone has not; near the junction it is left alone
    smooth = gaussian_filter1d(surface + gap + thick, 1.0 / STEP_MM, mode="nearest")
    near = np.clip((z - top - 0.6) / 1.5, 0.0, 1.0) * np.clip((end - 0.3 - z) / 1.0, 0.0, 1.0)
    out = surface + gap + thick + near * (smooth - surface - gap - thick)
    wall = np.minimum(0.11 * sizes.cortex, 0.8 * thick)
    inside = (z > top - 0.95) & (z < tail)
    tube = np.stack([centre[:, 0] + out * np.cos(angle), centre[:, 1] + out * np.sin(angle), thick, wall], 1)
    tube[:, 2] = np.where(inside, tube[:, 2], 0.0)
    return np.ascontiguousarray(tube)


def femur(sizes: Sizes) -> tuple[Sweep, Array]:
    """Return the sweep and the pieces of the femur."""
    length, g = sizes.femur_mm, sizes.girth
    z = _levels(length)
    u, t = z / length, _angle()[None]
    radius = g * _oval(_curve(_FEMUR_AT, _FEMUR_HALF_WIDTH, u), _curve(_FEMUR_AT, _FEMUR_HALF_DEPTH, u))
    # the ridge that runs from the greater to the third trochanter on the lateral side, and that trochanter
    ridge = 0.16 * np.exp(-(((u - 0.19) / 0.09) ** 2)) + 0.36 * np.exp(-(((u - 0.30) / 0.055) ** 2))
    radius += sizes.trochanter * g * ridge[:, None] * _bump(t, 186.0, 0.34)
    radius *= _modes(sizes.modes, u)
    centre = np.stack([np.zeros(len(z)), _curve(_FEMUR_AT, _FEMUR_Y, u)], 1)
    around = 0.1 * np.cos(2 * t) + 0.04 * sizes.modes[3] * np.sin(t)
    wall = sizes.cortex * _curve(_FEMUR_AT, _FEMUR_WALL, u)[:, None] * (1 + around)
    sweep = Sweep(
        np.array([0.0, STEP_MM, 0.45 * g, length - 0.9 * g]),
        centre,
        radius,
        lean(radius, STEP_MM),
        wall,
        np.zeros((len(z), 4)),
    )
    return sweep, _femur_pieces(sizes)


def _femur_pieces(sizes: Sizes) -> Array:
    g, length = sizes.girth, sizes.femur_mm
    head, head_mm = head_in_femur(sizes)
    knee = knee_in_femur(sizes)
    condyle = CONDYLE_MM * g
    rows = [
        cone((1.4 * g, 0.05, 1.05 * g), (0.25 * g, 0.0, 2.1 * g), (0.46 * g, 0.62 * g), blend=0.4),
        ellipsoid(head, (head_mm,) * 3, blend=0.12),
        # greater trochanter with its fossa behind, lesser trochanter
        ellipsoid((-0.55 * g, -0.08, 0.95 * g), (0.52 * g, 0.68 * g, 0.95 * g), blend=0.4),
        ellipsoid((0.2 * g, -0.95 * g, 1.25 * g), (0.4 * g, 0.5 * g, 0.75 * g), blend=0.2, cut=True),
        ellipsoid((0.62 * g, -0.55 * g, 2.75 * g), (0.36 * g, 0.38 * g, 0.7 * g), blend=0.3),
        # the trochlea between two ridges, condyles with the notch between them
        ellipsoid((0.0, 0.2 * g, length - 1.6 * g), (0.85 * g, 0.74 * g, 1.3 * g), blend=0.3),
        *(
            cone(
                (s * 0.5 * g, 0.5 * g, length - 3.0 * g),
                (s * 0.56 * g, 0.42 * g, length - 0.95 * g),
                (w, 0.5 * g),
            )
            for s, w in ((-1, 0.22 * g), (1, 0.26 * g))
        ),
        *(
            ellipsoid(np.add(knee, (s * 0.72 * g, 0, 0)), (w * g, condyle, condyle), blend=0.3)
            for s, w in ((-1, 0.54), (1, 0.58))
        ),
        ellipsoid((0.0, -1.05 * g, length - 0.25 * g), (0.26 * g, 1.0 * g, 0.95 * g), blend=0.15, cut=True),
        ellipsoid((0.0, 1.22 * g, length - 1.5 * g), (0.34 * g, 0.5 * g, 1.9 * g), blend=0.3, cut=True),
    ]
    return pieces(rows)
