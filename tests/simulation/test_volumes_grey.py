"""Grey volumes hold the truth they were made from, whatever the slabs and threads."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bonemet.core.calibration import to_grey
from bonemet.core.context import SilentContext
from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.core.ids import ScanKey
from bonemet.core.rim import with_rim
from bonemet.dataset import layout
from bonemet.dataset.layout import Component
from bonemet.engine.context import ThreadContext
from bonemet.io.volumes import open_volume
from bonemet.simulation import animal, bone_in_own_frame, detector, fine, points_in_bone
from bonemet.simulation.grey import bone_grid, bone_scene
from bonemet.simulation.paths import around_bone
from bonemet.simulation.presets import volume_size
from bonemet.simulation.scanner import Scanner, frequencies, scanner, taps, transfer
from bonemet.simulation.skeleton import long_bone
from bonemet.stages.simulate import simulate

MOUSE = animal(7, tumour_side="right")
STILL = Scanner(0.04, detector.PERFECT, body_mm=0.04)
UPRIGHT = np.eye(4)


def turned(axis_deg: float, shift) -> np.ndarray:
    a = np.radians(axis_deg)
    out = np.eye(4)
    out[:3, :3] = [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]
    out[:3, 3] = shift
    return out


@pytest.mark.parametrize("voxel", [0.02, 0.04, 0.08])
def test_taps_make_the_contrast_they_promise(voxel):
    seen = scanner(voxel)
    step = voxel / fine.oversampling(voxel)
    f = frequencies(step)
    edge = fine.edge_transfer(f, step)
    for across in (True, False):
        weights = taps(seen, voxel, step, edge, across=across)
        n = np.arange(weights.size) - weights.size // 2
        made = np.array([(weights * np.cos(2 * np.pi * v * n * step)).sum() for v in f]) * edge
        np.testing.assert_allclose(made, transfer(seen, voxel, f, across=across), atol=0.015)


def test_a_bone_keeps_its_mineral():
    """The sum over the blurred volume is the mass of the bone, whatever its pose; hardening set aside."""
    _, density, grid = bone_in_own_frame(MOUSE, 3, "right tibia", 0.05)
    mass = density.sum(dtype=np.float64) * grid.voxel_mm3
    for matrix in (UPRIGHT, turned(25.0, (0.3, -0.2, 1.1))):
        own = bone_grid(MOUSE, 3, "right tibia", matrix, 0.08)
        seen = Scanner(0.08, detector.PERFECT, body_mm=0.08)
        made = bone_scene(MOUSE, 3, "right tibia", matrix, own, scanned=seen, bare=False).volume()
        part = replace(long_bone(MOUSE, 3, "right tibia"), matrix=matrix)
        around = around_bone(part, own, seen)
        places = around.hardened.mm_to_index(own.index_to_mm(np.indices(own.shape).reshape(3, -1).T)).T
        lift = ndimage.map_coordinates(around.left_over, places, order=1, mode="nearest")
        above = made.values.astype(np.float64) - made.tones.soft[1] - lift.reshape(own.shape)
        assert above.sum() * own.voxel_mm3 / made.tones.mineral == pytest.approx(mass, rel=0.015)


def test_labels_are_the_outer_contour_at_voxel_centres():
    matrix = turned(20.0, (1.0, 0.0, 0.5))
    own = bone_grid(MOUSE, 3, "right tibia", matrix, 0.1)
    made = bone_scene(MOUSE, 3, "right tibia", matrix, own, scanned=STILL).volume()
    index = np.indices(own.shape).reshape(3, -1).T
    back = np.linalg.inv(matrix)
    points = own.index_to_mm(index) @ back[:3, :3].T + back[:3, 3]
    inside = (points_in_bone(MOUSE, 3, "right tibia", points)[:, 0] <= 0).reshape(own.shape)
    assert np.array_equal(made.labels != 0, inside)
    assert np.array_equal(made.values != 0, with_rim(inside))


def test_what_is_kept_of_each_slab_is_what_is_kept_of_the_whole():
    own = bone_grid(MOUSE, 3, "right tibia", UPRIGHT, 0.1)
    whole = bone_scene(MOUSE, 3, "right tibia", UPRIGHT, own).volume()
    scene = bone_scene(MOUSE, 3, "right tibia", UPRIGHT, own)
    grey = scene.volume(keep=lambda values: to_grey(values, (0.0, 0.3)))
    assert grey.values.dtype == np.uint8
    assert np.array_equal(grey.values, to_grey(whole.values, (0.0, 0.3)))
    assert np.array_equal(grey.labels, whole.labels)


def test_interpolated_distances_are_those_asked_for():
    """At 10 um every second sample is interpolated: a slice of the shaft agrees with the direct answer."""
    grid = Grid.isotropic((12, 180, 180), 0.01, (-0.9, -0.9, 7.0))
    part = fine.paint_fine([fine_part()], grid)
    index = np.indices(grid.shape).reshape(3, -1).T
    truth = points_in_bone(MOUSE, 0, "right tibia", grid.index_to_mm(index))
    tissue = (truth[:, 1] <= 0).reshape(grid.shape)
    density = part[1] / MOUSE.sizes.cortical_tmd
    near = np.abs(truth[:, 1]).reshape(grid.shape) < 0.004
    wrong = (density > 0.5) != tissue
    assert wrong[~near].mean() < 1e-3
    assert density[tissue].mean() > 0.93


def fine_part():
    return long_bone(MOUSE, 0, "right tibia")


def test_two_poses_of_a_bone_agree_where_the_truth_puts_them():
    a, b = UPRIGHT, turned(15.0, (0.2, 0.1, -0.3))
    grids = [bone_grid(MOUSE, 0, "right femur", m, 0.06) for m in (a, b)]
    seen = Scanner(0.06, detector.PERFECT, body_mm=0.06)
    first, second = (
        bone_scene(MOUSE, 0, "right femur", m, g, scanned=seen, bare=False).volume()
        for m, g in zip((a, b), grids, strict=True)
    )
    index = np.indices(grids[0].shape)[:, ::3, ::3, ::3].reshape(3, -1).T
    places = grids[0].index_to_mm(index) @ b[:3, :3].T + b[:3, 3]
    found = ndimage.map_coordinates(second.values, grids[1].mm_to_index(places).T, order=3, mode="nearest")
    wanted = first.values[tuple(index.T)]
    assert np.corrcoef(found, wanted)[0, 1] > 0.998


def test_bad_grids_and_seeds_are_refused():
    flat = Grid((4, 4, 4), (0.1, 0.05, 0.05))
    with pytest.raises(SettingsError, match="cubic voxels"):
        bone_scene(MOUSE, 0, "right tibia", UPRIGHT, flat).volume()
    with pytest.raises(SettingsError, match="seed"):
        bone_scene(MOUSE, 0, "right tibia", UPRIGHT, Grid.isotropic((4, 4, 4), 0.1), seed=-1).volume()
    with pytest.raises(SettingsError, match="10 to 200 um"):
        volume_size(0.5)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("volumes") / "study"
    simulate(out, volume=True, voxel_um=200, animals=1, weeks=(3,), seed=3, context=ThreadContext(workers=2))
    return out


def test_a_volume_reads_as_a_reconstruction(study):
    key = ScanKey("871", 3)
    folder = layout.folder(study, Component.RECON_CT, key)
    volume = open_volume(folder)
    assert volume.data.dtype == np.uint8
    assert volume.quantity.window == (0.0, 0.3)
    assert volume.grid.spacing_mm == (0.2, 0.2, 0.2)
    assert volume.view is not None
    assert (folder / "871_week3_rec.log").is_file()
    labels = open_volume(layout.truth_folder(study, key) / "labels.nii.gz").array()
    grey = volume.array()
    assert labels.shape == grey.shape
    assert grey[np.isin(labels, [2, 3, 4, 5])].mean() > 70
    assert grey[labels == 0].mean() < 15


def test_the_same_seed_gives_the_same_volume_whatever_the_threads(study, tmp_path):
    again = tmp_path / "again"
    simulate(again, volume=True, voxel_um=200, animals=1, weeks=(3,), seed=3, context=SilentContext())
    files = [p.relative_to(study) for p in sorted(study.rglob("*")) if p.is_file()]
    assert len(files) > 100
    for path in files:
        assert (again / path).read_bytes() == (study / path).read_bytes(), path
