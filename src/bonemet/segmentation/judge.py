"""How far a segmentation is to be trusted, bone by bone, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.segmentation.components import Spacing
from bonemet.segmentation.fine import Coarse
from bonemet.segmentation.names import (
    BONE_NAMES,
    LONG_BONES,
    BoneFound,
    Box,
    Label,
    LimbSegmentation,
    sizes_and_boxes,
)
from bonemet.segmentation.naming import Scene

Penalty = tuple[float, str]
Found = Mapping[int, tuple[int, Box]]
"""Voxels and box of each label."""

UNLIKE_MM = 1.2
DOUBT_MM3 = 2.0


def judge(labels: NDArray[np.uint8], coarse: Coarse, spacing_mm: Spacing) -> LimbSegmentation:
    """Return a segmentation with the confidence in each of its bones.

    Parameters
    ----------
    labels
        (z, y, x) on the scan's grid.
    coarse
        What was found on the coarse grid, and where it lies in the scan's.
    spacing_mm
        Of the scan (z, y, x).
    """
    scene = coarse.scene
    found = sizes_and_boxes(labels)
    bones, missing = [], {}
    for label, name in BONE_NAMES.items():
        if label not in found:
            missing[name] = _why_missing(label, scene)
            continue
        size, box = found[label]
        penalties = _penalties(label, coarse, found, labels.shape)
        confidence = float(np.prod([1.0, *(p for p, _ in penalties)]))
        reasons = tuple(r for _, r in penalties)
        bones.append(BoneFound(name, int(label), round(confidence, 2), reasons, box, size))
    notes = tuple(f"No {name}: {why}" for name, why in missing.items() if name != "spine")
    return LimbSegmentation(labels, tuple(bones), missing, notes, _details(coarse, spacing_mm))


def _why_missing(label: Label, scene: Scene) -> str:
    if label is Label.SPINE:
        return "nothing lies where the spine, pelvis or tail would."
    if not scene.tibiae:
        return "no shaft in this volume has the shape of a tibia; is this a scan of hind limbs?"
    if len(scene.tibiae) == 1 and label in _sides_missing(scene):
        return "only one leg was found."
    return "nothing was found beyond the knee."


def _sides_missing(scene: Scene) -> tuple[Label, ...]:
    present = scene.leg_labels(0)
    return tuple(label for label in LONG_BONES if label not in present)


def _penalties(label: Label, coarse: Coarse, found: Found, shape: tuple[int, ...]) -> list[Penalty]:
    scene, box = coarse.scene, found[label][1]
    if label is Label.SPINE:
        return [(0.9, "The spine is what is bone and no leg; it is not recognised by its own shape.")]
    leg = next((i for i in range(len(scene.tibiae)) if label in scene.leg_labels(i)), None)
    if leg is None:
        return [(0.5, "A person named it; no leg was found on its side.")]
    tibia, knee = scene.tibiae[leg], scene.knees[leg]
    out: list[Penalty] = []
    if len(scene.tibiae) < 2:
        out.append((0.5, "Only one leg was found, so its side is a guess."))
    # A tibia that is its fellow's mirror image from knee to ankle is one, and is cut at the knee.
    alike = coarse.eaten is not None and coarse.eaten.fellow.good
    if tibia.evidence < 1.5 and not alike:
        out.append((0.6, "The tibia's shape is not clear: no fibula, or no taper, was seen."))
    if not len(knee.femur):
        out.append((0.6, "Nothing was found beyond the knee, so the end of the tibia is uncertain."))
    if knee.doubt_mm3 > DOUBT_MM3 and not alike:
        out.append((0.65, f"The knee is ambiguous: {knee.doubt_mm3:.1f} mm3 could belong to either bone."))
    out += _beside_other_leg(label, coarse)
    out += _at_edges(label, box, shape)
    out += _unlike_lengths(scene, found, shape[0])
    out += _unlike_other_side(label, found)
    return out


def _beside_other_leg(label: Label, coarse: Coarse) -> list[Penalty]:
    """Doubt tibiae that are no mirror images, and say where one is drawn after the other."""
    eaten = coarse.eaten
    if eaten is None or label not in (Label.LEFT_TIBIA, Label.RIGHT_TIBIA):
        return []
    if not eaten.fellow.good:
        return [(0.65, "The two tibiae are not like mirror images of each other; one may be cut wrongly.")]
    if not eaten.much or label is not coarse.scene.leg_labels(eaten.leg)[0]:
        return []
    found = [
        (0.9, f"{eaten.lost_mm3:.1f} mm3 within its outline were missing and are drawn after the other leg.")
    ]
    if eaten.fellow.fragment is not None:
        found.append((0.9, "Its end at the knee has broken off and moved, and is drawn where it lies."))
    return found


def _at_edges(label: Label, box: Box, shape: tuple[int, ...]) -> list[Penalty]:
    sideways = any(box[0][a] == 0 or box[1][a] == shape[a] for a in (1, 2))
    ends = box[0][0] == 0 or box[1][0] == shape[0]
    if sideways:
        return [(0.6, "The bone leaves the field of view sideways.")]
    if not ends:
        return []
    if label in (Label.LEFT_FEMUR, Label.RIGHT_FEMUR):
        return [(0.9, "The femur is cut by the field of view.")]
    return [(0.8, "The tibia is cut by the field of view.")]


def _unlike_lengths(scene: Scene, found: Found, depth: int) -> list[Penalty]:
    """Doubt both bones of both knees where one tibia is longer than the other: a cut may have gone astray.

    Where the field of view cuts a tibia off at its ankle, lengths say nothing.
    """
    if len(scene.tibiae) < 2:
        return []
    for leg, tibia in enumerate(scene.tibiae):
        known = found.get(scene.leg_labels(leg)[0])
        if known is None:
            return []
        box = known[1]
        if box[1][0] == depth if tibia.axis[0] < 0 else box[0][0] == 0:
            return []
    legs = zip(scene.tibiae, scene.knees, strict=True)
    first, second = (float((k.point - t.ankle_end) @ t.axis) for t, k in legs)
    if abs(first - second) < UNLIKE_MM:
        return []
    return [
        (0.65, f"The two knees lie {abs(first - second):.1f} mm apart along their tibiae; one is doubtful.")
    ]


def _unlike_other_side(label: Label, found: Found) -> list[Penalty]:
    if label not in (Label.LEFT_TIBIA, Label.RIGHT_TIBIA):
        return []
    pair = [found[k][0] if k in found else 0 for k in (Label.LEFT_TIBIA, Label.RIGHT_TIBIA)]
    if min(pair) == 0 or max(pair) / min(pair) < 1.3:
        return []
    percent = round(100 * (max(pair) / min(pair) - 1))
    return [(0.6, f"The volumes of the two tibiae differ by {percent} %.")]


def _details(coarse: Coarse, spacing_mm: Spacing) -> dict[str, Any]:
    """Return knees (voxel z, y, x of the scan) and how clear each leg was."""
    scene = coarse.scene
    step = np.asarray(scene.spacing_mm)
    legs = []
    for i, (tibia, knee) in enumerate(zip(scene.tibiae, scene.knees, strict=True)):
        voxel = knee.point / step * np.asarray(coarse.factors) + coarse.origin
        legs.append(
            {
                "tibia": BONE_NAMES[scene.leg_labels(i)[0]],
                "knee_voxel": [round(float(v), 1) for v in voxel],
                "evidence": round(tibia.evidence, 2),
                "fibula": round(tibia.fibula, 2),
                "cut_cost": round(knee.cost, 2),
                "knee_doubt_mm3": round(knee.doubt_mm3, 2),
            }
        )
    return {"legs": legs, "spacing_mm": list(spacing_mm)}
