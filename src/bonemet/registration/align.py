"""Registration of one bone to another: search, refine, check, judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from bonemet.core.context import Mapper
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.transform import Piece, Transform, TransformKind
from bonemet.core.volume import Volume
from bonemet.registration import drift, levels, part, pose, quality, rigid, trust
from bonemet.registration.broken import Fragment, find_fragments, unbroken
from bonemet.registration.growth import Growth, growth_of
from bonemet.registration.levels import Level, Pyramid
from bonemet.registration.part import Part, Share
from bonemet.registration.pieces import Pair
from bonemet.registration.quality import Quality, ramp
from bonemet.registration.rigid import Fit, Points
from bonemet.registration.search import Search, search

Images = tuple[Pyramid, Pyramid]  # fixed, moving
METRICS: Final = ("robust", "correlation")
_FINE_POINTS: Final = 24000
_ITERATIONS: Final = 20
_ROBUST: Final = 3.0  # standard deviations from which a residual does not count
_LEAST_POINTS: Final = 1000
# An end has not grown that moved by less than this share of a voxel, or by so little: the smooth shaft alone
# says no better where it lies along its axis.
_STANDING: Final = 0.25
_STANDING_MM: Final = 0.005


@dataclass(frozen=True)
class Options:
    """How a pose is looked for.

    Attributes
    ----------
    kind
        ``rigid``, ``similarity`` or ``affine``.
    metric
        ``robust``: least squares with a linear map of grey values, lost and new bone left out;
        ``correlation``: normalised correlation, to which every point counts.
    part
        What of the fixed bone the pose is refined on: ``auto`` (the shaft, and those ends that have not grown
        away from it; the whole where the map is not rigid), ``whole``, ``shaft``, ``metaphysis``,
        ``diaphysis``, or two shares of the length from the knee. The search always looks at the whole.
    initial_angles
        Axial angles in radian, of the moving bone on the fixed one, to begin from; the whole circle
        where None.
    start
        A pose from which to refine, without any search: one that was made by hand.
    allow_mirror
        Whether a mirrored pose may be returned where it fits better (the other leg). Never silent: a note
        says so. Without leave, a better mirrored fit marks the pair for review.
    both_ways
        Whether the pair is also registered the other way round, which tells the inverse error.
    seed
        Of the random choice of points.
    """

    kind: TransformKind | str = TransformKind.RIGID
    metric: str = "robust"
    part: str | Share = part.AUTO
    initial_angles: Sequence[float] | None = None
    start: Transform | None = None
    allow_mirror: bool = False
    both_ways: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        part.share_of(self.part)
        if self.kind not in list(TransformKind):
            known = ", ".join(TransformKind)
            raise SettingsError(f"A transform of kind {self.kind!r} is not known; choose one of {known}.")
        if self.metric not in METRICS:
            raise SettingsError(f"The metric is {' or '.join(METRICS)}, not {self.metric!r}.")
        if self.initial_angles is not None and not len(self.initial_angles):
            raise SettingsError(
                "The list of initial angles is empty; leave it out to search the whole circle."
            )

    @property
    def width(self) -> float:
        """Standard deviations from which a residual does not count."""
        return _ROBUST if self.metric == "robust" else float("inf")


DEFAULT: Final = Options()


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
    mirror_fits
        Whether the mirror image fits clearly better, as another leg's would; None where it was not tried.
    expected_error_um
        Expected mean displacement of the compared bone, see :mod:`bonemet.registration.trust`; None for a
        pose that was found elsewhere.
    part
        Shares of the fixed bone's length, from the knee, between which it was aligned.
    inverse_error_um
        Mean distance by which points of the bone miss themselves, taken over by the pose and back by that of
        the registration the other way round; None where that was not done.
    growth
        Along the long axis; None where the map is not rigid.
    fragments
        Pieces that have broken off and moved; none in a whole bone.
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
    steps: tuple[dict[str, Any], ...] = ()
    mirrored_correlation: float | None = None
    mirror_fits: bool | None = None
    expected_error_um: float | None = None
    part: Share | None = None
    inverse_error_um: float | None = None
    growth: Growth | None = None
    fragments: tuple[Fragment, ...] = ()

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The fragments' own places."""
        return tuple(fragment.piece for fragment in self.fragments)


@dataclass(frozen=True, eq=False)
class _Begin:
    """A coarse pose, the sizes of the search, and what is known of it so far."""

    fit: Fit
    spacing: float
    coarse: float
    signs: tuple[float, ...] = ()
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    mirrored_correlation: float | None = None
    mirror_fits: bool | None = None


@dataclass(frozen=True, eq=False)
class _Refined:
    """A pose at the finest size, with what it was found from."""

    fit: Fit
    points: Points
    level: Level
    steps: tuple[dict[str, Any], ...]
    share: Share


def register(
    fixed: Volume, moving: Volume, options: Options = DEFAULT, *, mapper: Mapper = map
) -> Registration:
    """Find the pose of the moving bone on the fixed one.

    Any axial angle, tilt and shift, either end up; cropped ends and lost or formed bone are borne.
    Both volumes may have voxels of any size and any grey scale, as long as bone is brighter than what
    surrounds it. The same inputs give the same result, whatever the mapper.

    Parameters
    ----------
    fixed, moving
        One bone each.
    options
        How the pose is looked for.
    mapper
        Spreads work over threads.

    Returns
    -------
    Registration
        Always a pose; ``review`` tells where it should not be trusted unseen.

    Raises
    ------
    InputError
        If a volume is empty, or the part to be registered holds no bone.
    """
    images = levels.build(fixed, mapper), levels.build(moving, mapper)
    rng = np.random.default_rng(options.seed)
    kind = TransformKind(options.kind)
    begin = _begin(images, options, rng, mapper)
    there, growth, fragments = _aligned(images, begin, options, rng)
    error = trust.expected_error_mm(there.points, there.level, there.fit, kind, options.width)
    judged = quality.assess(*_judging_levels(images, begin.coarse), there.fit.matrix, options.seed)
    signs = (*begin.signs, 0.0 if fragments else 1.0)
    reasons = (*begin.reasons, *_fragment_reasons(fragments))
    return replace(
        _registration(Transform(there.fit.matrix, kind), judged, signs, reasons),
        notes=(*begin.notes, *_growth_notes(growth, there.share)),
        steps=(_record(begin.spacing, begin.fit), *there.steps),
        mirrored_correlation=begin.mirrored_correlation,
        mirror_fits=begin.mirror_fits,
        expected_error_um=None if error is None else 1000 * error,
        part=there.share,
        inverse_error_um=_inverse_error_um(images, begin, there, options, rng) if options.both_ways else None,
        growth=growth,
        fragments=fragments,
    )


def judge(fixed: Volume, moving: Volume, transform: Transform, *, mapper: Mapper = map) -> Registration:
    """Return a pose that was found elsewhere (by hand, by another method) with what speaks for it.

    Raises
    ------
    InputError
        If a volume is empty.
    """
    images = levels.build(fixed, mapper), levels.build(moving, mapper)
    judged = quality.assess(*_judging_levels(images, _coarse(images)), transform.matrix)
    return _registration(transform, judged)


def _registration(
    transform: Transform, judged: Quality, signs: Sequence[float] = (), reasons: Sequence[str] = ()
) -> Registration:
    why = (*judged.reasons, *reasons)
    return Registration(
        transform,
        judged.correlation,
        judged.overlap,
        judged.coverage,
        judged.mutual_information,
        round(min([*judged.signs, *signs]), 4),
        bool(why),
        why,
    )


def _record(spacing: float, fit: Fit) -> dict[str, Any]:
    return {"spacing_mm": spacing, "iterations": fit.iterations, "correlation": fit.correlation}


def _coarse(images: Images) -> float:
    """Return the size in mm of the voxels at which poses are searched."""
    bones = pose.principal_axis(images[0].bone_mm), pose.principal_axis(images[1].bone_mm)
    return max(level.spacing for level in pose.coarse_levels(*images, bones))


def _begin(images: Images, options: Options, rng: np.random.Generator, mapper: Mapper) -> _Begin:
    """Return the coarse pose: searched for, or given."""
    if options.start is not None:
        spacing = _coarse(images)
        note = "The pose was refined from a given one; no other was looked for."
        given = Fit(options.start.matrix, 0.0, 0.0, (1.0, 0.0), 0)
        return _Begin(given, 2 * spacing, spacing, notes=(note,))
    found = search(*images, options.initial_angles, rng, mapper)
    other_leg = found.mirror_wins and not options.allow_mirror
    best = found.best
    notes: tuple[str, ...] = ()
    if found.mirror_wins and options.allow_mirror and found.mirrored:
        best = found.mirrored
        notes = ("The moving bone is mirrored: its mirror image fits better, as another leg's would.",)
    signs = (ramp(found.advantage, 0.0, 0.3), 0.0 if other_leg else 1.0)
    mirrored = None if found.mirrored is None else found.mirrored.correlation
    doubts = _doubts(found, other_leg)
    return _Begin(best, found.spacing, found.coarse, signs, doubts, notes, mirrored, found.mirror_wins)


def _doubts(found: Search, other_leg: bool) -> tuple[str, ...]:
    """Return why a person should look at a pose beside which others stand."""
    reasons = []
    if found.advantage < 0.1:
        reasons.append("Another pose fits about as well, so this one may be wrong.")
    if other_leg and found.mirrored is not None:
        reasons.append(
            f"The mirror image correlates better ({found.mirrored.correlation:.3f}) than the bone as it is "
            f"({found.best.correlation:.3f}): the other leg?"
        )
    return tuple(reasons)


def _aligned(
    images: Images, begin: _Begin, options: Options, rng: np.random.Generator
) -> tuple[_Refined, Growth | None, tuple[Fragment, ...]]:
    """Return the refined pose, and what the bone's ends and pieces say of it."""
    share, rigid_map = part.share_of(options.part), options.kind == TransformKind.RIGID
    auto = options.part == part.AUTO and rigid_map
    bone = part.whole(images[0].bone_mm)
    there = _refine_down(images, begin, options, (bone, part.CORE if auto else share), rng)
    if not rigid_map:
        return there, None, ()
    fragments, usual = find_fragments(Pair(*images, there.fit, bone), rng)
    if fragments and auto:
        fit, rest = unbroken(there.fit, there.share, fragments)
        there = _refined_more(images, replace(begin, fit=fit), there, options, (bone, rest), rng)
        fragments, usual = find_fragments(Pair(*images, there.fit, bone), rng)
    growth = growth_of(Pair(*images, there.fit, bone), fragments, usual, rng)
    if auto:
        finest = max(image.levels[0].spacing for image in images)
        first, last = growth.standing(max(_STANDING * finest, _STANDING_MM))
        # an end that has broken off stands with its fragment, not with the rest
        first = first and all(f.first > 0 for f in fragments)
        last = last and all(f.last < 1 for f in fragments)
        share = (0.0 if first else there.share[0], 1.0 if last else there.share[1])
        if share != there.share:
            again = replace(begin, fit=there.fit)
            there = _refined_more(images, again, there, options, (bone, share), rng)
    return there, growth, fragments


def _refined_more(
    images: Images,
    begin: _Begin,
    there: _Refined,
    options: Options,
    where: tuple[Part, Share],
    rng: np.random.Generator,
) -> _Refined:
    """Return the pose refined once more at the finest size, on another part of the bone."""
    finest = max(image.levels[0].spacing for image in images)
    more = _refine_down(images, replace(begin, spacing=2 * finest), options, where, rng)
    return replace(more, steps=there.steps + more.steps)


def _refine_down(
    images: Images, begin: _Begin, options: Options, where: tuple[Part, Share], rng: np.random.Generator
) -> _Refined:
    """Return the pose refined from size to size, down to the coarser of the two images' own voxels.

    ``where``: the whole bone, and the shares of its length between which it is aligned.
    """
    fixed, moving = images
    bone, share = where
    chosen = None if share == part.WHOLE else bone.between(share)
    drifts = options.kind == TransformKind.RIGID and options.metric == "robust"
    finest = max(fixed.levels[0].spacing, moving.levels[0].spacing)
    kinds = list(TransformKind)
    freedoms = kinds[: kinds.index(TransformKind(options.kind)) + 1]
    spacing, fit, steps = begin.spacing, begin.fit, []
    while True:
        spacing = max(spacing / 2, finest)
        level_f, level_m = fixed.at(spacing), moving.at(spacing)
        points = rigid.edge_points(level_f, fixed.at(begin.coarse), _FINE_POINTS, rng, keep=0.5, part=chosen)
        if len(points.mm) < _LEAST_POINTS:
            raise InputError("The part of the bone that was to be registered holds hardly any bone.")
        if drifts:
            points = drift.drifting(points, bone, level_f.spacing)
        # freedom is given little by little, or an affine map would explain a wrong size by a shear
        for kind in freedoms:
            fit = rigid.refine(
                points,
                level_m,
                fit.matrix,
                kind=kind,
                iterations=_ITERATIONS,
                width=options.width,
                drift=fit.drift,
            )
        freedoms = freedoms[-1:]
        steps.append(_record(level_f.spacing, fit))
        if spacing <= finest * 1.001:
            return _Refined(fit, points, level_m, tuple(steps), share)


def _inverse_error_um(
    images: Images, begin: _Begin, there: _Refined, options: Options, rng: np.random.Generator
) -> float:
    """Return by how much points miss themselves, registered there and back again."""
    inverse = np.asarray(np.linalg.inv(begin.fit.matrix), np.float64)
    turned = replace(begin, fit=replace(begin.fit, matrix=inverse))
    bone = part.whole(images[0].bone_mm).seen_through(there.fit.matrix)
    back = _refine_down(images[::-1], turned, options, (bone, there.share), rng)
    return 1000 * trust.disagreement_mm(there.fit.matrix, back.fit.matrix, there.points.mm)


def _growth_notes(growth: Growth | None, share: Share) -> tuple[str, ...]:
    """Return one sentence on ends that grew and were therefore left out."""
    if growth is None:
        return ()
    ends = (("knee", growth.proximal_mm, share[0] > 0), ("ankle", growth.distal_mm, share[1] < 1))
    grown = [f"{mm:.3f} mm at the {end}" for end, mm, out in ends if out and mm is not None]
    if not grown:
        return ()
    return (
        f"The bone has grown by {' and '.join(grown)}; bone beyond that growth plate lies further out and is "
        "not new.",
    )


def _fragment_reasons(fragments: Sequence[Fragment]) -> tuple[str, ...]:
    """Return one sentence on each piece that moved."""
    return tuple(
        f"The bone from {f.first:.0%} to {f.last:.0%} of the length lies {f.moved_mm:.2f} mm elsewhere than "
        "the rest: a broken bone? That piece is put back where it was; look at both sides of the break."
        for f in fragments
    )


def _judging_levels(images: Images, spacing: float) -> tuple[tuple[Level, Level], tuple[Level, Level]]:
    """Return for both images a level at which noise is low and the cortex still shows, and a coarse one."""
    fixed, moving = images
    fine = spacing / 4
    return (fixed.at(fine), fixed.at(spacing)), (moving.at(fine), moving.at(spacing))
