"""Broken bones: a piece that lies elsewhere than the rest, its own pose, and where the break runs.

The pose of the part that was registered is carried along the bone. Pieces of the shaft are registered each
by itself, beginning from that pose; a piece that fits clearly better elsewhere has moved. What lies from it
to the end of the bone is a fragment, which is then registered as a whole. The break between it and the rest
is the plane that leaves every place with the pose in which it agrees better.

Along the axis a fragment's pose follows the shape of the metaphysis, which moves along with a growing plate:
of a bone that grew, the fragment may lie by the most part of that growth too near to the break.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bonemet.core.transform import Piece, Transform
from bonemet.registration import rigid
from bonemet.registration.levels import Level
from bonemet.registration.part import Share
from bonemet.registration.pieces import FITS, PLATES, Pair, shift
from bonemet.registration.pose import across
from bonemet.registration.rigid import Fit, Points

_SHAFT: Final = np.linspace(0.1, 0.9, 9)  # edges of its pieces
_BESIDE_PLATES: Final = (0.13, 0.87)  # the pieces before the shaft, from the growth plates
_BETTER: Final = 0.15  # by how much more of a piece agrees where it moved to
_AGREES: Final = 0.5  # least agreement of a piece where it moved to
_MOVED_VOXELS: Final = 1.5
_BETTER_ASIDE: Final = 0.05  # at the growth plates, than growth explains, which moves nothing aside
_MOVED_ASIDE_VOXELS: Final = 0.6
_POOR: Final = 0.5  # agreement below which a piece is looked for further away
_POOR_AT_PLATES: Final = 0.75
_GROWTH_MM: Final = np.arange(0.06, 1.5, 0.06)  # shifts along the bone that growth explains
_REACH_MM: Final = 0.4  # steps by which a piece that fits nowhere is looked for
_BREAK: Final = 0.15  # shares of the length within which a break lies beyond the last piece that moved
_LEAST: Final = 0.03  # of a piece that moved, at least so much belongs to the fragment
_BREAK_POINTS: Final = 6000
_SLOPES: Final = np.linspace(-0.75, 0.75, 16)  # of the break against a plane across the bone
_ROUNDS: Final = 2  # of pose and break in turns


@dataclass(frozen=True)
class Fragment:
    """A piece that has broken off an end of the bone and lies elsewhere than the rest says.

    Attributes
    ----------
    first, last
        Where it lies, as shares of the bone's length from the knee; one of them is 0 or 1.
    moved_mm
        Mean displacement.
    piece
        Its own pose, and the side of the break on which it lies.
    """

    first: float
    last: float
    moved_mm: float
    piece: Piece


@dataclass(frozen=True, eq=False)
class _Pieces:
    """The pieces of a bone from knee to ankle, and how well they agree in the pose of the whole.

    The outermost, at the growth plates, in that pose or some way further out, whichever is better.
    """

    shares: list[Share]
    points: list[Points]
    fits: list[Fit]

    @property
    def agreements(self) -> list[float]:
        """Of the pieces of the shaft."""
        return [fit.agreement for fit in self.fits[1:-1]]

    def at_plate(self, n: int) -> bool:
        """Tell whether a piece lies at a growth plate, where growth moves it along the bone."""
        return n in (0, len(self.fits) - 1)


def find_fragments(pair: Pair, rng: np.random.Generator) -> tuple[tuple[Fragment, ...], float]:
    """Return the pieces that have broken off a bone, and the agreement of its best pieces."""
    pieces = _pieces(pair, rng)
    usual = float(np.quantile(pieces.agreements, 0.75))
    best = 1 + int(np.argmax(pieces.agreements))
    found = []
    for way in (range(best - 1, -1, -1), range(best + 1, len(pieces.shares))):
        moved = _moved(pair, pieces, way, usual, rng)
        if moved:
            fit = max(moved.values(), key=lambda fit: fit.agreement)
            inner = pieces.shares[next(iter(moved))]
            found.append(_fragment(pair, inner, fit, way.step < 0, rng))
    return tuple(found), usual


def _pieces(pair: Pair, rng: np.random.Generator) -> _Pieces:
    """Return the pieces of a bone with how well they agree."""
    level_f, level_m = pair.levels()
    shaft = [(float(a), float(b)) for a, b in pairwise(_SHAFT)]
    shares = [(PLATES[0], _BESIDE_PLATES[0]), *shaft, (_BESIDE_PLATES[1], PLATES[1])]
    points = [pair.points(share, level_f, rng) for share in shares]
    fits = [pair.judge(p, level_m, pair.pose.matrix) for p in points]
    for n, outwards in ((0, -pair.bone.along), (-1, pair.bone.along)):
        grown = [pair.judge(points[n], level_m, pair.pose.matrix @ shift(mm * outwards)) for mm in _GROWTH_MM]
        fits[n] = max([fits[n], *grown], key=lambda fit: fit.agreement)
    return _Pieces(shares, points, fits)


def unbroken(pose: Fit, share: Share, fragments: Sequence[Fragment]) -> tuple[Fit, Share]:
    """Return a pose of the bone without its fragments, and between which shares of its length that lies.

    What did not move is the bone where it makes up half of it. Where it does not, the pose belonged to a
    smaller piece or had taken the middle between two halves: the longest fragment is then the bone.

    Parameters
    ----------
    pose
        Of the bone as if it were whole.
    share
        Where that was found.
    fragments
        What has moved, one or two.
    """
    low = max((f.last for f in fragments if f.first == 0), default=0.0)
    high = min((f.first for f in fragments if f.last == 1), default=1.0)
    if high - low >= 0.5:
        return pose, (max(low, share[0]), min(high, share[1]))
    longest = max(fragments, key=lambda f: f.last - f.first)
    fit = replace(pose, matrix=longest.piece.transform.matrix)
    return fit, (max(longest.first, PLATES[0]), min(longest.last, PLATES[1]))


def _moved(
    pair: Pair, pieces: _Pieces, way: Sequence[int], usual: float, rng: np.random.Generator
) -> dict[int, Fit]:
    """Return the pieces that fit clearly better elsewhere; each is looked for where its neighbour went."""
    voxel = pair.levels()[0].spacing
    along = pair.bone.along
    start = pair.pose.matrix
    found: dict[int, Fit] = {}
    for n in way:
        fit = _elsewhere(pair, pieces, n, start, rng)
        gap = pair.moved(fit.matrix, pieces.points[n])
        least, more = _MOVED_VOXELS, _BETTER
        if pieces.at_plate(n):
            gap, least, more = gap - (gap @ along).mean() * along, _MOVED_ASIDE_VOXELS, _BETTER_ASIDE
        better = fit.agreement - pieces.fits[n].agreement > more
        agrees = fit.agreement > max(FITS * usual, _AGREES)
        start = pair.pose.matrix
        if better and agrees and float(np.linalg.norm(gap, axis=1).mean()) > least * voxel:
            found[n] = fit
            start = fit.matrix
    return found


def _elsewhere(
    pair: Pair, pieces: _Pieces, n: int, start: NDArray[np.float64], rng: np.random.Generator
) -> Fit:
    """Return the pose near that of the whole, or near that of a neighbour, in which a piece fits best."""
    share, points, here = pieces.shares[n], pieces.points[n], pieces.fits[n]
    if not len(points.mm):
        return here
    starts = [pair.pose.matrix, start]
    if pieces.at_plate(n):
        starts.append(here.matrix)
    if here.agreement < (_POOR_AT_PLATES if pieces.at_plate(n) else _POOR):
        steps = np.vstack([np.eye(3), -np.eye(3)]) * _REACH_MM
        starts += [start @ shift(step) for step in steps]
        starts += [_near(pair, share, matrix, rng) for matrix in starts]
    level_m = pair.levels()[1]
    fits = [rigid.refine(points, level_m, m, iterations=10, tolerance=0.02, width=6.0) for m in starts]
    return max(fits, key=lambda fit: fit.agreement)


def _near(
    pair: Pair, share: Share, matrix: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return a pose refined on coarser images, in which a piece is seen from further away."""
    level_f, level_m = pair.levels(0.5)
    points = pair.points(share, level_f, rng)
    if not len(points.mm):
        return matrix
    return rigid.refine(points, level_m, matrix, iterations=10, tolerance=0.02, width=6.0).matrix


def _fragment(pair: Pair, inner: Share, fit: Fit, at_knee: bool, rng: np.random.Generator) -> Fragment:
    """Return the fragment from an end of the bone to a piece that moved, by a pose of one of its pieces."""
    share = (PLATES[0], inner[1]) if at_knee else (inner[0], PLATES[1])
    window = (inner[0], inner[1] + _BREAK) if at_knee else (inner[0] - _BREAK, inner[1])
    matrix = fit.matrix
    for _ in range(_ROUNDS):
        matrix, points = _refined(pair, share, matrix, rng)
        piece, place = _broken_at(pair, window, matrix, at_knee, rng)
        share = (
            (PLATES[0], max(place, inner[0] + _LEAST))
            if at_knee
            else (min(place, inner[1] - _LEAST), PLATES[1])
        )
    moved = float(np.linalg.norm(pair.moved(matrix, points), axis=1).mean())
    first, last = (0.0, place) if at_knee else (place, 1.0)
    return Fragment(first, last, moved, piece)


def _refined(
    pair: Pair, share: Share, matrix: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], Points]:
    """Return the pose of a piece refined from size to size, and the points on which it was."""
    finest = max(image.levels[0].spacing for image in (pair.fixed, pair.moving))
    coarse = pair.levels()[0]
    spacing = coarse.spacing
    while True:
        level_f, level_m = pair.fixed.at(spacing), pair.moving.at(spacing)
        part = pair.bone.between(share)
        points = rigid.edge_points(level_f, coarse, _BREAK_POINTS, rng, keep=0.5, part=part)
        matrix = rigid.refine(points, level_m, matrix, iterations=15).matrix
        if spacing <= finest * 1.001:
            return matrix, points
        spacing = max(spacing / 2, finest)


def _broken_at(
    pair: Pair, window: Share, matrix: NDArray[np.float64], at_knee: bool, rng: np.random.Generator
) -> tuple[Piece, float]:
    """Return a fragment, with the plane at which it is broken off, and where that crosses the axis."""
    level_f, level_m = pair.levels(finer=2)
    points = pair.points(window, level_f, rng, _BREAK_POINTS)
    ours, rest = (_misfit(pair, points, level_m, m) for m in (matrix, pair.pose.matrix))
    centre, along = pair.bone.centre, pair.bone.along
    sides = across(along)
    arm = points.mm - centre
    height, aside = arm @ along, arm @ sides
    best = (np.inf, 0.0, 0.0, 0.0)
    for a, b in product(_SLOPES, _SLOPES):
        level = height - aside @ (a, b)
        order = np.argsort(level)
        # what lies nearer to the knee than the plane belongs to the one, what lies beyond it to the other
        near, far = (ours, rest) if at_knee else (rest, ours)
        cost = np.concatenate([[0.0], np.cumsum((near - far)[order])]) + far.sum()
        n = int(np.argmin(cost))
        place = level[order]
        at = float(place[min(n, len(place) - 1)] + place[max(n - 1, 0)]) / 2
        best = min(best, (float(cost[n]), at, float(a), float(b)))
    _, at, a, b = best
    way = -1.0 if at_knee else 1.0
    normal = way * (along - sides @ (a, b))
    piece = Piece(Transform(matrix), normal, way * at + float(normal @ centre))
    return piece, float((at - pair.bone.low) / pair.bone.length)


def _misfit(pair: Pair, points: Points, level: Level, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how little (n,) points agree in a pose: 0 wholly, 1 not at all."""
    values, inside = level.sample(points.mm, matrix)
    agreeing = rigid.agreeing(values.astype(np.float64), points.values, pair.pose.grey)
    return np.where(inside, 1 - agreeing, 1.0)
