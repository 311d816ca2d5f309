"""Global thresholds: published, from a histogram, from attenuation.

Bone is grey >= T everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, SettingsError

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
    """Return the threshold between soft tissue and bone: the upper one of Otsu's three classes.

    A scan is mostly air and soft tissue, and two classes would part these. Three classes (air, soft tissue
    and marrow, bone) part bone from the rest. Bone fills only a few per cent of the field, so where it is too
    scarce for its own class, that is where the upper class found reaches below the mean of soft tissue plus
    four of its standard deviations, the histogram above that bar is parted instead.

    Parameters
    ----------
    histogram
        (n,) counts.
    values
        (n,) value of each bin, 0, 1, 2, ... by default.

    Returns
    -------
    float
        T; bone is value >= T.

    Raises
    ------
    InputError
        If fewer than three bins hold anything.

    References
    ----------
    Otsu 1979, doi:10.1109/TSMC.1979.4310076 (multi-level form of the same criterion).
    """
    counts, values = _bins(histogram, values)
    if np.count_nonzero(counts) < 3:
        raise InputError("A threshold needs at least three different grey values; give one with --threshold.")
    lower, upper = _three_classes(counts, values)
    for _ in range(4):
        soft = slice(lower, upper)
        bar = _soft_bar(counts[soft], values[soft])
        if values[upper] >= bar:
            break
        above = values >= values[upper]
        if np.count_nonzero(counts[above]) < 3:
            break
        # Bone is scarcer than the soft tissue's own spread: part what lies above once more.
        lower, upper = upper, int(np.flatnonzero(above)[0]) + _split(counts[above], values[above])
    return float(values[upper])


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
    """Return the middle of the first run of best scores: empty bins leave a plateau, and its edges are biased."""
    best = np.flatnonzero(score >= score.max() * (1 - 1e-12))
    run = best[: int(np.argmax(np.diff(best, append=best[-1] + 2) > 1)) + 1]
    return int(run[len(run) // 2])


def _split(counts: NDArray[np.float64], values: NDArray[np.float64]) -> int:
    """Return the first bin of the upper one of Otsu's two classes."""
    return int(np.searchsorted(values, otsu(counts, values)))


def _three_classes(counts: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[int, int]:
    """Return the first bins of the middle and of the upper one of three classes."""
    total, moment = np.concatenate([[0], np.cumsum(counts)]), np.concatenate([[0], np.cumsum(counts * values)])
    edge = np.arange(1, len(counts))
    low, high = np.meshgrid(edge, edge, indexing="ij")

    def spread(a: NDArray[Any] | int, b: NDArray[Any] | int) -> NDArray[np.float64]:
        n = total[b] - total[a]
        return np.asarray(np.where(n > 0, (moment[b] - moment[a]) ** 2 / np.maximum(n, 1e-300), -np.inf))

    score = spread(0, low) + spread(low, high) + spread(high, len(counts))
    score[low >= high] = -np.inf
    lower, upper = np.unravel_index(int(np.argmax(score)), score.shape)
    return int(edge[lower]), int(edge[upper])


def _soft_bar(counts: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Return mean plus four standard deviations of the soft tissue: its mode, and the spread below the mode.

    The lower half of the peak is used, since bone and partial volume pull the upper half.
    """
    mode = int(np.argmax(counts))
    below = values[: mode + 1] - values[mode]
    weight = counts[: mode + 1]
    deviation = float(np.sqrt((weight * below**2).sum() / weight.sum()))
    return float(values[mode]) + 4 * deviation
