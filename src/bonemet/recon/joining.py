"""How two parts of connected scans lie to each other, from what both of them saw."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SMOOTH = (4.0, 2.0, 1.0)  # voxels; coarse detail finds the way for the finer
STEPS = 8  # at each
STIFF = 1e-3  # keeps directions in which nothing changes (along a straight shaft) where they are
TURNED = 0.25  # voxels at the object's edge from which on parts are turned against each other
INNER = 0.95  # share of the field's radius that is compared
AGREE = 0.5  # correlation from which on a match is believed

Slab = NDArray[np.float32]


@dataclass(frozen=True)
class Match:
    """Where the second of two slabs shows what the first shows.

    Attributes
    ----------
    shift
        (x, y, z) in voxels: what lies at p in the first lies at R p + shift in the second.
    turn_deg
        Angle of R about z through the middle, from x towards y.
    correlation, before
        Of both slabs, with this match and as they were.
    """

    shift: tuple[float, float, float]
    turn_deg: float
    correlation: float
    before: float

    @property
    def good(self) -> bool:
        """Whether the match can be believed."""
        return self.correlation >= max(AGREE, self.before)


def match(first: Slab, second: Slab) -> Match:
    """Match two slabs (z, y, x) of one shape, the axis of rotation in the middle of both.

    Least squares after Gauss and Newton over three shifts and the angle about z; brightness may differ.
    An angle too small to matter is taken as none.
    """
    found = _solve(first, second, turning=True)
    edge = math.radians(abs(found.turn_deg)) * _extent(first)
    return found if edge >= TURNED else _solve(first, second, turning=False)


def _solve(first: Slab, second: Slab, turning: bool) -> Match:
    place = np.zeros(4)  # z, y, x in voxels, angle
    radius = np.hypot(*_plane(first.shape))
    inside = np.broadcast_to(radius < INNER * min(first.shape[1:]) / 2, first.shape)
    before = 0.0
    fixed = now = first
    for width in SMOOTH:
        fixed, moving = (ndimage.gaussian_filter(s, width) for s in (first, second))
        for _ in range(STEPS):
            now = _moved(moving, place)
            step = _step(fixed, now, inside, turning)
            place += step
            if np.abs(step).max() < 1e-3:
                break
        now = _moved(moving, place)
        before = _correlation(fixed, moving, inside)
    z, y, x, angle = (float(v) for v in place)
    return Match((x, y, z), math.degrees(angle), _correlation(fixed, now, inside), before)


def _plane(shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return y and x from the middle."""
    return (
        (np.arange(shape[1]) - (shape[1] - 1) / 2)[:, None],
        np.arange(shape[2]) - (shape[2] - 1) / 2,
    )


def _extent(slab: Slab) -> float:
    """Return how far from the axis the object reaches, about."""
    bright = slab.max(axis=0) > 0.3 * float(np.percentile(slab, 99.5))
    return float(np.percentile(np.hypot(*_plane(slab.shape))[bright], 95)) if bright.any() else 0.0


def _moved(slab: Slab, place: NDArray[np.float64]) -> Slab:
    """Return a slab as it is seen from R p + shift."""
    c, s = math.cos(place[3]), math.sin(place[3])
    matrix = np.array([[1.0, 0, 0], [0, c, s], [0, -s, c]])  # of (z, y, x)
    middle = np.array([0.0, (slab.shape[1] - 1) / 2, (slab.shape[2] - 1) / 2])
    offset = middle - matrix @ middle + place[:3]
    return np.asarray(ndimage.affine_transform(slab, matrix, offset, order=1, mode="nearest"), np.float32)


def _step(fixed: Slab, now: Slab, inside: NDArray[np.bool_], turning: bool) -> NDArray[np.float64]:
    """Return by how much to change shifts and angle."""
    dz, dy, dx = (np.asarray(d) for d in np.gradient(now))
    y, x = _plane(now.shape)
    slopes = [dz, dy, dx, x * dy - y * dx] if turning else [dz, dy, dx]
    columns = np.stack([*(s[inside] for s in slopes), now[inside], np.ones(int(inside.sum()))], axis=1)
    normal = columns.T.astype(np.float64) @ columns
    scale = np.diag(normal).copy()
    scale[:3] = scale[:3].max()
    normal[np.diag_indices_from(normal)] += STIFF * scale * (np.arange(len(scale)) < len(slopes))
    wanted = columns.T @ (fixed - now)[inside]
    out = np.zeros(4)
    out[: len(slopes)] = np.linalg.solve(normal, wanted)[: len(slopes)]
    return np.clip(out, (-3, -3, -3, -0.06), (3, 3, 3, 0.06))


def _correlation(a: Slab, b: Slab, inside: NDArray[np.bool_]) -> float:
    x, y = a[inside].astype(np.float64), b[inside].astype(np.float64)
    if x.std() == 0 or y.std() == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])
