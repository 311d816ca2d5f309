"""Segmentation: outlines, labels and sides of the four long bones against planted truth.

python benchmarks/segmentation.py [--quick] [--json] [--only volumes,fine,xray]
    [--cases N] [--fine-cases N] [--xray-cases N] [--start K] [--first SEED] [--cache FOLDER]
    [--rows FILE] [--told FILE]

Every third animal has lost 30 % of the bone of one proximal tibia (osteolytic, week 5); the others are as
drawn: weeks 0 to 5 after inoculation, knees bent by 0 to 60 degrees, one up to 15 % higher. ``--cache`` keeps
simulated volumes between runs. ``--rows`` adds one line of JSON per bone to a file, and ``--told`` gives the
figures of such a file, so that cases may be run in several goes (``--start`` is the first case of one).
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cases
import numpy as np
from harness import Figure, arguments, show
from numpy.typing import NDArray
from scipy import ndimage

import bonemet
from bonemet.core.errors import SettingsError
from bonemet.io.volumes import open_volume
from bonemet.segmentation.limbs import segment_limbs
from bonemet.segmentation.names import BONE_NAMES, LONG_BONES, REVIEW_BAR, LimbSegmentation
from bonemet.segmentation.published import segment_published
from bonemet.segmentation.threshold import PUBLISHED, bone_threshold

PARTS = ("volumes", "fine", "xray")
LOST = 0.3
RIGHT = 0.9  # a Dice below is a wrong bone: cut elsewhere, or of another name
DOUBTFUL = 0.97
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """How well one bone of one case was found.

    Attributes
    ----------
    part, case, method, bone
        Which.
    dice
        Of the filled outlines.
    hausdorff
        95th percentile of the distances between the surfaces, in voxels.
    own, other
        Share of the bone's voxels that are bone (grey >= T) with its own label, and with another bone's.
    extra, lacking
        Voxels outside and missing, over those of the bone.
    confidence
        As reported; 0 where the bone was not found.
    seconds
        Of processor time, for the whole volume.
    """

    part: str
    case: int
    method: str
    bone: str
    dice: float
    hausdorff: float
    own: float
    other: float
    extra: float
    lacking: float
    confidence: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Case:
    """A volume with its truth; what the scan saw, and whether the animal moved during it."""

    seed: int
    grey: NDArray[Any]
    labels: Labels
    spacing_mm: tuple[float, float, float]
    seen: NDArray[np.bool_] | None = None
    moved: bool = False


def volume_case(k: int, voxel: float, first: int, cache: Path | None) -> Case:
    """Return case ``k`` as a volume made without X-rays."""
    file = None if cache is None else cache / f"{first + k}-{round(1000 * voxel)}.npz"
    if file is not None and file.exists():
        kept = np.load(file)
        return Case(first + k, kept["grey"], kept["labels"], (voxel,) * 3)
    try:
        lost: dict[str, Any] = {"changed": {"loss": LOST, "kind": "osteolytic"}, "week": 5}
        made = cases.limbs(k, voxel, first=first, **(lost if k % 3 == 1 else {}))
    except SettingsError:  # of some animals no severity takes so much
        made = cases.limbs(k, voxel, first=first)
    grey = np.asarray(made.volume.data)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(file, grey=grey, labels=made.labels)
    return Case(first + k, grey, made.labels, (voxel,) * 3)


def xray_case(k: int, first: int) -> Case:
    """Return case ``k`` as scanned and reconstructed: 85 um voxels.

    What every view of the scan saw is judged: beyond it bones are blurred along the beam. The truth of an
    animal that moves is where it lay when the scan began.
    """
    seed = first + k
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        made = bonemet.simulate(study, preset="medium", animals=1, weeks=((0, 2, 4)[k % 3],), seed=seed)
        scan = next(p.parent for p in sorted(study.rglob("*.log")))
        bonemet.reconstruct(scan, Path(folder) / "recon")
        volume = open_volume(Path(folder) / "recon", None)
        truth = np.asarray(open_volume(next(iter(study.rglob("labels.nii.gz"))), None).array())
        grid, view, moved = volume.grid, volume.view, bool(made.results["scans"][0]["moves"])
        assert view is not None
        seen = np.stack([view.slice_mask(grid, z) for z in range(grid.shape[0])])
        grey = np.asarray(volume.array())
        return Case(seed, grey, truth.astype(np.uint8), grid.spacing_mm, seen, moved)


def distances(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the 95th percentile of the distances (voxels) between two masks' surfaces, the larger way."""
    if not a.any() or not b.any():
        return float("inf")
    box = ndimage.find_objects((a | b).astype(np.uint8))[0]
    a, b = np.pad(a[box], 1), np.pad(b[box], 1)
    rims = [m & ~ndimage.binary_erosion(m) for m in (a, b)]
    away = [ndimage.distance_transform_edt(~rim)[other] for rim, other in zip(rims, rims[::-1], strict=True)]
    return max(float(np.percentile(d, 95)) for d in away)


def score(
    case: Case, part: str, method: str, found: LimbSegmentation, threshold: float, seconds: float
) -> Iterator[Row]:
    """Yield a row for each long bone."""
    trust = {b.label: b.confidence for b in found.bones}
    for label in LONG_BONES:
        a, b = found.labels == label, case.labels == label
        if case.seen is not None:
            a, b = a & case.seen, b & case.seen
        size = max(int(np.count_nonzero(b)), 1)
        named = found.labels[b & (case.grey >= threshold)]
        yield Row(
            part,
            case.seed,
            method,
            BONE_NAMES[label],
            2 * int(np.count_nonzero(a & b)) / max(int(np.count_nonzero(a)) + size, 1),
            distances(a, b),
            float(np.mean(named == label)),
            float(np.mean((named != label) & (named != 0))),
            int(np.count_nonzero(a & ~b)) / size,
            int(np.count_nonzero(b & ~a)) / size,
            trust.get(int(label), 0.0),
            seconds,
        )


def judge(case: Case, part: str) -> list[Row]:
    """Segment a case by the default method, and by the published one."""
    start, threshold = time.process_time(), bone_threshold(case.grey)
    found = segment_limbs(case.grey, case.spacing_mm, threshold)
    rows = list(score(case, part, "default", found, threshold, time.process_time() - start))
    if part != "fine" and case.grey.dtype == np.uint8:
        start = time.process_time()
        found = segment_published(case.grey, case.spacing_mm, PUBLISHED)
        rows += score(case, part, "published", found, PUBLISHED, time.process_time() - start)
    return rows


def figures(what: str, rows: list[Row]) -> list[Figure]:
    """Return the figures of one kind of volumes."""
    own = [r for r in rows if r.method == "default"]
    out = []
    for bone in (BONE_NAMES[label] for label in LONG_BONES):
        mean = float(np.mean([r.dice for r in own if r.bone == bone]))
        out.append(Figure(f"{what}, {bone}: mean Dice of the outline", mean, "", ">= 0.99", mean >= 0.99))
    lowest, far = min(r.dice for r in own), max(r.hausdorff for r in own)
    mine, other = (float(np.mean([getattr(r, name) for r in own])) for name in ("own", "other"))
    of_named = 1 - other / max(mine + other, 1e-9)
    wrong = [r for r in own if r.dice < RIGHT]
    poor = [r for r in own if r.dice < DOUBTFUL]
    good = [r for r in own if r.dice >= DOUBTFUL]
    seeds = len({r.case for r in own})
    right = seeds - len({r.case for r in wrong})
    marked = [r for r in wrong if r.confidence < REVIEW_BAR]
    doubted = [r for r in good if r.confidence < REVIEW_BAR]
    out += [
        Figure(f"{what}: lowest Dice", lowest, "", ">= 0.97", lowest >= 0.97),
        Figure(f"{what}: bones below {DOUBTFUL}", len(poor), f"of {len(own)}"),
        Figure(f"{what}: largest 95 % surface distance", far, "voxels", "<= 2", far <= 2),
        Figure(f"{what}: named bone voxels with the right name", of_named, "", ">= 0.999", of_named >= 0.999),
        Figure(f"{what}: bone voxels within their own outline", mine, ""),
        Figure(f"{what}: cases, right bones and sides", right, f"of {seeds}", f"{seeds}", right == seeds),
        Figure(f"{what}: wrong bones marked for review", len(marked), f"of {len(wrong)}"),
        Figure(f"{what}: good bones marked for review", len(doubted), f"of {len(good)}"),
        Figure(f"{what}: processor time a volume", float(np.mean([r.seconds for r in own])), "CPU s"),
    ]
    old = [r.dice for r in rows if r.method == "published"]
    if old:
        out.append(Figure(f"{what}, published method: mean Dice", float(np.mean(old)), ""))
        out.append(
            Figure(
                f"{what}, published method: bones above {DOUBTFUL}",
                sum(d >= DOUBTFUL for d in old),
                f"of {len(old)}",
            )
        )
    return out


NAMES = {"volumes": "80 um", "fine": "40 um", "xray": "X-ray chain", "moved": "X-ray chain, moving animals"}


def told(rows: list[Row]) -> list[Figure]:
    """Return the figures of rows, by kind of volume."""
    kinds = [(name, [r for r in rows if r.part == part]) for part, name in NAMES.items()]
    return [figure for name, own in kinds if own for figure in figures(name, own)]


def run(options: Any) -> list[Row]:
    """Run the cases asked for."""
    cache = None if options.cache is None else Path(options.cache)
    makers: dict[str, tuple[int, Callable[[int], Case]]] = {
        "volumes": (options.cases, lambda k: volume_case(k, 0.08, options.first, cache)),
        "fine": (options.fine_cases, lambda k: volume_case(k, 0.04, options.first, cache)),
        "xray": (options.xray_cases, lambda k: xray_case(k, options.first)),
    }
    out = []
    for part in options.only.split(","):
        count, make = makers[part]
        for k in range(options.start, options.start + (min(count, 2) if options.quick else count)):
            case = make(k)
            found = judge(case, "moved" if case.moved else part)
            out += found
            if options.rows:
                with Path(options.rows).open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(asdict(r)) + "\n" for r in found)
    return out


if __name__ == "__main__":
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--fine-cases", type=int, default=10)
    parser.add_argument("--xray-cases", type=int, default=10)
    parser.add_argument("--first", type=int, default=cases.FIRST, help="seeds below 1000 are for development")
    parser.add_argument("--cache", default=None, help="folder where simulated volumes are kept")
    parser.add_argument("--rows", default=None, help="file to which a line for each bone is added")
    parser.add_argument(
        "--told", default=None, help="file of --rows whose figures are wanted; nothing is run"
    )
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    chosen = parser.parse_args()
    if chosen.told:
        lines = Path(chosen.told).read_text(encoding="utf-8").splitlines()
        show(told([Row(**json.loads(line)) for line in lines]), chosen, repetitions=1)
    else:
        show(told(run(chosen)), chosen, repetitions=1)
