"""What of a composite's change is real: noise, films and the registration's own error guarded against.

Noise and a misalignment of a fraction of a voxel change the surface of every unchanged bone, so beside the
raw count of changed voxels stands a guarded one, and the voxels that it counts.
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
from bonemet.roi.clusters import CORNERS, ClusterCollector
from bonemet.roi.composite import FORMED, KEPT, RESORBED, Change

_SMOOTHING_RADII = 3.0  # where the Gaussian is cut off, in standard deviations
_SLAB_VOXELS = 8_000_000
Counts = tuple[int, int, int]


@dataclass(frozen=True)
class Guard:
    """What a change must be before the guarded figures count it.

    A voxel that crossed the threshold counts when the difference of both scans, smoothed, is more of the
    contrast of bone than noise makes and more than the registration's error explains; where asked for, when
    it lies deeper than a surface film, or touches one that does; and when it belongs to a cluster
    (26-connected) that is large enough. The difference is smoothed, not each scan, since smoothing each takes
    thin trabeculae away before they are compared.

    Attributes
    ----------
    sigma_voxels
        Standard deviation of the Gaussian that smooths the difference, 0 for none.
    smallest_difference
        Share of the contrast, which is twice the distance of the baseline's mean bone from the threshold.
    film_voxels
        Thickness of a layer on unchanged bone that is taken for noise, 0 for none.
    smallest_cluster_voxels
        Fewest voxels of a change.
    error_voxels
        Expected error of the registration in voxels. A shift by it changes a voxel by as much as the
        baseline's gradient times the error; a difference must exceed that on top.
    """

    sigma_voxels: float = 1.0
    smallest_difference: float = 0.1
    film_voxels: int = 0
    smallest_cluster_voxels: int = 27
    error_voxels: float = 0.0

    def __post_init__(self) -> None:
        sizes = (self.sigma_voxels, self.smallest_difference, self.film_voxels, self.error_voxels)
        if not (min(sizes) >= 0 and self.smallest_cluster_voxels >= 1):
            raise SettingsError(f"A guard needs sizes that are not negative, not {self}.")

    @property
    def reach(self) -> int:
        """Distance in voxels over which one voxel has an effect, clusters left out."""
        return int(_SMOOTHING_RADII * self.sigma_voxels + 0.5) + 1 + 2 * self.film_voxels

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
    raw, by_difference, by_film
        Formed and resorbed voxels before the guard, after its first and after its second rule.
    """

    shape: tuple[int, int, int]
    formed: NDArray[np.int64]
    resorbed: NDArray[np.int64]
    baseline_bone: int
    raw: tuple[int, int]
    by_difference: tuple[int, int]
    by_film: tuple[int, int]

    @property
    def change(self) -> Change:
        """Numbers of voxels; ``unchanged`` holds the baseline's bone that was not resorbed."""
        return Change(self.baseline_bone - len(self.resorbed), len(self.formed), len(self.resorbed))

    def only(self, formed: NDArray[np.int64], resorbed: NDArray[np.int64]) -> Self:
        """Return the map with a part of its change."""
        return replace(self, formed=formed, resorbed=resorbed)

    def effect(self, voxel_mm3: float) -> dict[str, dict[str, float]]:
        """Return what every rule left of formed and resorbed bone, in mm3, from the raw count down."""
        left = (self.raw, self.by_difference, self.by_film, (len(self.formed), len(self.resorbed)))
        names = ("raw_mm3", "by_difference_mm3", "by_film_mm3", "by_cluster_mm3")
        return {
            kind: {name: pair[i] * voxel_mm3 for name, pair in zip(names, left, strict=True)}
            for i, kind in enumerate(("formed", "resorbed"))
        }

    def codes(self, z: int, baseline_bone: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return slice ``z`` of the guarded composite, given the baseline's bone there."""
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
    mapper
        Ordered map over slabs.
    tick
        Is told the number of slices done.
    """
    depth, rows, columns = baseline.shape
    step = max(4, _SLAB_VOXELS // (rows * columns))
    ranges = [(a, min(a + step, depth)) for a in range(0, depth, step)]
    collectors = ClusterCollector((rows, columns)), ClusterCollector((rows, columns))
    bars = _scales((baseline, followup), thresholds, ranges, mapper)
    bone = 0
    left = np.zeros((3, 2), dtype=np.int64)

    def work(span: tuple[int, int]) -> _Slab:
        return _guard_slab((baseline, followup), span, bars, guard)

    for (start, stop), slab in zip(ranges, mapper(work, ranges), strict=True):
        bone += slab.baseline_bone
        left += slab.left
        for collector, mask in zip(collectors, (slab.formed, slab.resorbed), strict=True):
            collector.add(mask, slab.corner)
        tick(stop - start)
    formed, resorbed = (_large(c, guard.smallest_cluster_voxels) for c in collectors)
    raw, difference, film = ((int(a), int(b)) for a, b in left)
    return GuardedMap((depth, rows, columns), formed, resorbed, bone, raw, difference, film)


def guarded_change(
    baseline: SlicedArray,
    followup: SlicedArray,
    thresholds: tuple[float, float],
    guard: Guard,
    *,
    mapper: Mapper = map,
    tick: Tick = lambda n: None,
) -> Change:
    """Return how much bone stayed, came and went; see :func:`guarded_map`."""
    return guarded_map(baseline, followup, thresholds, guard, mapper=mapper, tick=tick).change


def _large(collector: ClusterCollector, smallest: int) -> NDArray[np.int64]:
    """Return the voxels of clusters that are large enough."""
    voxels, number = collector.clusters()
    return voxels[np.bincount(number)[number] >= smallest] if voxels.size else voxels


@dataclass(frozen=True)
class _Scale:
    """Threshold and contrast of one scan."""

    threshold: float
    contrast: float

    def normal(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return values in units of the contrast, 0 at the threshold."""
        return (values.astype(np.float32) - np.float32(self.threshold)) * np.float32(1 / self.contrast)


def _scales(
    scans: tuple[SlicedArray, SlicedArray],
    thresholds: tuple[float, float],
    ranges: list[tuple[int, int]],
    mapper: Mapper,
) -> tuple[_Scale, _Scale]:
    """Return both scans' scales: the baseline's for both, unless they have different thresholds."""

    def scale(scan: SlicedArray, threshold: float) -> _Scale:
        def one(span: tuple[int, int]) -> tuple[float, int]:
            values = np.asarray(scan[span[0] : span[1]])
            bone = values[values >= threshold]
            return float(bone.sum(dtype=np.float64)), bone.size

        sums = list(mapper(one, ranges))
        total, count = sum(s for s, _ in sums), sum(n for _, n in sums)
        above = total / count - threshold if count else 0.0
        return _Scale(threshold, 2 * above if above > 0 else 1.0)

    first = scale(scans[0], thresholds[0])
    return first, first if thresholds[0] == thresholds[1] else scale(scans[1], thresholds[1])


@dataclass(frozen=True, eq=False)
class _Slab:
    """What one slab says: the changes that are no films, in a window of the slices.

    Attributes
    ----------
    formed, resorbed
        (z, y, x) masks over the slab's slices and the window.
    corner
        First row and column of the window.
    baseline_bone
        Bone voxels of the baseline.
    left
        (3, 2) formed and resorbed voxels: raw, after the first rule, after the second.
    """

    formed: NDArray[np.bool_]
    resorbed: NDArray[np.bool_]
    corner: tuple[int, int]
    baseline_bone: int
    left: NDArray[np.int64]


def _guard_slab(
    scans: tuple[SlicedArray, SlicedArray],
    span: tuple[int, int],
    scales: tuple[_Scale, _Scale],
    guard: Guard,
) -> _Slab:
    """Return the changes of the slices ``span``, reading as far around them as the guard reaches."""
    start, stop = span
    low, high = max(0, start - guard.reach), min(scans[0].shape[0], stop + guard.reach)
    images = [np.asarray(v[low:high]) for v in scans]
    bones = [v >= s.threshold for v, s in zip(images, scales, strict=True)]
    window = (slice(None), *_bone_window(bones, guard.reach))
    before, after = (b[window] for b in bones)
    first, second = (s.normal(v[window]) for v, s in zip(images, scales, strict=True))
    change = _smoothed(second - first, guard)
    needed = _needed(first, guard)
    changed = (after & ~before, before & ~after)
    enough = (changed[0] & (change >= needed), changed[1] & (change <= -needed))
    kept = tuple(_without_film(m, b, guard.film_voxels) for m, b in zip(enough, (before, after), strict=True))
    inner = slice(start - low, stop - low)
    left = [[np.count_nonzero(m[inner]) for m in pair] for pair in (changed, enough, kept)]
    return _Slab(
        kept[0][inner],
        kept[1][inner],
        (window[1].start, window[2].start),
        int(np.count_nonzero(before[inner])),
        np.array(left, dtype=np.int64),
    )


def _smoothed(image: NDArray[np.float32], guard: Guard) -> NDArray[np.float32]:
    """Return an image under the guard's Gaussian."""
    if guard.sigma_voxels == 0:
        return image
    return np.asarray(
        ndimage.gaussian_filter(image, guard.sigma_voxels, mode="nearest", truncate=_SMOOTHING_RADII)
    )


def _needed(baseline: NDArray[np.float32], guard: Guard) -> NDArray[np.float32] | float:
    """Return the difference that a change must reach, for each voxel where an error is known."""
    if guard.error_voxels == 0:
        return guard.smallest_difference
    smooth = _smoothed(baseline, guard)
    squared = np.zeros_like(smooth)
    for axis in range(3):
        if smooth.shape[axis] > 1:
            squared += np.gradient(smooth, axis=axis) ** 2
    return np.asarray(guard.smallest_difference + guard.error_voxels * np.sqrt(squared), dtype=np.float32)


def _bone_window(masks: list[NDArray[np.bool_]], margin: int) -> tuple[slice, slice]:
    """Return the rows and columns that hold any bone, with a margin; nothing changes outside."""
    flat = np.logical_or.reduce([m.any(axis=0) for m in masks])
    spans = []
    for axis in (1, 0):
        found = np.flatnonzero(flat.any(axis=axis))
        size = flat.shape[1 - axis]
        spans.append(
            slice(max(0, found[0] - margin), min(size, found[-1] + 1 + margin)) if len(found) else slice(0, 1)
        )
    return spans[0], spans[1]


def _without_film(changed: NDArray[np.bool_], bone: NDArray[np.bool_], thickness: int) -> NDArray[np.bool_]:
    """Return the changed voxels that lie deeper than a film on ``bone``, and those that touch such.

    The second half gives a deep change its own surface back, so that its volume is not cut short.
    """
    if thickness == 0 or not changed.any():
        return changed
    film = ndimage.binary_dilation(bone, iterations=thickness)
    deep = changed & ~film
    return np.asarray(ndimage.binary_dilation(deep, CORNERS, iterations=thickness) & changed)
