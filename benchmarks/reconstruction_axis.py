"""The rotation axis of simulated scans of mice: polychromatic, noisy, off the middle, with rings."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from harness import Figure
from numpy.typing import NDArray

from bonemet.core.scan import ConeGeometry
from bonemet.engine.context import ThreadContext
from bonemet.recon import center, correct
from bonemet.simulation import animal as mouse
from bonemet.simulation import detector, presets, scan_pose, scene, spectrum, xray

ROWS = 7  # all that the search looks at
LARGEST_OFFSET = 0.01  # share of the columns, as the simulator draws it
LIMIT_PX = 0.1


def sinograms(seed: int, preset: presets.Preset, dose: str) -> tuple[NDArray[np.float32], ConeGeometry]:
    """Return line integrals (views, rows, columns) near the plane of the source, and the true geometry."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 50)))
    body = mouse(seed, age_weeks=8.0 + float(rng.integers(3)), tumour_side=None, name=str(seed))
    offset = float(rng.uniform(-1, 1)) * LARGEST_OFFSET * preset.columns
    full = preset.geometry(offset)
    a, b = center.rows_near_axis(full, ROWS)
    thin = replace(full, rows=b - a, optical_axis_row=full.optical_axis_row - a)
    beam = spectrum.tube_spectrum()
    table, soft = spectrum.attenuation_table(beam), spectrum.soft_materials(beam)
    mapper = ThreadContext(2).map
    seen = scene.body_in_beam(body, 0, scan_pose(body, 0, seed), preset, thin, soft, mapper=mapper)
    camera = detector.dose(dose)
    faults = detector.panel(camera, thin.rows, thin.columns, seed)

    def view(n: int) -> NDArray[np.float32]:
        light = xray.project(seen, thin, n, table)
        image = detector.record(light, camera, faults, view=n, views=preset.views, seed=seed)
        return correct.line_integrals(image, float(detector.WHITE))

    return np.array(list(mapper(view, range(preset.views)))), thin


def figures(seed: int, scans: int) -> list[Figure]:
    """Return how well the axis of so many scans is found; every tenth is a larger one."""
    errors, doubted, seconds = [], 0, 0.0
    for n in range(scans):
        preset = presets.preset("small" if n % 10 == 9 else "tiny")
        rays, true = sinograms(seed + n, preset, ("low", "normal", "high")[n % 3])
        began = time.process_time()
        found = center.find_axis_offset(rays, replace(true, axis_offset_px=0.0))
        seconds += time.process_time() - began
        errors.append(abs(found.offset_px - true.axis_offset_px))
        doubted += not found.reliable
    within = sum(error <= LIMIT_PX for error in errors)
    return [
        Figure(f"axis found within {LIMIT_PX} px, of {scans} scans", within, "", f"{scans}", within == scans),
        Figure("axis: median error", float(np.median(errors)), "px"),
        Figure("axis: largest error", max(errors), "px"),
        Figure("axis: scans called unreliable", doubted, "", "0", doubted == 0),
        Figure("axis: CPU time per scan", seconds / scans, "s"),
    ]
