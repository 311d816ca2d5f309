"""What of a composite's change is real: noise, films and the registration's own error guarded against.

Noise and a misalignment of a fraction of a voxel change the surface of every unchanged bone, so beside the
raw count of changed voxels stands a guarded one, and the voxels that it counts. A change is found by its
core, which noise and misalignment cannot make, and followed from there as far as the scans differ alike and
by more than their noise. What is bone is told here by the threshold at each place (:mod:`bonemet.roi.bars`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.context import Mapper, Tick
from bonemet.core.errors import SettingsError
from bonemet.core.volume import SlicedArray
from bonemet.roi import difference
from bonemet.roi.bars import LOWEST, LocalBars, local_bars
from bonemet.roi.clusters import ClusterCollector
from bonemet.roi.composite import FORMED, KEPT, RESORBED, Change

_FOLLOWED_SDS = 1.0  # standard deviations of the noise over which a change is followed
_SLAB_VOXELS = 8_000_000
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Guard:
    """What a change must be before the guarded figures count it.

    A voxel that crossed the threshold is of a core when the difference of both scans, smoothed, is more than
    noise makes and than the registration's error explains; where asked for, when it lies deeper than a
    surface film; and when enough of such voxels hang together (26-connected). A change is its core and all
    voxels that crossed the threshold the same way and hang together with it, as long as the smoothed
    difference has the same sign and exceeds one standard deviation of its noise. The difference is smoothed,
    not each scan, since smoothing each takes thin trabeculae away before they are compared.

    Attributes
    ----------
    sigma_voxels
        Standard deviation of the Gaussian that smooths the difference, 0 for none.
    smallest_difference
        Of a core, as a share of the contrast, which is twice the distance of the baseline's mean bone from
        the threshold.
    film_voxels
        Thickness of a layer on unchanged bone that holds no core, 0 for none.
    smallest_cluster_voxels
        Fewest voxels of a core.
    error_voxels
        Expected error of the registration in voxels. A shift by it changes a voxel by as much as the
        baseline's gradient times the error; a core's difference must exceed that on top.
    noise_sds
        A core's difference is at least so many standard deviations of the noise that is found in the smoothed
        difference well within bone; 0 asks nothing of the noise, neither of a core nor of what is followed.
    local_mm
        Within which distance the values decide the threshold at a place; 0 for one threshold everywhere.
    """

    sigma_voxels: float = 1.0
    smallest_difference: float = 0.05
    film_voxels: int = 0
    smallest_cluster_voxels: int = 8
    error_voxels: float = 0.0
    noise_sds: float = 2.5
    local_mm: float = 0.04

    def __post_init__(self) -> None:
        sizes = (self.sigma_voxels, self.smallest_difference, self.film_voxels, self.error_voxels)
        if not (min(*sizes, self.noise_sds, self.local_mm) >= 0 and self.smallest_cluster_voxels >= 1):
            raise SettingsError(f"A guard needs sizes that are not negative, not {self}.")

    @property
    def reach(self) -> int:
        """Distance in voxels over which one voxel has an effect, clusters left out."""
        return difference.reach(self.sigma_voxels) + self.film_voxels

    def as_dict(self) -> dict[str, float]:
        """Return the settings."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class GuardedMap:
    """Where bone really came and went.

    Attributes
    ----------
    shape
        (z, y, x) of the scans.
    formed, resorbed
        Flat indices of the voxels, rising.
    baseline_bone
        Bone voxels of the baseline.
    raw
        Formed and resorbed voxels before the guard.
    by_difference, by_film, by_cluster
        Those of cores by its first rule, by its second too, and by all.
    scales
        Of baseline and follow-up.
    bars
        Their thresholds; None where one holds everywhere.
    """

    shape: tuple[int, int, int]
    formed: NDArray[np.int64]
    resorbed: NDArray[np.int64]
    baseline_bone: int
    raw: tuple[int, int]
    by_difference: tuple[int, int]
    by_film: tuple[int, int]
    by_cluster: tuple[int, int]
    scales: difference.Scales
    bars: LocalBars | None = None

    @property
    def change(self) -> Change:
        """Numbers of voxels; ``unchanged`` holds the baseline's bone that was not resorbed."""
        return Change(self.baseline_bone - len(self.resorbed), len(self.formed), len(self.resorbed))

    def only(self, formed: NDArray[np.int64], resorbed: NDArray[np.int64]) -> Self:
        """Return the map with a part of its change."""
        return replace(self, formed=formed, resorbed=resorbed)

    def effect(self, voxel_mm3: float) -> dict[str, dict[str, float]]:
        """Return formed and resorbed bone, in mm3: raw, what every rule left as cores, and what counts."""
        counted = (len(self.formed), len(self.resorbed))
        left = (self.raw, self.by_difference, self.by_film, self.by_cluster, counted)
        names = ("raw_mm3", "by_difference_mm3", "by_film_mm3", "by_cluster_mm3", "followed_mm3")
        return {
            kind: {name: pair[i] * voxel_mm3 for name, pair in zip(names, left, strict=True)}
            for i, kind in enumerate(("formed", "resorbed"))
        }

    def bone(self, z: int, *images: NDArray[Any]) -> tuple[NDArray[np.bool_], ...]:
        """Return which voxels of slice ``z`` are bone, in the baseline and, where given, in the follow-up."""
        whole = slice(0, self.shape[1]), slice(0, self.shape[2])
        bar = 0.0 if self.bars is None else self.bars.planes(z, z + 1, whole)[0]
        return tuple(
            np.asarray(scale.normal(image) >= bar) for scale, image in zip(self.scales, images, strict=False)
        )

    def codes(self, z: int, baseline_bone: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return slice ``z`` of the guarded composite, given the baseline's bone there (:meth:`bone`)."""
        out = baseline_bone.astype(np.uint8) * np.uint8(KEPT)
        size = out.size
        for voxels, grey in ((self.formed, FORMED), (self.resorbed, RESORBED)):
            first, last = np.searchsorted(voxels, (z * size, (z + 1) * size))
            out.reshape(-1)[voxels[first:last] - z * size] = grey
        return out


def guarded_map(
    baseline: SlicedArray,
    followup: SlicedArray,
    thresholds: tuple[float, float],
    guard: Guard,
    spacing_mm: Spacing,
    *,
    mapper: Mapper = map,
    tick: Tick = lambda n: None,
) -> GuardedMap:
    """Return where bone came and went, once noise is guarded against.

    Works slab by slab; the result does not depend on the slabs.

    Parameters
    ----------
    baseline, followup
        (z, y, x) values on one grid.
    thresholds
        Bone of the baseline and of the follow-up is value >= these.
    guard
        What counts as a change.
    spacing_mm
        Voxel (z, y, x).
    mapper
        Ordered map over slabs.
    tick
        Is told the number of slices done.
    """
    depth, rows, columns = baseline.shape
    step = max(4, _SLAB_VOXELS // (rows * columns))
    ranges = [(a, min(a + step, depth)) for a in range(0, depth, step)]
    scans = (baseline, followup)
    scales = difference.scales(scans, thresholds, ranges, mapper)
    least, followed = guard.smallest_difference, 0.0
    if guard.noise_sds > 0:
        noise = difference.noise(scans, scales, guard.sigma_voxels, mapper)
        least, followed = max(least, guard.noise_sds * noise), _FOLLOWED_SDS * noise
    bars = local_bars(scans, scales, guard.local_mm, spacing_mm, mapper) if guard.local_mm > 0 else None
    kinds = _Collector((rows, columns)), _Collector((rows, columns))
    bone = 0

    def work(span: tuple[int, int]) -> _Slab:
        return _guard_slab(scans, span, scales, guard, (least, followed), bars)

    for (start, stop), slab in zip(ranges, mapper(work, ranges), strict=True):
        bone += slab.baseline_bone
        for kind, found in zip(kinds, (slab.formed, slab.resorbed), strict=True):
            kind.add(found, slab.corner)
        tick(stop - start)
    formed, resorbed = (kind.followed(guard.smallest_cluster_voxels) for kind in kinds)
    raw, big, deep, cores = ((a, b) for a, b in zip(*(kind.counts for kind in kinds), strict=True))
    shape = (depth, rows, columns)
    return GuardedMap(shape, formed, resorbed, bone, raw, big, deep, cores, scales, bars)


def guarded_change(
    baseline: SlicedArray,
    followup: SlicedArray,
    thresholds: tuple[float, float],
    guard: Guard,
    spacing_mm: Spacing,
    *,
    mapper: Mapper = map,
    tick: Tick = lambda n: None,
) -> Change:
    """Return how much bone stayed, came and went; see :func:`guarded_map`."""
    return guarded_map(baseline, followup, thresholds, guard, spacing_mm, mapper=mapper, tick=tick).change


@dataclass(frozen=True, eq=False)
class _Kind:
    """Formed or resorbed voxels of a slab, (z, y, x) masks over its slices and a window.

    Attributes
    ----------
    wide
        All to which a change may reach.
    core
        Those of them of which its core is made.
    counts
        Voxels raw, after the first rule, after the second.
    """

    wide: NDArray[np.bool_]
    core: NDArray[np.bool_]
    counts: tuple[int, int, int]


class _Collector:
    """Collects the changes of one kind, slab by slab."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._cores = ClusterCollector(shape)
        self._wide = ClusterCollector(shape)
        self.counts = [0, 0, 0, 0]

    def add(self, found: _Kind, corner: tuple[int, int]) -> None:
        """Add the next slab, whose window begins at a row and column."""
        self._cores.add(found.core, corner)
        self._wide.add(found.wide, corner)
        self.counts = [a + b for a, b in zip(self.counts, (*found.counts, 0), strict=True)]

    def followed(self, smallest: int) -> NDArray[np.int64]:
        """Return the flat voxels, rising, of all that hangs together with a core of so many voxels."""
        voxels, number = self._cores.clusters()
        cores = voxels[np.bincount(number)[number] >= smallest] if voxels.size else voxels
        self.counts[3] = len(cores)
        if not cores.size:
            return cores
        voxels, number = self._wide.clusters()
        held = np.zeros(int(number.max()) + 1, dtype=bool)
        held[number[np.searchsorted(voxels, cores)]] = True
        return voxels[held[number]]


@dataclass(frozen=True, eq=False)
class _Slab:
    """What one slab says of both kinds, in a window whose first row and column is the ``corner``."""

    formed: _Kind
    resorbed: _Kind
    corner: tuple[int, int]
    baseline_bone: int


def _guard_slab(
    scans: difference.Scans,
    span: tuple[int, int],
    scales: difference.Scales,
    guard: Guard,
    least: tuple[float, float],
    local: LocalBars | None,
) -> _Slab:
    """Return the changes of the slices ``span``, reading as far around them as the guard reaches.

    ``least`` holds the smoothed differences of which a core is made, and over which a change is followed.
    """
    start, stop = span
    least_core, least_followed = least
    low, high = max(0, start - guard.reach), min(scans[0].shape[0], stop + guard.reach)
    images = [np.asarray(v[low:high]) for v in scans]
    lowest = 0.0 if local is None else LOWEST
    bones = [v >= s.threshold + lowest * s.contrast for v, s in zip(images, scales, strict=True)]
    anywhere = bones[0].any(axis=0) | bones[1].any(axis=0)
    nowhere = slice(0, 1), slice(0, 1)  # nothing changes where there is no bone
    held = _held_window(np.asarray(anywhere), guard.reach) or nowhere
    window = (slice(None), *held)
    first, second = (s.normal(v[window]) for v, s in zip(images, scales, strict=True))
    bar = 0.0 if local is None else local.planes(low, high, window[1:])
    before, after = first >= bar, second >= bar
    change = difference.smoothed(second - first, guard.sigma_voxels)
    needed: NDArray[np.float32] | float = least_core
    if guard.error_voxels:
        blurred = difference.smoothed(first, guard.sigma_voxels)
        needed = least_core + np.float32(guard.error_voxels) * difference.steepness(blurred)
    inner = slice(start - low, stop - low)

    def kind(changed: NDArray[np.bool_], bone: NDArray[np.bool_], more: NDArray[np.float32]) -> _Kind:
        enough = changed & (more >= needed)
        core = _without_film(enough, bone, guard.film_voxels)
        raw, big, deep = (int(np.count_nonzero(m[inner])) for m in (changed, enough, core))
        return _Kind(((changed & (more > least_followed)) | core)[inner], core[inner], (raw, big, deep))

    return _Slab(
        kind(after & ~before, before, change),
        kind(before & ~after, after, -change),
        (window[1].start, window[2].start),
        int(np.count_nonzero(before[inner])),
    )


def _held_window(held: NDArray[np.bool_], margin: int) -> tuple[slice, slice] | None:
    """Return the rows and columns of a mask that hold anything, with a margin; None where none do."""
    spans = []
    for axis, size in zip((1, 0), held.shape, strict=True):
        found = np.flatnonzero(held.any(axis=axis))
        if len(found) == 0:
            return None
        spans.append(slice(max(0, int(found[0]) - margin), min(size, int(found[-1]) + 1 + margin)))
    return spans[0], spans[1]


def _without_film(changed: NDArray[np.bool_], bone: NDArray[np.bool_], thickness: int) -> NDArray[np.bool_]:
    """Return the changed voxels that lie deeper than a film on ``bone``."""
    if thickness == 0 or not changed.any():
        return changed
    return np.asarray(changed & ~ndimage.binary_dilation(bone, iterations=thickness))
