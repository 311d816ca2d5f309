"""The difference of two scans of one bone, in units of the contrast of bone, smoothed; and its noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.context import Mapper
from bonemet.core.volume import SlicedArray

_RADII = 3.0  # where the Gaussian is cut off, in standard deviations
_LOOKS = 12  # slices in which noise is measured
_FEWEST = 200  # voxels well within bone from which noise can be told
_MAD_TO_SD = 1.4826

Scans = tuple[SlicedArray, SlicedArray]


@dataclass(frozen=True)
class Scale:
    """Threshold and contrast of one scan."""

    threshold: float
    contrast: float

    def normal(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return values in units of the contrast, 0 at the threshold."""
        return (values.astype(np.float32) - np.float32(self.threshold)) * np.float32(1 / self.contrast)


Scales = tuple[Scale, Scale]


def scales(
    scans: Scans, thresholds: tuple[float, float], ranges: list[tuple[int, int]], mapper: Mapper = map
) -> Scales:
    """Return both scans' scales: the baseline's for both, unless they have different thresholds.

    Parameters
    ----------
    scans
        (z, y, x) values on one grid.
    thresholds
        Bone is value >= these.
    ranges
        First slices, and those after the last, of the slabs in which scans are read.
    mapper
        Ordered map over slabs.
    """

    def scale(scan: SlicedArray, threshold: float) -> Scale:
        def one(span: tuple[int, int]) -> tuple[float, int]:
            values = np.asarray(scan[span[0] : span[1]])
            bone = values[values >= threshold]
            return float(bone.sum(dtype=np.float64)), bone.size

        sums = list(mapper(one, ranges))
        total, count = sum(s for s, _ in sums), sum(n for _, n in sums)
        above = total / count - threshold if count else 0.0
        return Scale(threshold, 2 * above if above > 0 else 1.0)

    first = scale(scans[0], thresholds[0])
    return first, first if thresholds[0] == thresholds[1] else scale(scans[1], thresholds[1])


def reach(sigma_voxels: float) -> int:
    """Return how many voxels away a voxel still has an effect on the smoothed difference."""
    return int(_RADII * sigma_voxels + 0.5) + 1


def smoothed(image: NDArray[np.float32], sigma_voxels: float) -> NDArray[np.float32]:
    """Return an image (z, y, x) under a Gaussian; as it is where ``sigma_voxels`` is 0."""
    if sigma_voxels == 0:
        return image
    return np.asarray(ndimage.gaussian_filter(image, sigma_voxels, mode="nearest", truncate=_RADII))


def steepness(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the length of an image's gradient, per voxel."""
    squared = np.zeros_like(image)
    for axis in range(3):
        if image.shape[axis] > 1:
            squared += np.gradient(image, axis=axis) ** 2
    return np.sqrt(squared)


def noise(scans: Scans, both: Scales, sigma_voxels: float, mapper: Mapper = map) -> float:
    """Return the standard deviation of the smoothed difference where nothing has changed.

    It is measured well within bone, in slices spread over the scans, by the median absolute deviation, so
    that changed bone does not count.

    Parameters
    ----------
    scans
        (z, y, x) values on one grid.
    both
        Their scales.
    sigma_voxels
        Of the smoothing.
    mapper
        Ordered map over slices.

    Returns
    -------
    float
        In units of the contrast; 0 where too little bone is thick enough to tell.
    """
    depth = scans[0].shape[0]
    looks = np.unique(np.linspace(0, depth - 1, min(_LOOKS, depth) + 2).round().astype(int)[1:-1])
    around = reach(sigma_voxels)

    def one(z: int) -> NDArray[np.float32]:
        low, high = max(0, z - around), min(depth, z + around + 1)
        before, after = (s.normal(np.asarray(v[low:high])) for v, s in zip(scans, both, strict=True))
        solid = ndimage.binary_erosion(np.minimum(before, after)[z - low] >= 0, iterations=2)
        return np.asarray(smoothed(after - before, sigma_voxels)[z - low][solid])

    found = np.concatenate(list(mapper(one, looks.tolist())))
    if found.size < _FEWEST:
        return 0.0
    return _MAD_TO_SD * float(np.median(np.abs(found - np.median(found))))
