"""Composites, junction and change: against what was planted in digital mice, and against plain numpy.

Animals are grey volumes without X-rays (``cases.py``), seeds from 1000 on. ``--animals`` says how many,
``--voxel-um`` and ``--change-um`` how fine; ``--quick`` is four animals at 60 um, two pairs at 40 um and a
small composite. Pairs are registered as a study's are.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from typing import Any

import cases
import numpy as np
from harness import Figure, arguments, show
from numpy.typing import NDArray

from bonemet.core.errors import BonemetError
from bonemet.core.grid import Grid
from bonemet.kernels.resample import resample
from bonemet.registration.align import register
from bonemet.roi.composite import composite
from bonemet.roi.guard import Guard, guarded_map
from bonemet.roi.junction import find_junction
from bonemet.roi.landmarks import Landmarks, find_landmarks
from bonemet.roi.lesions import CoarseBone
from bonemet.simulation import change_truth, landmarks
from bonemet.stages._growth import Known, without_growth
from bonemet.stages.composite import choose_threshold

FULL = (1538, 509, 539)
SMALL = (200, 260, 270)
TRUTH_MM = 0.02
RAW = Guard(sigma_voxels=0, smallest_difference=0, smallest_cluster_voxels=1)
GUARDS = {
    "raw": RAW,
    "default": Guard(),
    "no smoothing": Guard(sigma_voxels=0),
    "no least difference": Guard(smallest_difference=0),
    "least difference of a quarter": Guard(smallest_difference=0.25),
    "a film of one voxel": Guard(film_voxels=1),
    "no least cluster": Guard(smallest_cluster_voxels=1),
    "error of 0.2 voxels": Guard(error_voxels=0.2),
}


def plain(before: NDArray[Any], after: NDArray[Any], threshold: float) -> NDArray[np.uint8]:
    """Return the composite as its definition reads."""
    out = np.zeros(before.shape, dtype=np.uint8)
    first, second = before >= threshold, after >= threshold
    out[first & second] = 180
    out[~first & second] = 240
    out[first & ~second] = 60
    return out


def composites(shape: tuple[int, int, int]) -> list[Figure]:
    """Compare composites with plain numpy's, slice by slice, in turns, by processor time."""
    rng = np.random.default_rng(0)
    slices = [rng.integers(0, 256, shape[1:], dtype=np.uint8) for _ in range(8)]
    spent = [0.0, 0.0]
    equal = True
    for z in range(shape[0]):
        pair = slices[z % 8], slices[(3 * z + 1) % 8]
        out = []
        for n, make in enumerate((composite, plain)):
            start = time.process_time()
            out.append(make(*pair, 76))
            spent[n] += time.process_time() - start
        equal = equal and np.array_equal(*out)
    ratio = spent[0] / spent[1]
    size = " x ".join(map(str, shape))
    return [
        Figure(f"composite equals numpy, {size}", float(equal), "", "every voxel", equal),
        Figure("composite's time over numpy's", ratio, "", "< 1.5", ratio < 1.5),
    ]


def junctions(count: int, voxel_mm: float) -> list[Figure]:
    """Compare junctions with the planted ones: week 0, and a later week with its lesion."""
    errors: dict[str, list[float]] = {"default": [], "published rule": []}
    plates: list[float] = []
    for k in range(count):
        pair = cases.tibia_pair(k, voxel_mm, weeks=(0, 1 + k % 3), second="alike")
        planted = landmarks(pair.animal, 0, f"{pair.side} tibia")
        true = planted["junction"]
        marks = find_landmarks(
            coarse_bone(np.asarray(pair.fixed.data), pair.fixed.grid, choose_threshold(pair.fixed))
        )
        found_plate = None if marks is None or marks.plate is None else marks.plate.slice
        place = (planted["proximal_growth_plate"] - pair.fixed.grid.origin_mm[2]) / voxel_mm
        plates.append(np.inf if found_plate is None else abs(found_plate - place) * voxel_mm)
        for volume in (pair.fixed, pair.moving):
            place = (true - volume.grid.origin_mm[2]) / voxel_mm
            bar = choose_threshold(volume)
            data = np.asarray(volume.data)
            try:
                found = find_junction(data, volume.grid.spacing_mm, lambda v, bar=bar: v >= bar)
                told = found.slice, found.published
            except BonemetError:
                told = None, None
            for name, value in zip(errors, told, strict=True):
                errors[name].append(np.inf if value is None else abs(value - place))
    total = len(errors["default"])
    figures = []
    for name, gaps in errors.items():
        right = sum(g <= 2.5 for g in gaps)  # the truth is no whole slice
        goal, holds = (f"{total} of {total}", right == total) if name == "default" else ("", None)
        figures.append(Figure(f"junction within 2 slices, {name}, of {total}", right, "", goal, holds))
    known = [g for g in errors["default"] if np.isfinite(g)]
    sure = [e for e in plates if np.isfinite(e)]
    figures += [
        Figure(f"growth plates of week 0 found, of {count}", len(sure), ""),
        Figure(
            "growth plates found more than 0.1 mm off",
            sum(e > 0.1 for e in sure),
            "",
            "0",
            max(sure, default=0) <= 0.1,
        ),
    ]
    return [*figures, Figure("largest error of a found junction", max(known, default=0.0), "slices")]


@dataclass(frozen=True, eq=False)
class Followed:
    """A baseline with its registered follow-up, and what is known of both.

    Attributes
    ----------
    before, after
        (z, y, x) grey values on one grid.
    grid
        Where the voxels are.
    bar
        Bone is grey >= bar.
    coarse, marks, known
        Bone on the coarse grid, landmarks of the baseline, growth that registration found.
    expected_mm
        The error that registration expects of itself.
    """

    before: NDArray[Any]
    after: NDArray[Any]
    grid: Grid
    bar: float
    coarse: tuple[CoarseBone, CoarseBone]
    marks: Landmarks | None
    known: Known
    expected_mm: float

    def change(self, guard: Guard) -> dict[str, float]:
        """Return what came and went (mm3) under a guard, growth left out, as `composite` counts it."""
        error = guard.error_voxels or self.expected_mm / self.grid.spacing_mm[0]
        wary = guard if guard == RAW else replace(guard, error_voxels=error)
        found = guarded_map(self.before, self.after, (self.bar, self.bar), wary)
        _, found, _ = without_growth(found, self.grid, self.coarse, self.marks, self.known)
        return found.change.as_mm3(self.grid.voxel_mm3)


def coarse_bone(scan: NDArray[Any], grid: Grid, bar: float) -> CoarseBone:
    """Return bone and grey values on the coarse grid."""
    bone = CoarseBone(grid.shape, grid.spacing_mm)
    for z, image in enumerate(scan):
        bone.add(z, image >= bar, image)
    return bone


def follow(pair: cases.Pair) -> Followed:
    """Register and resample a pair as a study does."""
    found = register(pair.fixed, pair.moving)
    grid = pair.fixed.grid
    before = np.asarray(pair.fixed.data)
    after = resample(pair.moving.array(), pair.moving.grid, grid, found.transform)
    bar = choose_threshold(pair.fixed)
    coarse = coarse_bone(before, grid, bar), coarse_bone(after, grid, bar)
    growth = found.growth
    known = Known() if growth is None else Known(growth.proximal_mm, growth.distal_mm)
    expected = (found.expected_error_um or 0.0) / 1000
    return Followed(before, after, grid, bar, coarse, find_landmarks(coarse[0]), known, expected)


def changes(count: int, voxel_mm: float) -> list[Figure]:
    """Compare guarded change with what was planted, and show what an unchanged bone shows."""
    nets, volumes = [], []
    false: dict[str, list[float]] = {name: [] for name in GUARDS}
    for k in range(count):
        pair = cases.tibia_pair(k, voxel_mm, weeks=(0, 2 + k % 3), second="uncut")
        truth = change_truth(pair.animal, pair.side, *pair.weeks, TRUTH_MM)
        bone = truth["unchanged_mm3"] + truth["resorbed_mm3"]
        seen = follow(pair)
        raw, guarded = seen.change(RAW), seen.change(Guard())
        nets.append((raw["net_mm3"] - truth["formed_mm3"] + truth["resorbed_mm3"]) / bone)
        for kind in ("formed_mm3", "resorbed_mm3"):
            if truth[kind] >= 0.05 * bone:
                volumes.append(guarded[kind] / truth[kind] - 1)
        pair = cases.tibia_pair(k, voxel_mm, weeks=(0, 0), tumour=False, second="uncut")
        still = follow(pair)
        for name, guard in GUARDS.items():
            change = still.change(guard)
            volume = change["unchanged_mm3"] + change["resorbed_mm3"]
            false[name].append((change["formed_mm3"] + change["resorbed_mm3"]) / volume)
        print(f"pair {k}: net {100 * nets[-1]:+.2f} % of BV", file=sys.stderr)
    worst = max(map(abs, nets))
    middle = float(np.median(np.abs(nets)))
    figures = [
        Figure("net change, largest error", 100 * worst, "% of BV", "<= 0.5", worst <= 0.005),
        Figure("net change, median error", 100 * middle, "% of BV"),
    ]
    share = max(map(abs, volumes), default=None)
    holds = None if share is None else share <= 0.15
    name = f"formed and resorbed, guarded, largest error of {len(volumes)}"
    figures.append(Figure(name, None if share is None else 100 * share, "%", "<= 15", holds))
    if volumes:
        figures.append(Figure("formed and resorbed, guarded, median", 100 * float(np.median(volumes)), "%"))
    for name, shares in false.items():
        top = 100 * max(shares)
        goal, holds = ("<= 1.5", top <= 1.5) if name == "default" else ("", None)
        figures.append(Figure(f"false change of an unchanged bone, {name}", top, "% of BV", goal, holds))
    return figures


def main() -> None:
    """Print the figures."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--animals", type=int, default=100, help="for the junction")
    parser.add_argument("--pairs", type=int, default=20, help="for change, two registrations each")
    parser.add_argument("--voxel-um", type=float, default=40.0, help="for the junction")
    parser.add_argument("--change-um", type=float, default=20.0, help="for change")
    options = parser.parse_args()
    if options.quick:
        options.animals, options.pairs, options.voxel_um, options.change_um = 4, 2, 60.0, 40.0
    voxel = options.voxel_um / 1000
    figures = composites(SMALL if options.quick else FULL)
    figures += junctions(options.animals, voxel)
    figures += changes(options.pairs, options.change_um / 1000)
    show(figures, options, repetitions=1)


if __name__ == "__main__":
    main()
