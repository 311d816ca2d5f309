"""Writes what is true of a simulated scan: numbers, poses, label volumes, and maps of change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.context import Context
from bonemet.core.grid import Grid
from bonemet.core.ids import SIDES
from bonemet.core.volume import Volume
from bonemet.io import volumes
from bonemet.simulation import LABELS, LONG_BONES, Animal, Change, landmark_points, landmarks, tibia_change
from bonemet.simulation import scene as scenes
from bonemet.simulation.change import CAUSES, marks_in_bone
from bonemet.simulation.disease import fracture, kind_of, needle_track
from bonemet.simulation.growth import growth
from bonemet.simulation.truth import bone_volume, tissue_in_own_frame
from bonemet.stages.simulated_scan import Scanning, write_planted

VOLUME_MM = 0.04
"""Spacing at which the volume of a bone is integrated."""
_FRAMES = (
    "matrix takes points (x, y, z, 1) in mm of the bone's frame to the scan frame of the reconstruction: "
    "origin at the centre of voxel (0, 0, 0) of the default grid, x along the columns, z down the rows. "
    "Left bones' frames are mirrored. A bone's frame stays with its diaphysis in all weeks. Landmarks are "
    "levels in mm along z of the bone's frame, and their places on its z axis (in the proximal fragment of "
    "a broken tibia: where that axis has gone)."
)
_MARKS = {"focus": 1, "woven bone in the marrow": 2, "new bone outside": 3, "needle track": 4}


class Tissue:
    """Where the tibiae of one animal are bone, in their own frames; week 0 is kept."""

    def __init__(self, mouse: Animal, spacing_mm: float) -> None:
        self._mouse, self._spacing = mouse, spacing_mm
        self._first: dict[str, NDArray[np.bool_]] = {}

    def change(self, side: str, week: int) -> Change:
        """Return what became of a tibia's tissue since week 0."""
        if side not in self._first:
            bone = f"{side} tibia"
            self._first[side] = tissue_in_own_frame(self._mouse, 0, bone, self._spacing)[0]
        return tibia_change(self._mouse, side, 0, week, self._spacing, before=self._first[side])


def write_truth(folder: Path, job: Scanning, tissue: Tissue, context: Context) -> None:
    """Write what is true of a scan: numbers, labels on the default reconstruction grid, maps of change.

    ``labels.nii.gz`` and, of injected animals, ``lesions.nii.gz`` lie on the scan's grid; ``left tibia
    change.nii.gz`` and ``left tibia cause.nii.gz`` in the bone's own frame, with its x, y and z as axes.
    """
    folder.mkdir(parents=True)
    changes = dict(
        zip(SIDES, context.map(lambda side: tissue.change(side, job.key.week), SIDES), strict=True)
    )
    bones = dict(zip(LONG_BONES, context.map(lambda bone: _bone(job, bone), LONG_BONES), strict=True))
    mouse = job.animal
    truth = {
        "animal": job.key.animal,
        "week": job.key.week,
        "strain": mouse.strain,
        "tumour_side": mouse.tumour_side,
        "sham_side": mouse.sham_side,
        "kind": kind_of(mouse) if mouse.tumour_side else None,
        "severity": mouse.severity,
        "treated": mouse.treated,
        "remodelling": mouse.remodelling,
        "growth": mouse.growth,
        **job.planted(),
        "frames": _FRAMES,
        "bones": bones,
        "other_bones": {
            name: _rounded(_into_scan(job) @ matrix)
            for name, matrix in job.pose.matrices.items()
            if name not in LONG_BONES
        },
        "tibiae": {side: _tibia(job, side, changes[side]) for side in SIDES},
        "causes": CAUSES,
        "marks": _MARKS,
    }
    text = json.dumps(truth, indent=1, sort_keys=False)
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    write_planted(folder, job)
    _write_labels(folder, job, context)
    if job.key.week > 0:
        for side, change in changes.items():
            _write(folder / f"{side} tibia change.nii.gz", change.masks, change.grid)
            _write(folder / f"{side} tibia cause.nii.gz", change.causes, change.grid)


def _write_labels(folder: Path, job: Scanning, context: Context) -> None:
    """Write the labels of a scan, and of an injected animal its lesions, slab by slab."""
    shape = scenes.reconstruction_grid(job.geometry).shape
    grid, kind = Grid.isotropic(shape, job.geometry.pixel_mm), Quantity(Kind.LABELS)
    slabs = scenes.label_slabs(job.animal, job.key.week, job.pose, job.geometry, mapper=context.map)
    side = job.animal.tumour_side or job.animal.sham_side
    if side is None:
        volumes.write_slabs(folder / "labels.nii.gz", slabs, grid, kind)
        return
    marks: list[_Marks] = []
    volumes.write_slabs(folder / "labels.nii.gz", _marking(slabs, job, side, grid, marks), grid, kind)
    volumes.write_slabs(folder / "lesions.nii.gz", (m.slab() for m in marks), grid, kind)


@dataclass(frozen=True, eq=False)
class _Marks:
    """What disease and needle have done in a slab of one shape: flat indices of voxels, and their marks."""

    shape: tuple[int, ...]
    index: NDArray[np.int64]
    marks: NDArray[np.uint8]

    def slab(self) -> NDArray[np.uint8]:
        out = np.zeros(self.shape, np.uint8)
        out.ravel()[self.index] = self.marks
        return out


def _marking(
    slabs: Iterable[NDArray[np.uint8]], job: Scanning, side: str, grid: Grid, marks: list[_Marks]
) -> Iterator[NDArray[np.uint8]]:
    """Pass slabs of labels on, and note what has been done to the injected tibia in each."""
    bone = f"{side} tibia"
    inverse = np.linalg.inv(_into_scan(job) @ job.pose.matrices[bone])
    first = 0
    for slab in slabs:
        inside = np.argwhere(slab == LABELS[bone])
        points = grid.index_to_mm(np.add(inside, [first, 0, 0])) @ inverse[:3, :3].T + inverse[:3, 3]
        found = marks_in_bone(job.animal, job.key.week, bone, points)
        flat = np.ravel_multi_index(tuple(inside[found > 0].T), slab.shape)
        marks.append(_Marks(slab.shape, flat.astype(np.int64), found[found > 0]))
        first += len(slab)
        yield slab


def _write(path: Path, data: NDArray[np.uint8], grid: Grid) -> None:
    volumes.write_volume(path, Volume(data, grid, Quantity(Kind.LABELS)))


def _into_scan(job: Scanning) -> NDArray[np.float64]:
    return scenes.into_scan_frame(job.geometry)


def _rounded(values: NDArray[np.float64]) -> Any:
    """Return numbers as nested lists, without the noise of their last digits."""
    return (np.round(values, 9) + 0.0).tolist()


def _tibia(job: Scanning, side: str, change: Change) -> dict[str, Any]:
    """Return what has become of a tibia since week 0."""
    mouse, week = job.animal, job.key.week
    out: dict[str, Any] = {name: round(v, 6) for name, v in change.volumes().items()}
    out["spacing_mm"] = change.grid.spacing_mm[0]
    track = needle_track(mouse, side, week)
    out["needle_track"] = None
    if len(track):
        ends = ("start_mm", "end_mm")
        out["needle_track"] = {
            **{name: _rounded(track[0, 3 * i : 3 * i + 3]) for i, name in enumerate(ends)},
            "radius_mm": round(float(track[0, 6]), 6),
            "frame": "of the bone in week 0",
        }
    broken = fracture(mouse, side, week)
    out["fracture"] = None
    if broken is not None:
        fragment = _into_scan(job) @ job.pose.matrices[f"{side} tibia"] @ broken.proximal
        out["fracture"] = {
            "level_mm": round(broken.level_mm, 6),
            "slopes": [round(v, 6) for v in broken.slopes],
            "proximal_fragment": _rounded(broken.proximal),
            "proximal_fragment_in_scan": _rounded(fragment),
        }
    out["fibula_broken"] = mouse.fibula_broken == side
    return out


def _bone(job: Scanning, bone: str) -> dict[str, Any]:
    """Return where a bone lies in the scan frame, its landmarks in both frames, its growth and its volume."""
    matrix = _into_scan(job) @ job.pose.matrices[bone]
    marks = {}
    levels = landmarks(job.animal, job.key.week, bone)
    for name, place in landmark_points(job.animal, job.key.week, bone).items():
        point = (matrix @ [*place, 1.0])[:3]
        marks[name] = {
            "level_mm": round(levels[name], 6),
            "scan_mm": [round(float(v), 6) for v in point],
            "slice": round(float(point[2]) / job.geometry.pixel_mm, 4),
        }
    grown = growth(job.animal, job.key.week, bone)
    return {
        "matrix": [[round(float(v), 9) for v in row] for row in matrix],
        "mirrored": bool(np.linalg.det(matrix[:3, :3]) < 0),
        "landmarks": marks,
        "growth_mm": {"proximal": round(grown.proximal, 6), "distal": round(grown.distal, 6)},
        "bone_volume_mm3": round(bone_volume(job.animal, job.key.week, bone, VOLUME_MM), 4),
    }
