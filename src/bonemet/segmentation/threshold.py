"""Global thresholds: published, from a histogram, from attenuation.

Bone is grey >= T everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.context import Mapper
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.volume import SlicedArray

LOCAL_MM = 0.15  # of a local threshold's surroundings: wider than a trabecula, narrower than a marrow space
LOCAL_REACH_MM = 3.5 * LOCAL_MM
LEAST_BONE = 0.002  # of the animal that must lie far above soft tissue to be bone
PUBLISHED = 76
"""The paper's global threshold "above 75 of 255": bone is grey >= 76."""


def grey_histogram(slabs: Iterable[NDArray[Any]], levels: int = 256) -> NDArray[np.int64]:
    """Return how often each of ``levels`` integer grey values occurs in slabs of unsigned integers."""
    total = np.zeros(levels, np.int64)
    for slab in slabs:
        total += np.bincount(slab.reshape(-1), minlength=levels)[:levels]
    return total


def otsu(histogram: NDArray[Any] | Sequence[int], values: NDArray[Any] | None = None) -> float:
    """Return Otsu's threshold of two classes: the first value of the upper class.

    Parameters
    ----------
    histogram
        (n,) counts.
    values
        (n,) value of each bin, 0, 1, 2, ... by default.

    Raises
    ------
    InputError
        If fewer than two bins hold anything.

    References
    ----------
    Otsu 1979, doi:10.1109/TSMC.1979.4310076.
    """
    counts, values = _bins(histogram, values)
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    moment = np.cumsum(counts * values)
    mean_below = moment[:-1] / np.maximum(below, 1e-300)
    mean_above = (moment[-1] - moment[:-1]) / np.maximum(above, 1e-300)
    between = np.where((below > 0) & (above > 0), below * above * (mean_below - mean_above) ** 2, -1.0)
    return float(values[_middle_of_best(between) + 1])


def otsu_bone(histogram: NDArray[Any] | Sequence[int], values: NDArray[Any] | None = None) -> float:
    """Return the threshold that parts bone from soft tissue in a scan that is mostly air and soft tissue.

    Otsu's two classes part a scan into air and animal, since bone fills only a few per cent of it. So
    within the animal's class soft tissue is taken as the histogram's peak, and bone as what lies more
    than four standard deviations above it; then T is Otsu's, that is halfway between the peak of soft
    tissue and the mean of all that is >= T. Where less than 0.2 per cent of the animal lies that high
    (a dry bone, or no air in the field) the two classes are bone and the rest already, and Otsu's
    threshold of two classes is returned.

    Parameters
    ----------
    histogram
        (n,) counts.
    values
        (n,) value of each bin, rising, 0, 1, 2, ... by default.

    Returns
    -------
    float
        T; bone is value >= T.

    Raises
    ------
    InputError
        If fewer than two bins hold anything.

    References
    ----------
    Otsu 1979, doi:10.1109/TSMC.1979.4310076, whose threshold is halfway between the two classes' means;
    Ridler and Calvard 1978, doi:10.1109/TSMC.1978.4310039, for finding it step by step.
    """
    counts, values = _bins(histogram, values)
    two = otsu(counts, values)
    animal = values >= two
    peak, deviation = _peak(counts[animal], values[animal])
    far = counts * (values >= peak + 4 * deviation)
    if far.sum() < LEAST_BONE * counts[animal].sum():
        return two
    threshold = 0.0
    for _ in range(100):
        halfway = 0.5 * (peak + float((far * values).sum() / far.sum()))
        if halfway == threshold:
            break
        threshold = halfway
        far = counts * (values >= threshold)
    return float(values[np.searchsorted(values, threshold)])


def from_attenuation(attenuation_per_mm: float, quantity: Quantity) -> float:
    """Return the threshold in the units of a volume for an attenuation in 1/mm.

    Raises
    ------
    InputError
        If the volume's grey values have no known window.
    """
    if quantity.kind is Kind.ATTENUATION:
        return float(attenuation_per_mm)
    if quantity.kind is Kind.GREY and quantity.window is not None and quantity.step is not None:
        return float(np.ceil((attenuation_per_mm - quantity.window[0]) / quantity.step - 1e-9))
    raise InputError(
        f"An attenuation cannot be turned into a threshold on {quantity.kind} values without a window; "
        "give the threshold in grey values."
    )


def _bins(
    histogram: NDArray[Any] | Sequence[int], values: NDArray[Any] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    counts = np.asarray(histogram, dtype=np.float64)
    if counts.ndim != 1 or (counts < 0).any():
        raise SettingsError("A histogram is a row of counts that are not negative.")
    if np.count_nonzero(counts) < 2:
        raise InputError("All grey values are the same, so there is nothing to part by a threshold.")
    where = np.arange(len(counts), dtype=np.float64) if values is None else np.asarray(values, np.float64)
    return counts, where


def _middle_of_best(score: NDArray[np.float64]) -> int:
    """Return the middle of the first run of best scores: between two peaks all empty bins score alike."""
    best = np.flatnonzero(score >= score.max() * (1 - 1e-12))
    run = best[: int(np.argmax(np.diff(best, append=best[-1] + 2) > 1)) + 1]
    return int(run[len(run) // 2])


def _peak(counts: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the place of the highest peak and its spread.

    The spread is taken below the peak, since partial volume and bone fatten it above.
    """
    smooth = ndimage.gaussian_filter1d(counts, max(1.0, len(counts) / 256), mode="constant")
    # At the lower end stands the tail of air, so the peak is a place that rises before it falls.
    inner = np.flatnonzero((smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] >= smooth[2:])) + 1
    top = int(inner[np.argmax(smooth[inner])]) if inner.size else int(np.argmax(smooth))
    below, weight = values[: top + 1] - values[top], counts[: top + 1]
    step = float(np.diff(values).mean()) if len(values) > 1 else 1.0
    deviation = float(np.sqrt((weight * below**2).sum() / max(weight.sum(), 1e-300)))
    return float(values[top]), max(deviation, 1.5 * step)


def bone_threshold(grey: SlicedArray, mapper: Mapper = map) -> float:
    """Return the threshold of bone in a reconstruction (z, y, x) by :func:`otsu_bone`.

    Its values are counted as :func:`scan_histogram` does, slice by slice.

    Raises
    ------
    InputError
        If the values are all the same, or not finite.
    """
    return otsu_bone(*scan_histogram(grey, mapper))


def scan_histogram(grey: SlicedArray, mapper: Mapper = map) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the counts of a reconstruction's values (z, y, x) and the value of each bin.

    8-bit values are counted one by one, others in 512 bins between the 0.05 and 99.95 percentiles of a
    sample.

    Raises
    ------
    InputError
        If the values are all the same, or not finite.
    """
    depth = grey.shape[0]
    if grey.dtype == np.uint8:
        parts = mapper(lambda z: grey_histogram([np.asarray(grey[z])]), range(depth))
        return np.sum(list(parts), axis=0), np.arange(256, dtype=np.float64)
    step = max(1, round((float(np.prod(grey.shape)) / 2e6) ** (1 / 3)))
    sample = np.stack([np.asarray(grey[z])[::step, ::step] for z in range(0, depth, step)])
    if not np.isfinite(sample).all():
        raise InputError("This volume holds values that are not finite numbers; mend it first.")
    low, high = np.percentile(sample.astype(np.float64), [0.05, 99.95])
    if not high > low:
        raise InputError("All grey values are the same, so there is nothing to part by a threshold.")
    edges = np.linspace(low, high, 513)
    parts = mapper(lambda z: np.histogram(np.clip(np.asarray(grey[z]), low, high), edges)[0], range(depth))
    return np.sum(list(parts), axis=0, dtype=np.int64), edges[:-1]


@dataclass(frozen=True)
class HalfHeight:
    """What a histogram says of soft tissue and bone.

    Attributes
    ----------
    soft
        Peak of soft tissue.
    above_soft
        Four standard deviations above it.
    bone
        What solid bone is like.
    halfway
        First value of the histogram at or above the middle between soft tissue and solid bone.
    """

    soft: float
    above_soft: float
    bone: float
    halfway: float


def half_height(histogram: NDArray[Any] | Sequence[int], values: NDArray[Any] | None = None) -> HalfHeight:
    """Return the threshold halfway between soft tissue and solid bone: an edge's true place after blur.

    Solid bone is the highest peak above the threshold of :func:`otsu_bone`; where partial volumes leave no
    peak there, the value that a tenth of what lies above that
    threshold exceeds.

    Parameters
    ----------
    histogram
        (n,) counts.
    values
        (n,) value of each bin, rising, 0, 1, 2, ... by default.

    Raises
    ------
    InputError
        If fewer than two bins hold anything.
    """
    counts, values = _bins(histogram, values)
    first = otsu_bone(counts, values)
    soft, deviation = _soft(counts * (values < first), values)
    bone = _solid(counts[values >= first], values[values >= first])
    halfway = _at_or_above(0.5 * (soft + bone), values)
    above_soft = _at_or_above(soft + 4 * deviation, values)
    return HalfHeight(soft, min(above_soft, halfway), bone, halfway)


def _at_or_above(value: float, values: NDArray[np.float64]) -> float:
    return float(values[min(int(np.searchsorted(values, value)), len(values) - 1)])


def _soft(counts: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the brightest clear peak of what is no bone, and its spread, from its half-height below it."""
    smooth = ndimage.gaussian_filter1d(counts, max(1.0, len(counts) / 256), mode="constant")
    inner = np.flatnonzero((smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] >= smooth[2:])) + 1
    inner = inner[smooth[inner] >= 0.02 * smooth.max()]
    top = int(inner[-1]) if inner.size else int(np.argmax(smooth))
    half = np.flatnonzero(smooth[:top] < 0.5 * smooth[top])
    low = int(half[-1]) if half.size else 0
    return float(values[top]), float(values[top] - values[low]) / np.sqrt(2 * np.log(2))


def _solid(counts: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Return the peak of a class of bone, or the value that a tenth of it exceeds where it has none."""
    smooth = ndimage.gaussian_filter1d(counts, max(1.0, len(counts) / 40), mode="nearest")
    inner = np.flatnonzero((smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] >= smooth[2:])) + 1
    inner = inner[smooth[inner] >= 0.2 * smooth.max()]
    if inner.size:
        return float(values[inner[np.argmax(smooth[inner])]])
    share = np.cumsum(counts) / max(counts.sum(), 1e-300)
    return float(values[int(np.searchsorted(share, 0.9))])


def local_bone(
    grey: NDArray[Any], spacing_mm: tuple[float, float, float], high: float, low: float
) -> NDArray[np.bool_]:
    """Return bone by a local threshold, which keeps trabeculae that partial volume has dimmed.

    A voxel is bone where it is >= ``high``, or >= ``low`` and at least halfway between the mean and the
    brightest of its surroundings (:data:`LOCAL_MM` around): the half-height of a thin strut itself. Reach:
    :data:`LOCAL_REACH_MM`.

    Parameters
    ----------
    grey
        (z, y, x).
    spacing_mm
        (z, y, x).
    high
        The threshold of thick bone.
    low
        Below it nothing is bone: just above soft tissue.
    """
    sigma = [LOCAL_MM / s for s in spacing_mm]
    values = grey.astype(np.float32)
    mean = ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=3.0)
    size = [2 * max(1, round(LOCAL_MM / s)) + 1 for s in spacing_mm]
    halfway = 0.5 * (mean + ndimage.maximum_filter(values, size, mode="nearest"))
    return np.asarray(values >= np.clip(halfway, low, high))
