"""By how much a pose may be off: leave-out error of the least squares, and registration both ways.

The expected error is a delete-a-block jackknife (Kuensch 1989, doi:10.1214/aos/1176347265): the bone is
cut into blocks, the last step is solved again without each of them, and the scatter of the poses tells how
far the pose depends on what happens to be in the images. Residuals of neighbouring points go together (a
lesion, trabeculae, partial volume), which a plain covariance of the fit would not see. Of a surface that
drifted while the bone grew (:mod:`bonemet.registration.drift`) a part is added, for its drift was not even.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bonemet.core.transform import TransformKind
from bonemet.registration import rigid
from bonemet.registration.levels import Level
from bonemet.registration.pose import principal_axis
from bonemet.registration.rigid import Fit, Points

_HEIGHTS: Final = 10
_SECTORS: Final = 3
_UNEVEN: Final = 0.3  # of a surface's drift about so much is uneven, and shifts the pose along the bone
_LEAST: Final = 200  # points from which blocks can be made


def expected_error_mm(
    points: Points, level: Level, fit: Fit, kind: TransformKind, width: float
) -> float | None:
    """Return the expected mean displacement in mm, over the points, of a pose from the true one.

    Parameters
    ----------
    points
        Of the fixed image.
    level
        Of the moving image.
    fit
        The pose, with its grey map.
    kind
        Freedom of the motion.
    width
        Residuals larger than this number of standard deviations do not count.

    Returns
    -------
    float or None
        None where there are too few points.
    """
    values, inside = level.sample(points.drifted(fit.drift), fit.matrix)
    if inside.sum() < _LEAST:
        return None
    blocks = _blocks(points.mm)
    seen = (values, points.values, inside)
    system = rigid.equations(rigid.columns_of(points, kind), seen, fit.grey, width, blocks)
    count = len(system.normal)
    centre, probe = points.mm.mean(0), points.mm[::20]
    moved = []
    for block in range(count):
        matrix = rigid.small_motion(system.solve(without=block)[: rigid.FREEDOM[kind]], centre, kind)
        moved.append(probe @ matrix[:3, :3].T + matrix[:3, 3] - probe)
    spread = np.asarray(moved) - np.mean(moved, axis=0)
    variance = (count - 1) / count * (spread**2).sum(axis=(0, 2))
    return float(np.hypot(np.sqrt(variance).mean(), _UNEVEN * _typical_mm(fit.drift)))


def _typical_mm(drift: NDArray[np.float64]) -> float:
    """Return the typical (root mean square) drift of a surface, of the ways in which it drifted at all."""
    some = drift[drift != 0]
    return float(np.sqrt((some**2).mean())) if len(some) else 0.0


def _blocks(points_mm: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the block of each point (n, 3): heights that hold equal numbers, and sectors about the axis."""
    axis = principal_axis(points_mm)
    local = (points_mm - axis.centre) @ axis.frame
    rank = np.argsort(np.argsort(local[:, 2], kind="stable"), kind="stable")
    height = rank * _HEIGHTS // len(rank)
    angle = np.arctan2(local[:, 1], local[:, 0]) / (2 * np.pi) + 0.5
    sector = np.minimum((angle * _SECTORS).astype(np.int64), _SECTORS - 1)
    return np.asarray(height * _SECTORS + sector, np.int64)


def disagreement_mm(
    there: NDArray[np.float64], back: NDArray[np.float64], points_mm: NDArray[np.float64]
) -> float:
    """Return the mean distance in mm by which points miss themselves, taken there and back again."""
    round_trip = back @ there
    gap = points_mm @ round_trip[:3, :3].T + round_trip[:3, 3] - points_mm
    return float(np.linalg.norm(gap, axis=1).mean())
