"""What a person who looked has to say about one scan's bones, and how it is done to the names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.errors import InputError
from bonemet.segmentation.names import BONE_NAMES, BoneFound, Label, LimbSegmentation
from bonemet.segmentation.naming import Scene

Triple = tuple[int, int, int]

NEAR = 3  # coarse voxels within which a point off the bone finds it
LEGS = {
    "left": (Label.LEFT_TIBIA, Label.LEFT_FEMUR),
    "right": (Label.RIGHT_TIBIA, Label.RIGHT_FEMUR),
}
NAMES = {name: label for label, name in BONE_NAMES.items()} | {
    "other": Label.OTHER,
    "holder": Label.HOLDER,
}


@dataclass(frozen=True)
class Revision:
    """A person's changes, done in this order.

    Attributes
    ----------
    pieces
        Voxels (z, y, x) of the scan, and which bone the piece there is (a name of :data:`NAMES`).
    knees
        Slice of the scan at which tibia and femur of a leg (``left``, ``right``) are parted.
    dropped
        Bones that are not there after all: what bears their name becomes ``other``.
    accepted
        Bones that a person has looked at, so that they are not marked for review.
    """

    pieces: tuple[tuple[Triple, str], ...] = ()
    knees: Mapping[str, float] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    accepted: frozenset[str] = frozenset()

    def on_coarser(self, factors: Triple) -> Revision:
        """Return the same on a grid whose voxels are so many times larger."""
        pieces = tuple(
            ((v[0] // factors[0], v[1] // factors[1], v[2] // factors[2]), name) for v, name in self.pieces
        )
        knees = {side: (k + 0.5) / factors[0] - 0.5 for side, k in self.knees.items()}
        return replace(self, pieces=pieces, knees=knees)

    @property
    def changes(self) -> bool:
        """Whether any name is changed."""
        return bool(self.pieces or self.knees or self.dropped)


def revise(
    labels: NDArray[np.uint8], scene: Scene, revision: Revision, corner: Triple, factors: Triple
) -> NDArray[np.uint8]:
    """Return coarse labels (z, y, x) as a person wants them.

    Parameters
    ----------
    labels
        As found.
    scene
        What was found on the coarse grid.
    revision
        The person's changes.
    corner, factors
        Where the coarse grid lies in the scan's.

    Raises
    ------
    InputError
        If there is no bone where a piece is named, or none of a leg whose knee is given.
    """
    out = labels.copy()
    for voxel, name in revision.pieces:
        where = np.asarray(voxel) // np.asarray(factors) - np.asarray(corner)
        out[_piece(scene.parts, where, name)] = NAMES[name]
    for side, knee in revision.knees.items():
        _cut(out, scene, side, (knee + 0.5) / factors[0] - corner[0])
    for name in sorted(revision.dropped):
        out[out == NAMES[name]] = Label.OTHER
    return out


def accept(found: LimbSegmentation, revision: Revision) -> LimbSegmentation:
    """Return a segmentation whose bones say what a person did and accepted."""
    if not revision.changes and not revision.accepted:
        return found
    bones = tuple(_accepted(b) if b.name in revision.accepted else b for b in found.bones)
    unknown = sorted(revision.accepted - {b.name for b in found.bones})
    notes = [f"A person accepted the {name}, which was not found." for name in unknown]
    notes += [f"A person said that the piece at voxel {v} is {_article(n)}." for v, n in revision.pieces]
    notes += [f"A person set the {side} knee at slice {k:g}." for side, k in revision.knees.items()]
    notes += [f"A person dropped the {name}." for name in sorted(revision.dropped)]
    missing = {
        name: "a person dropped it." if name in revision.dropped else why
        for name, why in found.missing.items()
    }
    return replace(found, bones=bones, missing=missing, notes=(*found.notes, *notes))


def _accepted(bone: BoneFound) -> BoneFound:
    return replace(bone, accepted=True)


def _article(name: str) -> str:
    return name if name in ("other", "holder") else f"the {name}"


def _piece(parts: NDArray[np.int32], where: NDArray[np.int64], name: str) -> NDArray[np.bool_]:
    """Return the connected piece of a part at a coarse voxel, or at the nearest bone within some voxels."""
    low = np.clip(where - NEAR, 0, parts.shape)
    high = np.clip(where + NEAR + 1, 0, parts.shape)
    around = np.argwhere(parts[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] > 0) + low
    if not len(around):
        raise InputError(
            f"The review says of a voxel that {_article(name)} is there, but no bone is there; "
            "give a voxel (z, y, x) within the bone."
        )
    nearest = around[np.argmin(((around - where) ** 2).sum(axis=1))]
    number = parts[tuple(nearest)]
    pieces, _ = ndimage.label(parts == number, np.ones((3, 3, 3)))
    return np.asarray(pieces == pieces[tuple(nearest)])


def _cut(labels: NDArray[np.uint8], scene: Scene, side: str, knee: float) -> None:
    """Part tibia and femur of a leg at a coarse slice, in place."""
    tibia, femur = LEGS[side]
    leg = (labels == tibia) | (labels == femur)
    legs = [i for i in range(len(scene.tibiae)) if tibia in scene.leg_labels(i)]
    if not leg.any() or not scene.tibiae:
        raise InputError(f"The review gives a {side} knee, but no {side} leg was found; name its pieces too.")
    upward = scene.tibiae[legs[0] if legs else 0].axis[0] >= 0
    above = np.arange(len(labels)) + 0.5 > knee
    hip = (above if upward else ~above)[:, None, None]
    labels[leg & hip] = femur
    labels[leg & ~hip] = tibia
