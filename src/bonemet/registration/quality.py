"""How far a pose can be trusted: correlation, overlap, mutual information, confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.registration.levels import SURFACE, Level
from bonemet.registration.rigid import correlation

_SAMPLES: Final = 20_000  # points near either bone
_BINS: Final = 32
_POOR_CORRELATION: Final = 0.75
_POOR_OVERLAP: Final = 0.6
_POOR_COVERAGE: Final = 0.35


@dataclass(frozen=True)
class Quality:
    """Agreement of two images under a pose, on points near either bone that both images show.

    Attributes
    ----------
    correlation
        Pearson's, of smoothed grey values.
    overlap
        Dice coefficient of the two bones within the field of view that both images share.
    coverage
        Share of the bone of either image that lies in the other image's field of view; the less of two.
    mutual_information
        In nats, of a joint histogram of 32 x 32 bins.
    """

    correlation: float
    overlap: float
    coverage: float
    mutual_information: float

    @property
    def signs(self) -> list[float]:
        """Numbers from 0 to 1 that are low where agreement is poor."""
        return [
            ramp(self.correlation, 0.6, 0.9),
            ramp(self.overlap, 0.4, 0.8),
            ramp(self.coverage, 0.2, 0.5),
        ]

    @property
    def reasons(self) -> list[str]:
        """Why a person should look."""
        reasons = []
        if self.coverage < _POOR_COVERAGE:
            reasons.append(f"Only {self.coverage:.0%} of a bone lies in the other image's field of view.")
        if self.correlation < _POOR_CORRELATION:
            reasons.append(f"The images correlate poorly ({self.correlation:.2f}): another bone?")
        if self.overlap < _POOR_OVERLAP:
            reasons.append(f"The bones overlap poorly (Dice {self.overlap:.2f}).")
        return reasons


def ramp(value: float, low: float, high: float) -> float:
    """Return 0 up to one value, 1 from another on, and a straight line between."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


def mutual_information(a: NDArray[np.floating], b: NDArray[np.floating], bins: int = _BINS) -> float:
    """Return the mutual information of two lists of numbers, in nats."""
    joint, _, _ = np.histogram2d(a, b, bins=bins)
    p = joint / joint.sum()
    expected = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    some = p > 0
    return float((p[some] * np.log(p[some] / expected[some])).sum())


def _near_bone(level: Level, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return random points (n, 3) in mm in voxels that hold bone or touch one that does."""
    index = np.argwhere(ndimage.binary_dilation(level.bone))
    chosen = index[rng.integers(0, len(index), _SAMPLES)]
    return level.grid.index_to_mm(chosen + rng.uniform(-0.5, 0.5, chosen.shape))


def assess(
    fixed: tuple[Level, Level], moving: tuple[Level, Level], matrix: NDArray[np.float64], seed: int = 0
) -> Quality:
    """Return how well two images agree under a pose.

    Parameters
    ----------
    fixed, moving
        The level whose values are compared, and a coarser level that shows where bone is.
    matrix
        4 x 4, fixed points to moving points.
    seed
        Of the random points.
    """
    rng = np.random.default_rng(seed)
    inverse = np.asarray(np.linalg.inv(matrix), np.float64)
    at_fixed = _near_bone(fixed[1], rng)
    from_moving = _near_bone(moving[1], rng)
    own_f, seen_f = fixed[0].sample(at_fixed, np.eye(4))
    other_f, inside_f = moving[0].sample(at_fixed, matrix)
    own_m, seen_m = moving[0].sample(from_moving, np.eye(4))
    other_m, inside_m = fixed[0].sample(from_moving, inverse)
    use_f, use_m = seen_f & inside_f, seen_m & inside_m
    a = np.concatenate([own_f[use_f], other_m[use_m]])
    b = np.concatenate([other_f[use_f], own_m[use_m]])
    if len(a) < _SAMPLES // 20:
        return Quality(0.0, 0.0, 0.0, 0.0)
    shares = [_share(own_f, other_f, use_f), _share(own_m, other_m, use_m)]
    overlap = 2 / (1 / shares[0] + 1 / shares[1]) if min(shares) > 0 else 0.0
    coverage = min(float(use_f[own_f > SURFACE].mean()), float(use_m[own_m > SURFACE].mean()))
    return Quality(correlation(a, b), overlap, coverage, mutual_information(a, b))


def _share(own: NDArray[np.float32], other: NDArray[np.float32], use: NDArray[np.bool_]) -> float:
    """Return the share of an image's bone points that are bone in the other image too."""
    bone = use & (own > SURFACE)
    return float((other[bone] > SURFACE).mean()) if bone.any() else 0.0
