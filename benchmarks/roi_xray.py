"""Junction and change through the whole X-ray chain: simulated scans, run as a laboratory's would be.

The planted truth is read only afterwards (:mod:`bonemet.workflows.compare`).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import Figure

import bonemet
from bonemet.workflows.compare import compare

SEED = 1000
WEEKS = (0, 3)
JUNCTION, ERROR = "junction slice", "registration error"
CHANGES = ("resorbed bone (guarded)", "formed bone (guarded)")


def figures(animals: int, preset: str, seed: int = SEED) -> list[Figure]:
    """Return what the tibiae of so many animals show, two pairs of weeks each."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        bonemet.simulate(study, preset=preset, animals=animals, weeks=WEEKS, seed=seed)
        done = bonemet.run(study, context=bonemet.ThreadContext())
        rows = compare(study)
    for row in rows:
        print(f"{row['subject']}: {row['name']}: {row['difference']}", file=sys.stderr)
    title = f"X-ray chain ({2 * animals} tibiae, {preset})"
    return [
        *_landmarks(title, rows),
        *_changes(title, rows),
        Figure(f"{title}: marked for review", len(done.results["review"]), "results"),
        Figure(f"{title}: failed", len(done.results["failed"]), "results", "0", not done.results["failed"]),
    ]


def _of(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["name"] == name]


def _landmarks(title: str, rows: list[dict[str, Any]]) -> Iterator[Figure]:
    """Yield how well junctions and poses were found."""
    junctions = _of(rows, JUNCTION)
    known = [row for row in junctions if row["measured"] is not None]
    gaps = np.array([abs(row["measured"] - row["planted"]) for row in known])
    right, total = int((gaps <= 2.5).sum()), len(junctions)  # the truth is no whole slice
    yield Figure(f"{title}: junction within 2 slices", right, f"of {total}", f"{total}", right == total)
    yield Figure(f"{title}: junction, largest error", float(gaps.max(initial=0.0)), "slices")
    errors = [row["measured"] for row in _of(rows, ERROR) if row["measured"] is not None]
    if errors:
        yield Figure(f"{title}: registration, median error", float(np.median(errors)), "voxels")
        yield Figure(f"{title}: registration, largest error", max(errors), "voxels")


def _changes(title: str, rows: list[dict[str, Any]]) -> Iterator[Figure]:
    """Yield how much of the planted change was found."""
    for name in CHANGES:
        own = [row for row in _of(rows, name) if row["measured"] is not None and row["planted"] > 0]
        off = [100 * (row["measured"] / row["planted"] - 1) for row in own]
        if not off:
            continue
        close = sum(abs(o) <= 15 for o in off)
        yield Figure(f"{title}: {name}, median difference", float(np.median(off)), "%")
        yield Figure(f"{title}: {name}, lowest difference", min(off), "%")
        yield Figure(f"{title}: {name}, highest difference", max(off), "%")
        yield Figure(
            f"{title}: {name}, within 15 %", close, f"of {len(off)}", f"{len(off)}", close == len(off)
        )
