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
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.core.ids import SIDES
from bonemet.core.transform import Transform, TransformKind
from bonemet.core.volume import Volume
from bonemet.registration import levels, pose, sections
from bonemet.registration.align import Options, Registration, register
from bonemet.registration.levels import Level, Pyramid
from bonemet.registration.pose import Axis
from bonemet.registration.quality import ramp
from bonemet.registration.sections import Sections

_CREST_PART: Final = (0.15, 0.35)
_FIBULA_PART: Final = (0.15, 0.5)
_LEAST_FIBULA: Final = 8  # sections in which it lies apart
_MARGIN_MM: Final = 0.3
_PLAIN_ENDS: Final = 1.1  # the knee's end reaches at least so much further out than the ankle's
_PLAIN_CREST: Final = 0.1
_APART_DEG: Final = 12.0  # by how much crest and reference may differ about the axis
_POOR_FIT: Final = 0.6
_FINE_MM: Final = 0.1
_END_MM: Final = 0.3  # of a bone's end: where it is cut, if bone lies at a face of the volume there
_SHORT_MM: Final = 0.8  # an end that lies further within the reference's is cut off, too
_SMALL: Final = 100  # voxels along the bone at which both forms are tried
_OTHER_FORM: Final = 1.0  # the form that the name forbids leaves less unexplained than this share


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
class Model:
    """A reference by which other tibiae are set upright.

    Attributes
    ----------
    volume
        A tibia, whole; best a mean (:func:`bonemet.registration.mean_shape`).
    side
        ``left`` or ``right``; bones of the other side are compared with its mirror image.
    """

    volume: Volume
    side: str

    @cached_property
    def frame(self) -> AnatomicalFrame:
        """The reference's own upright frame."""
        return anatomical_frame(self.volume, self.side)


def frame_by_model(volume: Volume, side: str, model: Model, mapper: Mapper = map) -> AnatomicalFrame:
    """Return the upright frame and grid of a tibia, where its axis ends and its front as in a reference.

    The long axis is the bone's own, through the sections between 15 % and 85 % of its length; where an end of
    the bone is cut off, the reference tells where it would be. About this axis the bone is turned as the
    reference is, when it fits best (by a similarity), and not by the crest alone. Bone and reference are
    tried as they are and mirrored: it is marked where the form that the side's name forbids fits better.

    Parameters
    ----------
    volume, side, mapper
        As in :func:`anatomical_frame`.
    model
        The reference.

    Raises
    ------
    InputError, SettingsError
        As in :func:`anatomical_frame`.
    """
    own, upright = anatomical_frame(volume, side, mapper), model.frame
    mirrored = side != model.side
    small = _small(volume, mapper), _small(model.volume, mapper)
    coarse = {flip: _fitted(*small, _start(own, upright, flip), mapper) for flip in (mirrored, not mirrored)}
    fit = _fitted(volume, model.volume, coarse[mirrored].transform, mapper)
    to_bone = fit.transform.after(upright.transform).matrix
    pyramid = levels.build(volume, mapper)
    length = _length_mm(pyramid, volume.grid, Transform(to_bone).inverse(), _shown_mm(model.volume, upright))
    middle = upright.grid.centre_mm
    first, last = (
        to_bone[:3, :3] @ np.array([middle[0], middle[1], length[0] + s * (length[1] - length[0])])
        + to_bone[:3, 3]
        for s in sections.AXIS_PART
    )
    axis = pose.principal_axis(pyramid.bone_mm)
    axis, _ = sections.straighten(pyramid.at(axis.length / sections.COUNT), axis, volume.name, (first, last))
    axis = _turned_as(axis, to_bone[:3, :3], mirrored)
    crest = own.transform.matrix[:3, 1]
    apart = float(np.degrees(np.arccos(np.clip(crest @ axis.frame[:, 1], -1, 1))))
    reasons = _misfits(side, coarse[mirrored].correlation, coarse[not mirrored].correlation, apart)
    grid, transform = _upright_grid(
        pyramid.at(axis.length / sections.COUNT), axis, min(volume.grid.spacing_mm)
    )
    confidence = round(min(ramp(fit.correlation, 0.6, 0.9), 1 - min(apart / (2 * _APART_DEG), 1)), 4)
    return AnatomicalFrame(transform, grid, 0.0 if reasons else confidence, bool(reasons), tuple(reasons))


def _small(volume: Volume, mapper: Mapper) -> Volume:
    """Return a volume at the size at which both forms are tried."""
    pyramid = levels.build(volume, mapper)
    level = pyramid.at(pose.principal_axis(pyramid.bone_mm).length / _SMALL)
    return (
        volume
        if level is pyramid.levels[0]
        else Volume(level.image, level.grid, volume.quantity, volume.name)
    )


def _start(own: AnatomicalFrame, upright: AnatomicalFrame, flip: bool) -> Transform:
    """Return the map from a reference to a bone, knee to knee and crest to crest, mirrored or not."""
    across = np.eye(4)
    across[:3, 3] = own.grid.centre_mm - upright.grid.centre_mm
    across[2, 3] = 0.0
    if flip:
        across[0, 0], across[0, 3] = -1.0, own.grid.centre_mm[0] + upright.grid.centre_mm[0]
    return own.transform.after(Transform(across)).after(upright.transform.inverse())


def _fitted(volume: Volume, model: Volume, start: Transform, mapper: Mapper) -> Registration:
    """Return the registration of a bone to a reference."""
    options = Options(kind=TransformKind.SIMILARITY, part="whole", start=start, both_ways=False)
    return register(model, volume, options, mapper=mapper)


def _shown_mm(volume: Volume, frame: AnatomicalFrame) -> tuple[float, float]:
    """Return between which levels of its upright frame a bone lies."""
    pyramid = levels.build(volume)
    z = frame.transform.inverse().apply(_bone_mm(pyramid))[:, 2]
    return float(z.min()), float(z.max())


def _bone_mm(pyramid: Pyramid) -> NDArray[np.float64]:
    """Return points (n, 3) that hold bone, about a tenth of a millimetre apart."""
    return pyramid.at(_FINE_MM).bone_points()


def _length_mm(
    pyramid: Pyramid, grid: Grid, to_model: Transform, model: tuple[float, float]
) -> tuple[float, float]:
    """Return between which levels of the reference's upright frame a bone lies, cut-off ends completed.

    An end is whole if no bone near it lies at a face of the volume, and it is not far within the reference's.
    """
    points = _bone_mm(pyramid)
    z = to_model.apply(points)[:, 2]
    index = grid.mm_to_index(points)
    near = pyramid.at(_FINE_MM).spacing / np.asarray(grid.spacing_mm)
    at_face = np.any((index < near) | (index > np.asarray(grid.shape) - 1 - near), axis=1)
    found = []
    for end, known, outwards in ((float(z.min()), model[0], -1.0), (float(z.max()), model[1], 1.0)):
        cut = bool(np.any(at_face & (np.abs(z - end) < _END_MM))) or (known - end) * outwards > _SHORT_MM
        found.append(known if cut else end)
    return found[0], found[1]


def _turned_as(axis: Axis, linear: NDArray[np.float64], mirrored: bool) -> Axis:
    """Return an axis, knee first, turned so that its back is where a map takes the reference's back."""
    along = axis.frame[:, 2] * np.sign(axis.frame[:, 2] @ linear[:, 2])
    back = linear[:, 1] - (linear[:, 1] @ along) * along
    back = back / np.linalg.norm(back)
    return Axis(axis.centre, np.stack([np.cross(back, along), back, along], axis=1), axis.length, axis.radius)


def _misfits(side: str, right_form: float, other_form: float, apart_deg: float) -> list[str]:
    """Return why a person should look at a frame that was found by a reference."""
    reasons = []
    if 1 - other_form < _OTHER_FORM * (1 - right_form):
        reasons.append(
            f"The mirror image fits the reference better ({other_form:.3f}) than the bone as it is "
            f"({right_form:.3f}), but it is named {side}: the other leg?"
        )
    if right_form < _POOR_FIT:
        reasons.append(f"It fits the reference poorly ({right_form:.2f}): another bone?")
    if apart_deg > _APART_DEG:
        reasons.append(f"Its crest lies {apart_deg:.0f} degrees away from where the reference has it.")
    return reasons


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
    axis, cuts, ends = sections.long_axis(pyramid, volume.name)
    fibula = _fibula(axis, cuts)
    axis, crest = _crest_forward(axis, cuts)
    reasons = _doubts(side, axis, fibula, ends, crest)
    confidence = min(_share(ends - 1, _PLAIN_ENDS - 1), _share(crest, _PLAIN_CREST))
    grid, transform = _upright_grid(
        pyramid.at(axis.length / sections.COUNT), axis, min(volume.grid.spacing_mm)
    )
    return AnatomicalFrame(transform, grid, 0.0 if reasons else confidence, bool(reasons), tuple(reasons))


def _share(value: float, plain: float) -> float:
    """Return 1/2 for a value that is just plain enough and 1 from twice that on."""
    return round(float(np.clip(value / (2 * plain), 0, 1)), 4)


def _crest_forward(axis: Axis, cuts: Sections) -> tuple[Axis, float]:
    """Return the axis with the crest towards -y, and how plain the crest is (0 for a round bone)."""
    crest = np.median(cuts.apex[sections.part(cuts, _CREST_PART)], axis=0)
    strength = float(np.hypot(*crest))
    if strength == 0:
        return axis, 0.0
    front = axis.frame[:, 0] * crest[0] + axis.frame[:, 1] * crest[1]
    along = axis.frame[:, 2]
    x = np.cross(-front / strength, along)  # y is backwards, and x = y cross z
    return Axis(
        axis.centre, np.stack([x, -front / strength, along], axis=1), axis.length, axis.radius
    ), strength


def _fibula(axis: Axis, cuts: Sections) -> NDArray[np.float64] | None:
    """Return in which direction from the tibia the fibula lies (x, y, z), or None where none was seen."""
    beside = cuts.beside[sections.part(cuts, _FIBULA_PART)]
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
    local = (level.bone_points() - axis.centre) @ axis.frame
    margin = level.spacing + _MARGIN_MM
    low, high = local.min(0) - margin, local.max(0) + margin
    shape = [int(n) for n in np.ceil((high - low) / spacing)[::-1] + 1]
    matrix = np.eye(4)
    matrix[:3, :3] = axis.frame
    matrix[:3, 3] = axis.centre + axis.frame @ low
    return Grid.isotropic(shape, spacing), Transform(matrix)
