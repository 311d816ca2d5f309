"""Collect: every bone's measures into the record, one row per tibia and week."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bonemet.core.ids import ScanKey
from bonemet.dataset import derived, layout
from bonemet.dataset.layout import Component
from bonemet.io import sidecar
from bonemet.records import table
from bonemet.records.schema import QUANTITATIVE
from bonemet.stages.outcome import Outcome, peak_memory_mb

CHANGES = {
    "unchanged_mm3": "Unchanged bone since week 0 (mm3)",
    "formed_mm3": "Formed bone since week 0 (mm3)",
    "resorbed_mm3": "Resorbed bone since week 0 (mm3)",
    "net_mm3": "Net change since week 0 (mm3)",
}


def collect(study: str | Path) -> Outcome:
    """Join a study's measures with the animals' record.

    What the laboratory wrote in ``record.csv`` stays as it is; measured columns are filled in and
    rows that were missing are added.

    Returns
    -------
    Outcome
        ``rows`` (number of rows filled) and ``review`` (names of bones that a person should look at).
    """
    start = time.perf_counter()
    root = Path(study)
    path = layout.record_path(root)
    before = table.read(path) if path.is_file() else table.empty()
    measured: dict[ScanKey, dict[str, Any]] = {}
    for key, folder in layout.find(root, Component.REGIST_CT):
        measured[key] = row_of(root, key, folder)
    after = table.join(before, measured)
    changed = not path.is_file() or not table.same(before, after)
    if changed:
        table.write(path, after)
    review = sorted({str(k) for k, row in measured.items() if row["Review"]} | _marked_bones(root))
    return Outcome(
        [str(path)],
        time.perf_counter() - start,
        peak_memory_mb(),
        [],
        {"rows": len(measured), "review": review},
        done_before=not changed,
    )


def row_of(study: Path, key: ScanKey, registered: Path) -> dict[str, Any]:
    """Return the record's measured cells of one tibia in one week."""
    row: dict[str, Any] = {}
    measures = sidecar.read(derived.measures_folder(study, key))
    values = {(m["name"], m["region"]): m for m in (measures.results["measures"] if measures else [])}
    for column in QUANTITATIVE:
        if column.measure is not None:
            value = values.get(column.measure, {}).get("value")
            row[column.header] = value * 100 if value is not None and column.unit == "%" else value
    change = change_of(study, key)
    for name, header in CHANGES.items():
        row[header] = change.get(name)
    side = sidecar.read(registered)
    doubtful = side is not None and side.results.get("review")
    row["Review"] = "yes" if doubtful or str(key) in marked_bones(study, key) else ""
    return row


def marked_bones(study: Path, key: ScanKey) -> set[str]:
    """Return the titles of a scan's bones that its segmentation marks for review."""
    side = sidecar.read(derived.labels_folder(study, key))
    bones = side.results.get("bones", []) if side is not None else []
    return {f"{key.animal} week {key.week} {b['name']}" for b in bones if b["review"]}


def _marked_bones(study: Path) -> set[str]:
    scans = layout.find(study, Component.RECON_CT)
    return {title for key, _ in scans for title in marked_bones(study, key)}


def change_of(study: Path, key: ScanKey) -> dict[str, Any]:
    """Return the overlay's results of one tibia in one week, empty where there is none."""
    regist = layout.folder(study, Component.REGIST_CT, key).parent
    weeks = sorted(k.week for k, p in layout.find(study, Component.REGIST_CT) if p.parent == regist)
    if not weeks or weeks[0] == key.week:
        return {}
    first = ScanKey(key.animal, weeks[0], key.side, key.bone)
    overlay = sidecar.read(derived.composite_folder(study, first, key))
    return {} if overlay is None else overlay.results
