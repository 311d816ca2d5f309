"""The default segmentation: every bone of the hind limbs, at any flexion and height of the legs.

On a coarse copy (about 0.1 mm) bones are filled, shafts found, tibiae recognised by their shape, knees cut,
and what else touches is parted at its necks. The names are then carried to the voxels of the scan.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError, SettingsError
from bonemet.kernels import morphology
from bonemet.segmentation import components, naming
from bonemet.segmentation.components import Mask, Spacing
from bonemet.segmentation.eaten import find_eaten
from bonemet.segmentation.fine import Coarse, carry
from bonemet.segmentation.judge import judge
from bonemet.segmentation.knee import Knee, cut_knee
from bonemet.segmentation.legs import Tibia, find_tibiae
from bonemet.segmentation.names import LONG_BONES, LimbSegmentation
from bonemet.segmentation.partition import part
from bonemet.segmentation.revision import LEGS, Revision, revise
from bonemet.segmentation.shafts import Shaft, find_shafts

Left = Literal["low-x", "high-x"]

COARSE_MM = 0.095
BONE_SHARE = 0.4  # of a coarse voxel that must be bone
SPECK_MM3 = 0.04
DISTAL_END_MM = 2.0  # beyond the shaft, to the ankle
ABOVE_ANKLE_MM, BELOW_ANKLE_MM = 0.5, 4.0  # from a tibia's far end: where its foot is looked for
MALLEOLI_MM, FOOT_MM = (
    2.0,
    4.5,
)  # from the axis: tibia and fibula reach no further at the ankle, and a foot no further
JOINT_MM = 0.3  # along the axis, the ankle comes where the bone's inside gets thinner than this
BETWEEN_MM = 1.0  # from another bone: what was filled here may lie between the two
CORE_MM = 0.5  # patella, fabellae and menisci are thinner than this radius


def segment_limbs(
    grey: NDArray[Any],
    spacing_mm: Spacing,
    threshold: float,
    *,
    left: Left = "low-x",
    revision: Revision | None = None,
) -> LimbSegmentation:
    """Find the long bones of both hind limbs, and what else is bone.

    Parameters
    ----------
    grey
        (z, y, x); bone is grey >= threshold.
    spacing_mm
        (z, y, x).
    threshold
        In the units of ``grey``.
    left
        At which end of the columns (x) the animal's left leg lies.
    revision
        What a person wants changed.

    Returns
    -------
    LimbSegmentation
        Labels of the shape of ``grey``, bones with their confidence, and what was not found.

    Raises
    ------
    InputError
        If nothing is as bright as bone, or a revision speaks of bone that is not there.
    SettingsError
        If ``left`` is neither low-x nor high-x.
    """
    if left not in ("low-x", "high-x"):
        raise SettingsError(f"The left leg lies at low-x or high-x, not at {left!r}.")
    factors = _factors(grey.shape, spacing_mm)
    bone, holder, corner = _coarse_bone(grey, spacing_mm, threshold, factors)
    coarse_mm = _scaled(spacing_mm, factors)
    filled = components.fill_bones(bone, coarse_mm)
    shafts = find_shafts(filled, coarse_mm)
    tibiae = find_tibiae(shafts, filled, coarse_mm)
    knees = [cut_knee(filled, t.knee_end, t.axis, coarse_mm) for t in tibiae]
    scene = _scene(filled, shafts, tibiae, knees, coarse_mm, left)
    eaten = find_eaten(scene, filled)
    if eaten is not None and eaten.much:
        filled |= eaten.lost
        tibia = tibiae[eaten.leg]
        knees[eaten.leg] = cut_knee(filled, tibia.knee_end, tibia.axis, coarse_mm, surely=eaten.within)
        scene = _scene(filled, shafts, tibiae, knees, coarse_mm, left)
    places = {} if eaten is None else {eaten.leg: eaten.place}
    labels = naming.name_parts(scene, places)
    _empty_between(labels, filled, bone, coarse_mm)
    _patch(labels, filled, scene)
    if revision is not None and revision.changes:
        labels = revise(labels, scene, revision, corner, factors)
    by_hand = () if revision is None else tuple(LEGS[side] for side in revision.knees)
    coarse = Coarse(labels, filled, holder, corner, factors, scene, eaten, by_hand)
    return judge(carry(grey, threshold, coarse, spacing_mm), coarse, spacing_mm)


def _empty_between(labels: NDArray[np.uint8], filled: Mask, bone: Mask, coarse_mm: Spacing) -> None:
    """Take away, in place, what was filled and lies between two bones instead of inside one."""
    for label in LONG_BONES:
        own = labels == label
        box = components.box_of(own, int(np.ceil(components.REACH_MM / min(coarse_mm))))
        own = own[box]
        others = (labels[box] > 0) & ~own
        between = own & ~bone[box] & components.grown(others, BETWEEN_MM, coarse_mm)
        points = np.argwhere(between).astype(np.int32)
        if not len(points) or not others.any():
            continue
        empty = points[components.not_inside(np.ascontiguousarray(own & bone[box]), points, coarse_mm)]
        labels[box][tuple(empty.T)] = 0
        filled[box][tuple(empty.T)] = False


def _patch(labels: NDArray[np.uint8], filled: Mask, scene: naming.Scene) -> None:
    """Add to tibiae, in place, what a perforated cortex left open."""
    for leg in range(len(scene.tibiae)):
        tibia = scene.leg_labels(leg)[0]
        patched = components.patch_perforations(labels == tibia, scene.spacing_mm) & (labels == 0)
        labels[patched] = tibia
        filled |= patched


def _scene(
    filled: Mask, shafts: list[Shaft], tibiae: list[Tibia], knees: list[Knee], coarse_mm: Spacing, left: Left
) -> naming.Scene:
    """Return what is known of the legs once their knees are cut."""
    parts = _parts(filled, shafts, tibiae, knees, coarse_mm)
    return naming.Scene(parts, coarse_mm, tuple(tibiae), tuple(knees), left)


def _factors(shape: tuple[int, ...], spacing_mm: Spacing) -> tuple[int, int, int]:
    z, y, x = (max(1, min(round(COARSE_MM / s), n)) for s, n in zip(spacing_mm, shape, strict=True))
    return z, y, x


def _scaled(spacing_mm: Spacing, factors: tuple[int, int, int]) -> Spacing:
    z, y, x = (s * f for s, f in zip(spacing_mm, factors, strict=True))
    return z, y, x


def _coarse_bone(
    grey: NDArray[Any], spacing_mm: Spacing, threshold: float, factors: tuple[int, int, int]
) -> tuple[Mask, Mask, tuple[int, int, int]]:
    """Return coarse bone and holder in the box that holds them, and the coarse voxel at the box's corner."""
    mask = components.block_fraction(grey, threshold, factors) >= BONE_SHARE
    coarse_mm = _scaled(spacing_mm, factors)
    pieces, n = components.large_pieces(mask, SPECK_MM3, float(np.prod(coarse_mm)))
    if n == 0:
        raise InputError(
            f"Nothing in this volume is as bright as bone (grey >= {threshold:g}); "
            "check the threshold, and that this is a reconstruction."
        )
    held = naming.holder_pieces(pieces, n, coarse_mm)
    # The margin keeps rays and closings that look around a bone from ending at the box instead of the field.
    box = components.box_of(pieces > 0, int(np.ceil(components.REACH_MM / min(coarse_mm))) + 1)
    pieces = pieces[box]
    corner = (box[0].start, box[1].start, box[2].start)
    holder = np.isin(pieces, held)
    return (pieces > 0) & ~holder, holder, corner


def _parts(
    filled: Mask, shafts: list[Shaft], tibiae: list[Tibia], knees: list[Knee], coarse_mm: Spacing
) -> NDArray[np.int32]:
    """Part the bones: leg i's tibia is 2 i + 1 and its femur 2 i + 2; other parts bear higher numbers."""
    inside = components.distance_inside(filled, coarse_mm)
    seeds, walls = {}, []
    side = np.zeros(filled.shape, np.int8)
    for i, (tibia, knee) in enumerate(zip(tibiae, knees, strict=True)):
        for number, voxels in ((2 * i + 1, knee.tibia), (2 * i + 2, knee.femur)):
            side[tuple(voxels.T)] = number
            seeds[number] = voxels[inside[tuple(voxels.T)] >= CORE_MM]
        end = _distal_end(inside, tibia, coarse_mm)
        seeds[2 * i + 1] = np.concatenate([seeds[2 * i + 1], tibia.shaft.voxels, end])
        walls.append(_wall(side, 2 * i + 1, knee.femur))
    _add_other_shafts(seeds, shafts, tibiae, side)
    _add_feet(seeds, filled, tibiae, coarse_mm)
    # The walls are taken out for the parting and given back to the femora.
    parted = filled.copy()
    for wall in walls:
        parted[tuple(wall.T)] = False
    parts = part(parted, {k: v for k, v in seeds.items() if len(v)}, np.where(parted, inside, 0))
    for i, wall in enumerate(walls):
        parts[tuple(wall.T)] = 2 * i + 2
    return np.where(filled, parts, 0).astype(np.int32)


def _distal_end(inside: NDArray[np.float32], tibia: Tibia, coarse_mm: Spacing) -> NDArray[np.int64]:
    """Return the voxels along the tibia's axis in its last part, which widens again towards the ankle."""
    steps = np.arange(0.0, DISTAL_END_MM, 0.5 * min(coarse_mm))
    points = tibia.ankle_end - steps[:, None] * tibia.axis
    voxels = np.unique(np.rint(points / np.asarray(coarse_mm)).astype(np.int64), axis=0)
    voxels = voxels[((voxels >= 0) & (voxels < inside.shape)).all(axis=1)]
    solid = inside[tuple(voxels.T)] >= JOINT_MM
    order = np.argsort(voxels @ (-tibia.axis * np.asarray(coarse_mm)), kind="stable")
    stop = int(np.argmin(solid[order])) if not solid.all() else len(order)
    return np.asarray(voxels[order[:stop]])


def _wall(side: NDArray[np.int8], tibia: int, femur: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the femur's voxels that touch its tibia, corners included: the cut, made one voxel thick."""
    if not len(femur):
        return femur
    low = np.maximum(femur.min(axis=0) - 1, 0)
    box = tuple(slice(a, b) for a, b in zip(low, femur.max(axis=0) + 2, strict=True))
    near = morphology.grow(side[box] == tibia, np.ones((3, 3, 3), bool))
    return np.asarray(femur[near[tuple((femur - low).T)]])


def _add_feet(seeds: dict[int, NDArray[Any]], filled: Mask, tibiae: list[Tibia], coarse_mm: Spacing) -> None:
    """Give what lies beside an ankle, further from the tibia's axis than its malleoli, a number of its own.

    Of a foot that the field of view cuts there may be too little for a shaft.
    """
    number = max(seeds, default=0)
    for tibia in tibiae:
        reach = (np.abs(tibia.axis) * BELOW_ANKLE_MM + FOOT_MM) / np.asarray(coarse_mm)
        middle = tibia.ankle_end / np.asarray(coarse_mm)
        low = np.maximum(np.floor(middle - reach), 0).astype(int)
        high = np.minimum(np.ceil(middle + reach) + 1, filled.shape).astype(int)
        voxels = np.argwhere(filled[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]) + low
        offset = voxels * np.asarray(coarse_mm) - tibia.ankle_end
        along = offset @ tibia.axis
        aside = np.linalg.norm(offset - along[:, None] * tibia.axis, axis=1)
        beside = (along < ABOVE_ANKLE_MM) & (aside > MALLEOLI_MM) & (aside < FOOT_MM)
        if beside.any():
            number += 1
            seeds[number] = voxels[beside]


def _add_other_shafts(
    seeds: dict[int, NDArray[Any]], shafts: list[Shaft], tibiae: list[Tibia], side: NDArray[np.int8]
) -> None:
    """Give each further shaft to the femur that it overlaps, or a number of its own."""
    number = 2 * len(tibiae)
    for shaft in shafts:
        if any(shaft is t.shaft for t in tibiae):
            continue
        touched = side[tuple(shaft.voxels.T)]
        counts = np.bincount(touched[touched > 0], minlength=1)
        if counts.sum() > 0.1 * len(touched) and counts.argmax() % 2 == 0:
            key = int(counts.argmax())
            seeds[key] = np.concatenate([seeds[key], shaft.voxels])
        elif counts.sum() == 0:
            number += 1
            seeds[number] = shaft.voxels
