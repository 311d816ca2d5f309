"""Measures of one registered tibia: the whole bone, and its region of interest by compartment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import SILENT, Context
from bonemet.core.grid import Grid
from bonemet.core.measure import Measure
from bonemet.core.volume import Volume
from bonemet.io.volumes import open_volume
from bonemet.morphometry.measuring import Sample, measure_region
from bonemet.records.schema import CORTEX, MARROW, REGION, WHOLE
from bonemet.segmentation.bone import compartments
from bonemet.stages.outcome import Outcome, Product, produce

REGION_NAMES = ("BV",)
CORTEX_NAMES = ("Ct.Ar", "Ct.Th", "Ct.pMOI", "Ct.TMD")
MARROW_NAMES = ("BV/TV", "Tb.Th", "Tb.Sp", "Tb.N", "Tb.BMD", "Tb.TMD")


def measure_bone(
    stack: str | Path,
    region: str | Path,
    out: str | Path,
    *,
    threshold: float,
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Measure one registered tibia: the whole bone, and its region of interest by compartment.

    Parameters
    ----------
    stack
        The registered tibia with its fibula.
    region
        Its region of interest, fibula removed, grey values kept.
    out
        Folder for the results.
    threshold
        Bone is grey >= threshold.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    context
        Workers and progress.

    Returns
    -------
    Outcome
        ``measures``: BV of the whole bone, BV of the region, cortical measures of its cortex, trabecular
        measures of its marrow cavity. What could not be had is null with a reason.
    """
    sources = [Path(stack), Path(region)]

    def work(partial: Path) -> Product:
        whole, part = (open_volume(path) for path in sources)
        counts = context.map(
            lambda z: int(np.count_nonzero(np.asarray(whole.data[z]) >= threshold)),
            range(whole.grid.shape[0]),
        )
        bone_mm3 = sum(counts) * whole.grid.voxel_mm3
        measures = [Measure("BV", bone_mm3, "mm3", WHOLE)]
        found, notes = _region_measures(part, threshold, context)
        rows = [m.as_dict() for m in (*measures, *found)]
        return Product({"measures": rows, "threshold": threshold}, whole.name, warnings=notes)

    return produce(Path(out), "measure", {"threshold": threshold}, sources, work, overwrite=overwrite)


def _region_measures(part: Volume, threshold: float, context: Context) -> tuple[list[Measure], list[str]]:
    """Return the measures of the region of interest and its compartments."""
    grey = part.array()
    bone = np.asarray(grey >= threshold)
    inside = compartments(bone, part.grid.spacing_mm, mapper=context.map)
    measures = [_total_area(inside.outline, part.grid)]
    notes: list[str] = []
    tasks: list[tuple[str, NDArray[np.bool_], tuple[str, ...]]] = [
        (REGION, inside.outline, REGION_NAMES),
        (CORTEX, inside.cortical, CORTEX_NAMES),
        (MARROW, inside.trabecular, MARROW_NAMES),
    ]
    for name, where, names in tasks:
        sample = Sample(bone, part.grid, where, name, grey, part.quantity)
        found = measure_region(sample, names, mapper=context.map)
        measures.extend(found.measures)
        notes.extend(found.notes)
    return measures, notes


def _total_area(outline: NDArray[np.bool_], grid: Grid) -> Measure:
    """Return the mean area within the periosteal contour, which lesions through the cortex leave closed."""
    areas = outline.sum(axis=(1, 2)) * grid.spacing_mm[1] * grid.spacing_mm[2]
    return Measure("Tt.Ar", float(areas[areas > 0].mean()), "mm2", CORTEX)
