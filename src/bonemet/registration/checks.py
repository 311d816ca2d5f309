"""What a registered pair is checked for: growth at the ends of the bone, and fragments that moved.

The pose of the part that was registered is carried along the bone. Each end beyond the growth plates, and
each piece of the shaft, is then registered by itself, beginning from that pose. An end that fits better
some way along the axis has grown away; a piece that fits better elsewhere has moved: it is broken off.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bonemet.registration import rigid
from bonemet.registration.levels import Level, Pyramid
from bonemet.registration.part import Part, Share
from bonemet.registration.rigid import Fit, Points

_PIECES: Final = 8  # of the shaft
_SHAFT: Final = (0.1, 0.9)
_ENDS: Final[dict[str, Share]] = {"proximal": (0.0, 0.065), "distal": (0.935, 1.0)}
_POINTS: Final = 1500
_COARSE: Final = 150  # voxels along the bone at which pieces are compared
_GROWTH_MM: Final = (-0.4, 2.0)  # where a grown end is looked for, outwards
_SHRUNK_MM: Final = 0.03  # no bone grows shorter: an end further in than this is another end
_SEEN: Final = 0.8  # least share of an end that the other image shows
_FITS: Final = 0.6  # least agreement of a piece with itself, as a share of that of the bone's best pieces
_BETTER: Final = 0.15  # by how much more of a piece agrees where it moved to
_MOVED_VOXELS: Final = 1.5
_REACH_MM: Final = 0.4  # steps by which a piece that fits nowhere is looked for
_SHARP: Final = 0.03  # an end's agreement falls by so much a coarse voxel along the axis, or it may slide


@dataclass(frozen=True)
class Growth:
    """How far the ends of the bone lie further out than they did, in mm along its long axis.

    Attributes
    ----------
    proximal_mm, distal_mm
        At the knee and at the ankle, None where it could not be found.
    reasons
        Why not, one sentence each.
    """

    proximal_mm: float | None
    distal_mm: float | None
    reasons: tuple[str, ...] = ()

    def standing(self, least_mm: float) -> tuple[bool, bool]:
        """Tell which ends (knee, ankle) are known to have grown less than this; none becomes shorter."""
        ends = (self.proximal_mm, self.distal_mm)
        first, last = (end is not None and -_SHRUNK_MM < end < least_mm for end in ends)
        return first, last

    @property
    def total_mm(self) -> float | None:
        """By how much the bone has become longer."""
        if self.proximal_mm is None or self.distal_mm is None:
            return None
        return self.proximal_mm + self.distal_mm


@dataclass(frozen=True)
class Fragment:
    """A piece of the shaft that lies elsewhere than the rest says.

    Attributes
    ----------
    first, last
        Where it lies, as shares of the bone's length from the knee.
    moved_mm
        Mean displacement.
    """

    first: float
    last: float
    moved_mm: float


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images and the pose between them, at the size at which pieces are compared.

    Attributes
    ----------
    fixed, moving
        The images.
    pose
        Of the part that was registered.
    bone
        The whole fixed bone.
    """

    fixed: Pyramid
    moving: Pyramid
    pose: Fit
    bone: Part

    def levels(self, finer: int = 1) -> tuple[Level, Level]:
        """Return both images at the size for pieces, or at one so many times finer."""
        spacing = self.bone.length / (_COARSE * finer)
        return self.fixed.at(spacing), self.moving.at(spacing)

    def points(self, share: Share, level: Level, rng: np.random.Generator) -> Points:
        """Return points of a piece of the fixed image."""
        return rigid.edge_points(level, level, _POINTS, rng, keep=0.5, part=self.bone.between(share))

    def judge(self, points: Points, level: Level, matrix: NDArray[np.float64]) -> Fit:
        """Return how well a piece agrees in a pose, grey values mapped as for the whole bone."""
        return rigid.judge(points, level, matrix, self.pose.grey)

    def moved(self, matrix: NDArray[np.float64], points: Points) -> NDArray[np.float64]:
        """Return by how much (n, 3) points lie elsewhere than the pose says, in the fixed image's mm."""
        away = np.linalg.inv(self.pose.matrix) @ matrix
        return np.asarray(points.mm @ away[:3, :3].T + away[:3, 3] - points.mm)


def check(pair: Pair, rng: np.random.Generator) -> tuple[Growth, tuple[Fragment, ...]]:
    """Return how far the ends of a bone have grown, and which pieces of its shaft moved."""
    level_f, level_m = pair.levels()
    edges = np.linspace(*_SHAFT, _PIECES + 1)
    shares = [(float(a), float(b)) for a, b in pairwise(edges)]
    pieces = [pair.points(share, level_f, rng) for share in shares]
    fits = [pair.judge(points, level_m, pair.pose.matrix) for points in pieces]
    usual = float(np.quantile([fit.agreement for fit in fits], 0.75))
    ends = {name: _end(pair, name, usual, rng) for name in _ENDS}
    reasons = tuple(reason for _, reason in ends.values() if reason)
    growth = Growth(ends["proximal"][0], ends["distal"][0], reasons)
    return growth, _fragments(pair, (shares, pieces, fits), usual)


def _end(pair: Pair, name: str, usual: float, rng: np.random.Generator) -> tuple[float | None, str]:
    """Return how far one end moved outwards, or why that is not known."""
    level_f, level_m = pair.levels()
    points = pair.points(_ENDS[name], level_f, rng)
    unknown = f"Growth at the {name} end is not known: "
    if len(points.mm) < _POINTS // 10 or _cut_off(level_f, points):
        return None, unknown + "the earlier scan does not show it whole."
    outwards = pair.bone.along * (-1.0 if name == "proximal" else 1.0)
    shifts = np.arange(*_GROWTH_MM, 0.75 * level_f.spacing)
    tried = [pair.judge(points, level_m, pair.pose.matrix @ _shift(outwards * s)) for s in shifts]
    agreement = np.array([fit.agreement for fit in tried])
    best = int(np.argmax(agreement))
    beside = agreement[[max(best - 2, 0), min(best + 2, len(shifts) - 1)]].max()
    fit = rigid.refine(points, level_m, tried[best].matrix, iterations=15, tolerance=0.01)
    if level_m.sample(points.mm, fit.matrix)[1].mean() < _SEEN:
        return None, unknown + "the later scan does not show it whole."
    if fit.agreement < _FITS * usual or agreement[best] - beside < _SHARP:
        return None, unknown + "it has changed too much."
    finer_f, finer_m = pair.levels(finer=2)
    fine = pair.points(_ENDS[name], finer_f, rng)
    fit = rigid.refine(fine, finer_m, fit.matrix, iterations=15)
    return float(pair.moved(fit.matrix, fine).mean(0) @ outwards), ""


def _shift(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.eye(4)
    out[:3, 3] = vector
    return out


def _cut_off(level: Level, points: Points) -> bool:
    """Tell whether an end reaches a face of the image."""
    index = level.grid.mm_to_index(points.mm)
    last = np.asarray(level.grid.shape) - 1
    return bool(((index < 1.5).any(1) | (index > last - 1.5).any(1)).mean() > 0.02)


def _fragments(
    pair: Pair, shaft: tuple[list[Share], list[Points], list[Fit]], usual: float
) -> tuple[Fragment, ...]:
    """Return the pieces that fit clearly better elsewhere; each is looked for where its neighbour went."""
    shares, pieces, fits = shaft
    voxel = pair.levels()[0].spacing
    best = int(np.argmax([fit.agreement for fit in fits]))
    found: dict[int, Fragment] = {}
    for way in (range(best - 1, -1, -1), range(best + 1, _PIECES)):
        start = pair.pose.matrix
        for n in way:
            fit = _elsewhere(pair, pieces[n], fits[n], start)
            gap = float(np.linalg.norm(pair.moved(fit.matrix, pieces[n]), axis=1).mean())
            better = fit.agreement - fits[n].agreement > _BETTER and fit.agreement > _FITS * usual
            start = pair.pose.matrix
            if better and gap > _MOVED_VOXELS * voxel:
                found[n] = Fragment(*shares[n], gap)
                start = fit.matrix
    return tuple(found[n] for n in sorted(found))


def _elsewhere(pair: Pair, points: Points, here: Fit, start: NDArray[np.float64]) -> Fit:
    """Return the pose near the given one, or near that of a neighbour, in which a piece fits best."""
    if not len(points.mm):
        return here
    level_m = pair.levels()[1]
    starts = [pair.pose.matrix, start]
    if here.agreement < 0.5:
        steps = np.vstack([np.eye(3), -np.eye(3)]) * _REACH_MM
        starts += [start @ _shift(step) for step in steps]
    fits = [rigid.refine(points, level_m, m, iterations=10, tolerance=0.02, width=6.0) for m in starts]
    return max(fits, key=lambda fit: fit.agreement)
