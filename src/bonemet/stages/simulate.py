"""Writes a small study of simulated scans whose truth is known."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bonemet.core.context import SILENT, Context
from bonemet.core.errors import SettingsError
from bonemet.core.ids import SIDES, ScanKey
from bonemet.core.scan import ConeGeometry
from bonemet.dataset import layout
from bonemet.dataset.layout import Component
from bonemet.records import table
from bonemet.simulation import cohort, detector, scan_pose
from bonemet.simulation import presets as sizes
from bonemet.simulation import scene as scenes
from bonemet.simulation.disease import TREATED_FROM_WEEK, check_week
from bonemet.simulation.motion import Motion, Moving, draw_motion
from bonemet.stages.outcome import Outcome, Product, produce
from bonemet.stages.simulated_calibration import write_calibration
from bonemet.stages.simulated_scan import Scanning, Shot, write_scan
from bonemet.stages.simulated_truth import Tissue, write_truth
from bonemet.stages.simulated_volume import memory_gb, write_volume_scan

_LARGEST_OFFSET = 3.5 / 864
_LARGEST_TILT_DEG = 0.03
_FINEST_TISSUE_MM = 0.016
_OWN_COLUMNS = ("Strain", "Arm", "Injection", "Batch", "Scan date")
"""What a laboratory records beside the published columns."""


def simulate(
    out: str | Path,
    *,
    preset: str = "small",
    animals: int = 2,
    weeks: Sequence[int] = (0, 3),
    seed: int = 1,
    dose: str = "normal",
    volume: bool = False,
    voxel_um: float = 40.0,
    motion: Moving = "some",
    field: tuple[int, int] | None = None,
    off_axis_mm: float = 0.0,
    calibration: bool = False,
    strain: str = "BALB/c",
    sex: str = "female",
    arms: Sequence[str] = cohort.ARMS,
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Write a study of simulated raw scans, or of volumes, its records, and the truth beside them.

    Animals are named 871, 872, ... and dealt to the arms in turn: with the usual arms the first, third,
    ... carry a tumour in one tibia. The same arguments give the same bytes.

    Parameters
    ----------
    out
        The study's folder, created.
    preset
        Size of the scans: ``tiny``, ``small``, ``medium``, ``full``, or ``narrow``: the proximal tibia of
        one leg (the tumour's, else the left one) at 10.58 um.
    animals
        How many.
    weeks
        Weeks after inoculation at which each is scanned.
    seed
        Everything drawn follows from it.
    dose
        Photons per pixel: ``low``, ``normal`` or ``high``.
    volume
        Whether volumes are made, without X-rays, in the place of reconstructions, instead of raw scans.
    voxel_um
        Their voxel; the preset does not count then.
    motion
        Whether animals move during ``some`` scans (3 %), ``none`` or ``all``.
    field
        Columns and rows of a window in the middle of the camera, outside which nothing is kept.
    off_axis_mm
        With ``narrow``: how far from the axis of rotation the leg lies; the window grows with it.
    calibration
        Whether the calibration phantom is scanned, too, into ``Calibration/phantom``.
    strain, sex
        Of the animals: ``BALB/c`` or ``C57BL/6``, ``female`` or ``male``.
    arms
        Some of ``tumour``, ``sham``, ``treated`` and ``untouched``.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    context
        Threads, memory and progress.

    Raises
    ------
    SettingsError
        If a setting makes no sense, or the scans need more memory than allowed.
    """
    chosen = sizes.volume_size(voxel_um / 1000) if volume else _preset(preset, field, off_axis_mm)
    camera = detector.dose(dose)
    if volume and (field or calibration or off_axis_mm):
        raise SettingsError(
            "Volumes are made without X-rays; field, off-axis and calibration go without --volume."
        )
    if motion not in ("some", "none", "all"):
        raise SettingsError(f"The animals move in some, none or all scans, not in {motion!r}.")
    when = _check(chosen, animals, weeks, seed, context)
    members = [cohort.member(i, seed, arms=arms, strain=strain, sex=sex) for i in range(animals)]
    who_and_when = {"animals": animals, "weeks": when, "seed": seed, "dose": dose}
    who_and_when |= {"strain": strain, "sex": sex, "arms": list(arms)}
    settings = who_and_when | {
        "preset": preset,
        "motion": motion,
        "field": list(field) if field else None,
        "off_axis_mm": off_axis_mm,
        "calibration": calibration,
    }
    if volume:
        settings = who_and_when | {"preset": None, "volume": True, "voxel_um": voxel_um}

    def work(partial: Path) -> Product:
        rows: dict[ScanKey, dict[str, Any]] = {}
        scans = []
        for index, who in enumerate(members):
            tissue = Tissue(who.animal, max(0.8 * chosen.bone_mm, _FINEST_TISSUE_MM))
            for week in when:
                job = _job(index, who, week, seed, chosen, camera, dose)
                job = replace(job, motion=_motion(index, week, seed, chosen, "none" if volume else motion))
                if chosen.aimed:
                    aim = who.animal.tumour_side or who.animal.sham_side or "left"
                    job = replace(job, pose=scenes.aimed_pose(job.pose, aim, off_axis_mm))
                scans.append(_scan(partial, job, tissue, context))
                rows |= _record(who, week, seed)
        record = table.empty().reindex(columns=[*table.empty().columns, *_OWN_COLUMNS])
        table.write(layout.record_path(partial), table.join(record, rows))
        results: dict[str, Any] = {"scans": scans}
        if calibration:
            folder = write_calibration(partial, _shot(seed, chosen, camera, dose), context)
            results["calibration"] = folder.relative_to(partial).as_posix()
        return Product(results, name="simulated study")

    return produce(Path(out), "simulate", settings, [], work, overwrite=overwrite)


def _preset(name: str, field: tuple[int, int] | None, off_axis_mm: float) -> sizes.Preset:
    """Return the preset with its window."""
    chosen = sizes.preset(name)
    if off_axis_mm and not chosen.aimed:
        raise SettingsError(f"Only the preset 'narrow' puts a leg off the axis, not {name!r}.")
    if field is not None:
        return chosen.window(*field)
    # a leg off the axis goes round it, nearer to the source by a fifth than the axis at most
    wider = 2 * round(1.2 * off_axis_mm / chosen.pixel_mm)
    return chosen.window(min(chosen.columns + wider, chosen.camera_columns), chosen.rows)


def _check(
    preset: sizes.Preset, animals: int, weeks: Sequence[int], seed: int, context: Context
) -> list[int]:
    """Return the weeks in order; refuse settings that make no study."""
    when = sorted({int(w) for w in weeks})
    if animals < 1:
        raise SettingsError(f"A study needs at least one animal, not {animals}.")
    if not when or when[0] < 0 or len(when) != len(weeks):
        raise SettingsError(f"Weeks are different numbers from 0 up, such as 0,3, not {list(weeks)}.")
    check_week(when[-1])
    if seed < 0:
        raise SettingsError(f"The seed is a number from 0 up, not {seed}.")
    volume = isinstance(preset, sizes.VolumeSize)
    need = memory_gb(preset, context.workers) if volume else scenes.memory_gb(preset, context.workers)
    if need > context.memory_gb:
        raise SettingsError(
            f"{'Volumes' if volume else f'Scans of the preset {preset.name!r}'} need about {need:.0f} GB of "
            f"memory, and {context.memory_gb:g} GB are allowed; "
            f"choose {'larger voxels' if volume else 'a smaller preset'}."
        )
    return when


def _generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key))


def _job(
    index: int,
    who: cohort.Member,
    week: int,
    seed: int,
    preset: sizes.Preset,
    camera: detector.Detector,
    dose: str,
) -> Scanning:
    """Return everything that is drawn for one scan."""
    rng = _generator(seed, index, 1, week)
    geometry, mouse = _geometry(preset, rng), who.animal
    when = _inoculation(seed, who.batch) + datetime.timedelta(
        weeks=week, hours=9, minutes=12 * (index % cohort.BATCH), seconds=int(rng.integers(600))
    )
    return Scanning(
        key=ScanKey(mouse.name, week),
        animal=mouse,
        preset=preset,
        camera=camera,
        dose=dose,
        geometry=geometry,
        pose=scan_pose(mouse, week, seed),
        seed=int(rng.integers(2**31)),
        when=when,
    )


def _motion(index: int, week: int, seed: int, preset: sizes.Preset, moving: Moving) -> Motion:
    """Return how an animal moves during a scan."""
    return draw_motion(_generator(seed, index, 3, week), preset.views, moving)


def _shot(seed: int, preset: sizes.Preset, camera: detector.Detector, dose: str) -> Shot:
    """Return how the calibration phantom is scanned, on the morning of the inoculation."""
    rng = _generator(seed, 8)
    return Shot(
        preset=preset,
        camera=camera,
        dose=dose,
        geometry=_geometry(preset, rng),
        seed=int(rng.integers(2**31)),
        when=_inoculation(seed, 0) + datetime.timedelta(hours=8),
    )


def _geometry(preset: sizes.Preset, rng: np.random.Generator) -> ConeGeometry:
    """Return the geometry of a scan with the axis where it happens to stand."""
    offset = round(float(rng.uniform(-1, 1)) * _LARGEST_OFFSET * preset.camera_columns, 2)
    tilt = round(float(rng.uniform(-1, 1)) * _LARGEST_TILT_DEG, 4)
    return preset.geometry(offset, tilt)


def _inoculation(seed: int, batch: int) -> datetime.datetime:
    """Return the day on which a batch is inoculated, a Monday drawn from the study's seed."""
    weeks = int(_generator(seed, 7).integers(200)) + cohort.BATCH_WEEKS * batch
    return datetime.datetime(2019, 1, 7) + datetime.timedelta(weeks=weeks)


def _scan(study: Path, job: Scanning, tissue: Tissue, context: Context) -> dict[str, Any]:
    """Write one scan and its truth."""
    if isinstance(job.preset, sizes.VolumeSize):
        folder = layout.folder(study, Component.RECON_CT, job.key)
        write_volume_scan(folder, job, context)
    else:
        folder = layout.folder(study, Component.ROTATION_XRAY, job.key)
        write_scan(folder, job, context)
    write_truth(layout.truth_folder(study, job.key), job, tissue, context)
    return {
        "animal": job.key.animal,
        "week": job.key.week,
        "path": folder.relative_to(study).as_posix(),
        "axis_offset_px": job.geometry.axis_offset_px,
        "axis_tilt_deg": job.geometry.axis_tilt_deg,
        "moves": not job.motion.still,
    }


def _record(who: cohort.Member, week: int, seed: int) -> dict[ScanKey, dict[str, Any]]:
    """Return what a laboratory knows of an animal when it is scanned, by tibia."""
    mouse = who.animal
    day = _inoculation(seed, who.batch)
    treated = f"{cohort.DOSE_UL_PER_G:g} uL/g from week {TREATED_FROM_WEEK:g}" if mouse.treated else "none"
    known = {
        "Age (week)": f"{mouse.age_weeks + week:g}",
        "Sex": mouse.sex,
        "Date": day.strftime("%Y-%m-%d"),
        "Body Weight (g)": f"{cohort.weight_g(who, week):.1f}",
        "Treatment": treated,
        "Strain": mouse.strain,
        "Arm": who.arm,
        "Batch": str(who.batch + 1),
        "Scan date": (day + datetime.timedelta(weeks=week)).strftime("%Y-%m-%d"),
    }
    return {ScanKey(mouse.name, week, side, "tibia"): known | _tibia(who, side, week) for side in SIDES}


def _tibia(who: cohort.Member, side: str, week: int) -> dict[str, Any]:
    """Return what a laboratory knows of one tibia."""
    mouse = who.animal
    sick, sham = side == mouse.tumour_side, side == mouse.sham_side
    return {
        "Tibiae tumor inoculation": "with tumor" if sick else "without tumor",
        "Injection": "tumor cells" if sick else "vehicle" if sham else "none",
        "Diagnosis": cohort.diagnosis(who, side, week),
        "Average Radiant Efficiency (uW/cm2)": f"{cohort.radiant_efficiency(who, side, week):.3g}",
    }
