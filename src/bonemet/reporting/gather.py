"""What stands on disk about a study, as the report shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bonemet.core.ids import ScanKey
from bonemet.dataset import derived, layout
from bonemet.dataset.layout import Component
from bonemet.io import sidecar
from bonemet.io.sidecar import Sidecar
from bonemet.stages.collect import marked_bones


@dataclass(frozen=True)
class ScanView:
    """One scan: its reconstruction and its bones."""

    key: ScanKey
    recon: Path
    recon_side: Sidecar | None
    labels: Path
    bones: Sidecar | None
    seconds: dict[str, float]


@dataclass(frozen=True)
class WeekView:
    """One tibia in one week.

    ``composite`` lies on the first week; ``since`` is the sidecar of that on the week before, and ``before``
    that week; ``marked`` where its segmentation is marked for review.
    """

    key: ScanKey
    registered: Path
    registered_side: Sidecar | None
    composite: Path | None
    composite_side: Sidecar | None
    crop_side: Sidecar | None
    measures: list[dict[str, Any]]
    seconds: dict[str, float]
    before: int | None = None
    since: Sidecar | None = None
    marked: bool = False


@dataclass(frozen=True)
class TibiaView:
    """One tibia over its weeks."""

    animal: str
    side: str
    weeks: list[WeekView]


@dataclass(frozen=True)
class StudyView:
    """Everything that the report shows."""

    root: Path
    scans: list[ScanView]
    tibiae: list[TibiaView]
    times: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)


def gather(root: Path) -> StudyView:
    """Read what the stages wrote about a study."""
    log = derived.run_log_path(root)
    times = json.loads(log.read_text(encoding="utf-8")) if log.is_file() else {}
    scans = [_scan(root, key, path, times) for key, path in layout.find(root, Component.RECON_CT)]
    groups: dict[tuple[str, str], list[tuple[ScanKey, Path]]] = {}
    for key, path in layout.find(root, Component.REGIST_CT):
        if key.bone == "tibia" and key.side:
            groups.setdefault((key.animal, key.side), []).append((key, path))
    tibiae = [_tibia(root, animal, side, weeks, times) for (animal, side), weeks in groups.items()]
    return StudyView(root, scans, tibiae, times)


def _scan(root: Path, key: ScanKey, path: Path, times: dict[str, Any]) -> ScanView:
    labels = derived.labels_folder(root, key)
    return ScanView(
        key,
        path,
        sidecar.read(path),
        labels / "labels.nii.gz",
        sidecar.read(labels) if labels.is_dir() else None,
        _seconds(times, key),
    )


def _seconds(times: dict[str, Any], key: ScanKey) -> dict[str, float]:
    return {step: row["seconds"] for step, row in times.get(str(key), {}).items()}


def _tibia(
    root: Path, animal: str, side: str, weeks: list[tuple[ScanKey, Path]], times: dict[str, Any]
) -> TibiaView:
    first = min(weeks)[0]
    seen = [_week(root, first, key, path, times) for key, path in sorted(weeks)]
    for n in range(2, len(seen)):
        before, key = seen[n - 1].key, seen[n].key
        overlay = derived.composite_folder(root, before, key)
        if overlay.is_dir():
            seen[n] = replace(seen[n], before=before.week, since=sidecar.read(overlay))
    return TibiaView(animal, side, seen)


def _week(root: Path, first: ScanKey, key: ScanKey, path: Path, times: dict[str, Any]) -> WeekView:
    overlay = derived.composite_folder(root, first, key)
    overlay_side = sidecar.read(overlay) if overlay.is_dir() else None
    measures = sidecar.read(derived.measures_folder(root, key))
    return WeekView(
        key,
        path,
        sidecar.read(path),
        overlay if overlay_side is not None else None,
        overlay_side,
        sidecar.read(layout.folder(root, Component.ROI_CT, key)),
        measures.results["measures"] if measures is not None else [],
        _seconds(times, key),
        str(key) in marked_bones(root, key),
    )
