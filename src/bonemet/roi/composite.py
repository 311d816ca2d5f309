"""Composites: what stayed, what is new and what was lost between two aligned scans of one bone.

The four greys are those of the published composites. Beside the raw count of changed voxels stands a guarded
one, since noise and a misalignment of a fraction of a voxel change the surface of every unchanged bone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.context import Mapper, Tick
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.volume import SlicedArray
from bonemet.roi.clusters import ClusterCounter

KEPT, FORMED, RESORBED, NEITHER = 180, 240, 60, 0

_SMOOTHING_RADII = 3.0  # where the Gaussian is cut off, in standard deviations
_SLAB_VOXELS = 16_000_000
_CORNERS = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True)
class Change:
    """Numbers of voxels of bone that stayed, came and went."""

    unchanged: int
    formed: int
    resorbed: int

    def __add__(self, other: Change) -> Change:
        return Change(
            self.unchanged + other.unchanged, self.formed + other.formed, self.resorbed + other.resorbed
        )

    def as_mm3(self, voxel_mm3: float) -> dict[str, float]:
        """Return the volumes in mm3, with the net change (formed less resorbed)."""
        return {
            "unchanged_mm3": self.unchanged * voxel_mm3,
            "formed_mm3": self.formed * voxel_mm3,
            "resorbed_mm3": self.resorbed * voxel_mm3,
            "net_mm3": (self.formed - self.resorbed) * voxel_mm3,
        }


@dataclass(frozen=True)
class Guard:
    """What a change must be before the guarded figures count it.

    A voxel that crossed the threshold counts when the difference of both scans, smoothed, is a good part of
    the contrast of bone; when it lies deeper than a surface film, or touches one that does; and when it
    belongs to a cluster (26-connected) that is large enough. The difference is smoothed, not each scan,
    since smoothing each takes thin trabeculae away before they are compared.

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
    """

    sigma_voxels: float = 1.0
    smallest_difference: float = 0.25
    film_voxels: int = 1
    smallest_cluster_voxels: int = 27

    def __post_init__(self) -> None:
        sizes = (self.sigma_voxels, self.smallest_difference, self.film_voxels)
        if not (min(sizes) >= 0 and self.smallest_cluster_voxels >= 1):
            raise SettingsError(f"A guard needs sizes that are not negative, not {self}.")

    @property
    def reach(self) -> int:
        """Distance in voxels over which one voxel has an effect, clusters left out."""
        return int(_SMOOTHING_RADII * self.sigma_voxels + 0.5) + 2 * self.film_voxels

    def as_dict(self) -> dict[str, float]:
        """Return the settings."""
        return asdict(self)


def composite(
    baseline: NDArray[Any],
    followup: NDArray[Any],
    threshold: float,
    followup_threshold: float | None = None,
) -> NDArray[np.uint8]:
    """Return the composite of two aligned images in the published greys.

    Parameters
    ----------
    baseline, followup
        Values of one shape, slices or volumes.
    threshold
        Bone is value >= threshold; the published "above 75" of 8-bit greys is 76.
    followup_threshold
        Threshold of the follow-up where its values have another scale.

    Returns
    -------
    NDArray[np.uint8]
        180 bone in both, 240 new bone, 60 lost bone, 0 neither.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if baseline.shape != followup.shape:
        raise InputError(
            f"A baseline of shape {baseline.shape} and a follow-up of {followup.shape} lie on two grids; "
            "register the follow-up onto the baseline first."
        )
    before = (baseline >= threshold).view(np.uint8)
    after = (followup >= (threshold if followup_threshold is None else followup_threshold)).view(np.uint8)
    codes = after * np.uint8(FORMED)
    codes += before * np.uint8(RESORBED)
    both = before & after
    codes -= both * np.uint8(RESORBED + FORMED - KEPT)  # eight bits wrap: 60 + 240 - 120 is 180
    return codes


def count_change(codes: NDArray[np.uint8]) -> Change:
    """Return the voxel counts of a composite or of one slice of it."""
    counts = np.bincount(codes.ravel(), minlength=256)
    return Change(int(counts[KEPT]), int(counts[FORMED]), int(counts[RESORBED]))


def guarded_change(
    baseline: SlicedArray,
    followup: SlicedArray,
    thresholds: tuple[float, float],
    guard: Guard,
    *,
    mapper: Mapper = map,
    tick: Tick = lambda n: None,
) -> Change:
    """Return how much bone stayed, came and went, once noise is guarded against.

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

    Returns
    -------
    Change
        ``unchanged`` holds the baseline's bone that was not resorbed.
    """
    depth, rows, columns = baseline.shape
    step = max(4, _SLAB_VOXELS // (rows * columns))
    ranges = [(a, min(a + step, depth)) for a in range(0, depth, step)]
    counters = ClusterCounter((rows, columns)), ClusterCounter((rows, columns))
    bars = _scales((baseline, followup), thresholds, ranges, mapper)
    bone = 0

    def work(span: tuple[int, int]) -> Slab:
        return _guard_slab((baseline, followup), span, bars, guard)

    for (start, stop), slab in zip(ranges, mapper(work, ranges), strict=True):
        bone += slab.baseline_bone
        for counter, mask in zip(counters, (slab.formed, slab.resorbed), strict=True):
            counter.add(mask, slab.corner)
        tick(stop - start)
    formed, resorbed = (
        int(s[s >= guard.smallest_cluster_voxels].sum()) for s in (c.sizes() for c in counters)
    )
    return Change(bone - resorbed, formed, resorbed)


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


@dataclass(frozen=True)
class Slab:
    """What one slab says: the changes that are no films, in a window of the slices.

    Attributes
    ----------
    formed, resorbed
        (z, y, x) masks over the slab's slices and the window.
    corner
        First row and column of the window.
    baseline_bone
        Bone voxels of the baseline.
    """

    formed: NDArray[np.bool_]
    resorbed: NDArray[np.bool_]
    corner: tuple[int, int]
    baseline_bone: int


def _guard_slab(
    scans: tuple[SlicedArray, SlicedArray],
    span: tuple[int, int],
    scales: tuple[_Scale, _Scale],
    guard: Guard,
) -> Slab:
    """Return the changes of the slices ``span``, reading as far around them as the guard reaches."""
    start, stop = span
    low, high = max(0, start - guard.reach), min(scans[0].shape[0], stop + guard.reach)
    images = [np.asarray(v[low:high]) for v in scans]
    bones = [v >= s.threshold for v, s in zip(images, scales, strict=True)]
    window = (slice(None), *_bone_window(bones, guard.reach))
    before, after = (b[window] for b in bones)
    first, second = (s.normal(v[window]) for v, s in zip(images, scales, strict=True))
    difference = second - first
    if guard.sigma_voxels > 0:
        difference = ndimage.gaussian_filter(
            difference, guard.sigma_voxels, mode="nearest", truncate=_SMOOTHING_RADII
        )
    formed = after & ~before & (difference >= guard.smallest_difference)
    resorbed = before & ~after & (difference <= -guard.smallest_difference)
    inner = slice(start - low, stop - low)
    return Slab(
        _without_film(formed, before, guard.film_voxels)[inner],
        _without_film(resorbed, after, guard.film_voxels)[inner],
        (window[1].start, window[2].start),
        int(np.count_nonzero(before[inner])),
    )


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
    return np.asarray(ndimage.binary_dilation(deep, _CORNERS, iterations=thickness) & changed)
