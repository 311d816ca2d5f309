"""The anatomical frame of a tibia: upright, knee first, crest to the front.

In the frame, z runs distally along the long axis (slice 0 is at the knee), y posteriorly (the tibial
crest points to -y, the top of a slice) and x to the animal's right, so that the fibula, which is
lateral, lies towards -x in a left leg and towards +x in a right one. The bone is turned, never mirrored.

Definitions. The long axis is the straight line nearest to the centres of the filled sections of the
tibia between 15 % and 85 % of its length. The crest is the apex of the filled sections between 15 %
and 35 % of the length from the knee, where fibula and tibia are apart: the direction of their moment
of the sixth order about their centres, which the furthest points rule, the median of the sections.
The knee is the end whose sections, fibula included, reach further out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.context import Mapper
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.core.ids import SIDES
from bonemet.core.transform import Transform
from bonemet.core.volume import Volume
from bonemet.registration import levels, pose
from bonemet.registration.levels import BONE, EMPTY, SURFACE, Level
from bonemet.registration.pose import Axis

_SECTIONS: Final = 200  # along the bone
_AXIS_PART: Final = (0.15, 0.85)
_CREST_PART: Final = (0.15, 0.35)
_FIBULA_PART: Final = (0.15, 0.5)
_LEAST_FIBULA: Final = 8  # sections in which it lies apart
_END_PART: Final = 0.12
_STEADY_DEG: Final = 0.01
_TURNS: Final = 8
_MARGIN_MM: Final = 0.3
_PLAIN_ENDS: Final = 1.1  # the knee's end reaches at least so much further out than the ankle's
_PLAIN_CREST: Final = 0.1


@dataclass(frozen=True, eq=False)
class AnatomicalFrame:
    """A tibia set upright.

    Attributes
    ----------
    transform
        Takes points of the upright frame to points of the volume, in mm; a rotation and a shift.
    grid
        Cubic voxels as fine as the volume's finest, cropped to the bone with a margin, origin 0.
    confidence
        0 to 1: how plain knee and crest are.
    review
        Whether a person should look.
    reasons
        Why, one sentence each.
    """

    transform: Transform
    grid: Grid
    confidence: float
    review: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Sections:
    """Sections of a bone across an axis; lengths in mm, across the axis (x, y) in the axis' frame."""

    heights: NDArray[np.float64]
    centres: NDArray[np.float64]
    reach: NDArray[np.float64]
    apex: NDArray[np.float64]
    beside: NDArray[np.float64]


def anatomical_frame(volume: Volume, side: str, mapper: Mapper = map) -> AnatomicalFrame:
    """Return the upright frame and grid of a tibia.

    Parameters
    ----------
    volume
        One tibia, with or without its fibula, in any pose.
    side
        ``left`` or ``right``: checked against where the fibula lies; the bone is never mirrored.
    mapper
        Spreads work over threads.

    Raises
    ------
    InputError
        If the volume is empty, or its bone is not long.
    SettingsError
        If the side is neither.
    """
    if side not in SIDES:
        raise SettingsError(f"A side is left or right, not {side!r}.")
    pyramid = levels.build(volume, mapper)
    axis = pose.principal_axis(pyramid.bone_mm)
    level = pyramid.at(axis.length / _SECTIONS)
    axis, sections = _straighten(level, axis, volume.name)
    axis, sections, ends = _knee_first(axis, sections)
    fibula = _fibula(axis, sections)
    axis, crest = _crest_forward(axis, sections)
    reasons = _doubts(side, axis, fibula, ends, crest)
    confidence = min(_share(ends - 1, _PLAIN_ENDS - 1), _share(crest, _PLAIN_CREST))
    grid, transform = _upright_grid(level, axis, min(volume.grid.spacing_mm))
    return AnatomicalFrame(transform, grid, 0.0 if reasons else confidence, bool(reasons), tuple(reasons))


def _share(value: float, plain: float) -> float:
    """Return 1/2 for a value that is just plain enough and 1 from twice that on."""
    return round(float(np.clip(value / (2 * plain), 0, 1)), 4)


def _cut(level: Level, axis: Axis) -> _Sections:
    """Return the sections of a bone across an axis."""
    step = max(level.spacing, axis.length / _SECTIONS)
    half = np.ceil((0.55 * axis.length) / step)
    wide = np.ceil((1.5 * axis.radius) / step)
    heights, across = np.arange(-half, half + 1) * step, np.arange(-wide, wide + 1) * step
    z, y, x = np.meshgrid(heights, across, across, indexing="ij")
    local = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    values, inside = level.sample(local @ axis.frame.T + axis.centre, np.eye(4))
    share = np.clip((values - EMPTY) / (BONE - EMPTY), 0, 1) * inside
    rows = [_section(plane, across) for plane in share.reshape(z.shape)]
    table = np.array([row for row in rows if row is not None]).reshape(-1, 7)
    some = heights[[row is not None for row in rows]]
    return _Sections(some, table[:, :2], table[:, 2], table[:, 3:5], table[:, 5:])


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


def _part(sections: _Sections, part: tuple[float, float]) -> NDArray[np.bool_]:
    """Return which sections lie between two shares of the bone's length."""
    low, high = sections.heights[0], sections.heights[-1]
    place = (sections.heights - low) / (high - low)
    return np.asarray((place >= part[0]) & (place <= part[1]))


def _straighten(level: Level, axis: Axis, name: str) -> tuple[Axis, _Sections]:
    """Return the axis turned until it runs through the sections' centres, and the sections across it."""
    sections = _cut(level, axis)
    for _ in range(_TURNS):
        if len(sections.heights) < _SECTIONS / 10:
            raise InputError(f"The bone in {name or 'the volume'} is not long enough to be set upright.")
        use = _part(sections, _AXIS_PART)
        slope, start = np.polyfit(sections.heights[use], sections.centres[use], 1)
        along = axis.frame @ np.array([slope[0], slope[1], 1.0])
        along = along / np.linalg.norm(along)
        middle = (sections.heights[0] + sections.heights[-1]) / 2
        centre = axis.centre + axis.frame @ np.array([*(start + slope * middle), middle])
        turned = float(np.degrees(np.arccos(np.clip(along @ axis.frame[:, 2], -1, 1))))
        axis = Axis(centre, _frame(axis.frame[:, 0], along), axis.length, axis.radius)
        sections = _cut(level, axis)
        if turned < _STEADY_DEG:
            break
    return axis, sections


def _frame(across: NDArray[np.float64], along: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the right-handed frame along an axis whose first direction is as near as may be to one."""
    first = across - (across @ along) * along
    first = first / np.linalg.norm(first)
    return np.stack([first, np.cross(along, first), along], axis=1)


def _knee_first(axis: Axis, sections: _Sections) -> tuple[Axis, _Sections, float]:
    """Return axis and sections running from knee to ankle, and how much further out the knee reaches."""
    first = float(sections.reach[_part(sections, (0.0, _END_PART))].mean())
    last = float(sections.reach[_part(sections, (1 - _END_PART, 1.0))].mean())
    if first >= last:
        return axis, sections, first / last
    # turned about x: y and z change their signs
    flip = np.array([1.0, -1.0])
    turned = _Sections(
        -sections.heights[::-1],
        sections.centres[::-1] * flip,
        sections.reach[::-1],
        sections.apex[::-1] * flip,
        sections.beside[::-1] * flip,
    )
    return axis.turned(), turned, last / first


def _crest_forward(axis: Axis, sections: _Sections) -> tuple[Axis, float]:
    """Return the axis with the crest towards -y, and how plain the crest is (0 for a round bone)."""
    crest = np.median(sections.apex[_part(sections, _CREST_PART)], axis=0)
    strength = float(np.hypot(*crest))
    if strength == 0:
        return axis, 0.0
    front = axis.frame[:, 0] * crest[0] + axis.frame[:, 1] * crest[1]
    along = axis.frame[:, 2]
    x = np.cross(-front / strength, along)  # y is backwards, and x = y cross z
    return Axis(
        axis.centre, np.stack([x, -front / strength, along], axis=1), axis.length, axis.radius
    ), strength


def _fibula(axis: Axis, sections: _Sections) -> NDArray[np.float64] | None:
    """Return in which direction from the tibia the fibula lies (x, y, z), or None where none was seen."""
    beside = sections.beside[_part(sections, _FIBULA_PART)]
    beside = beside[np.isfinite(beside).all(1)]
    if len(beside) < _LEAST_FIBULA:
        return None
    return np.asarray(axis.frame[:, :2] @ np.median(beside, axis=0))


def _doubts(
    side: str, axis: Axis, fibula: NDArray[np.float64] | None, ends: float, crest: float
) -> list[str]:
    """Return why a person should look at a frame."""
    reasons = []
    if fibula is not None and (fibula @ axis.frame[:, 0] > 0) != (side == "right"):
        other = SIDES[1 - SIDES.index(side)]
        reasons.append(f"The fibula lies where a {other} leg has it, but this bone is named {side}.")
    if ends < _PLAIN_ENDS:
        reasons.append("Both ends reach about as far out, so the knee's end may be the other one.")
    if crest < _PLAIN_CREST:
        reasons.append("The bone is nearly round below the knee, so its crest may lie elsewhere.")
    return reasons


def _upright_grid(level: Level, axis: Axis, spacing: float) -> tuple[Grid, Transform]:
    """Return the grid cropped to the bone, and the map from it to the volume."""
    bone = level.scale * (level.image.astype(np.float32) - level.low) > SURFACE
    local = (level.grid.index_to_mm(np.argwhere(bone)) - axis.centre) @ axis.frame
    margin = level.spacing + _MARGIN_MM
    low, high = local.min(0) - margin, local.max(0) + margin
    shape = [int(n) for n in np.ceil((high - low) / spacing)[::-1] + 1]
    matrix = np.eye(4)
    matrix[:3, :3] = axis.frame
    matrix[:3, 3] = axis.centre + axis.frame @ low
    return Grid.isotropic(shape, spacing), Transform(matrix)
