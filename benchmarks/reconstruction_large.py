"""Scans of large cameras: projected time, and time and memory of whole scans from files to slices."""

from __future__ import annotations

import math
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import reconstruction_phantom as phantom
from harness import Figure
from numpy.typing import NDArray

import bonemet
from bonemet.core.scan import ConeGeometry
from bonemet.engine.context import ThreadContext
from bonemet.io import skyscan, stacks
from bonemet.recon import fdk
from bonemet.recon.projections import plan_slabs

MEMORY_GB = 4.0
MINUTES = 10.0
WHITE = 57000.0


class Rendered:
    """Projections (views, rows, columns) of the phantom's first bodies, made when they are asked for."""

    dtype = np.dtype(np.uint16)

    def __init__(self, scan: ConeGeometry) -> None:
        self._scan = scan
        self.shape = (len(scan.angles_deg), scan.rows, scan.columns)

    def __getitem__(self, view: Any) -> NDArray[np.uint16]:
        rays = phantom.project(self._scan, int(view), fine=1, bodies_used=3)
        return np.rint(WHITE * np.exp(-rays)).astype(np.uint16)


def peak_mb() -> float:
    """Return the process's largest memory so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def projected_minutes(size: tuple[int, int, int], rate: float, per_number: float, threads: int) -> float:
    """Return the time of a whole scan on so many cores, without reading and writing.

    Parameters
    ----------
    size
        Columns and rows of a view, and voxels along each side.
    rate
        Voxel updates per second and core.
    per_number
        CPU time per filtered number.
    threads
        Cores.
    """
    columns, rows, side = size
    scan = phantom.geometry(columns, rows)
    grid = fdk.resampled_grid(scan, scan.pixel_mm * columns / side)
    slices = grid.shape[0]
    updates = math.pi / 4 * side**2 * slices * phantom.VIEWS
    plan = plan_slabs(scan, grid, (0, slices), MEMORY_GB)
    binned = max(1, round(columns / side)) ** 2
    read = sum(b - a for a, b in (fdk.rows_to_read(scan, grid, *slab) for slab in plan.slabs))
    return (updates / rate + read * columns / binned * phantom.VIEWS * per_number) / threads / 60


def whole_scan(columns: int, side: int, threads: int) -> list[Figure]:
    """Return time and memory of a scan's reconstruction, from files to slices ``side`` voxels wide."""
    scan = phantom.geometry(columns, columns * 2 // 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "scan"
        folder.mkdir()
        images = Rendered(scan)
        context = ThreadContext(threads, memory_gb=MEMORY_GB)
        pictures = context.map(lambda view: images[view], range(len(scan.angles_deg)))
        stacks.write_slices(folder, "large_", pictures, format="tiff")
        (folder / "large_.log").write_bytes(skyscan.format_log(_log(scan)).encode("utf-8"))
        wall, cpu = time.perf_counter(), time.process_time()
        voxel_um = 1000 * scan.pixel_mm * columns / side
        outcome = bonemet.reconstruct(
            folder, Path(name) / "out", voxel_um=voxel_um, memory_gb=MEMORY_GB, context=context
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        shutil.rmtree(folder)
    peak = peak_mb()
    shape = " x ".join(str(n) for n in outcome.results["shape"])
    return [
        Figure(
            f"{columns} columns to {shape}, {threads} threads: wall",
            wall / 60,
            "minutes",
            f"<= {MINUTES:g}",
            wall <= 60 * MINUTES,
        ),
        Figure(f"{columns} columns to {shape}: CPU", cpu / 60, "minutes"),
        Figure(
            f"{columns} columns: largest memory",
            peak,
            "MB",
            f"<= {1e3 * MEMORY_GB:g}",
            peak <= 1e3 * MEMORY_GB,
        ),
    ]


def _log(scan: ConeGeometry) -> dict[str, dict[str, object]]:
    pixel_um = f"{scan.pixel_mm * 1000:.6f}"
    return {
        "System": {"Scanner": "SkyScan1276", "Camera Pixel Size (um)": f"{scan.pixel_mm * 1700:.4f}"},
        "Acquisition": {
            "Filename Prefix": "large_",
            "Filename Index Length": 8,
            "Number Of Files": len(scan.angles_deg),
            "Number Of Rows": scan.rows,
            "Number Of Columns": scan.columns,
            "Optical Axis (line)": f"{skyscan.axis_row(scan.optical_axis_row, scan.rows):.1f}",
            "Camera to Source (mm)": f"{scan.sdd_mm:.5f}",
            "Object to Source (mm)": f"{scan.sod_mm:.5f}",
            "Image Pixel Size (um)": pixel_um,
            "Scaled Image Pixel Size (um)": pixel_um,
            "Image Format": "TIFF",
            "Depth (bits)": 16,
            "Reference Intensity": f"{WHITE:.0f}",
            "Rotation Step (deg)": "0.800",
            "Use 360 Rotation": "NO",
            "Flat Field Correction": "ON",
            "Rotation Direction": "CC",
        },
    }


def figures(quick: bool, threads: int) -> list[Figure]:
    """Return the figures of whole scans of 2016 and of 4032 columns; the memory is the larger one's."""
    sizes = ((252, 126),) if quick else ((2016, 1008), (4032, 2000))
    return [figure for columns, side in sizes for figure in whole_scan(columns, side, threads)]
