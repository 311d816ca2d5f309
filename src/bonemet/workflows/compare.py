"""Planted against measured: what a simulated study's files say beside its truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.ids import SIDES, ScanKey
from bonemet.core.transform import Transform
from bonemet.dataset import derived, layout
from bonemet.dataset.layout import Component
from bonemet.io import sidecar
from bonemet.io.volumes import open_volume

LONG_BONES = {"left femur": 2, "left tibia": 3, "right femur": 4, "right tibia": 5}
DICE_GOAL = 0.9
ERROR_GOAL_VOXELS = 1.0
CHANGE_GOAL = 0.25  # share by which change may miss what disease did, or exceed all that was planted
JUNCTION_GOAL_SLICES = 5
POINTS = 4000
PLATE_MM = 0.3
"""Growth plates are wavy and tilted; what lies nearer to one is not compared."""


def compare(study: Path) -> list[dict[str, Any]]:
    """Return planted and measured values of a simulated study, one row each.

    Every row has ``subject``, ``name``, ``unit``, ``planted``, ``measured``, ``difference``, ``goal``
    and ``holds``.
    """
    scans = [key for key, _ in layout.find(study, Component.ROTATION_XRAY)]
    rows = [row for key in scans for row in _bones(study, key)]
    for animal in sorted({key.animal for key in scans}):
        weeks = sorted(key.week for key in scans if key.animal == animal)
        for side in SIDES:
            keys = [ScanKey(animal, week, side, "tibia") for week in weeks]
            rows.extend(_junction(study, keys[0]))
            for key in keys[1:]:
                rows.extend(_pose(study, keys[0], key))
                rows.extend(_change(study, keys[0], key))
    return rows


def _row(subject: object, name: str, unit: str, planted: Any, measured: Any, **rest: Any) -> dict[str, Any]:
    return {
        "subject": str(subject),
        "name": name,
        "unit": unit,
        "planted": planted,
        "measured": measured,
        **rest,
    }


def truth_of(study: Path, key: ScanKey) -> dict[str, Any]:
    """Return the planted truth of one scan."""
    path = layout.truth_folder(study, key) / "truth.json"
    truth: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return truth


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the overlap 2 |a and b| / (|a| + |b|) of two masks (Dice 1945, doi:10.2307/1932409)."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def _bones(study: Path, key: ScanKey) -> Iterator[dict[str, Any]]:
    """Compare the four long bones of a scan, each under its own name."""
    truth = np.asarray(open_volume(layout.truth_folder(study, key) / "labels.nii.gz").data[:])
    path = derived.labels_folder(study, key) / "labels.nii.gz"
    found = np.asarray(open_volume(path).data[:]) if path.is_file() else np.zeros_like(truth)
    for name, value in LONG_BONES.items():
        share = dice(truth == value, found == value)
        yield _row(
            f"{key} {name}",
            "Dice of the filled outline",
            "",
            1.0,
            share,
            difference=f"{share - 1:+.3f}",
            goal=f">= {DICE_GOAL}",
            holds=share >= DICE_GOAL,
        )


def _upright(study: Path, first: ScanKey) -> tuple[Path, Transform] | None:
    """Return the first week's upright tibia and the map from it to its scan."""
    folder = layout.folder(study, Component.REGIST_CT, first)
    side = sidecar.read(folder) if folder.is_dir() else None
    return None if side is None else (folder, Transform(np.asarray(side.results["matrix"])))


def _missing(key: ScanKey, name: str, unit: str, planted: Any, goal: str) -> dict[str, Any]:
    return _row(key, name, unit, planted, None, difference="missing", goal=goal, holds=False)


def _junction(study: Path, first: ScanKey) -> Iterator[dict[str, Any]]:
    """Compare the slice of the proximal tibia-fibula junction in the first week's upright stack."""
    goal = f"within {JUNCTION_GOAL_SLICES}"
    upright = _upright(study, first)
    region = sidecar.read(layout.folder(study, Component.ROI_CT, first)) if upright else None
    if upright is None or region is None:
        yield _missing(first, "junction slice", "", None, goal)
        return
    folder, to_scan = upright
    point = truth_of(study, first)["bones"][f"{first.side} tibia"]["landmarks"]["junction"]["scan_mm"]
    planted = float(open_volume(folder).grid.mm_to_index(to_scan.inverse().apply(point))[0])
    measured = region.results["junction_slice"]
    gap = measured - planted
    yield _row(
        first,
        "junction slice",
        "",
        round(planted, 1),
        measured,
        difference=f"{gap:+.1f}",
        goal=goal,
        holds=abs(gap) <= JUNCTION_GOAL_SLICES,
    )


def _between_plates(study: Path, first: ScanKey, bone: str, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points of the bone's frame lie in the part that growth leaves in its place."""
    marks = truth_of(study, first)["bones"][bone]["landmarks"]
    low, high = (marks[f"{end}_growth_plate"]["level_mm"] for end in ("proximal", "distal"))
    inside: NDArray[np.bool_] = (points[:, 2] > low + PLATE_MM) & (points[:, 2] < high - PLATE_MM)
    return inside


def _pose(study: Path, first: ScanKey, key: ScanKey) -> Iterator[dict[str, Any]]:
    """Compare the pose that registration found: mean displacement between the growth plates, in voxels."""
    upright = _upright(study, first)
    folder = layout.folder(study, Component.REGIST_CT, key)
    side = sidecar.read(folder) if upright and folder.is_dir() else None
    goal = f"< {ERROR_GOAL_VOXELS:g}"
    if upright is None or side is None:
        yield _missing(key, "registration error", "voxels", 0.0, goal)
        return
    fixed, to_first = upright
    measured = Transform(np.asarray(side.results["matrix"]))
    bone = f"{key.side} tibia"
    here = Transform(np.asarray(truth_of(study, key)["bones"][bone]["matrix"]))
    before = Transform(np.asarray(truth_of(study, first)["bones"][bone]["matrix"]))
    planted = here.after(before.inverse()).after(to_first)
    volume = open_volume(fixed)
    index = np.argwhere(np.asarray(volume.data[:]) > 0)
    points = volume.grid.index_to_mm(index[:: max(1, len(index) // POINTS)])
    points = points[_between_plates(study, first, bone, before.inverse().apply(to_first.apply(points)))]
    gaps = np.linalg.norm(measured.apply(points) - planted.apply(points), axis=1)
    error = float(gaps.mean()) / min(volume.grid.spacing_mm)
    yield _row(
        key,
        "registration error",
        "voxels",
        0.0,
        error,
        difference=f"{error:+.3f}",
        goal=goal,
        holds=error < ERROR_GOAL_VOXELS,
    )


def _change(study: Path, first: ScanKey, key: ScanKey) -> Iterator[dict[str, Any]]:
    """Compare resorbed and formed bone with all that was planted, growth apart.

    Much of normal remodelling is thinner than these scans' voxels and cannot be seen in them, so the goal has
    two ends: at least what disease did, at most all that was planted.
    """
    change = truth_of(study, key)["tibiae"][key.side]
    overlay = sidecar.read(derived.composite_folder(study, first, key))
    for name in ("resorbed", "formed"):
        planted = change[f"{name}_mm3"]
        least = (1 - CHANGE_GOAL) * change[f"{name}_by_disease_mm3"]
        most = (1 + CHANGE_GOAL) * planted
        goal = f"{least:.2f} to {most:.2f}"
        if overlay is None:
            yield _missing(key, f"{name} bone", "mm3", planted, goal)
            continue
        measured = overlay.results["guarded"][f"{name}_mm3"]
        yield _row(
            key,
            f"{name} bone (guarded)",
            "mm3",
            planted,
            measured,
            difference=f"{measured - planted:+.3f}"
            if planted == 0
            else f"{(measured - planted) / planted:+.1%}",
            goal=goal,
            holds=least <= measured <= most,
        )
