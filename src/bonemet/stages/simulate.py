"""Writes a small study of simulated scans whose truth is known."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet._version import __version__
from bonemet.core.calibration import Kind, Quantity
from bonemet.core.context import SILENT, Context, Tick
from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.core.ids import SIDES, ScanKey
from bonemet.core.scan import ConeGeometry
from bonemet.core.volume import Volume
from bonemet.dataset import layout
from bonemet.dataset.layout import Component
from bonemet.io import skyscan, stacks, volumes
from bonemet.records import table
from bonemet.simulation import (
    LONG_BONES,
    Animal,
    ScanPose,
    animal,
    detector,
    landmarks,
    scan_pose,
    spectrum,
    tissue_in_own_frame,
    xray,
)
from bonemet.simulation import presets as sizes
from bonemet.simulation import scene as scenes
from bonemet.stages.outcome import Outcome, Product, produce

FIRST_ANIMAL = 871
_LARGEST_OFFSET = 3.5 / 864
_FRAMES = (
    "matrix takes points (x, y, z, 1) in mm of the bone's frame to the scan frame of the reconstruction: "
    "origin at the centre of voxel (0, 0, 0) of the default grid, x along the columns, z down the rows. "
    "Left bones' frames are mirrored. Landmarks are levels in mm along z of the bone's frame, and their "
    "places on its z axis."
)


@dataclass(frozen=True, eq=False)
class _Scanning:
    """One scan to be made."""

    key: ScanKey
    animal: Animal
    preset: sizes.Preset
    camera: detector.Detector
    dose: str
    geometry: ConeGeometry
    pose: ScanPose
    seed: int
    when: datetime.datetime


def simulate(
    out: str | Path,
    *,
    preset: str = "small",
    animals: int = 2,
    weeks: Sequence[int] = (0, 3),
    seed: int = 1,
    dose: str = "normal",
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Write a study of simulated raw scans, its records, and the truth beside them.

    Animals are named 871, 872, ...; the first, third, ... carry a tumour in one tibia. The same
    arguments give the same bytes.

    Parameters
    ----------
    out
        The study's folder, created.
    preset
        Size of the scans: ``tiny``, ``small``, ``medium`` or ``full``.
    animals
        How many.
    weeks
        Weeks after inoculation at which each is scanned.
    seed
        Everything drawn follows from it.
    dose
        Photons per pixel: ``low``, ``normal`` or ``high``.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    context
        Threads, memory and progress.

    Raises
    ------
    SettingsError
        If a setting makes no sense, or the scans need more memory than allowed.
    """
    chosen, camera = sizes.preset(preset), detector.dose(dose)
    when = _check(chosen, animals, weeks, seed, context)
    settings = {"preset": preset, "animals": animals, "weeks": when, "seed": seed, "dose": dose}

    def work(partial: Path) -> Product:
        cohort = [_animal(index, seed) for index in range(animals)]
        rows: dict[ScanKey, dict[str, Any]] = {}
        scans = []
        for index, mouse in enumerate(cohort):
            tissue = _Tissue(mouse, 0.8 * chosen.bone_mm)
            for week in when:
                job = _job(index, mouse, week, seed, chosen, camera, dose)
                scans.append(_scan(partial, job, tissue, context))
                rows |= _record(index, mouse, week, seed)
        table.write(layout.record_path(partial), table.join(table.empty(), rows))
        return Product({"scans": scans}, name="simulated study")

    return produce(Path(out), "simulate", settings, [], work, overwrite=overwrite)


def _check(
    preset: sizes.Preset, animals: int, weeks: Sequence[int], seed: int, context: Context
) -> list[int]:
    """Return the weeks in order; refuse settings that make no study."""
    when = sorted({int(w) for w in weeks})
    if animals < 1:
        raise SettingsError(f"A study needs at least one animal, not {animals}.")
    if not when or when[0] < 0 or len(when) != len(weeks):
        raise SettingsError(f"Weeks are different numbers from 0 up, such as 0,3, not {list(weeks)}.")
    if seed < 0:
        raise SettingsError(f"The seed is a number from 0 up, not {seed}.")
    need = scenes.memory_gb(preset)
    if need > context.memory_gb:
        raise SettingsError(
            f"Scans of the preset {preset.name!r} need about {need:.0f} GB of memory, and "
            f"{context.memory_gb:g} GB are allowed; choose a smaller preset."
        )
    return when


def _generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key))


def _animal(index: int, seed: int) -> Animal:
    """Return one animal of the cohort; every second one, the first included, carries a tumour."""
    rng = _generator(seed, index, 0)
    side, age = SIDES[int(rng.integers(2))], 8.0 + float(rng.integers(3))
    return animal(
        seed * 1000 + index,
        age_weeks=age,
        tumour_side=side if index % 2 == 0 else None,
        name=str(FIRST_ANIMAL + index),
    )


def _job(
    index: int,
    mouse: Animal,
    week: int,
    seed: int,
    preset: sizes.Preset,
    camera: detector.Detector,
    dose: str,
) -> _Scanning:
    """Return everything that is drawn for one scan."""
    rng = _generator(seed, index, 1, week)
    offset = round(float(rng.uniform(-1, 1)) * _LARGEST_OFFSET * preset.columns, 2)
    when = _inoculation(seed) + datetime.timedelta(
        weeks=week, hours=9, minutes=12 * index, seconds=int(rng.integers(600))
    )
    return _Scanning(
        key=ScanKey(mouse.name, week),
        animal=mouse,
        preset=preset,
        camera=camera,
        dose=dose,
        geometry=preset.geometry(offset),
        pose=scan_pose(mouse, week, seed),
        seed=int(rng.integers(2**31)),
        when=when,
    )


def _inoculation(seed: int) -> datetime.datetime:
    """Return the day on which a study begins, a Monday drawn from its seed."""
    return datetime.datetime(2019, 1, 7) + datetime.timedelta(weeks=int(_generator(seed, 7).integers(200)))


def _scan(study: Path, job: _Scanning, tissue: _Tissue, context: Context) -> dict[str, Any]:
    """Write one scan, its log and its truth."""
    folder = layout.folder(study, Component.ROTATION_XRAY, job.key)
    folder.mkdir(parents=True)
    prefix = f"{job.key.animal}_week{job.key.week}"
    with context.progress(f"simulating {job.key}", job.preset.views) as tick:
        stacks.write_slices(folder, prefix + "_", _views(job, context, tick), format="tiff")
    log = skyscan.format_log(_log(job, prefix))
    (folder / f"{prefix}.log").write_bytes(log.encode("utf-8"))
    _write_truth(layout.truth_folder(study, job.key), job, tissue, context)
    return {
        "animal": job.key.animal,
        "week": job.key.week,
        "path": folder.relative_to(study).as_posix(),
        "axis_offset_px": job.geometry.axis_offset_px,
    }


def _views(job: _Scanning, context: Context, tick: Tick) -> Iterator[NDArray[np.uint16]]:
    """Yield the images of a scan."""
    beam = spectrum.tube_spectrum()
    attenuation = spectrum.attenuation_table(beam)
    g = job.geometry
    body = scenes.body_in_beam(
        job.animal, job.key.week, job.pose, job.preset, g, spectrum.soft_materials(beam), mapper=context.map
    )
    faults = detector.panel(job.camera, g.rows, g.columns, job.seed)

    def image(view: int) -> NDArray[np.uint16]:
        light = xray.project(body, g, view, attenuation)
        return detector.record(light, job.camera, faults, view=view, views=job.preset.views, seed=job.seed)

    for picture in context.map(image, range(job.preset.views)):
        yield picture
        tick(1)


def _log(job: _Scanning, prefix: str) -> dict[str, dict[str, object]]:
    """Return the scan's log as a SkyScan 1276 would write it."""
    g = job.geometry
    pixel_um = f"{g.pixel_mm * 1000:.6f}"
    return {
        "System": {
            "Scanner": "SkyScan1276",
            "Instrument S/N": "simulated",
            "Software Version": f"bonemet {__version__}",
            "Source Type": "simulated tungsten tube",
            "Camera Type": "simulated",
            "Camera Pixel Size (um)": f"{g.pixel_mm * g.magnification * 1000:.4f}",
            "Camera X/Y Ratio": "1.0000",
        },
        "Acquisition": {
            "Filename Prefix": prefix + "_",
            "Filename Index Length": 8,
            "Number Of Files": f"{job.preset.views:5d}",
            "Number Of Rows": f"{g.rows:5d}",
            "Number Of Columns": f"{g.columns:5d}",
            "Partial Width": "OFF",
            "Image crop origin X": 0,
            "Image crop origin Y": 0,
            "Optical Axis (line)": f"{skyscan.axis_row(g.optical_axis_row, g.rows):5.0f}",
            "Camera to Source (mm)": f"{g.sdd_mm:.5f}",
            "Object to Source (mm)": f"{g.sod_mm:.5f}",
            "Source Voltage (kV)": f"{spectrum.KILOVOLTS:4d}",
            "Source Current (uA)": " 200",
            "Image Pixel Size (um)": pixel_um,
            "Scaled Image Pixel Size (um)": pixel_um,
            "Image Format": "TIFF",
            "Depth (bits)": 16,
            "Reference Intensity": detector.WHITE,
            "Exposure (ms)": 900,
            "Rotation Step (deg)": f"{job.preset.step_deg:.3f}",
            "Use 360 Rotation": "NO",
            "Frame Averaging": "OFF (1)",
            "Random Movement": "OFF (10)",
            "Flat Field Correction": "ON",
            "Geometrical Correction": "ON",
            "Filter": f"Al {spectrum.ALUMINIUM_MM:g}mm",
            "Gantry direction": "CC",
            "Rotation Direction": "CC",
            "Type of Detector Motion": "STEP AND SHOOT",
            "Scanning Trajectory": "ROUND",
            "Number Of Horizontal Offset Positions": 1,
            "Number of connected scans": 1,
            "Study Date and Time": job.when.strftime("%d %b %Y  %Hh:%Mm:%Ss"),
            "Scan duration": "0h:4m:12s",
            "Simulated Photons per Pixel": f"{job.camera.photons:.0f}",
        },
    }


def _record(index: int, mouse: Animal, week: int, seed: int) -> dict[ScanKey, dict[str, Any]]:
    """Return what a laboratory knows of an animal when it is scanned, by tibia."""
    weight = 18.5 + float(_generator(seed, index, 2).normal(0, 0.8)) + 0.25 * week
    known = {
        "Age (week)": f"{mouse.age_weeks + week:g}",
        "Sex": mouse.sex,
        "Date": _inoculation(seed).strftime("%Y-%m-%d"),
        "Body Weight (g)": f"{weight:.1f}",
        "Treatment": "treated" if mouse.treated else "none",
    }
    return {
        ScanKey(mouse.name, week, side, "tibia"): known
        | {"Tibiae tumor inoculation": "with tumor" if side == mouse.tumour_side else "without tumor"}
        for side in SIDES
    }


class _Tissue:
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


def _write_truth(folder: Path, job: _Scanning, tissue: _Tissue, context: Context) -> None:
    """Write what is true of a scan: numbers, and labels on the default reconstruction grid."""
    folder.mkdir(parents=True)
    changes = context.map(lambda side: tissue.change(side, job.key.week), SIDES)
    truth = {
        "animal": job.key.animal,
        "week": job.key.week,
        "strain": job.animal.strain,
        "tumour_side": job.animal.tumour_side,
        "treated": job.animal.treated,
        "dose": job.dose,
        "photons_per_pixel": job.camera.photons,
        "axis_offset_px": job.geometry.axis_offset_px,
        "optical_axis_row": job.geometry.optical_axis_row,
        "turn": job.geometry.turn,
        "pixel_mm": job.geometry.pixel_mm,
        "frames": _FRAMES,
        "bones": {bone: _bone(job, bone) for bone in LONG_BONES},
        "tibiae": dict(zip(SIDES, changes, strict=True)),
    }
    text = json.dumps(truth, indent=1, sort_keys=False)
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    labels = scenes.label_volume(job.animal, job.key.week, job.pose, job.geometry, mapper=context.map)
    grid = Grid.isotropic(labels.shape, job.geometry.pixel_mm)
    volumes.write_volume(folder / "labels.nii.gz", Volume(labels, grid, Quantity(Kind.LABELS)))


def _bone(job: _Scanning, bone: str) -> dict[str, Any]:
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
