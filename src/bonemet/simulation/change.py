"""What became of a tibia's tissue between two weeks, and why: growth, remodelling, disease or needle.

All of it in the tibia's own frame, which stays with the diaphysis; the pieces of a broken bone are put back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.simulation.anatomy import SIDES, Animal
from bonemet.simulation.growth import growth
from bonemet.simulation.packed import BREAK
from bonemet.simulation.shapes import Array
from bonemet.simulation.skeleton import long_bone, plate_surface
from bonemet.simulation.tissue import mark_points
from bonemet.simulation.truth import tissue_in_own_frame

NONE, MOVED, RESORBED, PASSED, UNCHANGED, GROWN, FORMED = 0, 20, 60, 110, 180, 200, 240
"""Greys of change: the published ones of composites, and three beyond the growth plates of the first week."""
CAUSES = {
    "unchanged": 1,
    "resorbed by remodelling": 2,
    "resorbed by disease": 3,
    "resorbed by the needle": 4,
    "formed by remodelling": 5,
    "formed by disease": 6,
    "formed about the needle": 7,
    "left by growth": 8,
    "made by growth": 9,
    "passed by growth": 10,
}
"""Values of the map of causes."""


@dataclass(frozen=True, eq=False)
class Change:
    """What became of a tibia's tissue, fibula included.

    Attributes
    ----------
    masks
        (z, y, x) uint8: 0 neither, 60 resorbed, 180 unchanged, 240 formed (the published greys of
        composites). Beyond the growth plates of the first week, where nothing stays in its place once the
        bone has grown: 20 tissue in the earlier week only, 200 in the later one only, 110 in both.
    causes
        (z, y, x) uint8; see :data:`CAUSES`. Remodelling includes the trimming of a growing metaphysis. What
        disease has done is what a twin without disease and needle would not show.
    grid
        Where the voxels are in the tibia's frame.
    """

    masks: NDArray[np.uint8]
    causes: NDArray[np.uint8]
    grid: Grid

    def volumes(self) -> dict[str, float]:
        """Return volumes in mm3.

        ``bone_volume_mm3`` (at the later week), ``unchanged_mm3``, ``formed_mm3``, ``resorbed_mm3``,
        ``grown_mm3`` (by how much the bone beyond the plates became more), and the parts of what was
        formed and resorbed that ``disease`` and ``needle`` account for. Bone volume changes by what was
        formed, less what was resorbed, plus what has grown.
        """
        greys = np.bincount(self.masks.ravel(), minlength=256) * self.grid.voxel_mm3
        causes = np.bincount(self.causes.ravel(), minlength=len(CAUSES) + 1) * self.grid.voxel_mm3
        return {
            "bone_volume_mm3": float(greys[[UNCHANGED, FORMED, PASSED, GROWN]].sum()),
            "unchanged_mm3": float(greys[UNCHANGED]),
            "formed_mm3": float(greys[FORMED]),
            "resorbed_mm3": float(greys[RESORBED]),
            "grown_mm3": float(greys[GROWN] - greys[MOVED]),
            "formed_by_disease_mm3": float(causes[CAUSES["formed by disease"]]),
            "resorbed_by_disease_mm3": float(causes[CAUSES["resorbed by disease"]]),
            "formed_about_needle_mm3": float(causes[CAUSES["formed about the needle"]]),
            "resorbed_by_needle_mm3": float(causes[CAUSES["resorbed by the needle"]]),
        }


def healthy_twin(animal: Animal) -> Animal:
    """Return the animal that nothing was injected into and that is otherwise the same."""
    return replace(animal, tumour_side=None, sham_side=None)


def beyond_plates(animal: Animal, bone: str, week_from: int, week_to: int, grid: Grid) -> NDArray[np.bool_]:
    """Return which voxels (z, y, x) lay beyond a plate that made bone between the weeks."""
    before, after = growth(animal, week_from, bone), growth(animal, week_to, bone)
    out = np.zeros(grid.shape, bool)
    z, y, x = (
        (grid.origin_mm[2 - a] + grid.spacing_mm[a] * np.arange(grid.shape[a])).reshape(
            [-1 if a == b else 1 for b in range(3)]
        )
        for a in range(3)
    )
    for zone in long_bone(animal, week_from, bone).shape.zones:
        gain = after.proximal - before.proximal if zone[5] > 0 else after.distal - before.distal
        if zone[4] > 0 and gain > 0:
            out |= zone[5] * (z - plate_surface(zone, x, y)) <= 0
    return out


def tibia_change(
    animal: Animal,
    side: str,
    week_from: int,
    week_to: int,
    spacing_mm: float = 0.02,
    *,
    before: NDArray[np.bool_] | None = None,
) -> Change:
    """Return what became of a tibia's tissue between two weeks, and why.

    Parameters
    ----------
    animal, side
        Whose tibia.
    week_from, week_to
        The weeks.
    spacing_mm
        Of the voxels; each is what its centre is.
    before
        The tissue at ``week_from``, if known.

    Raises
    ------
    SettingsError
        If there is no such side or week.
    """
    if side not in SIDES:
        raise SettingsError(f"The side is left or right, not {side!r}.")
    bone = f"{side} tibia"
    after, grid = tissue_in_own_frame(animal, week_to, bone, spacing_mm)
    if before is None:
        before = tissue_in_own_frame(animal, week_from, bone, spacing_mm)[0]
    masks = np.zeros(grid.shape, np.uint8)
    masks[before & after], masks[before & ~after], masks[after & ~before] = UNCHANGED, RESORBED, FORMED
    beyond = beyond_plates(animal, bone, week_from, week_to, grid)
    beyond &= masks > 0
    masks[beyond] = np.where(before[beyond], np.where(after[beyond], PASSED, MOVED), GROWN)
    return Change(masks, _causes(animal, side, week_to, masks, grid), grid)


def _causes(animal: Animal, side: str, week: int, masks: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """Return the map of causes that belongs to a map of change."""
    table = np.zeros(256, np.uint8)
    table[UNCHANGED], table[PASSED] = CAUSES["unchanged"], CAUSES["passed by growth"]
    table[MOVED], table[GROWN] = CAUSES["left by growth"], CAUSES["made by growth"]
    table[RESORBED], table[FORMED] = CAUSES["resorbed by remodelling"], CAUSES["formed by remodelling"]
    out: NDArray[np.uint8] = table[masks]
    if side not in (animal.tumour_side, animal.sham_side):
        return out
    twin, _ = tissue_in_own_frame(healthy_twin(animal), week, f"{side} tibia", grid.spacing_mm[0])
    lost, made = (masks == RESORBED) & twin, (masks == FORMED) & ~twin
    marks = np.zeros(grid.shape, np.uint8)
    where = lost | made
    places = grid.index_to_mm(np.argwhere(where))
    marks[where] = marks_in_bone(animal, week, f"{side} tibia", places, mended=True)
    needle = marks == 4
    sick = animal.tumour_side == side
    out[lost & needle], out[lost & ~needle] = (
        CAUSES["resorbed by the needle"],
        CAUSES["resorbed by disease" if sick else "resorbed by the needle"],
    )
    by_needle = made & (marks == 0)
    out[by_needle] = CAUSES["formed about the needle"]
    out[made & ~by_needle] = CAUSES["formed by disease" if sick else "formed about the needle"]
    return out


def marks_in_bone(
    animal: Animal, week: int, bone: str, points_mm: Array, *, mended: bool = False
) -> NDArray[np.uint8]:
    """Return what disease and needle have done at points (n, 3) of a bone's frame.

    With ``mended`` the pieces of a broken bone are put back where they were.

    Returns
    -------
    (n,) uint8 array
        0 nothing, 1 within a focus that eats bone, 2 woven bone in the marrow, 3 new bone on the outside,
        4 the needle's hole. Points outside the bone's outline mean nothing.
    """
    points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
    out = np.zeros(len(points), np.uint8)
    shape = long_bone(animal, week, bone).shape
    if mended:
        shape = shape._replace(fracture=np.zeros((0, BREAK)))
    mark_points(shape.pack(), points, out)
    return out


def change_masks(
    animal: Animal, side: str, week_from: int, week_to: int, spacing_mm: float = 0.02
) -> tuple[NDArray[np.uint8], Grid]:
    """Return the greys of change (z, y, x) of :class:`Change`, and their grid."""
    change = tibia_change(animal, side, week_from, week_to, spacing_mm)
    return change.masks, change.grid


def change_truth(
    animal: Animal, side: str, week_from: int, week_to: int, spacing_mm: float = 0.02
) -> dict[str, float]:
    """Return the volumes (mm3) of :meth:`Change.volumes`."""
    return tibia_change(animal, side, week_from, week_to, spacing_mm).volumes()


def lost_share(
    animal: Animal, week: int, spacing_mm: float = 0.04, *, twin: NDArray[np.bool_] | None = None
) -> float:
    """Return the part of the bone of the diseased tibia's proximal third that disease has taken until a week.

    Parameters
    ----------
    animal, week
        Who and when.
    spacing_mm
        Of the voxels that are counted.
    twin
        What :func:`proximal_third` returns for the healthy twin, which is the whole, if known.

    Raises
    ------
    SettingsError
        If the animal carries no tumour.
    """
    whole = (
        proximal_third(healthy_twin(animal), week, _sick_tibia(animal), spacing_mm) if twin is None else twin
    )
    sick = proximal_third(animal, week, _sick_tibia(animal), spacing_mm)
    return float((whole & ~sick).sum() / whole.sum())


def proximal_third(animal: Animal, week: int, bone: str, spacing_mm: float) -> NDArray[np.bool_]:
    """Return the tissue (z, y, x) of a tibia from the joint to a third of its length."""
    last = animal.sizes.tibia_mm / 3
    return tissue_in_own_frame(animal, week, bone, spacing_mm, last_mm=last)[0]


def _sick_tibia(animal: Animal) -> str:
    if animal.tumour_side is None:
        raise SettingsError(f"Animal {animal.name} carries no tumour, so its tibia cannot lose bone to one.")
    return f"{animal.tumour_side} tibia"
