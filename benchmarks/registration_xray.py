"""Pairs through the whole X-ray chain: simulated, reconstructed, cut out by the true labels, registered.

The preset is the smallest one, whose voxels are large; both legs of each animal make a pair each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import Figure
from numpy.typing import NDArray
from registration_truth import SHAFT
from scipy import ndimage

from bonemet.core.grid import Grid
from bonemet.core.ids import SIDES, ScanKey
from bonemet.core.transform import Transform
from bonemet.core.volume import Volume
from bonemet.dataset import layout
from bonemet.dataset.layout import Component
from bonemet.io.volumes import open_volume
from bonemet.registration import register
from bonemet.simulation import LABELS
from bonemet.stages.reconstruct import reconstruct
from bonemet.stages.simulate import simulate
from bonemet.workflows.compare import truth_of

SEED = 1000
WEEKS = (0, 3)
MARGIN = 4


def figures(
    animals: int, note: Callable[[str], None], preset: str = "tiny", seed: int = SEED
) -> list[Figure]:
    """Return the errors of pairs that went through the whole chain."""
    errors, missed, voxel = [], 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        study, made = Path(folder) / "study", Path(folder) / "made"
        simulate(study, preset=preset, animals=animals, weeks=WEEKS, seed=seed)
        for name, fixed, moving, truth, points in _pairs(study, made, animals):
            found = register(fixed, moving)
            voxel = fixed.grid.spacing_mm[0]
            gap = np.linalg.norm(found.transform.apply(points) - truth.apply(points), axis=1).mean()
            errors.append(float(gap) / voxel)
            missed += errors[-1] >= 1 and not found.review
            if errors[-1] >= 0.2 or found.review:
                note(f"X-ray {name}: {errors[-1]:.3f} voxel, marked {found.review} {' '.join(found.reasons)}")
    good = float(np.mean(np.array(errors) < 1))
    title = f"X-ray pairs ({len(errors)}, {1000 * voxel:.0f} um)"
    return [
        Figure(f"{title}: below 1 voxel", good, "", "= 1", good == 1),
        Figure("X-ray pairs: median error", float(np.median(errors)), "voxel"),
        Figure("X-ray pairs: largest error", max(errors), "voxel"),
        Figure("X-ray pairs: failures not marked for review", missed, "", "= 0", missed == 0),
    ]


def _pairs(
    study: Path, made: Path, animals: int
) -> Iterator[tuple[str, Volume, Volume, Transform, NDArray[np.float64]]]:
    """Give each leg: its name, both scans, the true map, and points of the fixed shaft's surface."""
    for animal in (str(871 + n) for n in range(animals)):
        keys = [ScanKey(animal, week) for week in WEEKS]
        scans = [_reconstructed(study, made, key) for key in keys]
        labels = [np.asarray(open_volume(_truth(study, key) / "labels.nii.gz").data[:]) for key in keys]
        for side in SIDES:
            bone = f"{side} tibia"
            matrices = [np.asarray(truth_of(study, key)["bones"][bone]["matrix"]) for key in keys]
            bones = [label == LABELS[bone] for label in labels]
            fixed, moving = (_cut(scan, mask, bone) for scan, mask in zip(scans, bones, strict=True))
            between = Transform(matrices[1] @ np.linalg.inv(matrices[0]))
            yield f"{animal} {bone}", fixed, moving, between, _surface(scans[0].grid, bones[0], matrices[0])


def _truth(study: Path, key: ScanKey) -> Path:
    return layout.truth_folder(study, key)


def _reconstructed(study: Path, made: Path, key: ScanKey) -> Volume:
    out = made / str(key)
    reconstruct(layout.folder(study, Component.ROTATION_XRAY, key), out)
    volume = open_volume(out)
    return volume.with_data(volume.array())


def _cut(scan: Volume, mask: NDArray[np.bool_], name: str) -> Volume:
    """Return the box about a bone, what is further than a voxel from it set to the grey of soft tissue."""
    index = np.argwhere(mask)
    low, high = np.maximum(index.min(0) - MARGIN, 0), np.minimum(index.max(0) + MARGIN + 1, mask.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    data: NDArray[Any] = scan.array()[box]
    near = ndimage.binary_dilation(mask[box])
    soft = np.median(data[~near])
    cut = scan.crop(tuple(int(v) for v in low), tuple(int(v) for v in high))
    return Volume(np.where(near, data, soft).astype(data.dtype), cut.grid, scan.quantity, name)


def _surface(grid: Grid, mask: NDArray[np.bool_], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    points = grid.index_to_mm(np.argwhere(mask & ~ndimage.binary_erosion(mask)))
    inverse = np.linalg.inv(matrix)
    z = points @ inverse[2, :3] + inverse[2, 3]
    place = (z - z.min()) / (z.max() - z.min())
    return points[(place > SHAFT[0]) & (place < SHAFT[1])][::3]
