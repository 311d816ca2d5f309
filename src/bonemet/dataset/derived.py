"""Where a study keeps what the published layout has no place for: labels, composites, measures, times."""

from __future__ import annotations

from pathlib import Path

from bonemet.core.ids import ScanKey
from bonemet.dataset.layout import IMAGERY, Component

DERIVED = "Derived"
REPORT = "report.html"


def labels_folder(study: Path, key: ScanKey) -> Path:
    """Return the folder of one scan's label volume and bones as found."""
    return study / DERIVED / "Segmentation" / f"{key.animal} week {key.week}"


def composite_folder(study: Path, first: ScanKey, key: ScanKey) -> Path:
    """Return the folder of the overlay of one week on the first, named as published."""
    pair = f"w{first.week}w{key.week}composite"
    return study / IMAGERY / Component.REGIST_CT / f"Tibia {pair}" / f"{key} {pair}"


def region_folder(study: Path, key: ScanKey) -> Path:
    """Return the folder of one later week's grey values in the region of interest."""
    return study / DERIVED / "Regions" / f"{key.animal} {key.side} {key.bone}" / f"week {key.week}"


def measures_folder(study: Path, key: ScanKey) -> Path:
    """Return the folder of one bone's measures in one week."""
    return study / DERIVED / "Measures" / f"{key.animal} {key.side} {key.bone}" / f"week {key.week}"


def run_log_path(study: Path) -> Path:
    """Return the file that says how long each step took."""
    return study / DERIVED / "run-log.json"


def comparison_path(study: Path) -> Path:
    """Return the file that holds planted beside measured values of a simulated study."""
    return study / DERIVED / "comparison.json"


def report_path(study: Path) -> Path:
    """Return the study's report page."""
    return study / REPORT
