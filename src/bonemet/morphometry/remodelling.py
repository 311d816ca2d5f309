"""Remodelling between two scans of one bone: volumes, surfaces and rates of formation and resorption.

Mineralised and eroded volume per baseline bone volume are those of Birkhold 2014 (Biomaterials 35:9290-9301);
rates and surfaces follow Schulte 2011 (Bone 48:433-442, doi:10.1016/j.bone.2010.10.007). Surfaces are counted
as :mod:`bonemet.morphometry.surface` counts them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.measure import Measure
from bonemet.kernels.jit import kernel
from bonemet.morphometry.surface import STEPS, direction_weights

LONGEST_DAYS = 14.0
"""Beyond this, bone that came and went again between the scans is missed in noticeable amounts."""

SPACE, KEPT, FORMED, RESORBED = 0, 1, 2, 3
UNITS = {
    "MV/BV": "1",
    "EV/BV": "1",
    "BFR": "1/d",
    "BRR": "1/d",
    "MS": "1",
    "ES": "1",
    "MAR": "mm/d",
    "MRR": "mm/d",
}


@dataclass(frozen=True)
class Change:
    """Volumes in mm3 of bone kept, formed and resorbed between two scans, and surfaces in mm2.

    Attributes
    ----------
    unchanged_mm3, formed_mm3, resorbed_mm3
        Volumes.
    surface_mm2
        Surface of the baseline's bone; None where it was not counted.
    formed_surface_mm2, eroded_surface_mm2
        The parts of it onto which bone was formed, and from which bone was resorbed.
    """

    unchanged_mm3: float
    formed_mm3: float
    resorbed_mm3: float
    surface_mm2: float | None = None
    formed_surface_mm2: float | None = None
    eroded_surface_mm2: float | None = None

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
    return remodelling_measures(found, None, region)[:2]


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of every slice of two scans laid over each other.

    Attributes
    ----------
    voxels
        (slices, 4): space, bone kept, formed, resorbed.
    crossings
        (slices, 13, 3): crossings of the baseline's surface along 13 directions, those into formed bone,
        and those out of resorbed bone.
    spacing_mm
        Voxel (z, y, x).
    """

    voxels: NDArray[np.int64]
    crossings: NDArray[np.int64]
    spacing_mm: tuple[float, float, float]

    def within(self, first: int, last: int) -> Change:
        """Return the change in slices ``first`` to ``last``, both included."""
        _, kept, formed, resorbed = self.voxels[first : last + 1].sum(axis=0)
        edge = np.asarray(self.spacing_mm)
        length = np.sqrt(((np.asarray(STEPS) * edge) ** 2).sum(axis=1))
        weights = 2 * direction_weights(self.spacing_mm) * edge.prod() / length
        surface, onto, eroded = weights @ self.crossings[first : last + 1].sum(axis=0)
        voxel = float(edge.prod())
        return Change(
            int(kept) * voxel,
            int(formed) * voxel,
            int(resorbed) * voxel,
            float(surface),
            float(onto),
            float(eroded),
        )


def tally(slices: Iterable[NDArray[np.uint8]], spacing_mm: Sequence[float], *, mapper: Mapper = map) -> Tally:
    """Count volumes and surfaces slice by slice, holding few slices at a time.

    Parameters
    ----------
    slices
        (y, x) each, in order: 0 space, 1 bone kept, 2 formed, 3 resorbed.
    spacing_mm
        Voxel (z, y, x).
    mapper
        An ordered map over pairs of slices.
    """
    steps = np.asarray(STEPS, dtype=np.int64)

    def one(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> tuple[NDArray[Any], NDArray[Any]]:
        here, there = pair
        return np.bincount(here.ravel(), minlength=4)[:4], _crossings(here, there, steps)

    counted = list(mapper(one, _with_next(slices)))
    z, y, x = (float(s) for s in spacing_mm)
    if not counted:
        return Tally(np.zeros((0, 4), np.int64), np.zeros((0, 13, 3), np.int64), (z, y, x))
    voxels, crossings = zip(*counted, strict=True)
    return Tally(np.stack(voxels).astype(np.int64), np.stack(crossings), (z, y, x))


def _with_next(
    slices: Iterable[NDArray[np.uint8]],
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield every slice with the one after it; an empty one stands after the last."""

    def ended() -> Iterator[NDArray[np.uint8]]:
        yield from slices
        yield np.zeros((0, 0), np.uint8)

    return pairwise(ended())


@kernel
def _crossings(
    here: NDArray[np.uint8], there: NDArray[np.uint8], steps: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Count surface crossings of steps that begin in a slice and end in it or in the next.

    Returns
    -------
    ndarray
        (steps, 3): between the baseline's bone and space, of these into formed bone, and of all out of
        resorbed bone.
    """
    rows, columns = here.shape
    out = np.zeros((len(steps), 3), np.int64)
    for k in range(len(steps)):
        dz, dy, dx = steps[k]
        target = there if dz > 0 else here
        if target.shape[0] != rows:
            continue
        for y in range(max(0, -dy), rows - max(0, dy)):
            for x in range(max(0, -dx), columns - max(0, dx)):
                a, b = here[y, x], target[y + dy, x + dx]
                if a == b:
                    continue
                first, second = (a & 1) == 1, (b & 1) == 1  # 1 and 3 are the baseline's bone
                if first == second:
                    continue
                bone, space = (a, b) if first else (b, a)
                out[k, 0] += 1
                if space == 2:
                    out[k, 1] += 1
                if bone == 3:
                    out[k, 2] += 1
    return out


def remodelling_measures(found: Change, days: float | None, region: str = "whole") -> list[Measure]:
    """Return MV/BV, EV/BV, BFR, BRR, MS, ES, MAR and MRR.

    BFR and BRR are the formed and resorbed volume per baseline bone volume and day; MS and ES the shares of
    the baseline's surface that were formed onto and eroded; MAR and MRR the mean thickness of formed and
    resorbed bone per day, the thickness being volume over surface.

    Parameters
    ----------
    found
        Volumes and surfaces.
    days
        Between the scans; None where that is not known, and the rates then have no value.
    region
        Its name.

    Raises
    ------
    SettingsError
        If the days are not positive.
    """
    if days is not None and not (np.isfinite(days) and days > 0):
        raise SettingsError(f"The days between two scans must be positive, not {days:g}.")
    values = dict.fromkeys(UNITS, (None, "the baseline holds no bone"))
    out: dict[str, tuple[float | None, str | None]] = dict(values)
    if found.baseline_mm3 > 0:
        for prefix, volume, part in (
            ("M", found.formed_mm3, found.formed_surface_mm2),
            ("E", found.resorbed_mm3, found.eroded_surface_mm2),
        ):
            out |= _one_way(prefix, volume / found.baseline_mm3, volume, (part, found.surface_mm2), days)
    return [Measure(name, out[name][0], unit, region, reason=out[name][1]) for name, unit in UNITS.items()]


def _one_way(
    prefix: str,
    share: float,
    volume_mm3: float,
    surfaces_mm2: tuple[float | None, float | None],
    days: float | None,
) -> dict[str, tuple[float | None, str | None]]:
    """Return formation's (M) or resorption's (E) value or reason for every measure."""
    rate, linear = ("BFR", "MAR") if prefix == "M" else ("BRR", "MRR")
    part, whole = surfaces_mm2
    undated = "the days between the scans are not known"
    out: dict[str, tuple[float | None, str | None]] = {
        f"{prefix}V/BV": (share, None),
        rate: (None, undated) if days is None else (share / days, None),
    }
    if part is None or not whole:
        return out | dict.fromkeys((f"{prefix}S", linear), (None, "no surface was counted"))
    out[f"{prefix}S"] = (part / whole, None)
    if days is None:
        out[linear] = (None, undated)
    elif part > 0:
        out[linear] = (volume_mm3 / part / days, None)
    else:
        out[linear] = (None, "no bone was formed" if prefix == "M" else "no bone was resorbed")
    return out


def interval_note(days: float | None) -> str | None:
    """Return what a reader should know about a long interval between two scans."""
    if days is None or days <= LONGEST_DAYS:
        return None
    return (
        f"The scans are {days:g} days apart, more than two weeks: bone that came and went in between is "
        "not seen, so rates of formation and resorption are too low."
    )
