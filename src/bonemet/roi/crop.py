"""Which slices make a region of interest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError, SettingsError
from bonemet.roi.composite import FORMED, KEPT, RESORBED

COMPOSITE_GREYS = (0, RESORBED, KEPT, FORMED)


@dataclass(frozen=True)
class Region:
    """Slices of a stack, both ends included.

    Attributes
    ----------
    first_slice, last_slice
        Lowest and highest slice number, as the stack is read.
    notes
        What a reader should know: whether the region was shortened.
    """

    first_slice: int
    last_slice: int
    notes: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Number of slices."""
        return self.last_slice - self.first_slice + 1


def slices_in(length_mm: float, length_slices: int | None, spacing_mm: float) -> int:
    """Return the number of slices of a region: as given, or as many as make the length in mm.

    Raises
    ------
    SettingsError
        If that is not at least one slice.
    """
    if length_slices is None and not (np.isfinite(length_mm) and length_mm > 0):
        raise SettingsError(f"The length of a region must be positive, not {length_mm} mm.")
    count = round(length_mm / spacing_mm) if length_slices is None else length_slices
    if count < 1:
        raise SettingsError(f"A region needs at least one slice, not {count}; check its length.")
    return count


def region_below(
    junction: int, direction: int, below: int, length: int, bone_slices: tuple[int, int]
) -> Region:
    """Return the region that starts ``below`` slices distal of the junction.

    Parameters
    ----------
    junction
        The junction's slice.
    direction
        +1 if the slice number rises distally, else -1.
    below
        Number of slices between the junction and the start, distal positive, proximal negative.
    length
        Number of slices, going distally.
    bone_slices
        First and last slice with bone; a region that reaches beyond is shortened.

    Raises
    ------
    InputError
        If the region holds no slice with bone.
    """
    start = junction + direction * below
    end = start + direction * (length - 1)
    return within(min(start, end), max(start, end), bone_slices, "bone")


def region_between(first_slice: int | None, last_slice: int | None, length: int, depth: int) -> Region:
    """Return the region between given slices, or of a length from the one that is given.

    Parameters
    ----------
    first_slice, last_slice
        Slice numbers, both included; at least one.
    length
        Number of slices where only one is given.
    depth
        Number of slices of the stack; a region that reaches beyond is shortened.

    Raises
    ------
    SettingsError
        If neither is given, one is negative, or the first comes after the last.
    InputError
        If the region lies outside the stack.
    """
    if min(s for s in (first_slice, last_slice, 0) if s is not None) < 0:
        raise SettingsError(f"Slices are counted from 0, so {first_slice} to {last_slice} is no region.")
    if first_slice is not None:
        first, last = first_slice, first_slice + length - 1 if last_slice is None else last_slice
    elif last_slice is not None:
        first, last = last_slice - length + 1, last_slice
    else:
        raise SettingsError("A region needs its first or its last slice.")
    if first > last:
        raise SettingsError(f"The first slice, {first}, comes after the last, {last}; exchange them.")
    return within(first, last, (0, depth - 1), "stack")


def within(first: int, last: int, limits: tuple[int, int], what: str) -> Region:
    """Return the part of a region that lies within limits, saying so where it was shortened."""
    low, high = max(first, limits[0]), min(last, limits[1])
    if low > high:
        raise InputError(
            f"The region, slices {first} to {last}, lies outside the {what}, which is in slices "
            f"{limits[0]} to {limits[1]}; choose other slices."
        )
    if (low, high) == (first, last):
        return Region(low, high)
    wanted = last - first + 1
    return Region(
        low,
        high,
        (
            f"The region was shortened to {high - low + 1} of {wanted} slices (slices {low} to {high}), "
            f"since the {what} ends there.",
        ),
    )


def is_composite(sample: NDArray[np.generic]) -> bool:
    """Tell whether values are those of a composite: the published greys, with any bone at all."""
    values = np.unique(sample)
    return bool(np.isin(values, COMPOSITE_GREYS).all() and values.size > 1 and sample.dtype == np.uint8)
