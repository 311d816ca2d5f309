"""Composites, junction and change: against what was planted in digital mice, and against plain numpy.

Animals are grey volumes without X-rays (``cases.py``), seeds from 1000 on. ``--animals`` says how many,
``--voxel-um`` and ``--change-um`` how fine; ``--quick`` is four animals at 60 um, two pairs at 40 um and a
small composite. Pairs are registered as a study's are. ``--only xray`` takes ``--xray-animals`` through
the whole X-ray chain.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from typing import Any

import cases
import numpy as np
import roi_xray
from harness import Figure, arguments, show
from numpy.typing import NDArray

from bonemet.core.errors import BonemetError
from bonemet.core.grid import Grid
from bonemet.kernels.resample import resample
from bonemet.registration.align import register
from bonemet.roi.composite import composite
from bonemet.roi.fibula import remove_fibula
from bonemet.roi.guard import Guard, GuardedMap, guarded_map
from bonemet.roi.junction import find_junction
from bonemet.roi.landmarks import Landmarks, find_landmarks
from bonemet.roi.lesions import CoarseBone
from bonemet.roi.volume import bone_voxels
from bonemet.simulation import change_truth, landmarks, points_in_fibula
from bonemet.simulation.skeleton import long_bone, plate_surface
from bonemet.stages._growth import Beyond, Known, without_growth
from bonemet.stages.composite import choose_threshold

FULL = (1538, 509, 539)
SMALL = (200, 260, 270)
TRUTH_MM = 0.02
REGION_MM = 3.0
PARTS = ("composite", "landmarks", "change", "xray")
RAW = Guard(sigma_voxels=0, smallest_difference=0, smallest_cluster_voxels=1, noise_sds=0, local_mm=0)
RAW_LOCAL = replace(RAW, local_mm=Guard.local_mm)
GUARDS = {
    "raw": RAW,
    "raw, local thresholds": RAW_LOCAL,
    "default": Guard(),
    "one threshold": Guard(local_mm=0),
    "no smoothing": Guard(sigma_voxels=0),
    "no least difference": Guard(smallest_difference=0, noise_sds=0),
    "least difference of a tenth": Guard(smallest_difference=0.1),
    "a film of one voxel": Guard(film_voxels=1),
    "no least cluster": Guard(smallest_cluster_voxels=1),
    "error of 0.2 voxels": Guard(error_voxels=0.2),
}
ALWAYS, EVERY = ("raw", "default"), 5  # other guards are asked in every fifth pair


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


@dataclass
class Seen:
    """What was found in both weeks of all animals.

    Attributes
    ----------
    junction
        Errors in slices, by method; infinite where none was found.
    plate
        Errors in mm of week 0's growth plates on the long axis, where they were found.
    bent
        Root mean squares over the bone of their distances from the planted surfaces, mm, at knee and ankle.
    fibula
        Dice of the bone that is left when the fibula is taken out of the region, with the tibia's own.
    """

    junction: dict[str, list[float]]
    plate: list[float]
    bent: dict[str, list[float]]
    fibula: list[float]


def landmarks_of(count: int, voxel_mm: float) -> list[Figure]:
    """Compare junctions, growth plates and the tibia without its fibula with what was planted.

    Week 0 and a later week with its lesion; in every tenth animal the fibula is broken.
    """
    seen = Seen({"default": [], "published rule": []}, [], {"knee": [], "ankle": []}, [])
    for k in range(count):
        broken = {"fibula_broken": str(cases.mouse(cases.FIRST + k).tumour_side)} if k % 10 == 9 else None
        pair = cases.tibia_pair(k, voxel_mm, weeks=(0, 1 + k % 3), second="alike", changed=broken)
        look_at_plate(seen, pair)
        for which in (0, 1):
            look_at_junction(seen, pair, which)
        gaps = seen.junction["default"]
        print(f"animal {k}: junction {gaps[-2:]}, fibula {seen.fibula[-2:]}", file=sys.stderr)
    total = len(seen.junction["default"])
    figures = []
    for name, gaps in seen.junction.items():
        right = sum(g <= 2.5 for g in gaps)  # the truth is no whole slice
        goal, holds = (f"{total} of {total}", right == total) if name == "default" else ("", None)
        figures.append(Figure(f"junction within 2 slices, {name}, of {total}", right, "", goal, holds))
    known = [g for g in seen.junction["default"] if np.isfinite(g)]
    wrong, lowest = sum(e > 0.1 for e in seen.plate), min(seen.fibula)
    return [
        *figures,
        Figure("largest error of a found junction", max(known, default=0.0), "slices"),
        Figure(f"growth plates of week 0 found, at knee and ankle, of {2 * count}", len(seen.plate), ""),
        Figure("growth plates found more than 0.1 mm off", wrong, "", "0", wrong == 0),
        *(
            Figure(f"growth plates at the {joint}, from the planted surface, median", middle(off), "mm")
            for joint, off in seen.bent.items()
        ),
        Figure("tibia without its fibula, lowest Dice", lowest, "", ">= 0.995", lowest >= 0.995),
        Figure("tibia without its fibula, median Dice", float(np.median(seen.fibula)), ""),
        Figure(f"below 0.995, of {len(seen.fibula)}", sum(d < 0.995 for d in seen.fibula), ""),
    ]


def middle(values: list[float]) -> float | None:
    """Return the median; None of nothing."""
    return float(np.median(values)) if values else None


def look_at_plate(seen: Seen, pair: cases.Pair) -> None:
    """Note how far week 0's growth plates are off, on the axis and all over."""
    volume, bone = pair.fixed, f"{pair.side} tibia"
    grid, data, bar = volume.grid, np.asarray(volume.data), choose_threshold(volume)
    planted = landmarks(pair.animal, pair.weeks[0], bone)
    marks = find_landmarks(coarse_bone(data, grid, bar))
    if marks is None:
        return
    zones = long_bone(pair.animal, pair.weeks[0], bone).shape.zones
    ends = ("proximal", "knee", marks.plate), ("distal", "ankle", marks.distal_plate)
    for zone, (end, joint, plate) in zip(zones, ends, strict=True):
        if plate is None:
            continue
        place = (planted[f"{end}_growth_plate"] - grid.origin_mm[2]) / grid.spacing_mm[0]
        seen.plate.append(abs(plate.slice - place) * grid.spacing_mm[0])
        around = data[max(0, round(place) - 3) : round(place) + 4] >= bar
        rows, columns = np.nonzero(around.any(axis=0))
        across = np.stack([columns, rows], axis=1) * grid.spacing_mm[0] + grid.origin_mm[:2]
        x, y = across.T * np.diag(pair.matrices[0])[:2, None]  # upright: mirrored or as it is
        level = (plate_surface(zone, x, y) - grid.origin_mm[2]) / grid.spacing_mm[0]
        off = plate.slices_beyond(np.stack([level, rows, columns], axis=1)) * grid.spacing_mm[0]
        seen.bent[joint].append(float(np.sqrt(np.mean(off**2))))


def look_at_junction(seen: Seen, pair: cases.Pair, which: int) -> None:
    """Note how far the junction of a week is off, and how well the fibula is taken out below it."""
    volume, bone = (pair.fixed, pair.moving)[which], f"{pair.side} tibia"
    grid, data, bar = volume.grid, np.asarray(volume.data), choose_threshold(volume)
    true = landmarks(pair.animal, pair.weeks[which], bone)["junction"]  # growth and disease move it
    place = (true - grid.origin_mm[2]) / grid.spacing_mm[0]
    try:
        found = find_junction(data, grid.spacing_mm, lambda v: v >= bar)
        told = found.slice, found.published
    except BonemetError:
        told = None, None
    for name, value in zip(seen.junction, told, strict=True):
        seen.junction[name].append(np.inf if value is None else abs(value - place))
    region = slice(round(place), round(place + REGION_MM / grid.spacing_mm[0]))
    left = remove_fibula(data, grid.spacing_mm, lambda v: v >= bar)[0][region] >= bar
    solid = np.argwhere(data[region] >= bar)
    points = grid.index_to_mm(solid + np.array([region.start, 0, 0]))
    own = np.linalg.inv(pair.matrices[which])
    fibula = points_in_fibula(pair.animal, pair.weeks[which], bone, points @ own[:3, :3].T + own[:3, 3])
    tibia = np.zeros(left.shape, bool)
    tibia[tuple(solid[~fibula].T)] = True
    seen.fibula.append(2 * float((tibia & left).sum()) / max(int(tibia.sum() + left.sum()), 1))


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

    def found(self, guard: Guard) -> tuple[GuardedMap, Beyond | None]:
        """Return what came and went under a guard, and what tells bone beyond grown plates, left out."""
        error = guard.error_voxels or self.expected_mm / self.grid.spacing_mm[0]
        wary = guard if guard in (RAW, RAW_LOCAL) else replace(guard, error_voxels=error)
        found = guarded_map(self.before, self.after, (self.bar, self.bar), wary, self.grid.spacing_mm)
        _, found, beyond = without_growth(found, self.grid, self.coarse, self.marks, self.known)
        return found, beyond

    def change(self, guard: Guard) -> dict[str, float]:
        """Return what came and went (mm3) under a guard, as `composite` counts it."""
        return self.found(guard)[0].change.as_mm3(self.grid.voxel_mm3)

    def net_mm3(self) -> float:
        """Return the net change of the scans' bone volumes, as `composite` tells it."""
        found, beyond = self.found(RAW_LOCAL)
        first, last = (
            bone_voxels(scan, scale, RAW_LOCAL.local_mm, self.grid.spacing_mm, without=beyond)
            for scan, scale in zip((self.before, self.after), found.scales, strict=True)
        )
        return (last - first) * self.grid.voxel_mm3


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
    moving = pair.moving
    after = resample(moving.array(), moving.grid, grid, found.transform, order="cubic", pieces=found.pieces)
    bar = choose_threshold(pair.fixed)
    coarse = coarse_bone(before, grid, bar), coarse_bone(after, grid, bar)
    growth = found.growth
    known = Known() if growth is None else Known(growth.proximal_mm, growth.distal_mm)
    expected = (found.expected_error_um or 0.0) / 1000
    return Followed(before, after, grid, bar, coarse, find_landmarks(coarse[0]), known, expected)


def changes(start: int, count: int, voxel_mm: float) -> list[Figure]:
    """Compare guarded change with what was planted, and show what an unchanged bone shows."""
    nets, nets_raw, volumes = [], [], []
    false: dict[str, list[float]] = {name: [] for name in GUARDS}
    for k in range(start, start + count):
        pair = cases.tibia_pair(k, voxel_mm, weeks=(0, 2 + k % 3), second="uncut")
        truth = change_truth(pair.animal, pair.side, *pair.weeks, TRUTH_MM)
        bone = truth["unchanged_mm3"] + truth["resorbed_mm3"]
        seen = follow(pair)
        planted = truth["formed_mm3"] - truth["resorbed_mm3"]
        guarded = seen.change(Guard())
        nets.append((seen.net_mm3() - planted) / bone)
        nets_raw.append((seen.change(RAW)["net_mm3"] - planted) / bone)
        kinds = [k for k in ("formed_mm3", "resorbed_mm3") if truth[k] >= 0.05 * bone]
        volumes += (own := [guarded[k] / truth[k] - 1 for k in kinds])
        pair = cases.tibia_pair(k, voxel_mm, weeks=(0, 0), tumour=False, second="uncut")
        still = follow(pair)
        for name, guard in GUARDS.items():
            if name not in ALWAYS and k % EVERY:
                continue
            change = still.change(guard)
            volume = change["unchanged_mm3"] + change["resorbed_mm3"]
            false[name].append((change["formed_mm3"] + change["resorbed_mm3"]) / volume)
        told = ", ".join(f"{name} {100 * off:+.0f} %" for name, off in zip(kinds, own, strict=True))
        shown = f"false {100 * false['default'][-1]:.2f} %"
        net = f"net {100 * nets[-1]:+.2f} % of BV (one threshold {100 * nets_raw[-1]:+.2f})"
        print(f"pair {k}: {net}; guarded {told}; {shown}", file=sys.stderr)
    worst, right = max(map(abs, nets)), sum(abs(n) <= 0.005 for n in nets)
    typical, plainly = (float(np.median(np.abs(n))) for n in (nets, nets_raw))
    figures = [
        Figure("net change, largest error", 100 * worst, "% of BV", "<= 0.5", worst <= 0.005),
        Figure(f"net change within 0.5 % of BV, of {count}", right, "", f"{count}", right == count),
        Figure("net change, median error", 100 * typical, "% of BV"),
        Figure("net change by one threshold, median error", 100 * plainly, "% of BV"),
    ]
    share = max(map(abs, volumes), default=None)
    holds = None if share is None else share <= 0.15
    name = f"formed and resorbed, guarded, largest error of {len(volumes)}"
    figures.append(Figure(name, None if share is None else 100 * share, "%", "<= 15", holds))
    if volumes:
        close = sum(abs(v) <= 0.15 for v in volumes)
        figures.append(Figure(f"formed and resorbed within 15 %, of {len(volumes)}", close, ""))
        figures.append(Figure("formed and resorbed, guarded, median", 100 * float(np.median(volumes)), "%"))
    for name, shares in false.items():
        if not shares:
            continue
        top = 100 * max(shares)
        goal, holds = ("<= 1.5", top <= 1.5) if name == "default" else ("", None)
        figures.append(Figure(f"false change of an unchanged bone, {name}", top, "% of BV", goal, holds))
    return figures


def main() -> None:
    """Print the figures."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--animals", type=int, default=100, help="for the junction")
    parser.add_argument("--pairs", type=int, default=20, help="for change, two registrations each")
    parser.add_argument("--start", type=int, default=0, help="number of the first pair")
    parser.add_argument("--xray-animals", type=int, default=5, help="through X-rays, two tibiae each")
    parser.add_argument("--xray-preset", default="small", help="size of the simulated scans")
    parser.add_argument("--voxel-um", type=float, default=40.0, help="for the junction")
    parser.add_argument("--change-um", type=float, default=20.0, help="for change")
    options = parser.parse_args()
    if options.quick:
        options.animals, options.pairs, options.voxel_um, options.change_um = 4, 2, 60.0, 40.0
        options.xray_animals, options.xray_preset = 1, "medium"
    voxel = options.voxel_um / 1000
    work = {
        "composite": lambda: composites(SMALL if options.quick else FULL),
        "landmarks": lambda: landmarks_of(options.animals, voxel),
        "change": lambda: changes(options.start, options.pairs, options.change_um / 1000),
        "xray": lambda: roi_xray.figures(options.xray_animals, options.xray_preset),
    }
    figures = [figure for part in options.only for figure in work[part]()]
    show(figures, options, repetitions=1)


if __name__ == "__main__":
    main()
