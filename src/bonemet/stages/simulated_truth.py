"""Writes what is true of a simulated scan: numbers, poses and label volumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.context import Context
from bonemet.core.grid import Grid
from bonemet.core.ids import SIDES
from bonemet.io import volumes
from bonemet.simulation import LONG_BONES, Animal, landmarks, tissue_in_own_frame
from bonemet.simulation import scene as scenes
from bonemet.stages.simulated_scan import Scanning, write_planted

_FRAMES = (
    "matrix takes points (x, y, z, 1) in mm of the bone's frame to the scan frame of the reconstruction: "
    "origin at the centre of voxel (0, 0, 0) of the default grid, x along the columns, z down the rows. "
    "Left bones' frames are mirrored. Landmarks are levels in mm along z of the bone's frame, and their "
    "places on its z axis."
)


class Tissue:
    """Where the tibiae of one animal are bone, in their own frames; week 0 is kept."""

    def __init__(self, mouse: Animal, spacing_mm: float) -> None:
        self._mouse, self._spacing = mouse, spacing_mm
        self._first: dict[str, NDArray[np.bool_]] = {}

    def change(self, side: str, week: int) -> dict[str, float]:
        """Return volumes in mm3: of the bone, and of what stayed, came and went since week 0."""
        bone = f"{side} tibia"
        if side not in self._first:
            self._first[side] = tissue_in_own_frame(self._mouse, 0, bone, self._spacing)[0]
        before = self._first[side]
        after = before if week == 0 else tissue_in_own_frame(self._mouse, week, bone, self._spacing)[0]
        counts = {
            "bone_volume_mm3": after.sum(),
            "unchanged_mm3": (before & after).sum(),
            "formed_mm3": (after & ~before).sum(),
            "resorbed_mm3": (before & ~after).sum(),
        }
        return {name: round(float(n) * self._spacing**3, 6) for name, n in counts.items()}


def write_truth(folder: Path, job: Scanning, tissue: Tissue, context: Context) -> None:
    """Write what is true of a scan: numbers, and labels on the default reconstruction grid."""
    folder.mkdir(parents=True)
    changes = context.map(lambda side: tissue.change(side, job.key.week), SIDES)
    truth = {
        "animal": job.key.animal,
        "week": job.key.week,
        "strain": job.animal.strain,
        "tumour_side": job.animal.tumour_side,
        "treated": job.animal.treated,
        **job.planted(),
        "frames": _FRAMES,
        "bones": {bone: _bone(job, bone) for bone in LONG_BONES},
        "tibiae": dict(zip(SIDES, changes, strict=True)),
    }
    text = json.dumps(truth, indent=1, sort_keys=False)
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    write_planted(folder, job)
    grid = scenes.reconstruction_grid(job.geometry)
    slabs = scenes.label_slabs(job.animal, job.key.week, job.pose, job.geometry, mapper=context.map)
    there = Grid.isotropic(grid.shape, job.geometry.pixel_mm)
    volumes.write_slabs(folder / "labels.nii.gz", slabs, there, Quantity(Kind.LABELS))


def _bone(job: Scanning, bone: str) -> dict[str, Any]:
    """Return where a bone lies in the scan frame, and its landmarks in both frames."""
    matrix = scenes.into_scan_frame(job.geometry) @ job.pose.matrices[bone]
    marks = {}
    for name, level in landmarks(job.animal, job.key.week, bone).items():
        point = (matrix @ [0.0, 0.0, level, 1.0])[:3]
        marks[name] = {
            "level_mm": round(level, 6),
            "scan_mm": [round(float(v), 6) for v in point],
            "slice": round(float(point[2]) / job.geometry.pixel_mm, 4),
        }
    return {
        "matrix": [[round(float(v), 9) for v in row] for row in matrix],
        "mirrored": bool(np.linalg.det(matrix[:3, :3]) < 0),
        "landmarks": marks,
    }
