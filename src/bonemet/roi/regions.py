"""Regions of a long bone by its landmarks, as a study defines them once for all its bones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bonemet.core.errors import InputError, SettingsError
from bonemet.roi.crop import Region, within
from bonemet.roi.landmarks import Landmarks

Anchor = Literal["junction", "growth plate", "length"]
Part = Literal["whole", "trabecular", "cortical"]
ANCHORS: tuple[Anchor, ...] = ("junction", "growth plate", "length")


@dataclass(frozen=True)
class Definition:
    """One region.

    Attributes
    ----------
    name
        What it is called.
    anchor
        ``junction`` and ``growth plate``: it begins ``start_mm`` distal of that landmark. ``length``: it is
        centred on ``percent`` of the bone's length from the proximal end.
    start_mm
        Distance from the landmark, negative proximally.
    percent
        Of the bone's length.
    length_mm
        Along the bone.
    part
        ``whole``, ``trabecular`` (the marrow space) or ``cortical``.
    """

    name: str
    anchor: Anchor
    start_mm: float = 0.0
    percent: float = 50.0
    length_mm: float = 1.0
    part: Part = "whole"

    def __post_init__(self) -> None:
        if self.anchor not in ANCHORS:
            raise SettingsError(f"A region hangs on {', '.join(ANCHORS)}, not on {self.anchor!r}.")
        if not self.length_mm > 0:
            raise SettingsError(
                f"The length of region {self.name} must be positive, not {self.length_mm} mm."
            )
        if not 0 <= self.percent <= 100:
            raise SettingsError(
                f"Region {self.name} lies at 0 to 100 % of the length, not at {self.percent:g} %."
            )


DEFAULT = (
    Definition("proximal tibia", "junction", length_mm=3.0),
    Definition("metaphysis", "growth plate", 0.25, length_mm=1.0, part="trabecular"),
    Definition("diaphysis 37 %", "length", percent=37.0, length_mm=0.5, part="cortical"),
    Definition("diaphysis 50 %", "length", percent=50.0, length_mm=0.5, part="cortical"),
)
"""The published region, and regions as the guidelines describe them (Bouxsein 2010, doi:10.1002/jbmr.141)."""


def spans(definition: Definition, marks: Landmarks | None, step_mm: float, depth: int) -> Region:
    """Return the slices of a region.

    Parameters
    ----------
    definition
        The region.
    marks
        The bone's landmarks.
    step_mm
        Distance of slices.
    depth
        Number of slices of the stack.

    Raises
    ------
    InputError
        If the landmark is not known, or the region lies outside the bone.
    """
    if marks is None:
        raise InputError(f"Region {definition.name} needs a tibia with its fibula, and none was found.")
    way, count = marks.direction, max(1, round(definition.length_mm / step_mm))
    low, high = marks.bone_slices
    if definition.anchor == "length":
        proximal = low if way > 0 else high
        middle = proximal + way * definition.percent / 100 * (high - low)
        first = round(middle - (count - 1) / 2)
        return within(first, first + count - 1, (low, high), "bone")
    plate = None if marks.plate is None else marks.plate.slice
    landmark = marks.junction if definition.anchor == "junction" else plate
    if landmark is None:
        raise InputError(f"Region {definition.name} needs the {definition.anchor}, which was not found.")
    start = round(landmark + way * definition.start_mm / step_mm)
    end = start + way * (count - 1)
    return within(min(start, end), max(start, end), (low, min(high, depth - 1)), "bone")
