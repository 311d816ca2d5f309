"""Growth between two scans: what lies beyond a growth plate that made bone is neither formed nor resorbed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.grid import Grid
from bonemet.io import sidecar
from bonemet.roi.guard import GuardedMap
from bonemet.roi.landmarks import LEAST_GROWTH_MM, Landmarks, growth_between
from bonemet.roi.lesions import CoarseBone

PLATES = (0.08, 0.92)  # of the length from the knee, where a plate is not seen: its place varies little

Beyond = Callable[[NDArray[np.int64]], NDArray[np.bool_]]
"""Tells which voxels (n, 3) lie beyond a growth plate that made bone."""


@dataclass(frozen=True)
class Known:
    """Growth (mm) between two scans at the knee and at the ankle, None where it is not known."""

    proximal_mm: float | None = None
    distal_mm: float | None = None


def known_growth(paths: Sequence[Path]) -> Known:
    """Return the growth between two registered scans, where registration measured it.

    Registration measures each scan against week 0; the scan of week 0 itself says nothing of growth.
    """
    sides = [sidecar.read(p) if p.is_dir() else None for p in paths]
    first, last = ({} if side is None else side.results for side in sides)

    def between(end: str) -> float | None:
        told = [(results.get("growth") or {}).get(end) for results in (first, last)]
        if told[1] is None or (told[0] is None and "growth" in first):
            return None
        return float(told[1]) - float(told[0] or 0.0)

    return Known(between("proximal_mm"), between("distal_mm"))


def without_growth(
    found: GuardedMap,
    grid: Grid,
    coarse: tuple[CoarseBone, CoarseBone],
    marks: Landmarks | None,
    known: Known,
) -> tuple[dict[str, Any], GuardedMap, Beyond | None]:
    """Take what lies beyond the baseline's growth plates out of the change, where the bone grew.

    Returns
    -------
    tuple
        What is said about growth, the change left, and what tells voxels beyond a plate that made bone.
    """
    if marks is None:
        return {"growth_mm": None, "reason": "no growth plate was found in the baseline"}, found, None
    said, ends = _grown(marks, coarse, known)
    if not ends:
        standing = {"formed_mm3": 0.0, "resorbed_mm3": 0.0}
        return (said if said["growth_mm"] is None else said | standing), found, None

    def beyond(index: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(np.any([end(index) for end in ends], axis=0))

    kept, sizes = [], []
    for voxels in (found.formed, found.resorbed):
        index = np.stack(np.unravel_index(voxels, found.shape), axis=1)
        out = beyond(index) if voxels.size else np.zeros(0, bool)
        kept.append(voxels[~out])
        sizes.append(int(out.sum()) * grid.voxel_mm3)
    said |= {"formed_mm3": sizes[0], "resorbed_mm3": sizes[1]}
    return said, found.only(kept[0], kept[1]), beyond


def _grown(
    marks: Landmarks, coarse: tuple[CoarseBone, CoarseBone], known: Known
) -> tuple[dict[str, Any], list[Beyond]]:
    """Return what is said about growth, and what tells voxels beyond each plate that made bone."""
    grown = known.proximal_mm
    if grown is None and marks.plate is not None:
        grown = growth_between(marks, *coarse)
    said: dict[str, Any] = {"growth_mm": grown, "distal_growth_mm": known.distal_mm}
    if grown is None:
        unknown = "no growth plate was found in the baseline", "the epiphysis was not found again"
        said["reason"] = unknown[0] if marks.plate is None else unknown[1]
    ends: list[Beyond] = []
    if grown is not None and grown >= LEAST_GROWTH_MM:
        ends.append(_above(marks))
    if known.distal_mm is not None and known.distal_mm >= LEAST_GROWTH_MM:
        ends.append(_below(marks))
    return said, ends


def _above(marks: Landmarks) -> Beyond:
    """Return what tells voxels proximal of the upper plate, by its usual place where it was not found."""
    way, plate = marks.direction, marks.plate
    if plate is None:
        return _past(marks, PLATES[0], -1)
    return lambda index: np.asarray(way * plate.slices_beyond(index) < 0)


def _below(marks: Landmarks) -> Beyond:
    """Return what tells voxels distal of the lower plate, by its usual place where it was not found."""
    way, plate = marks.direction, marks.distal_plate
    if plate is None:
        return _past(marks, PLATES[1], 1)
    return lambda index: np.asarray(way * plate.slices_beyond(index) > 0)


def _past(marks: Landmarks, share: float, sense: int) -> Beyond:
    """Return what tells voxels beyond a share of the bone's length, distally (1) or proximally (-1)."""
    way = marks.direction
    first, last = marks.bone_slices if way > 0 else marks.bone_slices[::-1]
    level = first + share * (last - first)
    return lambda index: np.asarray(sense * way * (index[:, 0] - level) > 0)
