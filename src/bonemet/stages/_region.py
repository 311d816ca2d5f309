"""Where a region of interest lies: the landmarks of a stack, and the slices that were wished for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind
from bonemet.core.context import Context
from bonemet.core.errors import InputError
from bonemet.core.volume import Volume
from bonemet.roi import crop as regions
from bonemet.roi.composite import KEPT, RESORBED
from bonemet.roi.contours import Bone, SliceContours, bone_mask
from bonemet.roi.crop import Region
from bonemet.roi.fibula import FibulaTrack, all_contours, track_fibula
from bonemet.roi.growthplate import GrowthPlate
from bonemet.roi.junction import Junction, bone_extent, find_junction
from bonemet.roi.landmarks import Landmarks, plate_doubt, plate_of
from bonemet.roi.lesions import CoarseBone
from bonemet.roi.regions import Definition, spans
from bonemet.stages.composite import choose_threshold

_SAMPLES = 25


@dataclass(frozen=True)
class Found:
    """Junction, fibula and growth plate of a stack, as far as they were found."""

    junction: Junction | None
    track: FibulaTrack | None
    plate: GrowthPlate | None
    contours: tuple[int, ...]
    bone_slices: tuple[int, int]
    step_mm: float
    reason: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""
        if self.junction is None:
            return (self.reason,)
        doubt = self._doubt
        return self.junction.notes if doubt is None else (*self.junction.notes, doubt)

    @property
    def _doubt(self) -> str | None:
        j = self.junction
        return None if j is None else plate_doubt(j.slice, self.plate, j.direction, self.step_mm)

    @property
    def marks(self) -> Landmarks | None:
        """The landmarks that defined regions hang on."""
        j = self.junction
        return None if j is None else Landmarks(self.bone_slices, j.direction, float(j.slice), self.plate)

    def results(self) -> dict[str, Any]:
        """Return what is said about landmarks."""
        plate = {
            "growth_plate_slice": None if self.plate is None else round(self.plate.slice, 2),
            "growth_plate_confidence": 0.0 if self.plate is None else self.plate.confidence,
        }
        j = self.junction
        if j is None:
            return {
                "junction_slice": None,
                "reason": self.reason,
                "confidence": 0.0,
                "direction": None,
                "published_junction_slice": None,
                **plate,
                "contours": list(self.contours),
            }
        return {
            "junction_slice": j.slice,
            "confidence": j.confidence if self._doubt is None else round(j.confidence / 2, 3),
            "direction": j.direction,
            "published_junction_slice": j.published,
            **plate,
            "contours": list(self.contours),
        }


def find(volume: Volume, bone: Bone, context: Context) -> Found:
    """Find the landmarks of a stack; a stack without a junction has the reason for it.

    Raises
    ------
    InputError
        If it holds no bone.
    """
    grid = volume.grid
    with context.progress("junction", grid.shape[0]) as tick:
        contours = all_contours(volume.data, grid.spacing_mm, bone, mapper=context.map, tick=tick)
    extent = bone_extent(contours)
    counts = tuple(s.count for s in contours)
    try:
        junction = find_junction(volume.data, grid.spacing_mm, bone, contours=contours)
    except InputError as error:
        track = track_fibula(contours, grid.spacing_mm)
        return Found(None, track, None, counts, extent, grid.spacing_mm[0], str(error))
    plate = _plate(volume, bone, junction.direction, contours, context)
    return Found(junction, junction.track, plate, counts, extent, grid.spacing_mm[0])


def _plate(
    volume: Volume, bone: Bone, direction: int, contours: list[SliceContours], context: Context
) -> GrowthPlate | None:
    """Return the proximal growth plate, looked for in the proximal third of the bone."""
    low, high = bone_extent(contours)
    third = max(1, (high - low + 1) // 3)
    coarse = CoarseBone(volume.grid.shape, volume.grid.spacing_mm)
    span = range(low, low + third) if direction > 0 else range(high - third + 1, high + 1)
    scan = bone is not bone_mask and bone is not _baseline_bone
    planes = context.map(lambda z: np.asarray(volume.data[z]), span)
    for z, plane in zip(span, planes, strict=True):
        coarse.add(z, bone(plane), plane if scan else None)
    return plate_of(coarse, direction)


def bone_of(volume: Volume, threshold: float | None, context: Context) -> tuple[Bone, float | None]:
    """Return what tells bone from the rest in a composite (the baseline's bone), mask or scan.

    Raises
    ------
    InputError
        If the volume holds labels that are no composite.
    """
    if volume.quantity.kind is Kind.MASK:
        return bone_mask, None
    depth = volume.grid.shape[0]
    places = sorted({int(z) for z in np.linspace(0, depth - 1, _SAMPLES)})
    if regions.is_composite(np.stack([np.asarray(volume.data[z]) for z in places])):
        return _baseline_bone, None
    if volume.quantity.kind is Kind.LABELS:
        raise InputError(
            f"{volume.name or 'The volume'} holds labels that are not a composite's greys; "
            "give a composite or a registered scan of one tibia."
        )
    bar = choose_threshold(volume, context) if threshold is None else float(threshold)
    return (lambda values: np.asarray(values >= bar)), bar


def _baseline_bone(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the baseline's bone in a composite: what stayed and what was lost."""
    return np.asarray((values == KEPT) | (values == RESORBED))


@dataclass(frozen=True)
class Wish:
    """The slices that were asked for, as `crop` takes them."""

    first_slice: int | None
    last_slice: int | None
    below_junction: int
    length_mm: float
    length_slices: int | None
    definition: Definition | None


def choose(wish: Wish, found: Found, volume: Volume) -> Region:
    """Return the slices of a region.

    Raises
    ------
    InputError
        If a landmark that it needs was not found, or it lies outside the bone or the stack.
    """
    grid = volume.grid
    if wish.definition is not None:
        if found.junction is None:
            raise InputError(found.reason)
        return spans(wish.definition, found.marks, grid.spacing_mm[0], grid.shape[0])
    length = regions.slices_in(wish.length_mm, wish.length_slices, grid.spacing_mm[0])
    if wish.first_slice is not None or wish.last_slice is not None:
        return regions.region_between(wish.first_slice, wish.last_slice, length, grid.shape[0])
    if found.junction is None:
        raise InputError(found.reason)
    place, way = found.junction.slice, found.junction.direction
    return regions.region_below(place, way, wish.below_junction, length, found.bone_slices)
