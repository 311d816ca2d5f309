"""Views between the views of a scan.

Few views alias: what lies far from the axis moves on by more than its own size from one view to the next,
and the backprojection leaves streaks. Views interpolated between the measured ones take most of them away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bonemet.core.scan import ConeGeometry
from bonemet.recon.weights import follows_on

REACH = 2  # measured views to each side


@dataclass(frozen=True, eq=False)
class Views:
    """Views of a scan, some of them made from measured ones.

    Attributes
    ----------
    geometry
        With the angles of all views.
    sources
        (views, 4) numbers of the measured views that each is made from.
    shares
        (views, 4) with which they enter; a measured view is itself.
    """

    geometry: ConeGeometry
    sources: NDArray[np.int64]
    shares: NDArray[np.float64]

    def needed(self, views: range) -> list[int]:
        """Return the measured views from which these are made."""
        return [int(v) for v in np.unique(self.sources[views][self.shares[views] != 0])]

    def made(self, view: int, measured: dict[int, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return a view's line integrals from those of measured ones."""
        pairs = [(int(n), w) for n, w in zip(self.sources[view], self.shares[view], strict=True) if w != 0]
        if len(pairs) == 1:
            return measured[pairs[0][0]]
        total = np.float32(pairs[0][1]) * measured[pairs[0][0]]
        for n, share in pairs[1:]:
            total += np.float32(share) * measured[n]
        return total


def measured(geometry: ConeGeometry) -> Views:
    """Return the views of a scan as they are."""
    count = len(geometry.angles_deg)
    sources = np.repeat(np.arange(count)[:, None], 2 * REACH, axis=1)
    return Views(geometry, sources, np.tile([1.0, 0, 0, 0], (count, 1)))


def denser(geometry: ConeGeometry) -> Views:
    """Return the views of a scan and those in the middle between them.

    A middle view is the cubic polynomial through two measured views on each side, fewer at the ends of the
    scan. Views need not be equally spaced. A whole turn has one between its last and its first, too.
    """
    angles = np.asarray(geometry.angles_deg, dtype=np.float64)
    count = len(angles)
    turn = float(np.copysign(360.0, geometry.step_deg))
    closed = follows_on(geometry)
    gaps = count if closed else count - 1
    sources = np.zeros((count + gaps, 2 * REACH), np.int64)
    shares = np.zeros((count + gaps, 2 * REACH))
    where = np.zeros(count + gaps)
    sources[::2], shares[::2, 0], where[::2] = np.arange(count)[:, None], 1.0, angles
    for k in range(gaps):
        near = np.arange(k + 1 - REACH, k + 1 + REACH)
        near = near if closed else near[(near >= 0) & (near < count)]
        laps, views = np.divmod(near, count)
        places = angles[views] + turn * laps
        middle = (places[near == k] + places[near == k + 1]) / 2
        where[2 * k + 1] = middle[0]
        sources[2 * k + 1, : len(near)] = views
        shares[2 * k + 1, : len(near)] = _lagrange(places, float(middle[0]))
    return Views(replace(geometry, angles_deg=where), sources, shares)


def _lagrange(places: NDArray[np.float64], at: float) -> NDArray[np.float64]:
    """Return the weights of values at some places in their polynomial's value elsewhere."""
    n = len(places)
    return np.array(
        [np.prod([(at - places[j]) / (places[i] - places[j]) for j in range(n) if j != i]) for i in range(n)]
    )
