"""The report of a study: one page that needs nothing beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from bonemet._version import __version__
from bonemet.core.context import SILENT, Context
from bonemet.core.errors import MissingInputError
from bonemet.core.volume import Volume
from bonemet.dataset import derived
from bonemet.io.output import whole_file
from bonemet.io.sidecar import Sidecar
from bonemet.io.volumes import open_volume
from bonemet.reporting import alignment, figures, view3d
from bonemet.reporting.gather import ScanView, StudyView, TibiaView, WeekView, gather
from bonemet.reporting.methods import methods_text, software_versions
from bonemet.stages.outcome import Outcome, peak_memory_mb

FRONT_STRIDE = 2
MARGIN = 30  # of the pictures around the legs, in strides
HEAD = 2000  # characters of a page in which its fingerprint stands


def report(study: str | Path, *, context: Context = SILENT) -> Outcome:
    """Write ``report.html`` of a study from what stands on disk; nothing is computed anew.

    The page holds its pictures and styles itself and can be mailed. The same results give the
    same bytes.

    Raises
    ------
    MissingInputError
        If the study holds no reconstruction yet.
    """
    start = time.perf_counter()
    root = Path(study)
    if not root.is_dir():
        raise MissingInputError(f"{root} is not a folder; give the folder of a study.")
    view = gather(root)
    if not view.scans:
        raise MissingInputError(
            f"{root} holds no reconstruction to report on; run 'bonemet run {root}' first."
        )
    path = derived.report_path(root)
    mark = fingerprint(view)
    done_before = path.is_file() and mark in path.read_text(encoding="utf-8", errors="replace")[:HEAD]
    if not done_before:
        page = render(view, context)
        with whole_file(path) as partial:
            partial.write_text(page, encoding="utf-8", newline="\n")
    seconds = time.perf_counter() - start
    return Outcome([str(path)], seconds, peak_memory_mb(), [], {}, done_before=done_before)


def fingerprint(view: StudyView) -> str:
    """Return a digest of everything that a page would be made from."""
    sides: list[Sidecar | None] = [view.bones for view in view.scans]
    sides += [view.recon_side for view in view.scans]
    for tibia in view.tibiae:
        for week in tibia.weeks:
            sides += [week.registered_side, week.composite_side, week.crop_side]
    marks = ["" if side is None else side.fingerprint for side in sides]
    measures = [week.measures for tibia in view.tibiae for week in tibia.weeks]
    made = json.dumps([__version__, software_versions(), marks, measures, view.times], sort_keys=True)
    return hashlib.sha256(made.encode()).hexdigest()


def render(view: StudyView, context: Context = SILENT) -> str:
    """Return the page."""
    environment = Environment(
        loader=PackageLoader("bonemet.reporting"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    total = len(view.scans) + sum(len(t.weeks) for t in view.tibiae)
    with context.progress("Report", total) as tick:
        scans = []
        for scan in view.scans:
            scans.append(_scan_part(scan))
            tick(1)
        tibiae = []
        for tibia in view.tibiae:
            tibiae.append(_tibia_part(tibia))
            tick(len(tibia.weeks))
    return environment.get_template("report.html.j2").render(
        title=view.root.resolve().name,
        version=__version__,
        fingerprint=fingerprint(view),
        summary=[row for tibia in tibiae for row in tibia["summary"]],
        scans=scans,
        tibiae=tibiae,
        times=_times(view),
        methods=methods_text(view),
        software=software_versions(),
    )


def _uri(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")


def _notes(*sides: Any) -> list[str]:
    return [warning for side in sides if side is not None for warning in side.warnings]


def _scan_part(scan: ScanView) -> dict[str, Any]:
    bones = scan.bones.results["bones"] if scan.bones is not None else []
    results = scan.recon_side.results if scan.recon_side is not None else {}
    return {
        "title": str(scan.key),
        "figure": _uri(_scan_figure(scan)) if scan.labels.is_file() else None,
        "bones": bones,
        "quality": results.get("quality"),
        "notes": _notes(scan.recon_side, scan.bones),
        "seconds": scan.seconds,
    }


def _scan_figure(scan: ScanView) -> bytes:
    """Draw the front view and two slices of a scan with the outlines of its bones."""
    grey = open_volume(scan.recon)
    labels = np.asarray(open_volume(scan.labels).data[:])
    shown = _slices_to_show(labels)
    stride = FRONT_STRIDE
    rows, columns = _legs_box(labels[::stride, ::stride, ::stride], stride)
    planes = (np.asarray(grey.data[z])[rows, columns] for z in range(0, len(labels), stride))
    front = np.stack([plane.max(axis=0)[::stride] for plane in planes])
    front_labels = _front_labels(labels[::stride, rows, columns][:, :, ::stride])
    slices = [
        (f"slice {z}", np.asarray(grey.data[z])[rows, columns], labels[z][rows, columns]) for z in shown
    ]
    dz, _, dx = grey.grid.spacing_mm
    spacing = grey.grid.spacing_mm
    return figures.scan_overview(front, front_labels, slices, spacing, (dz * stride, dx * stride))


def _legs_box(labels: np.ndarray[Any, Any], stride: int) -> tuple[slice, slice]:
    """Return rows and columns that hold the long bones, with a margin; all where there are none."""
    legs = (labels >= 2) & (labels <= 5)
    box = []
    for axis in (1, 2):
        at = np.flatnonzero(legs.any(axis=tuple({0, 1, 2} - {axis})))
        low, high = (at[0], at[-1]) if len(at) else (0, labels.shape[axis])
        box.append(slice(max(0, (int(low) - MARGIN) * stride), (int(high) + MARGIN) * stride))
    return box[0], box[1]


def _slices_to_show(labels: np.ndarray[Any, Any]) -> list[int]:
    """Return a slice through the femora and one through the tibiae, where they are largest together."""
    chosen = []
    for pair in ((2, 4), (3, 5)):
        areas = [min(int((z == v).sum()) for v in pair) for z in labels]
        chosen.append(int(np.argmax(areas)))
    return chosen


def _front_labels(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the labels seen from the front: the long bones lie over all others."""
    out = np.zeros((labels.shape[0], labels.shape[2]), np.uint8)
    for value in (6, 7, 1, 2, 4, 3, 5):
        out[(labels == value).any(axis=1)] = value
    return out


def _tibia_part(tibia: TibiaView) -> dict[str, Any]:
    weeks = list(_week_parts(tibia))
    names = list(dict.fromkeys((m["name"], m["region"], m["unit"]) for w in tibia.weeks for m in w.measures))
    table = [
        {"name": n, "region": r, "unit": u, "cells": [_cell(w.measures, n, r) for w in tibia.weeks]}
        for n, r, u in names
    ]
    return {
        "title": f"{tibia.animal} {tibia.side} tibia",
        "anchor": f"{tibia.animal}-{tibia.side}".replace(" ", "-"),
        "weeks": weeks,
        "table": table,
        "headings": [f"week {w.key.week}" for w in tibia.weeks],
        "summary": [row for w in tibia.weeks for row in _summary(w)],
    }


def _cell(measures: list[dict[str, Any]], name: str, region: str) -> dict[str, Any]:
    for measure in measures:
        if (measure["name"], measure["region"]) == (name, region):
            return measure
    return {"value": None, "reason": "not measured"}


def _summary(week: WeekView) -> Iterator[dict[str, Any]]:
    """Yield what changed since the first week, and since the week before where that is another."""
    side = week.registered_side
    for key, overlay in ((f"{week.key}", week.composite_side), (f"- since week {week.before}", week.since)):
        if overlay is not None:
            yield {
                "key": key,
                "change": overlay.results,
                "registration": side.results if side else {},
                "crop": week.crop_side.results if week.crop_side else {},
                "review": bool(side and side.results.get("review")) or week.marked,
            }


def _week_parts(tibia: TibiaView) -> Iterator[dict[str, Any]]:
    first = tibia.weeks[0]
    region = first.crop_side.results if first.crop_side else {}
    for week in tibia.weeks:
        side = week.registered_side
        yield {
            "title": str(week.key),
            "week": week.key.week,
            "registration": side.results if side else {},
            "change": week.composite_side.results if week.composite_side else None,
            "crop": week.crop_side.results if week.crop_side else None,
            "pictures": [
                {"caption": caption, "uri": _uri(picture)}
                for caption, picture in _pictures(first, week, region)
            ],
            "notes": _notes(side, week.composite_side, week.crop_side),
            "seconds": week.seconds,
        }


def _pictures(first: WeekView, week: WeekView, region: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of one tibia in one week, with their captions."""
    span = (region["first_slice"], region["last_slice"]) if region else None
    if week is first and span and region.get("contours"):
        caption = "Closed bone contours in each slice: the evidence for the proximal tibia-fibula junction."
        yield caption, figures.junction_evidence(region["contours"], region.get("junction_slice"), span)
    if week.composite is None:
        return
    overlay = _loaded(week.composite)
    spacing = overlay.grid.spacing_mm
    span = span or (0, overlay.grid.shape[0] - 1)
    level = (span[0] + span[1]) // 2
    fixed, moving = _loaded(first.registered), _loaded(week.registered)
    yield (
        f"Alignment: week {first.key.week} red, week {week.key.week} cyan, agreement grey.",
        figures.alignment_planes(np.asarray(fixed.data), np.asarray(moving.data), spacing, level),
    )
    both = np.asarray(fixed.data), np.asarray(moving.data)
    yield (
        f"Checkerboard: week {first.key.week} grey, week {week.key.week} bluish; edges run on if they agree.",
        alignment.checkerboard(*both, spacing, level),
    )
    yield (
        f"Flicker: weeks {first.key.week} and {week.key.week} by turns; what jumps has changed or is off.",
        alignment.flicker(*both, spacing, level),
    )
    values = np.asarray(overlay.data)
    yield (
        "Composite in the published greys; blue lines bound the region, orange marks the junction.",
        figures.composite_planes(values, spacing, span, region.get("junction_slice")),
    )
    yield (
        "From four sides, the near half of the bone: lost bone red, formed bone blue, deeper where stronger.",
        figures.lost_from_four_sides(values, spacing, span),
    )
    space = view3d.changed_bone(values, spacing)
    if space is not None:
        yield (
            "In space, from the low y, low x, high y and high x side: old bone as glass, lost bone red, "
            "formed bone blue; films of single voxels are left out.",
            space,
        )


def _loaded(path: Path) -> Volume:
    volume = open_volume(path)
    return volume.with_data(volume.array())


def _times(view: StudyView) -> list[dict[str, Any]]:
    """Return for each step how often it ran and how long it took altogether."""
    totals: dict[str, list[float]] = {}
    for steps in view.times.values():
        for step, row in steps.items():
            totals.setdefault(step, []).append(row["seconds"])
    return [{"step": s, "count": len(v), "seconds": sum(v), "longest": max(v)} for s, v in totals.items()]
