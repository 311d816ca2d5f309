"""The fibula of a tibia: followed through the slices, and taken out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.context import Mapper, Tick
from bonemet.core.volume import SlicedArray
from bonemet.roi.contours import Bone, Contour, SliceContours, bone_mask, label_slice, slice_contours

Spacing = tuple[float, float, float]

SPECK_MM2 = 0.003  # a mouse fibula is about 0.15 mm thick at its thinnest, 0.018 mm2
GAP_MM = 0.6  # longest stretch without a contour of its own that is still bridged
_STEP_MM = 0.04  # how far a centroid may jump between slices without reason
_SLOPE = 0.7  # how far it may move sideways per length along the bone
_LOG_RATIO = 0.15  # how far the logarithms of areas may differ between slices without reason
_SHORTEST_MM, _FEWEST = 0.4, 4  # of the longest run, to be a fibula
_TAIL_MM = 0.5  # length of a run's end that tells where it points to
_NEAR_MM = 0.2  # length of a run's end that tells its size
_FREE_LOG_RATIO = 0.2  # difference of sizes that costs nothing
_FREE_MM = 0.05  # misfit of a place that costs nothing: the noise of centroids
_MOST_MM, _MOST_LOG_RATIO = 0.4, 0.7  # no run fits that lies or measures more amiss
_PIECE_MM, _BROKEN_MM = 1.0, 1.2  # a run this long is no crumb, and may lie so far off: the bone is broken
_OVERLAP_MM = 0.3  # along the bone, by which such pieces may lie side by side
_ENCLOSED = 0.75  # beyond this a contour is more likely a crumb inside the tibia
_REACH_MM = 0.25  # how far from the fibula's outline its partial-volume fringe, new and lost bone may lie


@dataclass(frozen=True)
class FibulaTrack:
    """Where the fibula is a contour of its own.

    Attributes
    ----------
    contours
        Its contours by rising slice; slices between the first and the last may lack one, where the fibula
        touches the tibia, is broken or is missing, and have two where pieces of it lie side by side.
    spacing_mm
        Voxel (z, y, x).
    """

    contours: tuple[Contour, ...]
    spacing_mm: Spacing

    @property
    def first(self) -> int:
        """Lowest slice with a fibula of its own."""
        return self.contours[0].z

    @property
    def last(self) -> int:
        """Highest slice with a fibula of its own."""
        return self.contours[-1].z

    @property
    def gaps(self) -> int:
        """Number of slices between the first and the last that lack the contour."""
        return self.last - self.first + 1 - len({c.z for c in self.contours})


def all_contours(
    stack: SlicedArray,
    spacing_mm: Spacing,
    bone: Bone = bone_mask,
    *,
    mapper: Mapper = map,
    tick: Tick = lambda n: None,
) -> list[SliceContours]:
    """Return the contours of every slice of a stack, in order; ``tick`` is told of each."""

    def one(z: int) -> SliceContours:
        return slice_contours(stack, z, spacing_mm, bone, SPECK_MM2)

    out = []
    for found in mapper(one, range(stack.shape[0])):
        out.append(found)
        tick(1)
    return out


def track_fibula(slices: Sequence[SliceContours], spacing_mm: Spacing) -> FibulaTrack | None:
    """Follow the fibula through the slices.

    Contours beside the tibia that follow each other smoothly make runs. The longest run is the fibula's; it
    is carried on at both ends, over slices in which the fibula touches the tibia, is broken or is missing,
    with runs that lie where it points to. A run must be the longer the worse it fits, so that a displaced
    part of a broken fibula is taken and a crumb of a perforated cortex is not. A millimetre of bone is no
    crumb: such a run may be the other piece of a fibula whose pieces stand well apart.

    Parameters
    ----------
    slices
        Contours of every slice.
    spacing_mm
        Voxel (z, y, x).

    Returns
    -------
    FibulaTrack | None
        None where no run is long enough to be a fibula.
    """
    step = spacing_mm[0]
    runs = _runs(slices, spacing_mm)
    chain = max(runs, key=_beside, default=[])
    if _beside(chain) < max(_FEWEST, _SHORTEST_MM / step):
        return None
    for sense in (1, -1):
        while (more := _continuation(chain, runs, sense, step)) is not None:
            chain = sorted(chain + more, key=lambda c: c.z)
    return FibulaTrack(tuple(chain), spacing_mm)


Run = list[Contour]


def _weight(run: Run) -> float:
    """Return the length of a run in slices; contours inside the tibia count little."""
    return sum(1.0 if c.enclosed <= _ENCLOSED else 0.2 for c in run)


def _beside(run: Run) -> float:
    """Return the length of a run beside something larger, which the tibia's own never is."""
    return _weight([c for c in run if not c.largest])


def _runs(slices: Sequence[SliceContours], spacing_mm: Spacing) -> list[Run]:
    """Join contours of neighbouring slices (one slice may lack it) into runs, the best fitting first."""
    done: list[Run] = []
    open_runs: list[Run] = []
    for found in slices:
        open_runs, ended = (
            [r for r in open_runs if found.z - r[-1].z <= 2],
            [r for r in open_runs if found.z - r[-1].z > 2],
        )
        done += ended
        pairs = sorted(
            (cost, i, j)
            for i, run in enumerate(open_runs)
            for j, contour in enumerate(found.contours)
            if (cost := _cost(run[-1], contour, spacing_mm)) is not None
        )
        runs_left, contours_left = set(range(len(open_runs))), set(range(len(found.contours)))
        for _, i, j in pairs:
            if i in runs_left and j in contours_left:
                open_runs[i].append(found.contours[j])
                runs_left.discard(i)
                contours_left.discard(j)
        open_runs += [[found.contours[j]] for j in sorted(contours_left)]
    return done + open_runs


def _cost(a: Contour, b: Contour, spacing_mm: Spacing) -> float | None:
    """Return how badly one contour follows another, None where it cannot: a jump of place, size or both."""
    pixel, apart = spacing_mm[1], abs(b.z - a.z) * spacing_mm[0]
    shift = _distance(a.place_mm, b.place_mm) / (_STEP_MM + _SLOPE * apart + 0.5 * pixel)
    ratio = abs(float(np.log(b.area_mm2 / a.area_mm2)))
    size = ratio / (_LOG_RATIO + apart + 2 * pixel / np.sqrt(min(a.area_mm2, b.area_mm2)))
    cost = float(shift**2 + size**2)
    return cost if cost <= 1 else None


def _continuation(chain: Run, runs: Sequence[Run], sense: int, step_mm: float) -> Run | None:
    """Return the run that best carries the chain on at its upper (+1) or lower (-1) end."""
    end = chain[-1] if sense > 0 else chain[0]
    tail = [c for c in chain if abs(c.z - end.z) * step_mm <= _TAIL_MM]
    best, best_gain = None, 0.0
    for run in runs:
        near, far = (run[0], run[-1]) if sense > 0 else (run[-1], run[0])
        piece = step_mm * _beside(run) >= _PIECE_MM
        apart = step_mm * (sense * (near.z - end.z) - 1)  # over which the fibula may bend and taper
        if not -_OVERLAP_MM * piece <= apart <= GAP_MM or sense * (far.z - end.z) <= 0:
            continue
        apart = max(0.0, apart)
        misfit = max(0.0, _distance(_predict(tail, near.z), near.place_mm) - (_FREE_MM + 0.2 * apart))
        length = _TAIL_MM if piece else _NEAR_MM  # broken ends taper
        areas = [_area(some, at.z, length / step_mm) for some, at in ((run, near), (chain, end))]
        ratio = abs(float(np.log(areas[0] / areas[1])))
        excess = max(0.0, ratio - (_FREE_LOG_RATIO + 0.6 * apart))
        gain = step_mm * _weight(run) - 0.5 * apart - 3 * misfit - 2 * excess
        most = _BROKEN_MM if piece else _MOST_MM
        if gain > best_gain and misfit <= most and excess <= _MOST_LOG_RATIO:
            best, best_gain = run, gain
    return best


def _predict(tail: Run, z: int) -> tuple[float, float]:
    """Return where the centroid of a run's end points to in slice ``z``: a straight line."""
    at = np.array([c.z for c in tail], dtype=np.float64)
    places = np.array([c.place_mm for c in tail])
    if len(tail) < 3:
        return float(places[:, 0].mean()), float(places[:, 1].mean())
    _, level = np.polyfit(at - z, places, 1)
    return float(level[0]), float(level[1])


def _distance(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the distance of two places."""
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))


def _area(run: Run, z: int, slices: float) -> float:
    """Return the usual area of a run within so many slices of its end at slice ``z``."""
    return float(np.median([c.area_mm2 for c in run if abs(c.z - z) <= slices]))


def interpolate_contour(
    lower: NDArray[np.bool_], upper: NDArray[np.bool_], share: float
) -> NDArray[np.bool_]:
    """Return the outline between two outlines, by their distances.

    Shape-based interpolation (Raya and Udupa 1990, doi:10.1109/42.52980), with both shapes first brought to
    one place, so that a thin bone that runs obliquely does not vanish half-way.

    Parameters
    ----------
    lower, upper
        Masks (y, x) of one shape, both with something in them.
    share
        0 gives ``lower``, 1 gives ``upper``.
    """
    centres = [np.argwhere(m).mean(axis=0) for m in (lower, upper)]
    middle = centres[0] + share * (centres[1] - centres[0])
    out = np.zeros(lower.shape, dtype=np.float64)
    for mask, centre, weight in zip((lower, upper), centres, (1 - share, share), strict=True):
        moved = ndimage.shift(_signed_distance(mask), middle - centre, order=1, mode="nearest")
        out += weight * moved
    return np.asarray(out > 0)


def _signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return distances to the outline in pixels, positive inside."""
    inside = ndimage.distance_transform_edt(mask)
    outside = ndimage.distance_transform_edt(~mask)
    return np.asarray(np.where(mask, inside - 0.5, 0.5 - outside))


class FibulaRemover:
    """Takes the fibula out of slices, one at a time.

    A voxel goes when it lies in or near the fibula's outline and nearer to it than to the tibia, so that the
    partial-volume fringe of greys and the new and lost bone of composites go with it. Where the fibula has
    no contour of its own between two slices that have one, its outline is interpolated and cut out.
    Slices beyond the track, where tibia and fibula are one bone, stay as they are.

    Parameters
    ----------
    stack
        (z, y, x) values in which the track was found.
    track
        Where the fibula is.
    bone
        Tells bone from the rest, the same as the track was found with.
    junction
        The junction's slice, where it lies a little beyond the track; between the two the fibula's nearest
        outline is moved to where it points to.
    """

    def __init__(
        self, stack: SlicedArray, track: FibulaTrack, bone: Bone = bone_mask, junction: int | None = None
    ) -> None:
        self._stack = stack
        self._track = track
        self._bone = bone
        self._at: dict[int, list[int]] = {}
        for contour in track.contours:
            self._at.setdefault(contour.z, []).append(contour.label)
        places = [track.first, track.last, *([] if junction is None else [junction])]
        self.first, self.last = min(places), max(places)

    def outline(self, z: int) -> NDArray[np.bool_] | None:
        """Return the fibula's outline (y, x) in slice ``z``, interpolated where needed, None beyond it."""
        if not self.first <= z <= self.last:
            return None
        if z in self._at:
            return self._own_outline(z)
        if not self._track.first <= z <= self._track.last:
            return self._outline_beyond(z)
        below = max(k for k in self._at if k < z)
        above = min(k for k in self._at if k > z)
        return interpolate_contour(
            self._own_outline(below), self._own_outline(above), (z - below) / (above - below)
        )

    def clean(self, z: int) -> tuple[NDArray[Any], int]:
        """Return slice ``z`` without the fibula, and the number of bone voxels that went."""
        values = np.asarray(self._stack[z])
        outline = self.outline(z)
        if outline is None or not outline.any():
            return values, 0
        bone = self._bone(values)
        tibia = self._tibia(bone, outline, guessed=z not in self._at)
        window = self._window(outline)
        gone = np.zeros(values.shape, dtype=bool)
        gone[window] = self._nearer(outline[window], tibia[window])
        return np.where(gone, 0, values).astype(values.dtype), int(np.count_nonzero(gone & bone))

    def _tibia(
        self, bone: NDArray[np.bool_], outline: NDArray[np.bool_], *, guessed: bool
    ) -> NDArray[np.bool_]:
        """Return the contours beside the fibula's outline, holes filled.

        Specks are no tibia, nor is what a guessed outline leaves over of the fibula itself.
        """
        filled, _ = label_slice(bone)
        labels, _ = ndimage.label((filled > 0) & ~outline, structure=np.ones((3, 3)))
        speck = SPECK_MM2 / (self._track.spacing_mm[1] * self._track.spacing_mm[2])
        least = max(speck, 0.5 * np.count_nonzero(outline)) if guessed else speck
        large = np.bincount(labels.ravel()) >= least
        large[0] = False
        return np.asarray(large[labels])

    def _own_outline(self, z: int) -> NDArray[np.bool_]:
        """Return the fibula's outline in a slice in which it has one."""
        labels, _ = label_slice(self._bone(np.asarray(self._stack[z])))
        return np.asarray(np.isin(labels, self._at[z]))

    def _outline_beyond(self, z: int) -> NDArray[np.bool_]:
        """Return the nearest outline, moved to where the fibula points to in slice ``z``."""
        end = self._track.contours[0] if z < self._track.first else self._track.contours[-1]
        step = self._track.spacing_mm[0]
        tail = [c for c in self._track.contours if abs(c.z - end.z) * step <= _TAIL_MM]
        there = _predict(tail, z)
        shift = [
            round((a - b) / s)
            for a, b, s in zip(there, end.place_mm, self._track.spacing_mm[1:], strict=True)
        ]
        return np.roll(self._own_outline(end.z), shift, axis=(0, 1))

    def _window(self, outline: NDArray[np.bool_]) -> tuple[slice, slice]:
        """Return the rows and columns around an outline as far as the reach."""
        spans = []
        for axis, size in ((1, self._track.spacing_mm[1]), (0, self._track.spacing_mm[2])):
            found = np.flatnonzero(outline.any(axis=axis))
            margin = int(np.ceil(_REACH_MM / size)) + 1
            spans.append(slice(max(0, int(found[0]) - margin), int(found[-1]) + 1 + margin))
        return spans[0], spans[1]

    def _nearer(self, outline: NDArray[np.bool_], tibia: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the outline, and the pixels within reach that are nearer to it than to the tibia."""
        pixel = self._track.spacing_mm[1:]
        to_fibula = ndimage.distance_transform_edt(~outline, sampling=pixel)
        gone = to_fibula <= _REACH_MM
        if tibia.any():
            gone &= to_fibula < ndimage.distance_transform_edt(~tibia, sampling=pixel)
        return np.asarray(gone | outline)


def clean_slices(
    remover: FibulaRemover, first: int, last: int, *, mapper: Mapper = map
) -> Iterator[tuple[NDArray[Any], int]]:
    """Yield slices ``first`` to ``last``, both included, without the fibula, and how many voxels went."""
    return mapper(remover.clean, range(first, last + 1))


def remove_fibula(
    stack: SlicedArray, spacing_mm: Spacing, bone: Bone = bone_mask, *, mapper: Mapper = map
) -> tuple[NDArray[Any], int, tuple[str, ...]]:
    """Return a stack of an upright tibia without its fibula.

    Parameters
    ----------
    stack
        (z, y, x) mask, composite or greys.
    spacing_mm
        Voxel (z, y, x).
    bone
        Tells bone from the rest.
    mapper
        Ordered map over slices.

    Returns
    -------
    tuple
        The values with 0 where the fibula was, the number of bone voxels that went, and notes.
    """
    track = track_fibula(all_contours(stack, spacing_mm, bone, mapper=mapper), spacing_mm)
    if track is None:
        return np.array(stack[:]), 0, ("No fibula was found beside the tibia, so none was removed.",)
    cleaned = list(clean_slices(FibulaRemover(stack, track, bone), 0, stack.shape[0] - 1, mapper=mapper))
    return np.stack([c for c, _ in cleaned]), sum(n for _, n in cleaned), removal_notes(track)


def removal_notes(track: FibulaTrack) -> tuple[str, ...]:
    """Return what a reader should know about slices in which the fibula had no contour of its own."""
    if track.gaps == 0:
        return ()
    return (
        f"In {track.gaps} slices between {track.first} and {track.last} the fibula touches the tibia or is "
        "missing; its outline was interpolated there.",
    )
