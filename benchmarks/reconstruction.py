"""Reconstruction: speed and error against RTK, cost against size, memory, and the rotation axis.

python benchmarks/reconstruction.py [--parts peer rates sizes large axis quality] [--quick] [--json]

The peer is the ``bench`` extra's itk-rtk. CPU time is summed over threads; runs are interleaved, and medians
shown.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import reconstruction_axis as axis
import reconstruction_large as large
import reconstruction_limits as limits
import reconstruction_peer as peer
import reconstruction_phantom as phantom
import reconstruction_quality as quality
from harness import Figure, arguments, show

from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.engine.context import ThreadContext
from bonemet.recon import fdk
from bonemet.recon.backends import available, backprojector
from bonemet.recon.filtering import Recipe

THREADS = 2
PARTS = ("peer", "rates", "sizes", "large", "axis", "quality")
FULL = (4032, 2688, 2000)  # columns, rows, voxels along each side


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result, wall time and CPU time of some work."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def reconstruct(rays: Any, scan: ConeGeometry, grid: Grid, recipe: Recipe) -> Any:
    """Reconstruct from line integrals in memory."""
    mapper = ThreadContext(THREADS).map
    return fdk.reconstruct(lambda view, a, b: rays[view, a:b], scan, grid, recipe=recipe, mapper=mapper)


def against_peer(quick: bool, repeats: int) -> list[Figure]:
    """Compare with RTK in one interleaved run: time, largest difference, errors."""
    columns, rows, side, depth = (126, 84, 96, 64) if quick else (504, 336, 384, 256)
    scan = phantom.geometry(columns, rows)
    grid = phantom.inner_grid(scan, (depth, side, side))
    rays, planted = phantom.projections(scan, ThreadContext(THREADS).map), phantom.voxels(scan, grid)
    alike, fine = Recipe("ramp", shares=peer.shares(scan)), Recipe("ramp", "fine")
    reconstruct(rays, scan, grid, alike)  # compiles
    times: dict[str, list[tuple[float, float]]] = {"RTK": [], "bonemet": [], "fine": []}
    volumes = {}
    for _ in range(repeats):
        for name, work in (
            ("bonemet", lambda: reconstruct(rays, scan, grid, alike)),
            ("RTK", lambda: peer.reconstruct(rays, scan, grid, THREADS)),
            ("bonemet", lambda: reconstruct(rays, scan, grid, alike)),
            ("fine", lambda: reconstruct(rays, scan, grid, fine)),
        ):
            volumes[name], wall, cpu = timed(work)
            times[name].append((wall, cpu))
    seen = volumes["bonemet"] != 0  # RTK computes the corners beyond the field as well
    largest = float(np.abs(volumes["RTK"] - volumes["bonemet"])[seen].max())
    found = [
        Figure(f"{name}: {kind}", statistics.median(t[k] for t in runs), "s")
        for name, runs in times.items()
        for k, kind in enumerate(("wall", "CPU"))
    ]
    ratio = found[1].value / found[3].value
    error = {name: phantom.errors(v, planted, scan, grid) for name, v in volumes.items()}
    for name, both in error.items():
        found += [Figure(f"{name}: error {where}", value, "1/mm") for where, value in both.items()]
    own, theirs = error["bonemet"]["everywhere"], error["RTK"]["everywhere"]
    gain = 1 - error["fine"]["flat mid-plane"] / error["RTK"]["flat mid-plane"]
    return [
        *found,
        Figure("RTK's CPU time over bonemet's", ratio, "", ">= 60", ratio >= 60),
        Figure("largest difference to RTK", largest, "1/mm", "<= 1e-6", largest <= 1e-6),
        Figure("error over RTK's", own / theirs, "", "<= 1.0001", own / theirs <= 1.0001),
        Figure("fine: error less than RTK's by, flat mid-plane", gain, "", ">= 0.2", gain >= 0.2),
    ]


def rates(quick: bool, repeats: int) -> list[Figure]:
    """Return voxel updates per second and core of every kernel, and how near the fastest is to the limit."""
    scan = phantom.geometry(504, 336)
    grid = phantom.inner_grid(scan, (256, 384, 384))
    row = np.random.default_rng(0).random((336, 504), dtype=np.float32)
    filtered = fdk.filter_slab(lambda view, a, b: row[a:b], scan, grid, (0, 256))
    slab = np.empty((256, 384, 384), np.float32)
    some = fdk.tiles(grid)[5 :: 96 if quick else 24]
    best = {name: [float("inf")] * len(some) for name in available()}
    for name in available():
        backprojector(name)(slab, filtered, *some[0])
    for _ in range(repeats):
        for n, corner in enumerate(some):
            for name in available():
                _, _, cpu = timed(lambda: backprojector(name)(slab, filtered, *corner))  # noqa: B023
                best[name][n] = min(best[name][n], cpu)
    x, y = filtered.x_mm, filtered.y_mm
    inside = sum(
        int((np.add.outer(y[a : a + 16] ** 2, x[b : b + 16] ** 2) <= filtered.frame[4]).sum())
        for a, b in some
    )
    rate = {name: inside * 256 * phantom.VIEWS / sum(cpu) for name, cpu in best.items()}
    found = [Figure(f"updates per second and core, {n}", r, "1/s") for n, r in rate.items()]
    if "avx512" in rate:
        found[0] = replace(found[0], goal=">= 3e9", holds=rate["avx512"] >= 3e9)
    if "vector" not in rate:
        return found
    top = limits.limits()
    found += [Figure(f"limit: {name}, per second and core", value, "1/s") for name, value in top.items()]
    share = rate["vector"] / top["blend and interpolation"]
    return [*found, Figure("vector kernel over its inner loops in the nearest cache", share, "")]


def sizes(quick: bool) -> list[Figure]:
    """Return cost against size, and what it makes of a scan of the largest camera."""
    found, rate, filtering = [], 0.0, 0.0
    for columns in (126, 252) if quick else (252, 504, 1008):
        rows = columns * 2 // 3
        scan = phantom.geometry(columns, rows)
        depth = min(rows, 128)  # a slab, as a scan of any size is cut into
        first = (rows - depth) // 2
        ray = np.random.default_rng(0).random((rows, columns), dtype=np.float32)
        read = lambda view, a, b: ray[a:b]  # noqa: B023, E731
        grid, mapper = fdk.default_grid(scan), ThreadContext(THREADS).map
        slab = (first, first + depth)
        _, _, whole = timed(lambda: fdk.reconstruct(read, scan, grid, slab, mapper=mapper))  # noqa: B023
        q, _, cpu = timed(lambda: fdk.filter_slab(read, scan, grid, slab, mapper=mapper))  # noqa: B023
        updates = depth * np.pi / 4 * columns**2 * phantom.VIEWS
        rate, filtering = updates / (whole - cpu), cpu / (q.q.shape[0] * q.q.shape[1] * q.q.shape[2])
        found += [
            Figure(f"{columns} columns: slab of {depth} slices, CPU", whole, "s"),
            Figure(
                f"{columns} columns: updates per second and core, filtering included", updates / whole, "1/s"
            ),
        ]
    minutes = large.projected_minutes(FULL, rate, filtering, THREADS)
    name = f"projected, without files: {FULL[0]} x {FULL[1]} x 260 to voxels {FULL[2]} across, all its rows"
    return [*found, Figure(name, minutes, "minutes", "<= 10", minutes <= 10)]


def main() -> None:
    """Run the parts that were asked for."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="all but 'large' by default")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved repetitions")
    parser.add_argument("--seed", type=int, default=1000, help="seeds from 1000 on are for judging")
    options = parser.parse_args()
    parts = options.parts or [p for p in PARTS if p != "large"]
    repeats = 1 if options.quick else options.repeats
    work = {
        "peer": lambda: against_peer(options.quick, repeats),
        "rates": lambda: rates(options.quick, max(3, repeats)),
        "sizes": lambda: sizes(options.quick),
        "large": lambda: large.figures(options.quick, THREADS),
        "axis": lambda: axis.figures(options.seed, 3 if options.quick else 50),
        "quality": lambda: quality.figures(options.quick, options.seed),
    }
    found = [figure for part in parts for figure in work[part]()]
    show(found, options, repeats, "itk-rtk")


if __name__ == "__main__":
    main()
