"""Full size in a process of its own: time and memory of registration, resampling beside SimpleITK's.

python benchmarks/registration_size.py [--quick] prints one value a line, with its name before a tab.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import cases
import numpy as np
import SimpleITK as sitk
from registration_truth import shaft_points

from bonemet.core.grid import Grid
from bonemet.core.transform import Transform
from bonemet.core.volume import Volume
from bonemet.engine.context import ThreadContext
from bonemet.kernels.resample import resample
from bonemet.registration import Options, register
from bonemet.stages.outcome import peak_memory_mb

FIXED, MOVING = (1538, 509, 539), (1700, 700, 900)


def enlarged(volume: Volume, shape: tuple[int, int, int]) -> Volume:
    """Return a volume on a grid of so many voxels, the finest that holds all of it."""
    size = np.asarray(volume.grid.shape) * volume.grid.spacing_mm
    spacing = float((size / shape).max())
    grid = Grid.isotropic(shape, spacing)
    x, y, z = (float(v) for v in volume.grid.centre_mm - grid.centre_mm)
    grid = Grid.isotropic(shape, spacing, (x, y, z))
    return Volume(resample(volume.array(), volume.grid, grid, Transform.identity()), grid, volume.quantity)


def best_of(times: int, work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return the least processor and wall time in s of some runs, and the last result."""
    spent, out = [], None
    for _ in range(times):
        start = time.process_time(), time.perf_counter()
        out = work()
        spent.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    return min(s[0] for s in spent), min(s[1] for s in spent), out


def main(quick: bool) -> None:
    """Measure and print."""
    pair = cases.tibia_pair(0, 0.08, changed={"growth": 0.0})  # growth has bars of its own
    context = ThreadContext(2)
    register(pair.fixed, pair.moving, mapper=context.map)  # compiles
    resample(pair.moving.array(), pair.moving.grid, pair.fixed.grid, pair.truth)
    part = 3 if quick else 1
    fixed, moving = (
        enlarged(v, tuple(n // part for n in shape))
        for v, shape in ((pair.fixed, FIXED), (pair.moving, MOVING))
    )
    before = peak_memory_mb()
    cpu, wall, found = best_of(2, lambda: register(fixed, moving, mapper=context.map))
    points = shaft_points(pair)
    gap = np.linalg.norm(found.transform.apply(points) - pair.truth.apply(points), axis=1).mean()
    show("register", wall)
    show("register cpu", cpu)
    show("memory", peak_memory_mb())
    show("memory before", before)
    show("error", float(gap) / fixed.grid.spacing_mm[0])
    once, _, _ = best_of(1, lambda: register(fixed, moving, Options(both_ways=False), mapper=context.map))
    show("one way cpu", once)
    image, transform = _image(moving), _affine(found.transform)
    depth, rows, columns = fixed.grid.shape
    middle = fixed.grid.crop((depth // 2, 0, 0), (depth // 2 + depth // 64, rows, columns))
    results = {}
    # Sinc on a few slices: the whole takes SimpleITK half an hour.
    for name, kind, grid, times in (
        ("linear", sitk.sitkLinear, fixed.grid, 3),
        ("sinc", sitk.sitkLanczosWindowedSinc, middle, 1),
    ):
        where = moving.array(), moving.grid, grid, found.transform
        cpu, _, ours = best_of(times, lambda name=name, where=where: resample(*where, order=name))
        other, _, theirs = best_of(times, lambda kind=kind, grid=grid: _by_itk(image, grid, transform, kind))
        show(name, cpu)
        show(f"itk {name}", other)
        results[name] = ours, theirs
    ours, theirs = results["linear"]
    show("grey", max(float(np.abs(a.astype(int) - b).max()) for a, b in zip(ours, theirs, strict=True)))


def _image(volume: Volume) -> Any:
    out: Any = sitk.GetImageFromArray(volume.array())
    out.SetSpacing(volume.grid.spacing_mm[::-1])
    out.SetOrigin(volume.grid.origin_mm)
    return out


def _affine(transform: Transform) -> Any:
    out: Any = sitk.AffineTransform(3)
    out.SetMatrix(transform.matrix[:3, :3].ravel().tolist())
    out.SetTranslation(transform.matrix[:3, 3].tolist())
    return out


def _by_itk(image: Any, grid: Grid, transform: Any, kind: int) -> Any:
    out = sitk.Resample(
        image, grid.shape[::-1], transform, kind, grid.origin_mm, grid.spacing_mm[::-1], (), 0
    )
    return sitk.GetArrayViewFromImage(out)


def show(name: str, value: float) -> None:
    """Print one value."""
    print(f"{name}\t{value}", flush=True)


if __name__ == "__main__":
    main("--quick" in sys.argv[1:])
