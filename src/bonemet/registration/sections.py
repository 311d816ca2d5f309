"""A bone cut across its long axis: centres, reach and apex of its sections, and which end is the knee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.errors import InputError
from bonemet.registration import pose
from bonemet.registration.levels import BONE, EMPTY, Level, Pyramid
from bonemet.registration.pose import Axis

COUNT: Final = 200  # sections along the bone
AXIS_PART: Final = (0.15, 0.85)
_END_PART: Final = 0.12
_STEADY_DEG: Final = 0.01
_NEARLY_DEG: Final = 0.1  # all sections are taken from here on, every so many-th before
_THIN: Final = 4
_TURNS: Final = 8


@dataclass(frozen=True, eq=False)
class Sections:
    """Sections of a bone across an axis; lengths in mm, across the axis (x, y) in the axis' frame."""

    heights: NDArray[np.float64]
    centres: NDArray[np.float64]
    reach: NDArray[np.float64]
    apex: NDArray[np.float64]
    beside: NDArray[np.float64]


def long_axis(pyramid: Pyramid, name: str = "") -> tuple[Axis, Sections, float]:
    """Return a bone's long axis, knee first, and the sections across it.

    The axis is the straight line nearest to the centres of the filled sections between 15 % and 85 % of the
    bone's length. The knee is the end whose sections reach further out; by how much is the third result.

    Raises
    ------
    InputError
        If the bone is not long.
    """
    axis = pose.principal_axis(pyramid.bone_mm)
    level = pyramid.at(axis.length / COUNT)
    return knee_first(*straighten(level, axis, name))


def cut(level: Level, axis: Axis, every: int = 1) -> Sections:
    """Return the sections of a bone across an axis, or every so many-th of them."""
    step = max(level.spacing, axis.length / COUNT)
    half = np.ceil((0.55 * axis.length) / step)
    wide = np.ceil((1.5 * axis.radius) / step)
    heights, across = np.arange(-half, half + 1, every) * step, np.arange(-wide, wide + 1) * step
    z, y, x = np.meshgrid(heights, across, across, indexing="ij")
    local = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    values, inside = level.sample(local @ axis.frame.T + axis.centre, np.eye(4))
    share = np.clip((values - EMPTY) / (BONE - EMPTY), 0, 1) * inside
    rows = [_section(plane, across) for plane in share.reshape(z.shape)]
    table = np.array([row for row in rows if row is not None]).reshape(-1, 7)
    some = heights[[row is not None for row in rows]]
    return Sections(some, table[:, :2], table[:, 2], table[:, 3:5], table[:, 5:])


def _section(share: NDArray[np.floating], across: NDArray[np.float64]) -> list[float] | None:
    """Return centre, reach and apex of a section's largest piece, and where the second largest lies.

    ``share`` is how much of each point of the plane is bone.
    """
    labels, count = ndimage.label(ndimage.binary_fill_holes(share > 0.5))
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    largest = labels == 1 + int(np.argmax(sizes))
    # the rim counts by its share of bone, so that the outline does not follow the voxels
    weights = np.where(ndimage.binary_erosion(largest), 1.0, share * ndimage.binary_dilation(largest))
    y, x = np.meshgrid(across, across, indexing="ij")
    total = weights.sum()
    cx, cy = float((weights * x).sum() / total), float((weights * y).sum() / total)
    dx, dy = x - cx, y - cy
    r2 = dx * dx + dy * dy
    pull = weights * r2**2.5
    norm = float((pull * np.sqrt(r2)).sum()) or 1.0
    apex = [float((pull * dx).sum()) / norm, float((pull * dy).sum()) / norm]
    reach = float(np.sqrt(np.var(x[labels > 0]) + np.var(y[labels > 0])))
    beside = [np.nan, np.nan]
    if count > 1:
        sizes[np.argmax(sizes)] = 0
        second = labels == 1 + int(np.argmax(sizes))
        beside = [float(x[second].mean()) - cx, float(y[second].mean()) - cy]
    return [cx, cy, reach, *apex, *beside]


def part(sections: Sections, share: tuple[float, float]) -> NDArray[np.bool_]:
    """Return which sections lie between two shares of the bone's length."""
    low, high = sections.heights[0], sections.heights[-1]
    place = (sections.heights - low) / (high - low)
    return np.asarray((place >= share[0]) & (place <= share[1]))


def _between(
    sections: Sections, axis: Axis, ends: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.bool_]:
    """Return which sections lie between two points."""
    first, last = sorted(float((end - axis.centre) @ axis.frame[:, 2]) for end in ends)
    return np.asarray((sections.heights >= first) & (sections.heights <= last))


def straighten(
    level: Level, axis: Axis, name: str, ends: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
) -> tuple[Axis, Sections]:
    """Return the axis turned until it runs through the sections' centres, and the sections across it.

    ``ends``: points on the axis between which sections count, where they are known from elsewhere.
    """
    every = _THIN
    sections = cut(level, axis, every)
    for _ in range(_TURNS):
        if len(sections.heights) < COUNT / (10 * every):
            raise InputError(f"The bone in {name or 'the volume'} is not long enough to be set upright.")
        use = part(sections, AXIS_PART) if ends is None else _between(sections, axis, ends)
        slope, start = np.polyfit(sections.heights[use], sections.centres[use], 1)
        along = axis.frame @ np.array([slope[0], slope[1], 1.0])
        along = along / np.linalg.norm(along)
        middle = (sections.heights[0] + sections.heights[-1]) / 2
        centre = axis.centre + axis.frame @ np.array([*(start + slope * middle), middle])
        turned = float(np.degrees(np.arccos(np.clip(along @ axis.frame[:, 2], -1, 1))))
        axis = Axis(centre, _frame(axis.frame[:, 0], along), axis.length, axis.radius)
        if turned < _STEADY_DEG and every == 1:
            break
        every = 1 if turned < _NEARLY_DEG else _THIN
        sections = cut(level, axis, every)
    return axis, sections


def _frame(across: NDArray[np.float64], along: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the right-handed frame along an axis whose first direction is as near as may be to one."""
    first = across - (across @ along) * along
    first = first / np.linalg.norm(first)
    return np.stack([first, np.cross(along, first), along], axis=1)


def knee_first(axis: Axis, sections: Sections) -> tuple[Axis, Sections, float]:
    """Return axis and sections running from knee to ankle, and how much further out the knee reaches."""
    first = float(sections.reach[part(sections, (0.0, _END_PART))].mean())
    last = float(sections.reach[part(sections, (1 - _END_PART, 1.0))].mean())
    if first >= last:
        return axis, sections, first / last
    # turned about x: y and z change their signs
    flip = np.array([1.0, -1.0])
    turned = Sections(
        -sections.heights[::-1],
        sections.centres[::-1] * flip,
        sections.reach[::-1],
        sections.apex[::-1] * flip,
        sections.beside[::-1] * flip,
    )
    return axis.turned(), turned, last / first
