"""Landmarks of a tibia on a coarse grid, set on week 0 and carried to every week, and growth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError
from bonemet.roi.growthplate import GrowthPlate, find_growth_plate
from bonemet.roi.junction import Junction, find_junction
from bonemet.roi.lesions import CoarseBone
from bonemet.roi.relief import Relief

LEAST_GROWTH_MM = 0.03  # less is no growth but the error of what is measured here
_JUNCTION_MM = (0.0, 3.0)  # where a junction lies below the growth plate
_SURE = 0.5  # confidence of the plate from which it is believed
_MOST_GROWTH_MM = 1.5
_CLEAR_OF_PLATE_MM = 0.1
_FEWEST = 200  # coarse voxels of epiphysis
_LEAST_LIKENESS = 0.6


@dataclass(frozen=True)
class Landmarks:
    """Where things are in a stack.

    Attributes
    ----------
    bone_slices
        First and last slice with bone.
    direction
        +1 if the slice number rises distally, else -1.
    junction
        Slice of the proximal tibia-fibula junction, to within a coarse voxel; None where none was found.
    plate, distal_plate
        The growth plates at the knee and at the ankle, in slices, rows and columns of the stack; None where
        none was found.
    notes
        What a reader should know.
    """

    bone_slices: tuple[int, int]
    direction: int
    junction: float | None
    plate: GrowthPlate | None
    distal_plate: GrowthPlate | None = None
    notes: tuple[str, ...] = ()


def find_landmarks(bone: CoarseBone) -> Landmarks | None:
    """Find the landmarks of a tibia in its coarse bone; None where there is no tibia with a fibula."""
    share = bone.share
    found = np.flatnonzero((share > 0).any(axis=(1, 2)))
    if len(found) == 0:
        return None
    spacing = (bone.spacing_mm[0], bone.spacing_mm[1], bone.spacing_mm[2])
    try:
        junction: Junction = find_junction(share >= 0.5, spacing)
    except InputError:
        return None
    step = bone.factors[0]
    last = min(bone.shape[0] - 1, int(found[-1] + 1) * step - 1)
    return Landmarks(
        (int(found[0]) * step, last),
        junction.direction,
        _fine(junction.slice, step),
        plate_of(bone, junction.direction),
        plate_of(bone, -junction.direction),
    )


def plate_of(bone: CoarseBone, direction: int) -> GrowthPlate | None:
    """Return a growth plate of coarse bone, in voxels of its stack; None where none is certain.

    Parameters
    ----------
    bone
        A tibia.
    direction
        Sense of slice numbers, from the end at which the plate lies towards the other.
    """
    spacing = (bone.spacing_mm[0], bone.spacing_mm[1], bone.spacing_mm[2])
    plate = find_growth_plate(bone.share, spacing, direction, bone.grey)
    return None if plate is None or plate.confidence < _SURE else _refined(plate, bone.factors)


def plate_doubt(junction: float, plate: GrowthPlate | None, direction: int, step_mm: float) -> str | None:
    """Return what is odd about a junction beside its growth plate; None where nothing is or can be told."""
    if plate is None:
        return None
    below = direction * (junction - plate.slice) * step_mm
    if _JUNCTION_MM[0] <= below <= _JUNCTION_MM[1]:
        return None
    where = "below" if below >= 0 else "above"
    return (
        f"The junction lies {abs(below):.2f} mm {where} the growth plate, where no mouse has it; "
        "look at the slices there."
    )


def _fine(coarse: float, factor: int) -> float:
    """Return the voxel of the stack at the middle of a coarse one."""
    return coarse * factor + (factor - 1) / 2


def _refined(plate: GrowthPlate, factors: tuple[int, int, int]) -> GrowthPlate:
    """Return a plate of the coarse grid in voxels of the stack."""
    fz, fy, fx = factors
    bent = plate.relief
    return GrowthPlate(
        _fine(plate.slice, fz),
        (_fine(plate.middle[0], fy), _fine(plate.middle[1], fx)),
        (plate.slopes[0] * fz / fy, plate.slopes[1] * fz / fx),
        plate.confidence,
        None if bent is None else Relief(fz * bent.heights, (fy * bent.pixels[0], fx * bent.pixels[1])),
    )


def growth_between(first: Landmarks, before: CoarseBone, after: CoarseBone) -> float | None:
    """Return by how much the epiphysis moved proximally between two scans aligned elsewhere, in mm.

    The baseline's bone proximal of its growth plate is looked for farther along the bone in the follow-up.

    Parameters
    ----------
    first
        Landmarks of the baseline.
    before, after
        Bone of both scans on one grid.

    Returns
    -------
    float | None
        Negative if it moved distally, which no bone does; None where there is no certain growth plate, or the
        epiphysis is not found again.
    """
    plate = first.plate
    if plate is None:
        return None
    step, way = before.spacing_mm[0], first.direction
    old, new = (b.share if way > 0 else b.share[::-1] for b in (before, after))
    index = np.argwhere(old > 0)
    fine = index * np.asarray(before.factors) + (np.asarray(before.factors) - 1) / 2
    if way < 0:
        fine[:, 0] = (len(old) - 1 - index[:, 0]) * before.factors[0] + (before.factors[0] - 1) / 2
    beyond = -way * plate.slices_beyond(fine) * step / before.factors[0]
    index = index[beyond >= _CLEAR_OF_PLATE_MM]
    if len(index) < _FEWEST:
        return None
    reach = round(_MOST_GROWTH_MM / step)
    padded = np.pad(new, ((reach + 1, 2), (0, 0), (0, 0)))
    shifts = np.arange(-2, reach + 1)  # positive: proximally, towards slice 0
    values = old[tuple(index.T)]
    fit = np.array(
        [_likeness(values, padded[index[:, 0] + reach + 1 - s, index[:, 1], index[:, 2]]) for s in shifts]
    )
    best = int(np.argmax(fit))
    if fit[best] < _LEAST_LIKENESS:
        return None
    return float((shifts[best] + _vertex(fit, best)) * step)


def _likeness(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return 1 less the squared difference of two rows over their squares: 1 for the same."""
    total = float((a**2).sum() + (b**2).sum())
    return 1.0 - float(((a - b) ** 2).sum()) / total if total > 0 else 0.0


def _vertex(values: NDArray[np.float64], at: int) -> float:
    """Return where, from -0.5 to 0.5 of a step, the parabola through a peak and its neighbours is highest."""
    if not 0 < at < len(values) - 1:
        return 0.0
    low, middle, high = values[at - 1 : at + 2]
    bend = low - 2 * middle + high
    return float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5)) if bend < 0 else 0.0
