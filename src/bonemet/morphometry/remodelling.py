"""Remodelling between two scans of one bone: how much was formed, resorbed and kept.

Mineralised and eroded volume per baseline bone volume are those of Birkhold 2014 (Biomaterials 35:9290-9301).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError
from bonemet.core.measure import Measure


@dataclass(frozen=True)
class Change:
    """Volumes in mm3 of bone kept, formed and resorbed between two scans."""

    unchanged_mm3: float
    formed_mm3: float
    resorbed_mm3: float

    @property
    def net_mm3(self) -> float:
        """Volume gained (or lost, if negative)."""
        return self.formed_mm3 - self.resorbed_mm3

    @property
    def baseline_mm3(self) -> float:
        """Bone volume of the first scan."""
        return self.unchanged_mm3 + self.resorbed_mm3


def change(
    baseline: NDArray[Any], followup: NDArray[Any], voxel_mm3: float, *, region: NDArray[Any] | None = None
) -> Change:
    """Return how bone changed between two masks on one grid.

    Parameters
    ----------
    baseline, followup
        (z, y, x), non-zero where bone is.
    voxel_mm3
        Volume of a voxel.
    region
        (z, y, x), non-zero where to count; everywhere by default.

    Raises
    ------
    InputError
        If shapes differ.
    """
    before, after = np.asarray(baseline) != 0, np.asarray(followup) != 0
    if before.shape != after.shape:
        raise InputError(f"Two scans of shapes {before.shape} and {after.shape} cannot be compared.")
    if region is not None:
        before, after = before & (np.asarray(region) != 0), after & (np.asarray(region) != 0)
    kept, first, second = (int(np.count_nonzero(m)) for m in (before & after, before, after))
    return Change(kept * voxel_mm3, (second - kept) * voxel_mm3, (first - kept) * voxel_mm3)


def fractions(found: Change, region: str = "whole") -> list[Measure]:
    """Return MV/BV and EV/BV, the formed and resorbed volume per baseline bone volume."""
    if found.baseline_mm3 == 0:
        reason = "the baseline holds no bone"
        return [Measure(n, None, "1", region, reason=reason) for n in ("MV/BV", "EV/BV")]
    return [
        Measure("MV/BV", found.formed_mm3 / found.baseline_mm3, "1", region),
        Measure("EV/BV", found.resorbed_mm3 / found.baseline_mm3, "1", region),
    ]
