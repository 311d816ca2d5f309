"""What is at a point of a bone: outside, cortex, trabecula, marrow or new bone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.growth import material_level, surface_level, thickening
from bonemet.simulation.lesions import (
    back,
    beyond_break,
    eaten,
    layer_mm,
    sclerotic,
    track_callus,
    track_distance,
)
from bonemet.simulation.packed import (
    FIBULA,
    FRACTURE,
    GROWTH,
    HOLES,
    LESION,
    NEW_BONE,
    PIECES,
    SCLEROSIS,
    SHEETS,
    TISSUE,
    TRACK,
    TURNOVER,
    WARP,
    ZONE,
    ZONES,
    Shape,
    smooth_step,
)
from bonemet.simulation.remodelling import NEAR_MM, moved
from bonemet.simulation.shapes import Array, pieces_distance, sweep_distance
from bonemet.simulation.trabeculae import WAVE, field, hole_distance, plate_distance, strip_distance

__all__ = [
    "ROD",
    "Shape",
    "new_bone_mm",
    "outline",
    "sample",
    "sample_points",
    "smooth_step",
]

ROD, ROD_REACH_MM = 0.52, 0.35
"""Radius of rods over the plates' thickness, and how far they reach beyond the plates at most."""
_SHELL_AT_PLATE_MM = 0.06
"""Bone that bridges a growth plate at the surface, so that the plate does not part the bone."""
END_PLATE_MM = 0.05
"""Thickness of the bony plate of the epiphysis that a growth plate rests on."""
_END_PLATE_KEPT = 0.88
"""Part of an end plate that is bone; vessels pass through the rest."""
_FACE_MM, _FACE_KEPT = 0.024, 0.7
"""Thickness of the calcified face on the metaphysis' side of a growth plate, and how much of it there is."""
_SEPTUM_MM, _SEPTA = 0.026, 2.4
"""Thickness of the septa of the primary spongiosa, and how much closer than trabeculae they stand."""
_ENDOSTEAL = 0.3
"""Endosteal surfaces move by this part of what trabecular ones do."""
_BREAK_MM = 1.5
"""Farther than this from a break its two fragments need not both be asked."""


@fast_kernel
def _fibula(t: Array, x: float, y: float, z: float, tube: float, wall: float) -> tuple[float, float]:
    """Return distance and wall of a fibula whose shaft is broken, given those of the whole one."""
    o = int(t[FIBULA])
    lower = max(tube, -beyond_break(t, o, x, y, z))
    u, v, w = back(t, o, x, y, z)
    _, _, upper, thickness = sweep_distance(t, u, v, surface_level(t, w))
    upper = max(upper, beyond_break(t, o, u, v, w))
    return (lower, wall) if lower < upper else (upper, thickness)


@fast_kernel
def _surfaces(t: Array, x: float, y: float, z: float) -> tuple[float, float, float, float]:
    """Return distance and wall of the bone's body, and of its tube (the fibula)."""
    level = surface_level(t, z)
    d, wall, tube, tube_wall = sweep_distance(t, x, y, level)
    body = pieces_distance(t, int(t[PIECES]), int(t[PIECES + 1]), d, x, y, level)
    if t[FIBULA + 1] > 0.0:
        tube, tube_wall = _fibula(t, x, y, z, tube, tube_wall)
    return body, wall, tube, tube_wall


@fast_kernel
def outline(t: Array, x: float, y: float, z: float) -> float:
    """Return the signed distance from the bone's outer surface, new bone and lesions left out.

    Of a broken bone it is the distance from the nearer of the two fragments, each thought whole.
    """
    body, _, tube, _ = _surfaces(t, x, y, z)
    d = min(body, tube)
    if t[FRACTURE + 1] > 0.0:
        u, v, w = back(t, int(t[FRACTURE]), x, y, z)
        body, _, tube, _ = _surfaces(t, u, v, w)
        d = min(d, body, tube)
    return d


@fast_kernel
def fibula_points(t: Array, points: Array, out: NDArray[np.bool_]) -> None:
    """Tell of points (n, 3), given as (x, y, z) in the bone's frame, whether they are the tube's.

    New bone is whose surface it lies nearer to.
    """
    for i in range(points.shape[0]):
        body, _, tube, _ = _surfaces(t, points[i, 0], points[i, 1], points[i, 2])
        out[i] = tube < body


@fast_kernel
def new_bone_mm(t: Array) -> float:
    """Return the greatest thickness of what lies upon a packed shape's outline."""
    grown = 2.0 * t[int(t[GROWTH]) + 4] if t[GROWTH + 1] > 0.0 else 0.0
    return float(t[int(t[NEW_BONE])] + grown)


@fast_kernel
def _zones(t: Array, x: float, y: float, z: float, depth: float) -> tuple[float, float, float, float]:
    """Return what the trabecular zones say of a point.

    Returns
    -------
    tuple
        The part of the plates that is kept; how far (mm) beyond the nearest growth plate's middle the point
        lies, positive in the metaphysis, 1 if none is near; the way back along z to where the epiphysis was
        in week 0; and where the numbers of that plate's zone begin, -1 for none.
    """
    kept, nearest, shift, zone = 0.0, 1.0, 0.0, -1
    for i in range(int(t[ZONES + 1])):
        o = int(t[ZONES]) + i * ZONE
        # trabeculae reach further along the endosteum than in the middle
        reach = t[o + 6] * (1.25 - 0.45 * min(depth, 1.0))
        if abs(z - t[o]) > reach + 3.0:
            continue
        level = t[o] + t[o + 1] * x + t[o + 2] * y
        if t[o + 3] != 0.0:
            level += t[o + 3] * (math.sin(2.6 * x) * math.sin(2.9 * y + 0.5))
        u = t[o + 5] * (z - level)
        # densest at the growth plate, fading into the empty cavity
        dense = 1.5 - 0.5 * smooth_step(0.0, 0.7, u)
        share = dense * t[o + 7] * (1.0 - smooth_step(0.3 * reach, reach, u)) if u > 0.0 else t[o + 8]
        kept = max(kept, share)
        if u <= 0.0:
            shift = t[o + 9]
        if t[o + 4] > 0.0 and abs(u) < abs(nearest):
            nearest, zone = u, o
    return kept, nearest, shift, float(zone)


@fast_kernel
def _at_plate(t: Array, x: float, y: float, z: float, o: int, u: float) -> float:
    """Return the signed distance from the bone beside a growth plate, ``u`` beyond whose middle a point lies.

    On the epiphysis' side lies a bony end plate with holes for vessels, on the metaphysis' side the primary
    spongiosa: fine septa that stand along the bone and melt into the trabeculae.
    """
    half, high = t[o + 4], t[o + 10]
    holes, count = int(t[HOLES]), int(t[HOLES + 1])
    if u < 0.0:
        plate: float = max(u + half, -u - half - END_PLATE_MM)
        if plate > 0.1:
            return plate
        pores = hole_distance(t, holes, count, 1.5 * x, 1.5 * y, 1.5 * z, _END_PLATE_KEPT) / 1.5
        return float(max(plate, pores))
    if u > half + high + 0.1:
        return float(u - half - high)
    # the face of the plate, through which vessels come
    face = max(half - u, u - half - _FACE_MM)
    pores = hole_distance(t, holes, count, 1.7 * x, 1.7 * y, 1.7 * z, _FACE_KEPT) / 1.7
    septa = plate_distance(t, holes, count, _SEPTA * x, _SEPTA * y, 0.6 * z, 0.0) / _SEPTA
    left = 1.0 - smooth_step(half + 0.3 * high, half + high, u)
    septa = max(septa - 0.5 * _SEPTUM_MM * left, half - u, u - half - high)
    return float(min(septa, max(face, pores)))


@fast_kernel
def _spongy(t: Array, x: float, y: float, z: float, kept: float) -> float:
    """Return the signed distance from the network, of which a part ``kept`` of the plates is left.

    Two families of plates cross. Rods run where they do, so the plates that are left hang together.
    """
    if kept < 0.02:
        return 1.0
    first, half, thickness = int(t[SHEETS]), int(t[SHEETS + 1]) // 2, t[int(t[TISSUE]) + 3]
    a = plate_distance(t, first, half, x, y, z, 0.0)
    b = plate_distance(t, first + WAVE * half, half, x, y, z, 0.0)
    if min(a, b) > 0.3:
        return float(min(a, b) - 0.5 * thickness)
    isles = t[int(t[TISSUE]) + 9]
    holes = strip_distance(t, (int(t[HOLES]), int(t[HOLES + 1])), x, y, z, min(kept, 0.98), isles)
    # rods reach into the holes, the farther the more of the plates is kept
    rod = max(math.sqrt(a * a + b * b) - ROD * thickness, holes - ROD_REACH_MM * smooth_step(0.0, 0.4, kept))
    return float(min(rod, max(min(a, b) - 0.5 * thickness, holes)))


@fast_kernel
def _modelled(t: Array, x: float, y: float, z: float, body: float, wall: float) -> tuple[float, float]:
    """Return the body's distance and wall after growth in thickness and endosteal remodelling."""
    if body > 0.2 or body < -wall - 0.2 or t[GROWTH + 1] + t[TURNOVER + 1] == 0.0:
        return body, wall
    outside, inside = thickening(t, z)
    if outside > 0.0:
        rough, _ = field(t, int(t[WARP]), int(t[WARP + 1]), 0.7 * x, 0.7 * y, 0.7 * z + 3.0)
        outside *= 1.0 + 0.5 * min(max(rough, -1.5), 1.5)
        inside *= 1.0 - 1.5 * min(max(rough, -1.5), 1.5)
    if abs(body + wall) < NEAR_MM:
        inside += _ENDOSTEAL * moved(t, x, y, z)
    return body - outside, max(wall + outside + inside, 0.04)


@fast_kernel
def _bone_of_old(t: Array, x: float, y: float, z: float, body: float, wall: float) -> tuple[float, float]:
    """Return the signed distances from cortex and from trabeculae, growth plates cut out."""
    cortex, spongy = max(body, -body - wall), 1.0
    if body > -0.5 * wall:
        return cortex, spongy
    kept, beyond, shift, zone = _zones(t, x, y, z, -body - wall)
    spongy = _spongy(t, x, y, z + shift, kept)
    if abs(spongy) < NEAR_MM:
        spongy -= moved(t, x, y, z + shift)
    if zone < 0:
        return cortex, max(spongy, body + 0.5 * wall)
    o = int(zone)
    if abs(beyond) < 0.4:
        spongy = min(spongy, _at_plate(t, x, y, z + shift, o, beyond))
    spongy = max(spongy, body + 0.5 * wall)
    hollow = max(abs(beyond) - t[o + 4], body + _SHELL_AT_PLATE_MM)
    return max(cortex, -hollow), max(spongy, -hollow)


@fast_kernel
def _evenness(t: Array, x: float, y: float, z: float) -> float:
    """Return the density at a place over the mean one of its tissue."""
    o = int(t[TISSUE])
    return float(1.0 + t[o + 4] * math.sin(t[o + 5] * x + t[o + 6] * y + t[o + 7] * z + t[o + 8]))


@fast_kernel
def _whole(t: Array, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Return what :func:`sample` returns, of a bone that is not broken."""
    body, wall, tube, tube_wall = _surfaces(t, x, y, z)
    outer = min(body, tube)
    if outer > 0.6:
        return outer - 0.35, outer - 0.35, 0.0
    new = layer_mm(t, x, y, z)
    body, wall = _modelled(t, x, y, z, body, wall)
    outer = min(body, tube)
    cortex, spongy = _bone_of_old(t, x, y, z, body, wall)
    trabecular = 1.0
    if t[LESION + 1] > 0.0:
        trabecular, cortical = eaten(t, x, y, z)
        cortex, spongy = max(cortex, -cortical), max(spongy, -trabecular)
        new = 0.0 if cortical < 0.1 else new
    # the wall of the fibula ends where it runs into the tibia
    cortex = min(cortex, max(tube, -tube - tube_wall, -body - wall))
    kinds = int(t[TISSUE])
    tissue, mineral = cortex, t[kinds]
    if spongy < tissue:
        tissue, mineral = spongy, t[kinds + 1]
    if t[SCLEROSIS + 1] + t[TRACK + 1] > 0.0:
        tissue, mineral = _injected(t, x, y, z, body + 0.5 * wall, trabecular, (tissue, mineral))
    if new > 0.0:
        layer = max(-outer - 0.02, outer - new)
        if layer < tissue:
            tissue, mineral = layer, t[kinds + 2]
    return outer - new, tissue, mineral * _evenness(t, x, y, material_level(t, z))


@fast_kernel
def _injected(
    t: Array, x: float, y: float, z: float, inner: float, eaten_mm: float, found: tuple[float, float]
) -> tuple[float, float]:
    """Return tissue and mineral with what grew in the marrow and the needle's track taken into ``found``.

    ``inner`` is the signed distance from the middle of the cortex, negative within; ``eaten_mm`` that
    from where disease eats trabeculae.
    """
    woven = t[int(t[TISSUE]) + 2]
    tissue, mineral = found
    if t[SCLEROSIS + 1] > 0.0 and inner < 0.0:
        mass = max(sclerotic(t, x, y, z), inner)
        if mass < tissue:
            tissue, mineral = mass, woven
    if t[TRACK + 1] > 0.0:
        level = material_level(t, z)
        hole = track_distance(t, x, y, level)
        tissue = max(tissue, -hole)
        callus = max(track_callus(t, x, y, level, hole), inner, -eaten_mm)
        if callus < tissue:
            tissue, mineral = callus, woven
    return tissue, mineral


@fast_kernel
def sample(t: Array, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Return what is at a point of a packed shape.

    Returns
    -------
    tuple
        Signed distance from the outer contour (new bone within it, holes of lesions too); signed
        distance from mineralised tissue; mineral density of that tissue in mg HA/cm3.
    """
    if t[FRACTURE + 1] == 0.0:
        return _whole(t, x, y, z)
    o = int(t[FRACTURE])
    u, v, w = back(t, o, x, y, z)
    if z - t[o] > _BREAK_MM:
        return _whole(t, x, y, z)
    if z - t[o] < -_BREAK_MM:
        return _whole(t, u, v, w)
    outer, tissue, mineral = _whole(t, x, y, z)
    cut = -beyond_break(t, o, x, y, z)
    outer, tissue = max(outer, cut), max(tissue, cut)
    outer_up, tissue_up, mineral_up = _whole(t, u, v, w)
    cut = beyond_break(t, o, u, v, w)
    outer_up, tissue_up = max(outer_up, cut), max(tissue_up, cut)
    if tissue_up < tissue:
        tissue, mineral = tissue_up, mineral_up
    return min(outer, outer_up), tissue, mineral


@fast_kernel
def sample_points(t: Array, points: Array, out: Array) -> None:
    """Fill ``out`` (n, 3) with the samples at points (n, 3) given as (x, y, z) in the bone's frame."""
    for i in range(points.shape[0]):
        out[i, 0], out[i, 1], out[i, 2] = sample(t, points[i, 0], points[i, 1], points[i, 2])


@fast_kernel
def mark(t: Array, x: float, y: float, z: float) -> int:
    """Return what disease and needle have done at a point within a bone's outline.

    Returns
    -------
    int
        0 nothing, 1 within a focus that eats bone, 2 woven bone in the marrow, 3 new bone on the outside,
        4 the needle's hole.
    """
    if t[FRACTURE + 1] > 0.0:
        o = int(t[FRACTURE])
        u, v, w = back(t, o, x, y, z)
        if beyond_break(t, o, u, v, w) < 0.0:
            x, y, z = u, v, w
    if track_distance(t, x, y, material_level(t, z)) < 0.0:
        return 4
    body, wall, tube, _ = _surfaces(t, x, y, z)
    body, wall = _modelled(t, x, y, z, body, wall)
    outer = min(body, tube)
    trabecular, cortical = eaten(t, x, y, z)
    if -0.02 < outer < layer_mm(t, x, y, z) and cortical >= 0.1:
        return 3
    if body < -0.5 * wall and sclerotic(t, x, y, z) < 0.0:
        return 2
    gone = trabecular if body < -wall else cortical
    return 1 if gone < 0.0 and outer < 0.0 else 0


@fast_kernel
def mark_points(t: Array, points: Array, out: NDArray[np.uint8]) -> None:
    """Fill ``out`` (n,) with the marks at points (n, 3) given as (x, y, z) in the bone's frame."""
    for i in range(points.shape[0]):
        out[i] = mark(t, points[i, 0], points[i, 1], points[i, 2])
