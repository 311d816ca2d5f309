"""Registration of one bone to another: search, refine, judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.errors import SettingsError
from bonemet.core.transform import Transform, TransformKind
from bonemet.core.volume import Volume
from bonemet.registration import levels, pose, quality, rigid
from bonemet.registration.levels import Level, Pyramid
from bonemet.registration.pose import Axis, Cylinders, Proposal
from bonemet.registration.rigid import Fit, Points

_PROPOSALS: Final = 10  # for each way up
_MIRRORED_PROPOSALS: Final = 5
_KEPT: Final = 5  # poses that are refined fully at the coarse size
_COARSE_POINTS: Final = 4500
_FINE_POINTS: Final = 24000
_CONTENDS: Final = 0.6  # poses with this share of the best one's agreement are looked at one size finer
_DECIDING_POINTS: Final = 8000
_ITERATIONS: Final = 20
_POOR_CORRELATION: Final = 0.75
_POOR_OVERLAP: Final = 0.6
_POOR_COVERAGE: Final = 0.35


@dataclass(frozen=True, eq=False)
class Registration:
    """A pose and what speaks for it.

    Attributes
    ----------
    transform
        Takes points of the fixed image to points of the moving image, in mm.
    correlation, overlap, coverage, mutual_information
        See :class:`bonemet.registration.quality.Quality`.
    confidence
        0 (none) to 1: falls with poor correlation or overlap, with little shared bone, and where another
        pose or the mirror image fits about as well.
    review
        Whether a person should look.
    reasons
        Why, one sentence each.
    notes
        What a reader should know, one sentence each.
    steps
        What was done at each size: ``spacing_mm``, ``iterations``, ``correlation``.
    mirrored_correlation
        Correlation at the coarse size of the best mirrored pose, or None where it was not tried.
    """

    transform: Transform
    correlation: float
    overlap: float
    coverage: float
    mutual_information: float
    confidence: float
    review: bool
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    steps: tuple[dict[str, Any], ...] = field(default=())
    mirrored_correlation: float | None = None


@dataclass(frozen=True, eq=False)
class _Search:
    """The best coarse poses: of the bone as it is, its runner-up, and of its mirror image."""

    best: Fit
    second: Fit | None
    mirrored: Fit | None
    spacing: float
    coarse: float


def register(
    fixed: Volume,
    moving: Volume,
    *,
    initial_angles: Sequence[float] | None = None,
    kind: TransformKind | str = TransformKind.RIGID,
    seed: int = 0,
    allow_mirror: bool = False,
    mapper: Mapper = map,
) -> Registration:
    """Find the pose of the moving bone on the fixed one.

    Any axial angle, tilt and shift, either end up; cropped ends and lost or formed bone are borne.
    Both volumes may have voxels of any size and any grey scale, as long as bone is brighter than what
    surrounds it. The same inputs give the same result, whatever the mapper.

    Parameters
    ----------
    fixed, moving
        One bone each.
    initial_angles
        Axial angles in radian, of the moving bone on the fixed one, to begin from; the whole circle
        where None.
    kind
        ``rigid``, ``similarity`` or ``affine``.
    seed
        Of the random choice of points.
    allow_mirror
        Whether a mirrored pose may be returned where it fits better (the other leg). Never silent: a note
        says so. Without leave, a better mirrored fit marks the pair for review.
    mapper
        Spreads work over threads.

    Returns
    -------
    Registration
        Always a pose; ``review`` tells where it should not be trusted unseen.

    Raises
    ------
    InputError
        If a volume is empty.
    SettingsError
        If the kind is not known, or the list of angles is empty.
    """
    freedom = _freedom(kind)
    if initial_angles is not None and not len(initial_angles):
        raise SettingsError("The list of initial angles is empty; leave it out to search the whole circle.")
    pyramids = levels.build(fixed, mapper), levels.build(moving, mapper)
    rng = np.random.default_rng(seed)
    found = _search(*pyramids, initial_angles, rng, mapper)
    mirror_wins = _mirror_wins(found)
    start = found.mirrored if mirror_wins and allow_mirror and found.mirrored else found.best
    steps = [_record(found.spacing, start)]
    fit = _refine_down(*pyramids, start, found.spacing, freedom, rng, steps)
    notes = []
    if mirror_wins and allow_mirror:
        notes.append("The moving bone is mirrored: its mirror image fits better, as another leg's would.")
    judged = quality.assess(*_judging_levels(*pyramids, found.coarse), fit.matrix, seed)
    reasons = _reasons(judged) + _other_poses(found, mirror_wins and not allow_mirror)
    signs = [*_signs(judged), _ramp(_advantage(found), 0.0, 0.3), 1.0 - (mirror_wins and not allow_mirror)]
    mirrored = None if found.mirrored is None else found.mirrored.correlation
    return _registration(Transform(fit.matrix, freedom), judged, signs, reasons, notes, steps, mirrored)


def judge(
    fixed: Volume,
    moving: Volume,
    transform: Transform,
    *,
    notes: Sequence[str] = (),
    steps: Sequence[dict[str, Any]] = (),
    mapper: Mapper = map,
) -> Registration:
    """Return a pose that was found elsewhere (by hand, by another method) with what speaks for it.

    Raises
    ------
    InputError
        If a volume is empty.
    """
    pyramids = levels.build(fixed, mapper), levels.build(moving, mapper)
    bones = pose.principal_axis(pyramids[0].bone_mm), pose.principal_axis(pyramids[1].bone_mm)
    spacing = max(level.spacing for level in pose.coarse_levels(*pyramids, bones))
    judged = quality.assess(*_judging_levels(*pyramids, spacing), transform.matrix)
    return _registration(transform, judged, _signs(judged), _reasons(judged), notes, steps)


def _registration(
    transform: Transform,
    judged: quality.Quality,
    signs: Sequence[float],
    reasons: Sequence[str],
    notes: Sequence[str],
    steps: Sequence[dict[str, Any]],
    mirrored: float | None = None,
) -> Registration:
    return Registration(
        transform,
        judged.correlation,
        judged.overlap,
        judged.coverage,
        judged.mutual_information,
        round(min(signs), 4),
        bool(reasons),
        tuple(reasons),
        tuple(notes),
        tuple(steps),
        mirrored,
    )


def _freedom(kind: TransformKind | str) -> TransformKind:
    try:
        return TransformKind(kind)
    except ValueError:
        known = ", ".join(TransformKind)
        raise SettingsError(f"A transform of kind {kind!r} is not known; choose one of {known}.") from None


def _record(spacing: float, fit: Fit) -> dict[str, Any]:
    return {"spacing_mm": spacing, "iterations": fit.iterations, "correlation": fit.correlation}


def _search(
    fixed: Pyramid,
    moving: Pyramid,
    angles: Sequence[float] | None,
    rng: np.random.Generator,
    mapper: Mapper,
) -> _Search:
    """Return the best coarse poses."""
    bones = pose.principal_axis(fixed.bone_mm), pose.principal_axis(moving.bone_mm)
    level_f, level_m = pose.coarse_levels(fixed, moving, bones)
    cylinders = Cylinders.around(bones[0], bones[1], level_f, level_m)
    points = rigid.edge_points(level_f, level_f, _COARSE_POINTS, rng, keep=0.6)
    thin = points.thinned(3)

    def tried(bone: Axis, count: int) -> list[Fit]:
        starts: list[tuple[Axis, Proposal]] = [
            (way, p) for way in (bone, bone.turned()) for p in cylinders.propose(way, count, angles)
        ]

        def quick(start: tuple[Axis, Proposal]) -> Fit:
            matrix = cylinders.matrix(*start)
            return rigid.refine(thin, level_m, matrix, iterations=8, tolerance=0.05, width=6.0)

        return _best(list(mapper(quick, starts)), points, level_m, mapper)

    plain, mirrored = tried(bones[1], _PROPOSALS), tried(bones[1].mirrored(), _MIRRORED_PROPOSALS)
    coarse = spacing = max(level_f.spacing, level_m.spacing)
    bar = _CONTENDS * max(fit.agreement for fit in plain + mirrored)
    runners = [fit for fit in plain + mirrored if fit.agreement >= bar]
    if len(runners) > 1:
        plain, mirrored, spacing = _decide((fixed, moving), (plain, mirrored), bar, spacing, rng, mapper)
    best = plain[0]
    far = [f for f in plain[1:] if _apart(f.matrix, best.matrix, points) > 4 * level_m.spacing]
    return _Search(best, far[0] if far else None, mirrored[0] if mirrored else None, spacing, coarse)


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


def _refine_down(
    fixed: Pyramid,
    moving: Pyramid,
    start: Fit,
    spacing: float,
    kind: TransformKind,
    rng: np.random.Generator,
    steps: list[dict[str, Any]],
) -> Fit:
    """Return the pose refined from size to size, down to the coarser of the two images' own voxels."""
    finest = max(fixed.levels[0].spacing, moving.levels[0].spacing)
    fit = start
    coarse = fixed.at(spacing)
    freedoms = list(TransformKind)[: list(TransformKind).index(kind) + 1]
    while True:
        spacing = max(spacing / 2, finest)
        level_f, level_m = fixed.at(spacing), moving.at(spacing)
        points = rigid.edge_points(level_f, coarse, _FINE_POINTS, rng, keep=0.5)
        # freedom is given little by little, or an affine map would explain a wrong size by a shear
        for freedom in freedoms:
            fit = rigid.refine(points, level_m, fit.matrix, kind=freedom, iterations=_ITERATIONS)
        freedoms = [kind]
        steps.append(_record(level_f.spacing, fit))
        if spacing <= finest * 1.001:
            return fit


def _judging_levels(
    fixed: Pyramid, moving: Pyramid, spacing: float
) -> tuple[tuple[Level, Level], tuple[Level, Level]]:
    """Return for both images a level at which noise is low and the cortex still shows, and a coarse one."""
    fine = spacing / 4
    return (fixed.at(fine), fixed.at(spacing)), (moving.at(fine), moving.at(spacing))


def _mirror_wins(found: _Search) -> bool:
    """Tell whether the mirror image leaves clearly less unexplained than the bone as it is."""
    if found.mirrored is None:
        return False
    return 1 - found.mirrored.agreement < 0.8 * (1 - found.best.agreement)


def _signs(judged: quality.Quality) -> list[float]:
    """Return numbers from 0 to 1 that are low where agreement is poor; the lowest is the confidence."""
    return [
        _ramp(judged.correlation, 0.6, 0.9),
        _ramp(judged.overlap, 0.4, 0.8),
        _ramp(judged.coverage, 0.2, 0.5),
    ]


def _advantage(found: _Search) -> float:
    """Return by which share the best pose leaves less unexplained than the second."""
    if found.second is None:
        return 1.0
    return 1 - (1 - found.best.agreement) / max(1 - found.second.agreement, 1e-9)


def _ramp(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _reasons(judged: quality.Quality) -> list[str]:
    """Return why a person should look at images that agree so well."""
    reasons = []
    if judged.coverage < _POOR_COVERAGE:
        reasons.append(f"Only {judged.coverage:.0%} of a bone lies in the other image's field of view.")
    if judged.correlation < _POOR_CORRELATION:
        reasons.append(f"The images correlate poorly ({judged.correlation:.2f}): another bone?")
    if judged.overlap < _POOR_OVERLAP:
        reasons.append(f"The bones overlap poorly (Dice {judged.overlap:.2f}).")
    return reasons


def _other_poses(found: _Search, other_leg: bool) -> list[str]:
    """Return why a person should look at a pose beside which others stand."""
    reasons = []
    if _advantage(found) < 0.1:
        reasons.append("Another pose fits about as well, so this one may be wrong.")
    if other_leg and found.mirrored is not None:
        reasons.append(
            f"The mirror image correlates better ({found.mirrored.correlation:.3f}) than the bone as it is "
            f"({found.best.correlation:.3f}): the other leg?"
        )
    return reasons
