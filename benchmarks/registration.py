"""Registration: accuracy, trust, speed and repeatability, beside other programs.

python benchmarks/registration.py [--quick] [--json] [--only pairs,xray,orientation,size,repeat,skulls,peers]
    [--pairs N] [--peer-pairs N] [--voxel-um U] [--skulls FOLDER]

Peers are optional: elastix and ANTs take part where ``itk-elastix`` and ``antspyx`` are installed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cases
import numpy as np
import registration_peers as peers
import registration_skulls as skulls
import registration_truth as truth
import registration_xray as xray
from harness import Figure, arguments, show
from numpy.typing import NDArray
from registration_truth import axial_error_deg, axis_error_deg, defined_axis, unchanged_points

from bonemet.core.ids import SIDES
from bonemet.engine.context import ThreadContext
from bonemet.kernels.resample import resample
from bonemet.registration import (
    AnatomicalFrame,
    Model,
    anatomical_frame,
    frame_by_model,
    mean_shape,
    register,
)
from bonemet.roi.composite import composite, count_change
from bonemet.roi.guard import Guard, guarded_change
from bonemet.stages.composite import choose_threshold

PARTS = ("pairs", "xray", "orientation", "size", "repeat", "skulls", "peers")
REFERENCE = 500  # seed of the first animal of the reference
MEMBERS = 6
LEGS = 24


@dataclass(frozen=True)
class Found:
    """What registration made of one pair; errors in voxels of the pair."""

    seed: int
    lost: float
    growing: bool
    error: float
    largest: float
    expected: float
    inverse: float
    knee_mm: float | None
    review: bool
    reasons: tuple[str, ...]
    seconds: float


def one_pair(k: int, voxel: float, first: int = cases.FIRST) -> Found:
    """Register pair ``k`` and compare with the truth."""
    drawn = truth.drawn(k, voxel, first)
    pair = drawn.pair
    start = time.process_time()
    found = register(pair.fixed, pair.moving)
    seconds = time.process_time() - start
    points = truth.unchanged_points(pair)
    gap = np.linalg.norm(found.transform.apply(points) - pair.truth.apply(points), axis=1) / voxel
    scale = 1 / (1000 * voxel)
    knee = None if found.growth is None else found.growth.proximal_mm
    return Found(
        pair.seed,
        drawn.lost,
        drawn.growing,
        float(gap.mean()),
        float(gap.max()),
        (found.expected_error_um or np.inf) * scale,
        (found.inverse_error_um or np.inf) * scale,
        None if knee is None else knee - drawn.grown_mm[0],
        found.review,
        found.reasons,
        seconds,
    )


def pair_figures(count: int, voxel: float, first: int = cases.FIRST) -> list[Figure]:
    """Return the errors of longitudinal pairs and whether the bad ones were marked."""
    one_pair(-1, 2 * voxel)  # compiles; case -1 is seed 999
    found = []
    for k in range(count):
        found.append(f := one_pair(k, voxel, first))
        kind = "growing" if f.growing else "grown-up"
        kind += f", lost {f.lost:.0%}" + (f", marked: {' '.join(f.reasons)}" if f.review else "")
        note(f"pair {f.seed}: {f.error:.3f} voxel (largest {f.largest:.3f}), {kind}")
    return judged(found, voxel)


def judged(found: list[Found], voxel: float) -> list[Figure]:
    """Return figures of the pairs."""
    error = np.array([f.error for f in found])
    small = np.array([f.lost <= 0.3 for f in found])
    unmarked = [f for f in found if f.error >= 1 and not f.review]
    trusted = share([f.error <= 3 * max(f.expected, f.inverse) for f in found])
    within, large = share(error[small] < 1), share(error[~small] < 1)
    knees = [1000 * abs(f.knee_mm) for f in found if f.knee_mm is not None]
    out = [
        Figure(
            f"pairs ({len(found)}, {1000 * voxel:g} um), lost up to 30 %: below 1 voxel", within, "", "= 1"
        ),
        Figure("pairs, lost 30 to 45 %: below 1 voxel", large, "", ">= 0.99", large >= 0.99),
    ]
    out[0] = replace(out[0], holds=within == 1)
    for name, growing in (("grown-up", False), ("growing", True)):
        some = np.array([f.error for f in found if f.growing is growing])
        if not len(some):
            continue
        middle, late = float(np.median(some)), float(np.quantile(some, 0.95))
        out += [
            Figure(f"pairs, {name} ({len(some)}): median error", middle, "voxel", "<= 0.03", middle <= 0.03),
            Figure(f"pairs, {name}: 95th percentile", late, "voxel", "<= 0.1", late <= 0.1),
            Figure(f"pairs, {name}: largest error", float(some.max()), "voxel"),
        ]
    return [
        *out,
        Figure("pairs: largest at any point", max(f.largest for f in found), "voxel"),
        Figure("pairs: failures not marked for review", len(unmarked), "", "= 0", not unmarked),
        Figure("pairs: marked for review", share([f.review for f in found]), ""),
        Figure("pairs: median expected error", float(np.median([f.expected for f in found])), "voxel"),
        Figure("pairs: error within 3 x the expected", trusted, "", ">= 0.95", trusted >= 0.95),
        Figure("pairs: growth at the knee known", len(knees) / len(found), ""),
        Figure("pairs: its median error", float(np.median(knees)) if knees else None, "um"),
        Figure("pairs: processor time", float(np.median([f.seconds for f in found])), "s"),
    ]


def share(good: Any) -> float:
    """Return the share of what is true; 1 of nothing."""
    return float(np.mean(good)) if len(good) else 1.0


def reference(voxel: float) -> Model:
    """Return the mean of week 0 of some animals, none of them held out, as a reference."""
    pairs = [cases.tibia_pair(k, voxel, weeks=(0, 0), tumour=False, first=REFERENCE) for k in range(MEMBERS)]
    made = mean_shape([p.fixed for p in pairs], [p.side for p in pairs])
    return Model(made.volume, made.side)


class Upright:
    """How well one way sets bones upright."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.tilts: list[float] = []
        self.turns: list[float] = []
        self.marked: list[bool] = []

    def add(self, frame: AnatomicalFrame, pair: cases.Pair, axis: NDArray[np.float64]) -> str:
        """Compare a frame with the truth, and say so."""
        own = np.linalg.inv(pair.matrices[1][:3, :3]) @ frame.transform.matrix[:3, :3]
        self.tilts.append(axis_error_deg(own, axis))
        self.turns.append(axial_error_deg(own, pair.side))
        self.marked.append(frame.review)
        return f"{self.tilts[-1]:.2f} and {self.turns[-1]:.2f} degrees {' '.join(frame.reasons)}"

    def figures(self) -> list[Figure]:
        """Return what came of it."""
        offset = float(np.median(self.turns))
        spread = np.abs(np.array(self.turns) - offset)
        within = float(np.mean(np.array(self.tilts) <= 0.5))
        middle, late = float(np.median(spread)), float(np.quantile(spread, 0.95))
        missed = int(((spread > 4) & ~np.array(self.marked)).sum())
        title = self.title
        return [
            Figure(f"{title} ({len(spread)}): long axis within 0.5 degrees", within, "", "= 1", within == 1),
            Figure(f"{title}: largest error of the long axis", max(self.tilts), "degrees"),
            Figure(f"{title}: median error about the axis", middle, "degrees", "<= 1.5", middle <= 1.5),
            Figure(f"{title}: 95th percentile about the axis", late, "degrees", "<= 4", late <= 4),
            Figure(f"{title}: beyond 4 degrees and not marked", missed, "", "= 0", missed == 0),
            Figure(f"{title}: marked for review", share(self.marked), ""),
            Figure(f"{title}: front from the planted front (constant)", offset, "degrees"),
        ]


def orientation_figures(count: int, voxel: float) -> list[Figure]:
    """Return how well week 0 of animals is set upright, by a reference and without; legs of both sides."""
    model = reference(voxel)
    ways = Upright("upright by a reference"), Upright("upright alone")
    told = []
    for k in range(count):
        pair = cases.tibia_pair(k, voxel, weeks=(0, 0), tumour=False)
        axis, other = defined_axis(pair), SIDES[1 - SIDES.index(pair.side)]
        frame = frame_by_model(pair.moving, pair.side, model)
        said = ways[0].add(frame, pair, axis)
        note(f"upright {pair.seed}, {pair.side}, axis and front: {said}")
        ways[1].add(anatomical_frame(pair.moving, pair.side), pair, axis)
        if k < LEGS:
            told.append(frame_by_model(pair.moving, other, model).review and not frame.review)
    right = share(told)
    legs = Figure(f"legs told from their mirror images ({len(told)})", right, "", "= 1", right == 1)
    return [*ways[0].figures(), *ways[1].figures(), legs]


def repeat_figures(count: int, voxel: float) -> list[Figure]:
    """Return the false change and the precision of two noisy scans of an unchanged bone.

    As a study does it: grey values of one scanner mean the same in both, so one threshold serves both.
    """
    raw, guarded, volumes = [], [], []
    for k in range(count):
        pair = cases.tibia_pair(k, voxel, weeks=(0, 0), tumour=False, second="uncut")
        found = register(pair.fixed, pair.moving)
        here, there = pair.fixed.grid, pair.moving.grid
        seen = resample(pair.moving.array(), there, here, found.transform, order="cubic")
        first, second = _shared(pair.fixed.array(), seen)
        bars = (choose_threshold(pair.fixed),) * 2
        change = count_change(composite(first, second, *bars))
        bone = change.unchanged + change.resorbed
        raw.append((change.formed + change.resorbed) / bone)
        wary = Guard(error_voxels=(found.expected_error_um or 0.0) / (1000 * voxel))
        safe = guarded_change(first, second, bars, wary, here.spacing_mm)
        guarded.append((safe.formed + safe.resorbed) / bone)
        volumes.append((change.formed - change.resorbed) / bone)
        note(
            f"repeat {pair.seed}: raw {100 * raw[-1]:.2f}, guarded {100 * guarded[-1]:.2f}, "
            f"net {100 * volumes[-1]:+.2f} %"
        )
    worst, precise = float(np.max(guarded)), float(np.sqrt(np.mean(np.square(volumes)) / 2))
    return [
        Figure(f"repeat ({count}): false change, raw, median", 100 * float(np.median(raw)), "% of BV"),
        Figure("repeat: false change, guarded, largest", 100 * worst, "% of BV", "<= 1.5", worst <= 0.015),
        Figure("repeat: precision of BV", 100 * precise, "%", "<= 0.5", precise <= 0.005),
    ]


def _shared(first: NDArray[Any], second: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both images without the slices that the second does not show whole."""
    filled = np.flatnonzero((second > 0).any((1, 2)))
    part = slice(int(filled[0]) + 3, int(filled[-1]) - 2)
    return first[part], second[part]


def size_figures(quick: bool) -> list[Figure]:
    """Return time and memory at full size; each part in a process of its own, which alone is measured."""
    words = ["--quick"] if quick else []
    script = str(Path(__file__).with_name("registration_size.py"))
    out = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=True)
    values = dict(line.split("\t") for line in out.stdout.splitlines() if "\t" in line)
    v = {name: float(value) for name, value in values.items()}
    ratio = v["itk linear"] / v["linear"]
    return [
        Figure("full size: registration", v["register"], "s", "< 5", v["register"] < 5),
        Figure("full size: registration, processor time", v["register cpu"], "s"),
        Figure("full size: largest memory", v["memory"], "MB", "< 2000", v["memory"] < 2000),
        Figure("full size: error", v["error"], "voxel", "<= 0.1", v["error"] <= 0.1),
        Figure("full size: linear resampling, processor time", v["linear"], "s"),
        Figure("full size: SimpleITK's over it", ratio, "x", ">= 6", ratio >= 6),
        Figure("full size: sinc resampling, processor time", v["sinc"], "s"),
        Figure("full size: SimpleITK's sinc over it", v["itk sinc"] / v["sinc"], "x", ">= 6", None),
        Figure("full size: largest grey difference, linear", v["grey"], "", "<= 1", v["grey"] <= 1),
    ]


def peer_figures(count: int, voxel: float) -> list[Figure]:
    """Return success, error and processor time of other programs on the same pairs, interleaved."""
    methods: dict[str, Callable[..., NDArray[np.float64]]] = {"bonemet": peers.ours, **peers.available()}
    errors: dict[str, list[float]] = {name: [] for name in methods}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    one_pair(-1, voxel)  # compiles
    for k in range(count):
        pair = truth.drawn(k, voxel).pair
        points = unchanged_points(pair)
        for name, method in methods.items():
            start = time.process_time(), time.perf_counter()
            matrix = method(pair.fixed, pair.moving)
            spent[name].append((time.process_time() - start[0], time.perf_counter() - start[1]))
            gap = points @ matrix[:3, :3].T + matrix[:3, 3] - pair.truth.apply(points)
            errors[name].append(float(np.linalg.norm(gap, axis=1).mean() / voxel))
            cpu, wall = spent[name][-1]
            note(f"{name}, pair {pair.seed}: {errors[name][-1]:.3f} voxel, {cpu:.1f} CPU s, {wall:.1f} s")
    out = []
    ours = float(np.median([cpu for cpu, _ in spent["bonemet"]]))
    for name in methods:
        cpu, wall = (float(np.median([row[i] for row in spent[name]])) for i in (0, 1))
        good = np.array(errors[name]) < 1
        middle = float(np.median(np.array(errors[name])[good])) if good.any() else None
        out += [
            Figure(f"peers ({count}): {name} succeeded", float(good.mean()), ""),
            Figure(f"peers: {name}, median error where it did", middle, "voxel"),
            Figure(f"peers: {name}, processor time", cpu, "s"),
            Figure(f"peers: {name}, wall time", wall, "s"),
        ]
        if name == peers.TUNED:
            out.append(Figure(f"peers: {name} over ours", cpu / ours, "x", ">= 150", cpu / ours >= 150))
    return out


def note(text: str) -> None:
    """Print a line about one case beside the figures."""
    print(text, file=sys.stderr, flush=True)


def same_bytes(voxel: float) -> Figure:
    """Return whether one thread and two give the same pose."""
    pair = cases.tibia_pair(0, voxel)
    one, two = (
        register(pair.fixed, pair.moving, mapper=ThreadContext(n).map).transform.matrix for n in (1, 2)
    )
    same = np.array_equal(one, two)
    return Figure("the same bytes with 1 and 2 threads", float(same), "", "= 1", same)


def main() -> None:
    """Run what was asked for and show it."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    parser.add_argument("--pairs", type=int, default=200, help="longitudinal pairs")
    parser.add_argument("--xray-preset", default="tiny", help="size of the simulated scans")
    parser.add_argument("--upright", type=int, default=100, help="tibiae to set upright")
    parser.add_argument("--peer-pairs", type=int, default=8, help="pairs for other programs, which are slow")
    parser.add_argument("--first", type=int, default=cases.FIRST, help="seed of the first pair")
    parser.add_argument("--voxel-um", type=float, default=40.0, help="voxel of the simulated bones")
    parser.add_argument("--skulls", type=Path, default=skulls.BESIDE, help="folder of the mouse skulls")
    options = parser.parse_args()
    voxel, quick = options.voxel_um / 1000, options.quick
    work: dict[str, Callable[[], list[Figure]]] = {
        "pairs": lambda: [
            *pair_figures(8 if quick else options.pairs, voxel, options.first),
            same_bytes(voxel),
        ],
        "xray": lambda: xray.figures(1 if quick else 5, note, options.xray_preset),
        "orientation": lambda: orientation_figures(8 if quick else options.upright, voxel),
        "size": lambda: size_figures(quick),
        "repeat": lambda: repeat_figures(2 if quick else 10, voxel / 2),
        "skulls": lambda: skulls.figures(options.skulls, 3 if quick else None, note),
        "peers": lambda: peer_figures(1 if quick else options.peer_pairs, voxel),
    }
    found = [figure for name in PARTS if name in options.only.split(",") for figure in work[name]()]
    show(found, options, 1, "itk-elastix", "antspyx")


if __name__ == "__main__":
    main()
