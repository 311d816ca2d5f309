"""The files that stand beside a composite: lesions as labels and as a table, remodelling as a table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.grid import Grid
from bonemet.core.volume import Volume
from bonemet.io import output
from bonemet.io.volumes import write_volume
from bonemet.stages._change import Found, label_volume

LESION_COLUMNS = (
    "number",
    "kind",
    "volume_mm3",
    "surface_mm2",
    "centre_x_mm",
    "centre_y_mm",
    "centre_z_mm",
    "first_slice",
    "last_slice",
    "below_growth_plate_mm",
    "nearest_growth_plate_mm",
    "trabecular",
    "cortical",
    "periosteal",
    "depth_mm",
    "perforations",
    "perforated_mm2",
)


def write_beside(out: Path, found: Found, grid: Grid) -> list[Path]:
    """Write the files that belong beside ``out``, staged until the folder is whole; return where they go."""
    tables: dict[str, tuple[Sequence[str], Sequence[Mapping[str, Any]]]] = {
        "lesions": (LESION_COLUMNS, [_lesion_row(x) for x in found.results["lesions"]]),
        "remodelling": (("region", "name", "value", "unit", "reason"), _measure_rows(found.results)),
    }
    paths = []
    for name, (columns, rows) in tables.items():
        path = out.with_name(f"{out.name} {name}.csv")
        with output.whole_file(output.staged(path)) as partial:
            write_table(partial, columns, rows)
        paths.append(path)
    labels = label_volume(found, grid)
    if labels is not None:
        path = out.with_name(f"{out.name} lesions.nii.gz")
        with output.whole_file(output.staged(path)) as partial:
            write_volume(partial, Volume(labels[0], labels[1], Quantity(Kind.LABELS)))
        paths.append(path)
    return paths


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table as CSV, the same bytes on every system; what is None is left empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _lesion_row(lesion: Mapping[str, Any]) -> dict[str, Any]:
    centre = dict(zip(("centre_x_mm", "centre_y_mm", "centre_z_mm"), lesion["centre_mm"], strict=True))
    return {**lesion, **centre}


def _measure_rows(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return volumes and remodelling of the whole bone and of every region, a row each."""
    rows: list[Mapping[str, Any]] = _volume_rows("whole", results["guarded"])
    rows += [
        {"region": "whole", "name": name, "value": results["bone_volume"][f"{key}_mm3"], "unit": "mm3"}
        for name, key in (("BV, earlier", "before"), ("BV, later", "after"), ("BV, net change", "net"))
    ]
    rows += results["remodelling"]
    for region in results["regions"]:
        rows += _volume_rows(region["name"], region)
        rows += region.get("remodelling", [])
    return rows


def _volume_rows(name: str, source: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    kinds = ("unchanged", "formed", "resorbed", "net")
    return [
        {
            "region": name,
            "name": f"{kind} (guarded)",
            "value": source.get(f"{kind}_mm3"),
            "unit": "mm3",
            "reason": source.get("reason"),
        }
        for kind in kinds
    ]
