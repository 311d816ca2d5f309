"""Cases that benchmarks share: digital mice as grey volumes whose truth is known.

Case ``k`` has seed ``1000 + k`` (held out from development; give ``first`` for seeds below 1000). Everything
drawn follows from it. Two kinds::

    limbs = cases.limbs(k, voxel_mm=0.08)             # both hind limbs, labels, places of all bones
    pair = cases.tibia_pair(k, voxel_mm=0.02)         # one tibia twice, weeks apart, in two poses
    pair.truth.apply(points_of_fixed)                 # points of moving (core.Transform), mm

Both take ``changed``, what differs from the animal as drawn (:class:`bonemet.simulation.Animal`), and
``loss``, the share of the bone of the proximal third of the diseased tibia that is eaten::

    cases.tibia_pair(k, changed={"loss": 0.45, "kind": "osteolytic"})
    cases.limbs(k, changed={"growth": 0.0, "remodelling": 0.0, "fibula_broken": "left"})

Grey values are 8-bit in the fixed window of ``reconstruct``, 0 to 0.30 1/mm, or attenuation
with ``grey=False``.

python benchmarks/cases.py [--quick] [--json] prints what the volumes cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from harness import Figure, arguments, show
from numpy.typing import NDArray

from bonemet.core.calibration import Kind, Quantity, to_grey
from bonemet.core.context import Mapper
from bonemet.core.grid import Grid
from bonemet.core.transform import Transform
from bonemet.core.volume import Volume
from bonemet.simulation import Animal, ScanPose, animal, scan_pose
from bonemet.simulation.cohort import with_loss
from bonemet.simulation.grey import bone_grid, bone_scene, grey_scene
from bonemet.simulation.presets import volume_size
from bonemet.simulation.scanner import scanner
from bonemet.simulation.scene import reconstruction_grid

FIRST = 1000
Second = Literal["anyhow", "uncut", "alike"]
WINDOW = (0.0, 0.30)
WEEKS = (0, 1, 2, 3, 4, 5)
SIDES = ("left", "right")
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


def generator(seed: int, purpose: int) -> np.random.Generator:
    """Return the generator of one purpose of a case."""
    return np.random.default_rng([seed, purpose])


def mouse(seed: int, *, tumour: bool = True) -> Animal:
    """Return the animal of a seed; with ``tumour`` one of its tibiae is inoculated."""
    rng = generator(seed, 0)
    strain = ("BALB/c", "C57BL/6")[int(rng.integers(2))]
    side, age = SIDES[int(rng.integers(2))], 8.0 + float(rng.integers(5))
    return animal(seed, strain=strain, age_weeks=age, tumour_side=side if tumour else None)


def changed_mouse(who: Animal, week: int, changed: Mapping[str, Any] | None) -> Animal:
    """Return an animal with other attributes; ``loss``: share of its proximal tibia eaten by a week."""
    others = dict(changed or {})
    share = others.pop("loss", None)
    who = replace(who, **others)
    return who if share is None else with_loss(who, week, share)


@dataclass(frozen=True, eq=False)
class Limbs:
    """Both hind limbs of one animal in one week.

    Attributes
    ----------
    seed, animal, week, pose
        Who, when and how.
    volume
        Grey values.
    labels
        (z, y, x) uint8, as ``segment`` numbers bones.
    matrices
        4 x 4 per bone: points of its own frame to the volume's, mm.
    """

    seed: int
    animal: Animal
    week: int
    pose: ScanPose
    volume: Volume
    labels: NDArray[np.uint8]
    matrices: dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Pair:
    """One tibia (its fibula with it) twice.

    Attributes
    ----------
    seed, animal, side, weeks
        Who, which leg, and the weeks of fixed and moving.
    fixed, moving
        Grey values, 0 beyond the bone's rim.
    labels
        (z, y, x) uint8 of both: not 0 within the bone's outer contour.
    truth
        Points of fixed to points of moving.
    matrices
        4 x 4 from the bone's own frame into fixed and into moving (mirrored for left legs).
    what
        What was drawn: ``axial_deg``, ``tilt_deg``, ``gain``, ``dose``, ``cropped_mm`` (proximal, distal).
    """

    seed: int
    animal: Animal
    side: str
    weeks: tuple[int, int]
    fixed: Volume
    moving: Volume
    labels: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    truth: Transform
    matrices: tuple[NDArray[np.float64], NDArray[np.float64]]
    what: dict[str, Any]


def limbs(
    k: int,
    voxel_mm: float = 0.08,
    *,
    week: int | None = None,
    dose: str = "normal",
    grey: bool = True,
    first: int = FIRST,
    mapper: Mapper = map,
    changed: Mapping[str, Any] | None = None,
) -> Limbs:
    """Return case ``k`` as both hind limbs.

    Parameters
    ----------
    k
        Number of the case, from 0 up.
    voxel_mm
        Voxel.
    week
        Week of the scan; drawn from 0 to 5 by default.
    dose
        ``low``, ``normal`` or ``high``.
    grey
        8-bit grey values, or attenuation in 1/mm.
    first
        Seed of case 0.
    mapper
        An ordered map, for threads.
    changed
        What differs from the animal as drawn.
    """
    seed = first + k
    when = int(generator(seed, 1).choice(WEEKS)) if week is None else week
    who = changed_mouse(mouse(seed), when, changed)
    pose = scan_pose(who, when, seed)
    size = volume_size(voxel_mm)
    grid = reconstruction_grid(size.geometry())
    seen = scanner(voxel_mm, dose)
    scene = grey_scene(who, when, pose, grid, scanned=seen, seed=seed, mapper=mapper)
    made = scene.volume(mapper, _kept(grey))
    own = Grid.isotropic(grid.shape, voxel_mm)
    into = np.eye(4)
    into[:3, 3] = -np.asarray(grid.origin_mm)
    matrices = {bone: into @ matrix for bone, matrix in pose.matrices.items()}
    volume = _volume(made.values, own, f"{who.name} week {when}")
    return Limbs(seed, who, when, pose, volume, made.labels, matrices)


def tibia_pair(
    k: int,
    voxel_mm: float = 0.02,
    *,
    weeks: tuple[int, int] | None = None,
    tumour: bool = True,
    second: Second = "anyhow",
    grey: bool = True,
    first: int = FIRST,
    changed: Mapping[str, Any] | None = None,
) -> Pair:
    """Return case ``k`` as one tibia in two weeks, the second in another pose, another gain and noise.

    The fixed bone stands upright, proximal end at low z. The moving one is turned about its axis by
    any angle, tilted by up to 30 degrees and shifted; up to 2 mm of its distal end, and in every third case
    up to 0.4 mm of its proximal end, are cut off. Left tibiae stay left: both volumes are mirror images of
    the bone's frame, and ``truth`` is a rotation.

    Parameters
    ----------
    k, voxel_mm, grey, first, changed
        As in :func:`limbs`.
    weeks
        Of fixed and moving; by default 0 and one of 1 to 5.
    tumour
        Whether the tibia is the inoculated one of its animal, or a control's.
    second
        How the moving bone differs: ``anyhow``; ``uncut`` and of equal gain in its pose, so that all change
        is the animal's; ``alike``: lying as the fixed one does, two scans of one bone in one place.
    """
    seed = first + k
    who, rng = mouse(seed, tumour=tumour), generator(seed, 2)
    side = who.tumour_side or SIDES[int(rng.integers(2))]
    when = weeks or (0, 1 + int(rng.integers(5)))
    who = changed_mouse(who, max(when), changed)
    what = _drawn(rng, k, second == "alike")
    if second == "uncut":
        what |= {"cropped_mm": (0.0, 0.0), "gain": 1.0}
    bone, upright = f"{side} tibia", MIRROR if side == "left" else np.eye(4)
    moved = what.pop("motion") @ upright
    made = []
    for n, matrix in enumerate((upright, moved)):
        grid = bone_grid(who, when[n], bone, matrix, voxel_mm)
        if n == 1:
            grid = _cut(grid, matrix, who.sizes.tibia_mm, what["cropped_mm"])
        seen = scanner(voxel_mm, "normal" if n == 0 else what["dose"])
        keep = _kept(grey, 1.0 if n == 0 else what["gain"])
        scene = bone_scene(who, when[n], bone, matrix, grid, scanned=seen, seed=10 * seed + n)
        made.append(scene.volume(keep=keep))
    names = [f"{who.name} week {w} {bone}" for w in when]
    fixed, moving = (_volume(m.values, m.grid, name) for m, name in zip(made, names, strict=True))
    truth = Transform(moved @ np.linalg.inv(upright))
    labels = (made[0].labels, made[1].labels)
    return Pair(seed, who, side, when, fixed, moving, labels, truth, (upright, moved), what)


def _drawn(rng: np.random.Generator, k: int, same_pose: bool) -> dict[str, Any]:
    """Return what is drawn for the moving bone."""
    axial, tilt, towards = rng.uniform(-180, 180), rng.uniform(0, 30), rng.uniform(0, 2 * np.pi)
    motion = np.eye(4)
    motion[:3, 3] = rng.uniform(-1.5, 1.5, 3)
    distal, proximal, gain = rng.uniform(0, 2), rng.uniform(0, 0.4), rng.uniform(0.92, 1.08)
    if same_pose:
        return {
            "axial_deg": 0.0,
            "tilt_deg": 0.0,
            "gain": 1.0,
            "dose": "normal",
            "cropped_mm": (0.0, 0.0),
            "motion": np.eye(4),
        }
    lean = _rotation(np.array([np.cos(towards), np.sin(towards), 0.0]), tilt)
    motion[:3, :3] = lean @ _rotation(np.array([0.0, 0.0, 1.0]), axial)
    return {
        "axial_deg": float(axial),
        "tilt_deg": float(tilt),
        "gain": float(gain),
        "dose": ("low", "normal", "high")[int(rng.integers(3))],
        "cropped_mm": (float(proximal) if k % 3 == 0 else 0.0, float(distal)),
        "motion": motion,
    }


def _rotation(axis: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Return the right-handed rotation about a unit vector (Rodrigues)."""
    a, (x, y, z) = np.radians(degrees), axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(a) * cross + (1 - np.cos(a)) * cross @ cross)


def _cut(grid: Grid, matrix: NDArray[np.float64], length_mm: float, cropped: tuple[float, float]) -> Grid:
    """Return a grid whose ends along z leave out so much (mm) of a bone."""
    ends = (matrix @ np.array([[0, 0, 0, 1.0], [0, 0, length_mm, 1.0]]).T)[2]
    h, first, last = grid.spacing_mm[0], 0, grid.shape[0]
    if cropped[0]:
        first = max(0, round((ends[0] + cropped[0] - grid.origin_mm[2]) / h))
    if cropped[1]:
        last = min(last, round((ends[1] - cropped[1] - grid.origin_mm[2]) / h))
    return grid.crop((first, 0, 0), (last, *grid.shape[1:]))


def _kept(grey: bool, gain: float = 1.0) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    """Return what is kept of attenuation, after a gain: itself, or 8-bit grey values."""

    def keep(attenuation: NDArray[np.float32]) -> NDArray[Any]:
        values = attenuation if gain == 1.0 else attenuation * np.float32(gain)
        return to_grey(values, WINDOW) if grey else values

    return keep


def _volume(values: NDArray[Any], grid: Grid, name: str) -> Volume:
    """Return grey values or attenuation with what they mean."""
    grey = values.dtype == np.uint8
    quantity = Quantity(Kind.GREY, WINDOW, 255) if grey else Quantity(Kind.ATTENUATION)
    return Volume(values, grid, quantity, name)


def costs(quick: bool) -> list[Figure]:
    """Return the processor time of volumes of several sizes."""
    limbs(0, 0.2, first=500)  # compiles
    tibia_pair(0, 0.1, first=500)
    found = []
    for voxel, goal in ((0.08, 5.0), (0.05, None), (0.04, 60.0)):
        if quick and voxel < 0.08:
            continue
        start = time.process_time()
        limbs(0, voxel, first=500)
        spent = time.process_time() - start
        found.append(_figure(f"both hind limbs at {1000 * voxel:g} um", spent, goal))
    for voxel, goal in ((0.04, None), (0.02, 5.0), (0.01, None)):
        if quick and voxel < 0.02:
            continue
        who = mouse(500)
        grid = bone_grid(who, 0, "right tibia", np.eye(4), voxel)
        start = time.process_time()
        bone_scene(who, 0, "right tibia", np.eye(4), grid, seed=1).volume()
        found.append(_figure(f"one tibia at {1000 * voxel:g} um", time.process_time() - start, goal))
    return found


def _figure(name: str, seconds: float, goal: float | None) -> Figure:
    if goal is None:
        return Figure(name, seconds, "CPU s")
    return Figure(name, seconds, "CPU s", f"< {goal:g}", seconds < goal)


if __name__ == "__main__":
    options = arguments(__doc__.splitlines()[0]).parse_args()
    show(costs(options.quick), options, repetitions=1)
