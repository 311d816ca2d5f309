"""Simulated scans: rays per second, and what a scan of each preset costs.

python benchmarks/simulate.py [--seed 1000] [--views 13] [--full] [--quick] [--json]

A scan's seconds are put together from its body, its labels, and some of its views, evenly spread. Processor
time on one thread is measured; with two free cores the wall time is about half of it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from harness import Figure, arguments, show

from bonemet.core.calibration import Kind, Quantity
from bonemet.io import slicefiles, volumes
from bonemet.simulation import animal, detector, scan_pose, scene, spectrum, xray
from bonemet.simulation.presets import Preset, preset
from bonemet.stages.outcome import peak_memory_mb

T = TypeVar("T")
GOALS = {"medium": 180.0, "small": 45.0, "narrow": 600.0}
"""Seconds of wall time that a scan may take on two cores."""
CORES = 2


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """Return what work returns, its processor seconds and its wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    done = work()
    return done, time.process_time() - cpu, time.perf_counter() - wall


def scan(chosen: Preset, seed: int, views: int) -> list[Figure]:
    """Return the figures of one scan of an animal with a tumour in week 3."""
    geometry, camera = chosen.geometry(1.5, 0.02), detector.dose("normal")
    mouse = animal(seed, tumour_side="left")
    pose = scan_pose(mouse, 3, seed)
    if chosen.aimed:
        pose = scene.aimed_pose(pose, "left")
    beam = spectrum.tube_spectrum()
    table = spectrum.attenuation_table(beam)
    materials = spectrum.soft_materials(beam)
    body, body_cpu, body_wall = timed(lambda: scene.body_in_beam(mouse, 3, pose, chosen, geometry, materials))
    faults = detector.panel(camera, geometry.rows, geometry.columns, seed)
    shown = range(0, chosen.views, max(1, chosen.views // views))
    parts = {"project": [0.0, 0.0], "record": [0.0, 0.0], "write": [0.0, 0.0]}
    with tempfile.TemporaryDirectory() as folder:

        def add(name: str, work: Callable[[], T]) -> T:
            done, cpu, wall = timed(work)
            parts[name][0] += cpu
            parts[name][1] += wall
            return done

        for view in shown:
            light = add("project", lambda v=view: xray.project(body, geometry, v, table))
            image = add(
                "record",
                lambda v=view, x=light: detector.record(
                    x, camera, faults, view=v, views=chosen.views, seed=seed
                ),
            )
            add("write", lambda v=view, x=image: slicefiles.write(Path(folder) / f"{v}.tif", x))
        slabs = scene.label_slabs(mouse, 3, pose, geometry)
        grid = scene.reconstruction_grid(geometry)
        _, label_cpu, label_wall = timed(
            lambda: volumes.write_slabs(Path(folder) / "l.nii.gz", slabs, grid, Quantity(Kind.LABELS))
        )
    many = chosen.views / len(shown)
    view_cpu, view_wall = (many * sum(p[i] for p in parts.values()) for i in (0, 1))
    cpu, wall = body_cpu + view_cpu + label_cpu, body_wall + view_wall + label_wall
    rays = geometry.rows * geometry.columns * len(shown)
    goal = GOALS.get(chosen.name)
    name = chosen.name
    return [
        Figure(f"{name}: rays per second of projecting", rays / parts["project"][0], "1/CPU s"),
        Figure(f"{name}: body", body_cpu, "CPU s"),
        *(Figure(f"{name}: {part}, all views", many * spent[0], "CPU s") for part, spent in parts.items()),
        Figure(f"{name}: labels", label_cpu, "CPU s"),
        Figure(f"{name}: scan, one thread", cpu, "CPU s"),
        Figure(f"{name}: scan, one thread, wall", wall, "s"),
        Figure(
            f"{name}: scan on {CORES} free cores (CPU / {CORES})",
            cpu / CORES,
            "s",
            "" if goal is None else f"< {goal:g}",
            None if goal is None else cpu / CORES < goal,
        ),
    ]


def figures(seed: int, views: int, names: list[str]) -> list[Figure]:
    """Return the figures of several presets, compiling left out, and the largest memory."""
    scan(preset("tiny"), seed, 1)
    found = [figure for name in names for figure in scan(preset(name), seed, views)]
    peak = peak_memory_mb()
    return [*found, Figure("largest memory", peak, "MB", "< 4000", peak < 4000)]


if __name__ == "__main__":
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1000, help="seeds from 1000 on are for judging")
    parser.add_argument("--views", type=int, default=13, help="views that are timed")
    parser.add_argument("--full", action="store_true", help="also the full size, a quarter of an hour")
    options = parser.parse_args()
    wanted = ["medium"] if options.quick else ["medium", "small", "narrow"]
    show(figures(options.seed, options.views, wanted + ["full"] * options.full), options, repetitions=1)
