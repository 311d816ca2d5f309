"""Muscle, fat and skin around the bones, and the bed: plain shapes in the scan frame.

Soft tissue is an envelope of round cones about the bones with a layer of skin and one of fat under
it. Its distance is so smooth that it is taken on a lattice fixed in the scan frame (0.4 mm) and interpolated
between; bones never are. The bed is a trough of plastic, open toward the belly; a thin tube holds it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.anatomy import SIDES, Animal, sizes_of
from bonemet.simulation.longbones import head_in_femur
from bonemet.simulation.pose import ScanPose
from bonemet.simulation.shapes import PIECE, Array, cone, ellipsoid, pieces, pieces_distance
from bonemet.simulation.smallbones import spine

AIR, MUSCLE, FAT, PLASTIC = 0, 1, 2, 3
LATTICE_MM = 0.4
SKIN_MM = 0.3
BED_INNER_MM, BED_OUTER_MM = 16.2, 17.2
TUBE_INNER_MM, TUBE_OUTER_MM = 17.7, 18.1
"""The holder: a tube all around bed and animal."""
BED_EDGE_MM = 3.0
"""The trough's rims lie at this y."""


def outline(animal: Animal, pose: ScanPose) -> Array:
    """Return the pieces of the animal's outer surface in the scan frame."""
    s, m = animal.sizes, pose.matrices
    k = 1.2

    def at(bone: str, *point: float) -> Array:
        return np.asarray((m[bone] @ [*point, 1.0])[:3])

    rows = [
        ellipsoid(at("body", 0, 0.6, -7), (9.5, 7.0, 11.0), axes=m["body"][:3, :3], blend=k),
        ellipsoid(at("body", 0, 1.2, 1.0), (7.5, 5.5, 6.0), axes=m["body"][:3, :3], blend=k),
    ]
    tail = [at("body", *place[:3, 3]) for name, place, _ in spine(s) if name.startswith("caudal")]
    for i, (a, b) in enumerate(pairwise([*tail[::3], tail[-1]])):
        wide = 2.2 - 0.25 * i
        rows.append(cone(a, b, (wide, wide - 0.25), blend=k))
    hip = head_in_femur(s)[0]
    for side in SIDES:
        thigh, shank, paw = f"{side} femur", f"{side} tibia", f"{side} foot"
        s = sizes_of(animal, side)
        knee = at(shank, 0, -0.1, -0.4)
        calf, ankle = at(shank, -0.1, -1.6, 0.28 * s.tibia_mm), at(shank, 0, -0.15, s.tibia_mm)
        rows += [
            cone(at(thigh, *hip), at(thigh, 0, -0.6, 0.55 * s.femur_mm), (4.6, 3.9), blend=k),
            cone(at(thigh, 0, -0.6, 0.55 * s.femur_mm), knee, (3.9, 2.9), blend=k),
            cone(knee, calf, (2.9, 3.1), blend=k),
            cone(calf, at(shank, 0.1, -0.6, 0.72 * s.tibia_mm), (3.1, 1.9), blend=k),
            cone(at(shank, 0.1, -0.6, 0.72 * s.tibia_mm), ankle, (1.9, 1.75), blend=k),
            cone(ankle, at(paw, 0, -0.1, 6.0), (1.7, 1.3), blend=k),
            ellipsoid(at(paw, 0, -0.2, 7.2), (2.3, 1.15, 3.8), axes=m[paw][:3, :3], blend=k),
            cone(ankle, at(paw, -0.25, -1.5, -1.7), (1.6, 1.2), blend=k),
        ]
    return pieces(rows)


@fast_kernel
def _lattice(table: Array, low: Array, out: NDArray[np.float32]) -> None:
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                x, y, z = (low[0] + i) * LATTICE_MM, (low[1] + j) * LATTICE_MM, (low[2] + k) * LATTICE_MM
                out[k, j, i] = pieces_distance(table, 0, len(table) // PIECE, 1e3, x, y, z)


@fast_kernel
def _material(d: float, fat: float) -> int:
    if d > 0.0:
        return AIR
    if d > -SKIN_MM:
        return MUSCLE
    return FAT if d > -SKIN_MM - fat else MUSCLE


@fast_kernel
def _fill(
    soft: NDArray[np.uint8], lattice: NDArray[np.float32], low: Array, origin: Array, step: float, fat: float
) -> None:
    """Paint muscle, fat and skin where the lattice says so; cells in air are skipped."""
    cells = lattice.shape[2] - 1
    for k in range(soft.shape[0]):
        w = (origin[2] + k * step) / LATTICE_MM - low[2]
        c = min(max(int(w), 0), lattice.shape[0] - 2)
        w -= c
        for j in range(soft.shape[1]):
            v = (origin[1] + j * step) / LATTICE_MM - low[1]
            b = min(max(int(v), 0), lattice.shape[1] - 2)
            v -= b
            i = 0
            while i < soft.shape[2]:
                u = (origin[0] + i * step) / LATTICE_MM - low[0]
                a = min(max(int(u), 0), cells - 1)
                stop = int(np.ceil(((a + 1 + low[0]) * LATTICE_MM - origin[0]) / step))
                stop = min(max(stop, i + 1), soft.shape[2])
                left = (lattice[c, b, a] * (1 - v) + lattice[c, b + 1, a] * v) * (1 - w)
                left += (lattice[c + 1, b, a] * (1 - v) + lattice[c + 1, b + 1, a] * v) * w
                right = (lattice[c, b, a + 1] * (1 - v) + lattice[c, b + 1, a + 1] * v) * (1 - w)
                right += (lattice[c + 1, b, a + 1] * (1 - v) + lattice[c + 1, b + 1, a + 1] * v) * w
                if left > 0.0 and right > 0.0:
                    i = stop
                    continue
                for n in range(i, stop):
                    f = (origin[0] + n * step) / LATTICE_MM - low[0] - a
                    soft[k, j, n] = _material(left * (1 - f) + right * f, fat)
                i = stop


def bed_mask(xs: Array, ys: Array) -> NDArray[np.bool_]:
    """Return where bed and holder tube are, (y, x), for the centres of columns and rows in mm."""
    radius = np.hypot(ys[:, None], xs[None])
    bed = (radius >= BED_INNER_MM) & (radius <= BED_OUTER_MM) & (ys[:, None] >= BED_EDGE_MM)
    return bed | ((radius >= TUBE_INNER_MM) & (radius <= TUBE_OUTER_MM))


def paint(
    soft: NDArray[np.uint8], rows: Array, fat_mm: float, spacing_mm: float, origin_mm: Array
) -> NDArray[np.bool_]:
    """Paint soft tissue and bed into materials (z, y, x) in place; return where the holder is (y, x)."""
    high = origin_mm + spacing_mm * (np.array(soft.shape[::-1]) - 1)
    low = np.floor(origin_mm / LATTICE_MM)
    size = (np.ceil(high / LATTICE_MM) - low).astype(int) + 2
    lattice = np.empty(tuple(int(n) for n in size[::-1]), np.float32)
    _lattice(rows.ravel(), low, lattice)
    _fill(soft, lattice, low, origin_mm, spacing_mm, fat_mm)
    ys, xs = (origin_mm[a] + spacing_mm * np.arange(soft.shape[2 - a]) for a in (1, 0))
    bed = bed_mask(xs, ys)
    for plane in soft:
        plane[bed] = PLASTIC
    return bed
