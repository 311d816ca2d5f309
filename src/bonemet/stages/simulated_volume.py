"""Writes one simulated scan as `reconstruct` would have, without X-rays: slices, log and sidecar."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bonemet._version import __version__
from bonemet.core.context import Context
from bonemet.core.grid import Grid
from bonemet.core.step import Step
from bonemet.io import sidecar, skyscan
from bonemet.recon.view import field_of_view
from bonemet.recon.weights import field_radius_mm
from bonemet.simulation import grey
from bonemet.simulation import presets as sizes
from bonemet.simulation import scene as scenes
from bonemet.simulation.scanner import scanner_of
from bonemet.stages import reconstruct_log
from bonemet.stages.reconstruct_range import Range
from bonemet.stages.reconstruct_settings import Settings
from bonemet.stages.reconstruct_slices import write_slice
from bonemet.stages.simulated_scan import Scanning, scan_log


def memory_gb(size: sizes.Preset, workers: int) -> float:
    """Return about how much memory a volume takes, in GB: its labels, and slabs of 32 slices."""
    labels = size.columns**2 * size.rows
    slab = size.columns**2 * grey.SLAB
    return (1.2 * labels + workers * 24 * slab) / 1e9 + 0.5


def write_volume_scan(folder: Path, job: Scanning, context: Context) -> dict[str, float]:
    """Write the slices, log and sidecar of a scan into a new folder, slab by slab.

    Returns
    -------
    dict
        ``saturated_share``: voxels beyond the grey window; ``muscle`` and ``mineral_per_mg_cm3``: the
        attenuations (1/mm) planted.
    """
    folder.mkdir(parents=True)
    name = f"{job.key.animal}_week{job.key.week}"
    grid = scenes.reconstruction_grid(job.geometry)
    scene = grey.grey_scene(
        job.animal,
        job.key.week,
        job.pose,
        grid,
        scanned=scanner_of(job.preset, job.camera),
        seed=job.seed,
        field_mm=field_radius_mm(job.geometry),
        mapper=context.map,
    )
    scene.prepare()
    settings = Settings()

    def one(slab: tuple[int, int]) -> int:
        values, _ = scene.slab(*slab)
        beyond = (write_slice(folder, name, slab[0] + k, plane, settings) for k, plane in enumerate(values))
        return sum(beyond)

    beyond = 0
    with context.progress(f"simulating {job.key}", len(scene.slabs)) as tick:
        for count in context.map(one, scene.slabs):
            beyond += count
            tick(1)
    log = skyscan.SkyScanLog(folder / f"{name}.log", skyscan.parse(skyscan.format_log(scan_log(job, name))))
    own = Grid.isotropic(grid.shape, grid.spacing_mm[0])
    what = Range(own, 0, own.shape[0], own)
    reconstruct_log.write(folder, reconstruct_log.Done(name, log, job.geometry, what, settings))
    found = {
        "saturated_share": beyond / float(np.prod(grid.shape)),
        "muscle": float(scene.around.tones.soft[1]),
        "mineral_per_mg_cm3": scene.around.tones.mineral,
    }
    step = Step("simulate", __version__, {"volume": True, "dose": job.dose, "seed": job.seed}, (), ())
    sidecar.write(
        folder,
        sidecar.Sidecar(
            bonemet=__version__,
            name=name,
            grid=sidecar.grid_model(own),
            quantity=sidecar.quantity_model(settings.quantity),
            view=sidecar.view_model(field_of_view(job.geometry, own)),
            steps=[sidecar.step_model(step)],
            results=found,
        ),
    )
    return found
