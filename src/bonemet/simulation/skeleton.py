"""The bones of one animal in one week, ready to be rendered: shapes, boxes, labels, and their landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import SettingsError
from bonemet.simulation import smallbones
from bonemet.simulation.anatomy import SIDES, Animal, Sizes, generator, sizes_of
from bonemet.simulation.disease import (
    broken_fibula,
    check_week,
    fracture,
    lesion,
    needle_track,
    new_bone,
    sclerosis,
)
from bonemet.simulation.ends import distal_end, proximal_end
from bonemet.simulation.growth import Growth, growth, growth_table
from bonemet.simulation.longbones import femur, fusion_mm, tibia
from bonemet.simulation.packed import BREAK, FOCUS, ZONES, Shape
from bonemet.simulation.pose import MIRROR_X, ScanPose
from bonemet.simulation.remodelling import thinning, turnover
from bonemet.simulation.shapes import Array, Sweep, no_sweep
from bonemet.simulation.tissue import ROD, sample_points
from bonemet.simulation.trabeculae import kept_for, waves

LABELS = {
    "spine": 1,
    "left femur": 2,
    "left tibia": 3,
    "right femur": 4,
    "right tibia": 5,
    "holder": 6,
    "other": 7,
}
LONG_BONES = ("left femur", "left tibia", "right femur", "right tibia")
GROWTH_PLATE_MM = 0.13
"""Height of a growth plate's mineral-free layer in young adults."""
KEPT = 7
"""Column of the trabecular zones: the part of the plates kept in the metaphysis."""
REGION_MM = (0.55, 1.55)
"""Where the planted bone volume fraction holds: so far from the growth plate's level on the long axis."""
REGION_DEPTH_MM = 0.2
"""And so far within the outer contour."""
_LATTICE_MM = 0.07


@dataclass(frozen=True, eq=False)
class Part:
    """One bone, where it is, and what it is called in label volumes.

    Attributes
    ----------
    name
        Which bone.
    label
        Value in label volumes.
    shape
        Tables for the kernels.
    matrix
        4 x 4 from the bone's frame into the scan frame.
    low, high
        Corners (x, y, z) in mm of a box in the bone's frame that holds it.
    """

    name: str
    label: int
    shape: Shape
    matrix: Array
    low: Array
    high: Array


def _box(sweep: Sweep, rows: Array) -> tuple[Array, Array]:
    lows, highs = [], []
    if sweep.centre.shape[0] > 2:
        wide = sweep.radius.max(axis=1)[:, None]
        z = sweep.frame[0] + sweep.frame[1] * np.arange(len(wide))
        lows.append([*(sweep.centre - wide).min(axis=0), z[0]])
        highs.append([*(sweep.centre + wide).max(axis=0), z[-1]])
        tube = sweep.tube[sweep.tube[:, 2] > 0]
        if len(tube):
            lows.append([*(tube[:, :2] - tube[:, 2:3]).min(axis=0), z[0]])
            highs.append([*(tube[:, :2] + tube[:, 2:3]).max(axis=0), z[-1]])
    for row in rows[rows[:, 1] > 0]:
        if row[0] == 0:
            ends, r = row[3:9].reshape(2, 3), row[9:11, None]
            lows.append((ends - r).min(axis=0))
            highs.append((ends + r).max(axis=0))
        else:
            reach = np.abs(row[9:18].reshape(3, 3).T) @ row[6:9]
            lows.append(row[3:6] - reach)
            highs.append(row[3:6] + reach)
    return np.min(lows, axis=0) - 0.15, np.max(highs, axis=0) + 0.15


def _texture(seed: int, name: str, s: Sizes) -> tuple[Array, Array, Array]:
    rng = generator(seed, "texture", name)
    length = s.tb_wave_mm
    sheets = np.stack([waves(rng, length, 16), waves(rng, length, 16)])
    return sheets, waves(rng, 0.8 * length, 16), waves(rng, 1.1, 12, stretch=1.0)


def _region(sweep: Sweep, rows: Array, zone: Array) -> Array:
    """Return points (n, 3), one in each cell of a lattice, of the box about a metaphysis."""
    low, high = _box(sweep, rows)
    low[2], high[2] = np.sort(zone[0] + zone[5] * np.array(REGION_MM))
    axes = [np.arange(a, b, _LATTICE_MM) for a, b in zip(low, high, strict=True)]
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    # anywhere in the cell, or rows of the lattice might run along the plates
    return corners + generator(0, "lattice").uniform(0, _LATTICE_MM, corners.shape)


@lru_cache(maxsize=64)
def _kept(seed: int, name: str, s: Sizes) -> float:
    """Return the part of the plates with which the metaphysis of this very bone holds the planted fraction.

    Random waves leave more plates standing in one millimetre than in another, so the part that follows
    from their statistics is mended by counting points, in regula falsi.
    """
    bone = name.split()[1]
    sweep, rows = (tibia if bone == "tibia" else femur)(s)
    zones = _plates(s, bone, Growth())
    tissue = np.array([1.0, 1.0, 1.0, s.tb_thickness_mm, *np.zeros(5), _isles(s)])
    texture = _texture(seed, name, s)
    table = Shape(sweep, rows, zones, *texture, np.zeros((0, FOCUS)), np.zeros(6), tissue).pack()
    points = _region(sweep, rows, zones[0])
    at = int(table[ZONES]) + KEPT
    found_at = np.empty((len(points), 3))
    sample_points(table, points, found_at)
    points = np.ascontiguousarray(points[found_at[:, 0] <= -REGION_DEPTH_MM])
    found_at = np.empty((len(points), 3))

    def excess(kept: float) -> float:
        table[at] = kept
        sample_points(table, points, found_at)
        return float(np.mean(found_at[:, 1] <= 0.0)) - s.tb_fraction

    low, high = 0.02, 0.95
    below, above = excess(low), excess(high)
    kept = float(zones[0, KEPT])
    for _ in range(6):
        found = excess(kept)
        if abs(found) < 0.005 * s.tb_fraction:
            break
        if found < 0:
            low, below = kept, found
        else:
            high, above = kept, found
        kept = low - below * (high - low) / max(above - below, 1e-9)
        kept = min(max(kept, 0.02), 0.95)
    return kept


def _plates(s: Sizes, bone: str, grown: Growth) -> Array:
    """Return the trabecular zones (zones, 11) of a femur or tibia; see :class:`Shape`."""
    half, up, down, young = 0.5 * GROWTH_PLATE_MM, grown.proximal, grown.distal, s.primary_mm
    kept = kept_for(s.tb_fraction, s.tb_thickness_mm, s.tb_wave_mm, ROD * s.tb_thickness_mm)
    # epiphyses are denser
    more = min(2.2 * kept, 0.9)
    if bone == "tibia":
        return np.array(
            [
                [1.35 - up, 0.0, 0.16, 0.12, half, 1.0, 3.6, kept, more, up, young],
                [s.tibia_mm - 1.35 + down, 0.0, 0.0, 0.05, half, -1.0, 1.2, 0.8 * kept, more, -down, young],
            ]
        )
    return np.array(
        [
            [s.femur_mm - 1.95 * s.girth + down, 0.0, -0.12, 0.12, half, -1.0, 3.8, kept, more, -down, young],
            [1.6, 0.0, 0.0, 0.0, 0.0, 1.0, 1.8, kept, more, 0.0, 0.0],
        ]
    )


def _isles(s: Sizes) -> float:
    """Return below which kept part plates are kept in strips, as sparse networks of older mice need."""
    return 0.1 + 0.3 * float(np.clip((0.08 - s.tb_fraction) / 0.02, 0.0, 1.0))


def _tissue(animal: Animal, week: int, name: str, s: Sizes) -> Array:
    rng = generator(animal.seed, "density", name)
    # a wave of 7-12 mm, mostly along the bone
    wave = rng.uniform((-0.3, -0.3, 0.5, 0.0), (0.3, 0.3, 0.9, 2 * np.pi))
    thickness = s.tb_thickness_mm * thinning(animal, week)
    return np.array([s.cortical_tmd, s.trabecular_tmd, s.woven_tmd, thickness, s.uneven, *wave, _isles(s)])


def plate_levels(animal: Animal, bone: str) -> tuple[float, float]:
    """Return the levels between which the diaphysis and metaphyses of ``left tibia`` lie in week 0."""
    side, kind = bone.split()
    levels = _plates(sizes_of(animal, side), kind, Growth())[:, 0]
    return float(levels.min()), float(levels.max())


def plate_surface(zone: Array, x: NDArray[Any], y: NDArray[Any]) -> Array:
    """Return the level (mm along the bone) of the middle of a growth plate at places across the bone.

    Parameters
    ----------
    zone
        The trabecular zone that the plate bounds, one row of ``Part.shape.zones``.
    x, y
        Places in the bone's own frame, mm, of shapes that broadcast.
    """
    wave = np.sin(2.6 * x) * np.sin(2.9 * y + 0.5)
    return np.asarray(zone[0] + zone[1] * x + zone[2] * y + zone[3] * wave)


def long_bone(animal: Animal, week: int, name: str) -> Part:
    """Return a long bone (``left tibia``) in its own frame: its matrix is the identity.

    Raises
    ------
    SettingsError
        If there is no such bone.
    """
    if name not in LONG_BONES:
        raise SettingsError(f"A long bone is one of {', '.join(LONG_BONES)}, not {name!r}.")
    check_week(week)
    side, bone = name.split()
    s = sizes_of(animal, side)
    sweep, rows = (tibia if bone == "tibia" else femur)(s)
    grown = growth(animal, week, name)
    zones = _plates(s, bone, grown)
    zones[0, KEPT] = _kept(animal.seed, name, s)
    shape = Shape(
        sweep,
        rows,
        zones,
        *_texture(animal.seed, name, s),
        np.zeros((0, FOCUS)),
        np.zeros(6),
        _tissue(animal, week, name, s),
        growth=growth_table(grown, *plate_levels(animal, name)),
        turnover=turnover(animal, week, name),
    )
    low, high = _box(sweep, rows)
    low, high = low - np.array([0, 0, grown.proximal]), high + np.array([0, 0, grown.distal])
    if bone == "tibia":
        shape, spare = _afflicted(animal, week, side, shape)
        low, high = low - spare, high + spare
    return Part(name, LABELS[name], shape, np.eye(4), low, high)


def _afflicted(animal: Animal, week: int, side: str, shape: Shape) -> tuple[Shape, float]:
    """Return a tibia with what disease, needle and breaks do to it, and by how much (mm) its box widens."""
    layer, broken = new_bone(animal, side, week), fracture(animal, side, week)
    sizes = sizes_of(animal, side)
    row = round(sizes.junction_mm / shape.sweep.frame[1])
    fibula = broken_fibula(animal, side, sizes.junction_mm, fusion_mm(sizes), shape.sweep.tube[row, :2])
    shape = shape._replace(
        lesion=lesion(animal, side, week),
        new_bone=layer,
        sclerosis=sclerosis(animal, side, week),
        track=needle_track(animal, side, week),
        fracture=np.zeros((0, BREAK)) if broken is None else broken.table(),
        fibula=fibula,
    )
    return shape, float(layer[0]) + (0.6 if broken is not None or len(fibula) else 0.0)


def _small(
    animal: Animal, week: int, name: str, label: str, rows: Array, matrix: Array, wall: float = 0.14
) -> Part:
    sweep, s = no_sweep(wall), animal.sizes
    # spongy throughout: one zone that reaches everywhere and has no growth plate
    zones = np.array([[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 100.0, 0.4, 0.4, 0.0, 0.0]])
    shape = Shape(
        sweep,
        rows,
        zones,
        *_texture(animal.seed, name, s),
        np.zeros((0, FOCUS)),
        np.zeros(6),
        _tissue(animal, week, name, s),
        turnover=turnover(animal, week, name),
    )
    return Part(name, LABELS[label], shape, matrix, *_box(sweep, rows))


def skeleton(animal: Animal, week: int, pose: ScanPose) -> list[Part]:
    """Return every bone in its place in the scan; the long bones come first, for they take precedence."""
    s, m = animal.sizes, pose.matrices
    out = []
    for name in LONG_BONES:
        part = long_bone(animal, week, name)
        out.append(Part(name, part.label, part.shape, m[name], part.low, part.high))
    body = m["body"]
    half = smallbones.half_pelvis(s)
    for side in SIDES:
        place = body if side == "right" else body @ MIRROR_X
        out.append(_small(animal, week, f"{side} pelvis", "spine", half, place))
    for name, place, rows in smallbones.spine(s):
        out.append(_small(animal, week, name, "spine", rows, body @ place))
    for side in SIDES:
        flexion, own = pose.flexion_deg.get(side, 0.0), sizes_of(animal, side)
        thigh = m[f"{side} femur"] @ distal_end(animal, week, f"{side} femur")
        shank = m[f"{side} tibia"] @ proximal_end(animal, week, f"{side} tibia")
        out += [
            _small(animal, week, f"{side} patella", "other", smallbones.patella(own, flexion), thigh),
            _small(animal, week, f"{side} fabellae", "other", smallbones.fabellae(own), thigh),
            _small(animal, week, f"{side} menisci", "other", smallbones.menisci(own), shank),
            _small(animal, week, f"{side} foot", "other", smallbones.foot(own), m[f"{side} foot"], 0.12),
        ]
    return out
