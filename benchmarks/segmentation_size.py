"""Segmentation of large scans: time and memory of the whole command, beside label and regionprops.

python benchmarks/segmentation_size.py [--quick] [--json] [--sizes 1000,2000] [--folder FOLDER]

A digital mouse at 80 um is cut into smaller voxels until a scan has so many along each edge, and written as
PNG slices. Each size runs in a process of its own, on two threads, in 4 GB.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cases
import numpy as np
import psutil
from harness import Figure, arguments, show
from numpy.typing import NDArray

from bonemet.engine.context import ThreadContext
from bonemet.io import stacks
from bonemet.io.volumes import open_volume
from bonemet.stages.segment import segment

MEMORY_GB = 4.0
BASE_UM = 80.0
EDGE_MM = 24.0  # of the scan, whatever its voxels


def write_scan(folder: Path, size: int) -> float:
    """Write a scan of ``size`` voxels along each edge, and return its voxel in um."""
    voxel_um = 1000 * EDGE_MM / size
    grey = np.asarray(cases.limbs(0, BASE_UM / 1000, first=0).volume.data)
    where = [_places(n, size, voxel_um) for n in grey.shape]
    folder.mkdir(parents=True)

    def slices() -> object:
        for z in where[0]:
            yield np.ascontiguousarray(grey[z][where[1][:, None], where[2]])

    stacks.write_slices(folder, "scan_rec", slices(), format="png")  # type: ignore[arg-type]
    return voxel_um


def _places(count: int, size: int, voxel_um: float) -> NDArray[np.int64]:
    """Return the coarse voxel in which each fine one lies, the middles of both together."""
    middle = np.arange(size) - (size - 1) / 2
    return np.clip(np.rint(middle * voxel_um / BASE_UM + (count - 1) / 2), 0, count - 1).astype(np.int64)


class Watch:
    """The largest memory of this process while it runs, which no other process shares, in MB."""

    def __init__(self) -> None:
        self.peak = 0.0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        me = psutil.Process()
        while True:
            self.peak = max(self.peak, me.memory_info().rss / 1e6)
            time.sleep(0.1)


def ours(folder: Path, voxel_um: float) -> None:
    """Segment, and print wall time, processor time, memory and the number of long bones."""
    warm = folder.parent / "warm"
    voxel = write_scan(warm, 240)  # compiles
    context = ThreadContext(2, MEMORY_GB)
    segment(warm, folder.parent / "warm out", voxel_um=voxel, name="871 week 0", context=context)
    watch = Watch()
    start, cpu = time.perf_counter(), time.process_time()
    done = segment(folder, folder.parent / "out", voxel_um=voxel_um, name="871 week 0", context=context)
    bones = sum(b["name"] != "spine" for b in done.results["bones"])
    print(time.perf_counter() - start, time.process_time() - cpu, watch.peak, bones)


def peer(folder: Path, voxel_um: float) -> None:
    """Label and measure the pieces of what is bone, and print the same."""
    from skimage.measure import label, regionprops

    watch = Watch()
    start, cpu = time.perf_counter(), time.process_time()
    bone = open_volume(folder, voxel_um).array() >= 76
    pieces = label(bone, connectivity=3)
    props = regionprops(pieces)
    sizes = [p.area for p in props]
    print(time.perf_counter() - start, time.process_time() - cpu, watch.peak, len(sizes))


def measured(what: str, folder: Path, voxel_um: float) -> tuple[float, ...]:
    """Run one side in a process of its own."""
    command = [sys.executable, __file__, "--inside", what, str(folder), str(voxel_um)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return tuple(float(v) for v in text.split())


def figures(size: int, root: Path, with_peer: bool) -> list[Figure]:
    """Measure one size."""
    folder = root / f"scan {size}"
    voxel_um = write_scan(folder, size)
    wall, cpu, memory, bones = measured("ours", folder, voxel_um)
    for name in ("out", "warm", "warm out"):
        shutil.rmtree(root / name, ignore_errors=True)
    goal = size == 1000
    rows = [
        Figure(
            f"{size}^3: wall time",
            wall,
            "s",
            "< 60 s on 2 cores" if goal else "",
            wall < 60 if goal else None,
        ),
        Figure(f"{size}^3: processor time", cpu, "s"),
        Figure(f"{size}^3: peak memory", memory, "MB", f"< {MEMORY_GB:g} GB", memory < 1000 * MEMORY_GB),
        Figure(f"{size}^3: long bones found", bones, "", "4", bones == 4),
    ]
    if with_peer:
        wall, cpu, memory, _ = measured("peer", folder, voxel_um)
        rows += [
            Figure(f"{size}^3: label and regionprops, wall time", wall, "s"),
            Figure(f"{size}^3: label and regionprops, processor time", cpu, "s"),
            Figure(f"{size}^3: label and regionprops, peak memory", memory, "MB"),
        ]
    shutil.rmtree(folder)
    return rows


def main() -> None:
    """Print the figures."""
    parser = arguments("Segmentation of large scans.")
    parser.add_argument("--sizes", default="1000,2000", help="voxels along an edge, separated by commas")
    parser.add_argument("--folder", type=Path, help="where the scans are written for a while")
    options = parser.parse_args()
    sizes = [300] if options.quick else [int(s) for s in options.sizes.split(",")]
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for size in sizes:
            rows += figures(size, Path(folder), with_peer=size <= 1000)
    show(rows, options, 1, "scikit-image")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        {"ours": ours, "peer": peer}[sys.argv[2]](Path(sys.argv[3]), float(sys.argv[4]))
    else:
        main()
