"""The proximal tibia-fibula junction: where, going distally, tibia and fibula become two contours.

Two rules stand here: the published one, which takes the first slice at which the number of closed contours
goes from one to two, and the default, which follows the fibula through the slices and takes the proximal end
of its path. The fusion of both bones farther down, where two contours become one, is never taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.context import Mapper
from bonemet.core.errors import InputError
from bonemet.core.volume import SlicedArray
from bonemet.roi.contours import Bone, SliceContours, bone_mask, label_slice
from bonemet.roi.fibula import FibulaTrack, Spacing, all_contours, track_fibula

_SURE = 0.5  # below this a person should look
_CERTAIN_MM = 3.0  # a fibula followed for this length leaves no doubt about its length
_GAP_SEEN_MM = 0.5  # how far below the junction the gap is looked at, and how wide
_LARGEST_JUMP = 1.6  # pixels by which a gap may depart from its straight line; blur hides about one
_FARTHEST = 3  # slices by which blur may hide the junction
_CLEAR = 0.15  # a difference between the ends that leaves no doubt about which is which


@dataclass(frozen=True)
class Junction:
    """Where the junction is, and why.

    Attributes
    ----------
    slice
        The first slice, going distally, in which tibia and fibula are separate contours.
    direction
        +1 if the slice number rises distally, else -1.
    confidence
        0 to 1: the product of how sure the way of the slices, the length of the fibula and the transition
        are.
    contours
        Number of outer contours in every slice: the evidence.
    published
        What the published rule takes on the same contours; None where it finds nothing.
    track
        The fibula.
    bone_slices
        First and last slice with bone.
    notes
        What a reader should know.
    """

    slice: int
    direction: int
    confidence: float
    contours: tuple[int, ...]
    published: int | None
    track: FibulaTrack
    bone_slices: tuple[int, int]
    notes: tuple[str, ...] = ()


def find_junction(
    stack: SlicedArray,
    spacing_mm: Spacing,
    bone: Bone = bone_mask,
    *,
    contours: Sequence[SliceContours] | None = None,
    mapper: Mapper = map,
) -> Junction:
    """Find the proximal tibia-fibula junction of an upright tibia with its fibula.

    Where blur makes the bones touch for a few slices more than they do, the junction is taken where the
    widening gap between them, carried on in a straight line, closes to one pixel.

    Parameters
    ----------
    stack
        (z, y, x) mask, composite or greys, long axis along z, either end first.
    spacing_mm
        Voxel (z, y, x).
    bone
        Tells bone from the rest in one slice; everything but zero by default.
    contours
        The contours of every slice, where they are known already.
    mapper
        Ordered map over slices.

    Raises
    ------
    InputError
        If there is no bone or no fibula, or the junction lies outside the stack.
    """
    if contours is None:
        contours = all_contours(stack, spacing_mm, bone, mapper=mapper)
    found = junction_of(contours, spacing_mm)
    moved = contact_offset(stack, found, bone)
    if not moved:
        return found
    note = f"Tibia and fibula touch by blur in {moved} slices that lie below the junction."
    return replace(found, slice=found.slice - found.direction * moved, notes=(*found.notes, note))


def junction_of(slices: Sequence[SliceContours], spacing_mm: Spacing) -> Junction:
    """Find the junction from the contours of every slice, as they are; see :func:`find_junction`."""
    first, last = bone_extent(slices)
    track = track_fibula(slices, spacing_mm)
    if track is None:
        raise InputError(
            f"No fibula was found beside the tibia between slices {first} and {last}, "
            "so there is no tibia-fibula junction; give the first and the last slice."
        )
    direction, clarity = stack_direction(slices, track)
    place = track.first if direction > 0 else track.last
    _refuse_outside(place, direction, (first, last))
    counts = tuple(s.count for s in slices)
    published = published_junction(counts, direction)
    confidence = clarity * _length_confidence(track) * _transition_confidence(slices, place, direction)
    return Junction(
        place,
        direction,
        round(confidence, 3),
        counts,
        published,
        track,
        (first, last),
        _notes(track, (confidence, clarity), place, published),
    )


def contact_offset(stack: SlicedArray, junction: Junction, bone: Bone = bone_mask) -> int:
    """Return by how many slices the junction lies farther up than the first slice with two contours.

    Parameters
    ----------
    stack
        (z, y, x) values in which the junction was found.
    junction
        As the contours show it.
    bone
        Tells bone from the rest in one slice.

    Returns
    -------
    int
        0 to 3; 0 where the gap does not widen steadily or the bones were not in touch.
    """
    track, way = junction.track, junction.direction
    step, pixel, _ = track.spacing_mm
    near = [c for c in track.contours if 0 <= way * (c.z - junction.slice) * step <= _GAP_SEEN_MM]
    above = np.asarray(stack[junction.slice - way])
    end = near[0] if way > 0 else near[-1]
    fibula, _ = _apart(bone(np.asarray(stack[end.z])), end.label)
    if len(near) < 3 or np.count_nonzero(bone(above) & fibula) < 0.3 * np.count_nonzero(fibula):
        return 0
    gaps = np.array([_gap_pixels(*_apart(bone(np.asarray(stack[c.z])), c.label)) for c in near])
    below = np.array([way * (c.z - junction.slice) for c in near], dtype=np.float64)
    clear = (gaps >= 2) & (gaps <= _GAP_SEEN_MM / pixel)
    if np.count_nonzero(clear) < 3:
        return 0
    slope, level = np.polyfit(below[clear], gaps[clear], 1)
    seen = gaps <= _GAP_SEEN_MM / pixel
    jump = np.abs(gaps - np.polyval([slope, level], below))[seen].max()
    if slope * pixel < 0.1 * step or jump > _LARGEST_JUMP:  # parallel bones, or a gap that opens at once
        return 0
    return int(np.clip(round((level - 1) / slope), 0, _FARTHEST))


def _apart(bone: NDArray[np.bool_], label: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the contour of a label, and all others, of a slice."""
    labels, _ = label_slice(bone)
    return np.asarray(labels == label), np.asarray((labels != label) & (labels > 0))


def _gap_pixels(fibula: NDArray[np.bool_], rest: NDArray[np.bool_]) -> float:
    """Return the number of pixels that separate the fibula from the rest of the bone."""
    if not rest.any():
        return float("inf")
    return float(ndimage.distance_transform_edt(~rest)[fibula].min()) - 1


def bone_extent(slices: Sequence[SliceContours]) -> tuple[int, int]:
    """Return the first and the last slice with bone.

    Raises
    ------
    InputError
        If there is no bone at all.
    """
    found = [s.z for s in slices if s.count > 0]
    if not found:
        raise InputError("The stack holds no bone; check the threshold.")
    return found[0], found[-1]


def published_junction(counts: Sequence[int], direction: int) -> int | None:
    """Return the slice that the published rule takes: going distally, the first step from 1 to 2 contours.

    Parameters
    ----------
    counts
        Number of contours in every slice.
    direction
        +1 if the slice number rises distally, else -1.
    """
    order = range(len(counts)) if direction > 0 else range(len(counts) - 1, -1, -1)
    for before, here in pairwise(order):
        if counts[before] == 1 and counts[here] == 2:
            return here
    return None


def stack_direction(slices: Sequence[SliceContours], track: FibulaTrack) -> tuple[int, float]:
    """Return which way the slices run (+1: distally) and how clear that is (0 to 1).

    Two signs are weighed: the tibia is wider at its proximal end, and the free part of the fibula lies
    nearer to that end.
    """
    first, last = bone_extent(slices)
    widths = np.array([s.width_mm for s in slices[first : last + 1]])
    third = max(1, len(widths) // 3)
    low, high = float(widths[:third].mean()), float(widths[-third:].mean())
    wider = (low - high) / (low + high)
    nearer = ((last - track.last) - (track.first - first)) / max(1, last - first)
    score = 2 * wider + nearer
    clarity = min(1.0, abs(score) / _CLEAR)
    if wider * nearer < 0:  # the signs contradict each other
        clarity *= 0.6
    return (1 if score >= 0 else -1), clarity


def _refuse_outside(place: int, direction: int, extent: tuple[int, int]) -> None:
    """Refuse a fibula that is separate right up to the bone's proximal end in the stack."""
    end = extent[0] if direction > 0 else extent[1]
    if abs(place - end) < 1:
        raise InputError(
            f"Tibia and fibula are apart up to the proximal end of the bone at slice {end}, so their "
            "junction lies outside the stack; give the first and the last slice, or a longer stack."
        )


def _length_confidence(track: FibulaTrack) -> float:
    """Return how far the length and the completeness of the track speak for a fibula."""
    length = len(track.contours) * track.spacing_mm[0]
    complete = len(track.contours) / (len(track.contours) + track.gaps)
    return min(1.0, length / _CERTAIN_MM) * complete


def _transition_confidence(slices: Sequence[SliceContours], place: int, direction: int) -> float:
    """Return the share of the ten slices on each side that hold one contour above, two below."""
    right = total = 0
    for offset in range(-10, 10):
        z = place + direction * offset
        if 0 <= z < len(slices):
            total += 1
            right += slices[z].count == (1 if offset < 0 else 2)
    return 0.5 + 0.5 * right / max(1, total)


def _notes(
    track: FibulaTrack, sure: tuple[float, float], place: int, published: int | None
) -> tuple[str, ...]:
    """Return what a reader should know; ``sure`` is how sure the junction and the direction are."""
    confidence, clarity = sure
    notes = []
    if confidence < _SURE:
        notes.append(
            f"The junction at slice {place} is not certain ({confidence:.0%}); look at the slices there."
        )
    if clarity < 0.5:
        notes.append("Which end of the stack is proximal is not clear from its shape; look at the slices.")
    if track.gaps > 0.1 * len(track.contours):
        notes.append(
            f"In {track.gaps} of slices {track.first} to {track.last} the fibula has no contour of its own."
        )
    if published is None:
        notes.append("The published rule (first step from one contour to two) finds no junction here.")
    elif published != place:
        notes.append(
            f"The published rule (first step from one contour to two) takes slice {published}, "
            f"this one slice {place}."
        )
    return tuple(notes)
