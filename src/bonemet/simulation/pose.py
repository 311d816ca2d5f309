"""How an animal lies in the scanner: a rigid place for every bone.

The scan frame here has its origin at the isocentre, in mm: x right along the columns, y toward the
source at angle 0, z down the rows. Head up, feet down (high z), on its back: ventral is low y, the
bed lies at high y, and the animal's left leg lies at low x.

A bone's matrix takes points (x, y, z, 1) of the bone's frame into the scan frame. The frames of left bones
are mirror images, so their matrices have the determinant -1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bonemet.core.errors import SettingsError
from bonemet.simulation.anatomy import SIDES, Animal, generator, sizes_of
from bonemet.simulation.ends import distal_end, proximal_end
from bonemet.simulation.longbones import MALLEOLI_MM, head_in_femur, knee_in_femur, knee_in_tibia
from bonemet.simulation.shapes import Array

MIRROR_X = np.diag([-1.0, 1.0, 1.0, 1.0])
BODY_RADIUS_MM = 16.0
"""No leg lies farther from the axis."""
KNEE_LEVEL_MM = -7.8
VIEW_MM = 11.3
"""Tibiae end within this distance of the central plane of rays; an animal is laid down so."""
_ATTEMPTS = 400
_FACING = np.diag([-1.0, -1.0, 1.0])  # of a right leg: medial is low x, anterior is low y


@dataclass(frozen=True)
class PoseRanges:
    """Ranges from which a pose is drawn, uniformly; degrees and mm.

    Attributes
    ----------
    flexion_deg
        Of each knee.
    splay_deg
        Of each leg, outwards.
    axial_deg
        Turn of each leg about its long axis, either way.
    height_mm
        Height of one knee over the other, either way, before the tilt.
    shift_mm
        Of the animal across the bed (x and y), either way, and along it (z).
    tilt_deg
        Of the animal about each axis, either way.
    """

    flexion_deg: tuple[float, float] = (0.0, 60.0)
    splay_deg: tuple[float, float] = (3.0, 12.0)
    axial_deg: float = 15.0
    height_mm: float = 2.6
    shift_mm: float = 1.0
    tilt_deg: float = 4.0


WHOLE_RANGE = PoseRanges()
"""What real scans show: knees stretched or bent, one up to 15 % of the tibia higher, animals aslant."""
EASY = PoseRanges((10.0, 30.0), (4.0, 8.0), axial_deg=5.0, height_mm=0.6, shift_mm=0.5, tilt_deg=1.5)
"""Animals laid down with care."""


@dataclass(frozen=True, eq=False)
class ScanPose:
    """The pose of one animal in one scan.

    Attributes
    ----------
    matrices
        4 x 4 per bone: ``left femur``, ``left tibia`` (its fibula with it), ``left foot``, ``right ...`` and
        ``body`` (the pelvis' frame, not mirrored).
    flexion_deg, splay_deg, axial_deg
        Per side, as drawn.
    height_mm
        z of the left knee minus that of the right (negative: the left knee lies nearer to the head).
    """

    matrices: Mapping[str, Array]
    flexion_deg: Mapping[str, float] = field(default_factory=dict)
    splay_deg: Mapping[str, float] = field(default_factory=dict)
    axial_deg: Mapping[str, float] = field(default_factory=dict)
    height_mm: float = 0.0


def _turn(axis: int, degrees: float) -> Array:
    """Return the right-handed rotation (3, 3) about an axis (0 x, 1 y, 2 z)."""
    a = np.radians(degrees)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out = np.eye(3)
    out[i, i] = out[j, j] = np.cos(a)
    out[j, i], out[i, j] = np.sin(a), -np.sin(a)
    return out


def _matrix(rotation: Array, translation: Array) -> Array:
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation, translation
    return out


def _right_leg(animal: Animal, week: int, side: str, drawn: tuple[float, float, float]) -> dict[str, Array]:
    """Return the matrices of a leg as if it were a right one; axes as in the scan, origin between the hips.

    Bones meet where growth and fractures have put their ends.
    """
    sizes = sizes_of(animal, side)
    flexion, splay, axial = drawn
    base = _turn(1, splay) @ _turn(2, axial) @ _FACING
    femur = base @ _turn(0, -0.5 * flexion)
    plateau = femur @ _turn(0, flexion)
    hip = np.array([sizes.hip_mm, 0.0, 0.0])
    thigh = _matrix(femur, hip - femur @ head_in_femur(sizes)[0])
    condyles = thigh @ distal_end(animal, week, f"{side} femur")
    knee = (condyles @ [*knee_in_femur(sizes), 1.0])[:3]
    # the plateau stays with the condyles, and the shaft follows it
    upper = _matrix(plateau, knee - plateau @ knee_in_tibia(sizes))
    shank = upper @ np.linalg.inv(proximal_end(animal, week, f"{side} tibia"))
    lower = shank @ distal_end(animal, week, f"{side} tibia")
    ankle = (lower @ [0.0, 0.0, sizes.tibia_mm - MALLEOLI_MM + 0.25, 1.0])[:3]
    foot = shank[:3, :3] @ _turn(0, -0.5 * flexion - 12.0)
    return {"femur": thigh, "tibia": shank, "foot": _matrix(foot, ankle)}


def _both_legs(
    animal: Animal, week: int, drawn: Mapping[str, tuple[float, float, float]]
) -> dict[str, Array]:
    out = {"body": np.eye(4)}
    for side in SIDES:
        for bone, matrix in _right_leg(animal, week, side, drawn[side]).items():
            out[f"{side} {bone}"] = matrix if side == "right" else MIRROR_X @ matrix
    return out


def _knees(matrices: Mapping[str, Array]) -> Array:
    return np.array([matrices[f"{side} tibia"][:3, 3] for side in SIDES])


def _with_height(matrices: Mapping[str, Array], height: float) -> Array:
    """Return the tilt of the pelvis (about y) that puts the left knee ``height`` below the right."""
    left, right = _knees(matrices)
    across, down = left[0] - right[0], left[2] - right[2]
    # a turn by t about y takes the difference (across, down) to down cos t - across sin t
    size = np.hypot(across, down)
    angle = np.arcsin(np.clip(height / size, -0.5, 0.5)) - np.arctan2(down, -across)
    return _matrix(_turn(1, np.degrees(angle)), np.zeros(3))


def _flesh(matrices: Mapping[str, Array]) -> Array:
    """Return x, y and the radius of the flesh about them (n, 3) at knees, ankles and toes."""
    out = []
    for side in SIDES:
        foot = matrices[f"{side} foot"]
        out.append([*matrices[f"{side} tibia"][:2, 3], 3.0])
        out.append([*foot[:2, 3], 1.9])
        out.append([*(foot @ [0.0, 0.0, 9.0, 1.0])[:2], 2.2])
    return np.array(out)


def _reach(animal: Animal, matrices: Mapping[str, Array], knee_mm: float) -> float:
    """Return how far from the central plane the tibiae end, where the knees belong to the usual level."""
    ends = []
    for side in SIDES:
        long = sizes_of(animal, side).tibia_mm
        ends += [(matrices[f"{side} tibia"] @ [0.0, 0.0, z, 1.0])[2] for z in (-0.4, long)]
    return float(np.abs(np.array(ends) - knee_mm + KNEE_LEVEL_MM).max())


def _centred(matrices: Mapping[str, Array]) -> Array:
    """Return what belongs over the axis (x, y, z): the middle of the legs, at the level of the knees."""
    flesh = _flesh(matrices)
    low, high = flesh[:, :2] - flesh[:, 2:], flesh[:, :2] + flesh[:, 2:]
    return np.array([*(0.5 * (low.min(axis=0) + high.max(axis=0))), _knees(matrices)[:, 2].mean()])


def _draw(
    animal: Animal, week: int, rng: np.random.Generator, ranges: PoseRanges, knee_mm: Array
) -> ScanPose:
    def either(bound: float) -> float:
        return float(rng.uniform(-bound, bound))

    drawn = {
        side: (
            float(rng.uniform(*ranges.flexion_deg)),
            float(rng.uniform(*ranges.splay_deg)),
            either(ranges.axial_deg),
        )
        for side in SIDES
    }
    matrices = _both_legs(animal, week, drawn)
    level = _with_height(matrices, either(ranges.height_mm))
    tilt = _turn(0, either(ranges.tilt_deg)) @ _turn(2, either(ranges.tilt_deg))
    shift = np.array([either(ranges.shift_mm), either(ranges.shift_mm), either(0.3 * ranges.shift_mm)])
    moved = {bone: _matrix(tilt, np.zeros(3)) @ level @ m for bone, m in matrices.items()}
    place = _matrix(np.eye(3), knee_mm + shift - _centred(moved))
    placed = {bone: place @ m for bone, m in moved.items()}
    left, right = _knees(placed)
    flexion, splay, axial = ({side: drawn[side][i] for side in SIDES} for i in range(3))
    return ScanPose(placed, flexion, splay, axial, float(left[2] - right[2]))


def scan_pose(
    animal: Animal,
    week: int,
    seed: int,
    *,
    ranges: PoseRanges | None = None,
    knee_mm: tuple[float, float, float] = (0.0, 3.0, KNEE_LEVEL_MM),
) -> ScanPose:
    """Return the pose of an animal in the scan of a week.

    A pose whose legs would not lie within the bed, or whose tibiae would leave the view, is drawn again.

    Parameters
    ----------
    animal
        The animal.
    week
        Of the study; every scan has a pose of its own.
    seed
        Of the study's poses.
    ranges
        What to draw from; by default the whole range of real scans.
    knee_mm
        Where the middle of the legs, at the level of the tibiae's proximal ends, lies before the shift, in
        the scan frame. By default 23.2 mm of rows hold both tibiae and the knees.

    Returns
    -------
    ScanPose
        Place of every bone.

    Raises
    ------
    SettingsError
        If the ranges hold no pose that fits into the bed.
    """
    rng = generator(seed, "pose", animal.seed, week)
    for _ in range(_ATTEMPTS):
        pose = _draw(animal, week, rng, ranges or WHOLE_RANGE, np.asarray(knee_mm, dtype=np.float64))
        flesh = _flesh(pose.matrices)
        within = (np.hypot(flesh[:, 0], flesh[:, 1]) + flesh[:, 2]).max() <= BODY_RADIUS_MM
        if within and _reach(animal, pose.matrices, knee_mm[2]) <= VIEW_MM:
            return pose
    raise SettingsError("No pose within these ranges fits into the bed; narrow the splay, shift or height.")
