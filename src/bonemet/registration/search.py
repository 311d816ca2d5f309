"""The search for a coarse pose: many proposals, a few robust steps each, and a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.registration import pose, rigid
from bonemet.registration.levels import Level, Pyramid
from bonemet.registration.pose import Axis, Cylinders, Proposal
from bonemet.registration.rigid import Fit, Points

_PROPOSALS: Final = 10  # for each way up
_MIRRORED_PROPOSALS: Final = 5
_KEPT: Final = 5  # poses that are refined fully at the coarse size
_COARSE_POINTS: Final = 4500
_CONTENDS: Final = 0.6  # poses with this share of the best one's agreement are looked at one size finer
_DECIDING_POINTS: Final = 8000
_POOR: Final = 0.35  # a best pose that agrees less than this is looked for about tilted axes, too
_TILTED_PROPOSALS: Final = 2
_CLEARLY: Final = 1.5  # by how much a leaning pose must agree better to be taken instead
_TILT_DEG: Final = 12.0


@dataclass(frozen=True, eq=False)
class Search:
    """The best coarse poses: of the bone as it is, its runner-up, and of its mirror image.

    Attributes
    ----------
    best, second, mirrored
        Poses at the coarse size.
    spacing
        Size of the voxels in mm at which they were decided.
    coarse
        Size at which they were proposed.
    """

    best: Fit
    second: Fit | None
    mirrored: Fit | None
    spacing: float
    coarse: float

    @property
    def mirror_wins(self) -> bool:
        """Whether the mirror image leaves clearly less unexplained than the bone as it is."""
        if self.mirrored is None:
            return False
        return 1 - self.mirrored.agreement < 0.8 * (1 - self.best.agreement)

    @property
    def advantage(self) -> float:
        """By which share the best pose leaves less unexplained than the second."""
        if self.second is None:
            return 1.0
        return 1 - (1 - self.best.agreement) / max(1 - self.second.agreement, 1e-9)


def search(
    fixed: Pyramid,
    moving: Pyramid,
    angles: Sequence[float] | None,
    rng: np.random.Generator,
    mapper: Mapper,
) -> Search:
    """Return the best coarse poses."""
    bones = pose.principal_axis(fixed.bone_mm), pose.principal_axis(moving.bone_mm)
    level_f, level_m = pose.coarse_levels(fixed, moving, bones)
    cylinders = Cylinders.around(bones[0], bones[1], level_f, level_m)
    points = rigid.edge_points(level_f, level_f, _COARSE_POINTS, rng, keep=0.6)
    thin = points.thinned(3)

    def tried(bones: list[Axis], count: int) -> list[Fit]:
        ways = [way for bone in bones for way in (bone, bone.turned())]
        starts: list[tuple[Axis, Proposal]] = [
            (way, p) for way in ways for p in cylinders.propose(way, count, angles)
        ]

        def quick(start: tuple[Axis, Proposal]) -> Fit:
            matrix = cylinders.matrix(*start)
            return rigid.refine(thin, level_m, matrix, iterations=8, tolerance=0.05, width=6.0)

        return _best(list(mapper(quick, starts)), points, level_m, mapper)

    axes = [bones[1]]
    plain = tried(axes, _PROPOSALS)
    if plain[0].agreement < _POOR:  # a bone that is not much longer than wide has no such plain axis
        leaning = bones[1].tilted(_TILT_DEG)
        more = tried(leaning, _TILTED_PROPOSALS)
        if more[0].agreement > _CLEARLY * plain[0].agreement:
            axes, plain = [*axes, *leaning], more
    few = _MIRRORED_PROPOSALS if len(axes) == 1 else _TILTED_PROPOSALS
    mirrored = tried([axis.mirrored() for axis in axes], few)
    coarse = spacing = max(level_f.spacing, level_m.spacing)
    bar = _CONTENDS * max(fit.agreement for fit in plain + mirrored)
    runners = [fit for fit in plain + mirrored if fit.agreement >= bar]
    if len(runners) > 1:
        plain, mirrored, spacing = _decide((fixed, moving), (plain, mirrored), bar, spacing, rng, mapper)
    best = plain[0]
    far = [f for f in plain[1:] if _apart(f.matrix, best.matrix, points) > 4 * level_m.spacing]
    return Search(best, far[0] if far else None, mirrored[0] if mirrored else None, spacing, coarse)


def _best(fits: list[Fit], points: Points, level: Level, mapper: Mapper) -> list[Fit]:
    """Return the best different poses, refined, best first."""
    chosen: list[Fit] = []
    for fit in sorted(fits, key=lambda f: -f.agreement):
        if all(_apart(fit.matrix, other.matrix, points) > 1.5 * level.spacing for other in chosen):
            chosen.append(fit)
        if len(chosen) == _KEPT:
            break

    def fully(fit: Fit) -> Fit:
        return rigid.refine(points, level, fit.matrix, iterations=20, tolerance=0.02, width=6.0)

    return sorted(mapper(fully, chosen), key=lambda f: -f.agreement)


def _decide(
    images: tuple[Pyramid, Pyramid],
    fits: tuple[list[Fit], list[Fit]],
    bar: float,
    spacing: float,
    rng: np.random.Generator,
    mapper: Mapper,
) -> tuple[list[Fit], list[Fit], float]:
    """Return the poses that are close to the best, judged anew one size finer, and that size.

    Much lost bone can make a wrong pose look as good as the right one where voxels are coarse.
    """
    fixed, moving = images
    finer = max(spacing / 2, fixed.levels[0].spacing, moving.levels[0].spacing)
    level = moving.at(finer)
    points = rigid.edge_points(fixed.at(finer), fixed.at(spacing), _DECIDING_POINTS, rng, keep=0.5)

    def fully(fit: Fit) -> Fit:
        return rigid.refine(points, level, fit.matrix, tolerance=0.02, width=6.0)

    def again(some: list[Fit]) -> list[Fit]:
        close = [fit for fit in some if fit.agreement >= bar] or some[:1]
        return sorted(mapper(fully, close), key=lambda f: -f.agreement)

    return again(fits[0]), again(fits[1]), finer


def _apart(a: NDArray[np.float64], b: NDArray[np.float64], points: Points) -> float:
    """Return the mean distance in mm between where two poses take the points."""
    difference = (a - b)[:3]
    moved = points.mm[::10] @ difference[:, :3].T + difference[:, 3]
    return float(np.linalg.norm(moved, axis=1).mean())
