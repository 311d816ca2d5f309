"""Registration of real scans: 35 mouse skulls with landmarks (Maga 2017, doi:10.1002/dvdy.24478)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from harness import Figure
from numpy.typing import NDArray
from registration_peers import image
from scipy import ndimage

from bonemet.core.transform import Transform
from bonemet.core.volume import Volume
from bonemet.io.volumes import open_volume
from bonemet.kernels.resample import resample
from bonemet.registration import Options, register

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data" / "mouse-skulls"
REFERENCE = "C57BL6_J_"
KINDS = ("rigid", "similarity")
NEAR_MM = 0.5  # from bone: landmarks that lie on it
Points = NDArray[np.float64]


def figures(folder: Path, count: int | None, note: Callable[[str], None]) -> list[Figure]:
    """Return how near landmarks come, strain to strain, and whether skulls are found in random poses."""
    scans = sorted((folder / "scans").glob("*.nii.gz")) if folder.is_dir() else []
    if not scans:
        return [Figure("skulls", None, "", "not measured: no scans there", None)]
    return [*_strains(folder, scans, count, note), *_themselves(scans, count, note)]


def _read(folder: Path, name: str) -> tuple[Volume, Points]:
    """Return a skull and its landmarks, both in LPS."""
    content = json.loads((folder / "landmarks" / f"{name}.mrk.json").read_text(encoding="utf-8"))["markups"][
        0
    ]
    points = np.array([p["position"] for p in content["controlPoints"]], float)
    if content.get("coordinateSystem") in ("RAS", "0"):
        points = points * [-1, -1, 1]
    return open_volume(folder / "scans" / f"{name}.nii.gz"), points


def _on_bone(scan: Volume, points: Points) -> bool:
    """Tell whether landmarks lie on the bone of a scan; those of some strains lie in another frame."""
    data = scan.array()
    away = ndimage.distance_transform_edt(
        data < np.quantile(data[data > 0], 0.8), sampling=scan.grid.spacing_mm
    )
    index = np.rint(scan.grid.mm_to_index(points)).astype(int)
    inside = ((index >= 0) & (index < data.shape)).all(axis=1)
    return bool(inside.all()) and float(away[tuple(index.T)].mean()) < NEAR_MM


def _best_fit(a: Points, b: Points, scaled: bool) -> float:
    """Return the mean distance of landmarks after their best fit (Umeyama 1991, doi:10.1109/34.88573)."""
    p, q = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(q.T @ p)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = float((s * sign).sum() / (p * p).sum()) if scaled else 1.0
    return float(np.linalg.norm(scale * p @ ((u * sign) @ vt).T - q, axis=1).mean())


def _by_simpleitk(fixed: Volume, moving: Volume, kind: str) -> Transform:
    """Return SimpleITK's registration from the moments, by mutual information, all sizes."""
    import SimpleITK as sitk

    f, m = image(fixed), image(moving, 4.0)
    first = sitk.Euler3DTransform() if kind == "rigid" else sitk.Similarity3DTransform()
    start = sitk.CenteredTransformInitializer(f, m, first, sitk.CenteredTransformInitializerFilter.MOMENTS)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.05, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(1.0, 300, 1e-6, 10)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SetInitialTransform(start)
    found = method.Execute(f, m)
    origin = np.array(found.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([np.array(found.TransformPoint(tuple(e))) - origin for e in np.eye(3)], axis=1)
    matrix[:3, 3] = origin
    return Transform(matrix)


def _strains(folder: Path, scans: list[Path], count: int | None, note: Callable[[str], None]) -> list[Figure]:
    """Return mean landmark distances of strains to the reference, ours beside SimpleITK's and the best."""
    fixed, points = _read(folder, REFERENCE)
    names = [p.name.removesuffix(".nii.gz") for p in scans if REFERENCE not in p.name][:count]
    rows: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in KINDS}
    for name in names:
        moving, there = _read(folder, name)
        if not _on_bone(moving, there):
            note(f"{name}: its landmarks do not lie on its bone, left out")
            continue
        for kind in KINDS:
            before = time.process_time()
            ours = register(fixed, moving, Options(kind=kind, part="whole", both_ways=False))
            between = time.process_time()
            other = _by_simpleitk(fixed, moving, kind)
            spent = (between - before, time.process_time() - between)
            gaps = [
                float(np.linalg.norm(t.apply(points) - there, axis=1).mean()) for t in (ours.transform, other)
            ]
            rows[kind].append((*gaps, _best_fit(points, there, kind == "similarity"), *spent))
            if gaps[0] > gaps[1] + 0.1:
                note(f"{name}, {kind}: {gaps[0]:.2f} mm, SimpleITK {gaps[1]:.2f} mm, marked {ours.review}")
    out = []
    for kind in KINDS:
        table = np.array(rows[kind])
        ours, itk, best, cpu, itk_cpu = (float(v) for v in np.median(table, axis=0))
        out += [
            Figure(
                f"skulls ({len(table)}), {kind}: landmarks", ours, "mm", "<= SimpleITK's", ours <= itk + 0.005
            ),
            Figure(f"skulls, {kind}: landmarks, largest", float(table[:, 0].max()), "mm"),
            Figure(f"skulls, {kind}: landmarks by SimpleITK", itk, "mm"),
            Figure(f"skulls, {kind}: by SimpleITK, largest", float(table[:, 1].max()), "mm"),
            Figure(f"skulls, {kind}: best fit of the landmarks", best, "mm"),
            Figure(f"skulls, {kind}: processor time", cpu, "s"),
            Figure(f"skulls, {kind}: SimpleITK's processor time", itk_cpu, "s"),
        ]
    return out


def _themselves(scans: list[Path], count: int | None, note: Callable[[str], None]) -> list[Figure]:
    """Return how well each skull is found again after a random pose, written by SimpleITK's interpolation."""
    errors = []
    for n, path in enumerate(scans[:count]):
        fixed = open_volume(path)
        rng = np.random.default_rng([1000, n])
        moving, truth = _turned(fixed, rng)
        found = register(fixed, moving)
        data = fixed.array()
        bone = fixed.grid.index_to_mm(np.argwhere(data > 0.5 * np.quantile(data[data > 0], 0.95)))[::50]
        gap = np.linalg.norm(found.transform.apply(bone) - truth.apply(bone), axis=1).mean()
        errors.append(float(gap / max(fixed.grid.spacing_mm)))
        if errors[-1] >= 0.1:
            note(f"{path.name} in another pose: {errors[-1]:.3f} voxel off, marked {found.review}")
    good = float(np.mean(np.array(errors) < 0.1))
    return [
        Figure(f"skulls ({len(errors)}) found again below 0.1 voxel", good, "", "= 1", good == 1),
        Figure("skulls found again: median error", float(np.median(errors)), "voxel"),
        Figure("skulls found again: largest error", max(errors), "voxel"),
    ]


def _turned(fixed: Volume, rng: np.random.Generator) -> tuple[Volume, Transform]:
    """Return a skull in another pose, by windowed sinc, and the map from its points to the other's."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=rng).as_matrix()
    size = np.asarray(fixed.grid.shape) * fixed.grid.spacing_mm
    edge = float(np.linalg.norm(size))
    grid = replace(fixed.grid, shape=tuple(int(edge / s) for s in fixed.grid.spacing_mm))
    matrix[:3, 3] = grid.centre_mm + rng.uniform(-1, 1, 3) - matrix[:3, :3] @ fixed.grid.centre_mm
    truth = Transform(matrix)
    data = resample(fixed.array(), fixed.grid, grid, truth.inverse(), order="sinc")
    return replace(fixed, data=data, grid=grid), truth
