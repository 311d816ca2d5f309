"""Small motion of the animal during a scan: it sinks slowly, and now and then it twitches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonemet.simulation.xray import Point

Moving = Literal["some", "none", "all"]
MOVING_SHARE = 0.03
"""Share of scans in which the animal moves, where ``some`` do."""
DRIFT_MM = 0.08
"""Largest way that an animal drifts, along each axis."""
JUMP_MM = (0.03, 0.15)
"""Shortest and longest sudden shift."""


@dataclass(frozen=True)
class Jump:
    """A sudden shift: from a view on, the animal lies ``shift_mm`` (x, y, z) farther."""

    view: int
    shift_mm: Point


@dataclass(frozen=True)
class Motion:
    """How an animal moves as a whole during a scan, in the scan frame.

    Attributes
    ----------
    drift_mm
        Way (x, y, z) from the first view to the last, at an even speed.
    jumps
        Sudden shifts.
    """

    drift_mm: Point = (0.0, 0.0, 0.0)
    jumps: tuple[Jump, ...] = ()

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return not self.jumps and not any(self.drift_mm)

    def shift_mm(self, view: int, views: int) -> Point:
        """Return by how much (x, y, z) the animal lies away from its place in a view."""
        x, y, z = np.asarray(self.drift_mm) * (view / max(views - 1, 1)) + sum(
            (np.asarray(jump.shift_mm) for jump in self.jumps if view >= jump.view), np.zeros(3)
        )
        return float(x), float(y), float(z)


STILL = Motion()


def draw_motion(rng: np.random.Generator, views: int, moving: Moving) -> Motion:
    """Draw a scan's motion: a drift, one sudden shift, or both.

    Parameters
    ----------
    rng
        The scan's generator; the same numbers are drawn whatever ``moving`` says.
    views
        Number of views.
    moving
        ``some`` (3 % of scans), ``none`` or ``all``.
    """
    chance, kind = float(rng.random()), int(rng.integers(3))
    drift = rng.uniform(-DRIFT_MM, DRIFT_MM, size=3)
    way = rng.standard_normal(3)
    way *= rng.uniform(*JUMP_MM) / np.linalg.norm(way)
    view = int(rng.integers(views // 10, views - views // 10))
    if moving == "none" or (moving == "some" and chance >= MOVING_SHARE):
        return STILL
    jumps = (Jump(view, _rounded(way)),) if kind != 0 else ()
    return Motion(_rounded(drift) if kind != 1 else (0.0, 0.0, 0.0), jumps)


def _rounded(point: NDArray[np.float64]) -> Point:
    x, y, z = (round(float(v), 4) for v in point)
    return x, y, z
