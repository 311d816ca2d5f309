"""A reference made from a cohort: the mean shape of several tibiae, upright by anatomy.

Each bone is set upright by its own anatomy, bones of the other side mirrored, and the first mean is that
of the bones so laid: none of them is the start, so none is favoured. Then each is registered to the mean,
with a similarity, and the mean is made anew (Guimond 2000, doi:10.1006/cviu.1999.0815). After each round
the mean of all maps is taken out, so that the reference keeps the bones' mean pose and mean size, and at
the end it is set upright by its own anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper, Tick
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.core.ids import SIDES
from bonemet.core.transform import Transform, TransformKind
from bonemet.core.volume import Volume
from bonemet.kernels.resample import resample
from bonemet.registration.align import Options, register
from bonemet.registration.reference import anatomical_frame

_ROUNDS: Final = 5
_STEADY: Final = 0.1  # voxels by which the maps still change when the mean is done
_ALIKE: Final = 0.6  # correlation with the mean below which a bone does not belong there
_FEW: Final = 0.5  # share of the bones that must show a voxel
_OPTIONS: Final = Options(kind=TransformKind.SIMILARITY, part="whole", both_ways=False)


@dataclass(frozen=True, eq=False)
class Member:
    """One bone of a mean.

    Attributes
    ----------
    name, side
        Of the bone.
    transform
        A similarity; takes points of the reference to points of the bone. Mirrors the other side.
    scale
        By how much the bone is larger than the reference.
    correlation
        With the mean.
    reasons
        Why a person should look, one sentence each.
    """

    name: str
    side: str
    transform: Transform
    scale: float
    correlation: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class MeanShape:
    """The mean of several bones.

    Attributes
    ----------
    volume
        Upright, grey values as the bones have them.
    side
        Whose form it has.
    members
        The bones, in the order given.
    rounds
        How often the mean was made anew.
    moved_voxels
        By how much the maps changed in the last round, mean over bones and points.
    """

    volume: Volume
    side: str
    members: tuple[Member, ...]
    rounds: int
    moved_voxels: float


def mean_shape(
    bones: Sequence[Volume],
    sides: Sequence[str],
    *,
    side: str = "left",
    mapper: Mapper = map,
    tick: Tick = lambda n: None,
) -> MeanShape:
    """Return the mean of tibiae as a reference.

    Parameters
    ----------
    bones
        Two tibiae or more, healthy ones (week 0), grey values of one meaning.
    sides
        ``left`` or ``right`` for each.
    side
        Whose form the reference has; bones of the other side are mirrored.
    mapper
        Spreads work over threads.
    tick
        Told of each bone that was registered.

    Raises
    ------
    InputError
        If there are fewer than two bones, or their grey values differ in meaning.
    SettingsError
        If a side is neither left nor right.
    """
    _refuse(bones, sides, side)
    maps, reasons, grid = _laid(bones, sides, side, mapper)
    mean = _mean(bones, maps, grid, mapper)
    moved, rounds = np.inf, 0
    found: list[tuple[Transform, float]] = []
    while moved >= _STEADY and rounds < _ROUNDS:
        found = []
        for bone, start in zip(bones, maps, strict=True):
            fit = register(mean, bone, replace(_OPTIONS, start=start), mapper=mapper)
            found.append((fit.transform, fit.correlation))
            tick(1)
        new = _centred(maps, [t for t, _ in found], grid)
        moved = _moved(maps, new, grid) / grid.spacing_mm[0]
        maps, mean, rounds = new, _mean(bones, new, grid, mapper), rounds + 1
    frame = anatomical_frame(mean, side, mapper)
    maps = [one.after(frame.transform) for one in maps]
    mean = _mean(bones, maps, frame.grid, mapper)
    members = tuple(
        Member(
            bone.name,
            own,
            one,
            float(np.cbrt(abs(np.linalg.det(one.matrix[:3, :3])))),
            correlation,
            (*why, *_unlike(correlation)),
        )
        for bone, own, one, (_, correlation), why in zip(bones, sides, maps, found, reasons, strict=True)
    )
    return MeanShape(mean, side, members, rounds, float(moved))


def _refuse(bones: Sequence[Volume], sides: Sequence[str], side: str) -> None:
    if len(bones) < 2:
        raise InputError("A mean takes two tibiae or more; give more of them.")
    for one in (side, *sides):
        if one not in SIDES:
            raise SettingsError(f"A side is left or right, not {one!r}.")
    if len(sides) != len(bones):
        raise SettingsError(f"There are {len(bones)} bones, but {len(sides)} sides.")
    for bone in bones:
        if bone.quantity != bones[0].quantity:
            raise InputError(
                f"The grey values of {bone.name or 'a bone'} mean something else than those of "
                f"{bones[0].name or 'the first'}; reconstruct all with one window."
            )


def _unlike(correlation: float) -> tuple[str, ...]:
    if correlation >= _ALIKE:
        return ()
    return (
        f"It correlates poorly ({correlation:.2f}) with the mean of all: another bone, or the other leg?",
    )


def _laid(
    bones: Sequence[Volume], sides: Sequence[str], side: str, mapper: Mapper
) -> tuple[list[Transform], list[tuple[str, ...]], Grid]:
    """Return each bone laid upright, knee to knee, why not to trust it, and a grid for all."""
    frames = [anatomical_frame(bone, own, mapper) for bone, own in zip(bones, sides, strict=True)]
    sizes = np.array([np.multiply(f.grid.shape, f.grid.spacing_mm)[::-1] for f in frames])
    spacing = max(max(bone.grid.spacing_mm) for bone in bones)
    grid = Grid.isotropic([int(n) for n in np.ceil(sizes.max(0) / spacing)[::-1] + 1], spacing)
    maps = []
    for frame, own, size in zip(frames, sides, sizes, strict=True):
        here = np.eye(4)
        here[:2, 3] = (size - sizes.max(0))[:2] / 2
        if own != side:
            here[0] = [-1.0, 0.0, 0.0, (size[0] + sizes[:, 0].max()) / 2]
        maps.append(frame.transform.after(Transform(here)))
    return maps, [frame.reasons for frame in frames], grid


def _mean(bones: Sequence[Volume], maps: Sequence[Transform], grid: Grid, mapper: Mapper) -> Volume:
    """Return the mean of the bones where most of them are shown."""
    total, count = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.uint16)
    for bone, one in zip(bones, maps, strict=True):
        data = bone.array()
        total += resample(data, bone.grid, grid, one, mapper=mapper)
        seen = np.ones(data.shape, np.uint8)
        count += resample(seen, bone.grid, grid, one, order="nearest", mapper=mapper)
    total = np.where(count >= _FEW * len(bones), total / np.maximum(count, 1), 0)
    first = bones[0]
    dtype: Any = first.array().dtype
    values = total if dtype.kind == "f" else np.rint(total)
    return Volume(values.astype(dtype), grid, first.quantity, "mean tibia")


def _middle(grid: Grid) -> NDArray[np.float64]:
    return np.asarray(grid.centre_mm, np.float64)


def _centred(before: Sequence[Transform], after: Sequence[Transform], grid: Grid) -> list[Transform]:
    """Return new maps from which the mean of what changed is taken out."""
    changes = [old.inverse().after(new).matrix for old, new in zip(before, after, strict=True)]
    scales = [np.cbrt(np.linalg.det(change[:3, :3])) for change in changes]
    u, _, vt = np.linalg.svd(np.sum([c[:3, :3] / s for c, s in zip(changes, scales, strict=True)], axis=0))
    common = np.eye(4)
    common[:3, :3] = u @ vt * float(np.exp(np.mean(np.log(scales))))
    middle = _middle(grid)
    shifted = np.mean([c[:3, :3] @ middle + c[:3, 3] for c in changes], axis=0)
    common[:3, 3] = shifted - common[:3, :3] @ middle
    back = Transform(common, TransformKind.SIMILARITY).inverse()
    return [new.after(back) for new in after]


def _moved(before: Sequence[Transform], after: Sequence[Transform], grid: Grid) -> float:
    """Return by how much the maps changed, in mm, mean over the corners of a grid and over the bones."""
    corners = np.array(np.meshgrid(*((0.0, n - 1.0) for n in grid.shape))).reshape(3, -1).T
    points = grid.index_to_mm(corners)
    gaps = [
        np.linalg.norm(a.apply(points) - b.apply(points), axis=1) for a, b in zip(before, after, strict=True)
    ]
    return float(np.mean(gaps))
