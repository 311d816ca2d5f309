"""The command: files in, bones with their names and places out."""

import json

import numpy as np
import pytest
from segmentation_limbs import Pose, limbs

from bonemet.api.segmentation import ReconCTSegmentation
from bonemet.core.errors import InputError, OutputExistsError, SettingsError
from bonemet.core.rim import with_rim
from bonemet.io import sidecar, stacks
from bonemet.io.volumes import open_volume
from bonemet.stages.segment import segment, title_of

H = 0.1
LONG = ("left tibia", "left femur", "right tibia", "right femur")


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    grey, truth = limbs(Pose(z_range_mm=(-17, 7)), H)
    folder = tmp_path_factory.mktemp("study") / "871" / "week 0"
    folder.mkdir(parents=True)
    stacks.write_slices(folder, "871_rec", iter(grey), format="png")
    return folder, grey, truth


@pytest.fixture(scope="module")
def done(scan, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "bones"
    return segment(scan[0], out, voxel_um=100), out


def test_bones_stand_under_their_published_names(done):
    outcome, out = done
    assert outcome.outputs[0] == str(out)
    named = {b["name"]: b for b in outcome.results["bones"]}
    assert set(LONG) <= set(named)
    for name in LONG:
        folder = out / f"871 week 0 {name}"
        assert named[name]["path"] == str(folder)
        assert (folder / f"871 week 0 {name} 00000000.png").is_file()
        assert 0 <= named[name]["confidence"] <= 1
    assert outcome.results["side_source"] == "assumed"
    assert outcome.results["threshold_source"] == "otsu"
    assert 70 < outcome.results["threshold"] < 130
    json.dumps(outcome.as_dict())


def test_labels_have_the_inputs_shape_and_grid(scan, done):
    labels = open_volume(done[1] / "labels.nii.gz")
    assert done[0].results["labels"] == str(done[1] / "labels.nii.gz")
    assert labels.grid.same_as(open_volume(scan[0], 100).grid)
    array = labels.array()
    assert array.dtype == np.uint8
    for bone in done[0].results["bones"]:
        assert bone["volume_mm3"] == pytest.approx(bone["voxels"] * H**3)
    tibia = next(b for b in done[0].results["bones"] if b["name"] == "left tibia")
    assert np.count_nonzero(array == 3) == tibia["voxels"]


def test_a_bone_keeps_its_grey_values_and_its_place_in_the_scan(scan, done):
    labels = open_volume(done[1] / "labels.nii.gz").array()
    piece = open_volume(done[1] / "871 week 0 left tibia")
    assert piece.name == "871 week 0 left tibia"
    assert sidecar.read(done[1] / "871 week 0 left tibia").steps[-1].name == "segment"
    first = np.rint(open_volume(scan[0], 100).grid.mm_to_index(np.asarray(piece.grid.origin_mm))).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(first, piece.grid.shape, strict=True))
    kept = with_rim(labels[box] == 3, (labels[box] > 0) & (labels[box] != 3))
    assert np.array_equal(piece.array(), np.where(kept, scan[1][box], 0))
    assert np.count_nonzero(labels == 3) == np.count_nonzero(labels[box] == 3)


def test_a_second_run_does_nothing_and_another_is_refused(scan, done):
    assert segment(scan[0], done[1], voxel_um=100).done_before
    with pytest.raises(OutputExistsError):
        segment(scan[0], done[1], voxel_um=100, left="high-x")


def test_the_published_class_writes_published_names(scan, tmp_path):
    config = {"week": " week 0", "masterfolder": str(scan[0].parent), "masterout": str(tmp_path / "Seg-CT")}
    outcome = ReconCTSegmentation(config, voxel_um=100, method="published").split_image(scan[0], "871")
    assert outcome.outputs[0] == str(tmp_path / "Seg-CT" / "871 week 0")
    assert outcome.results["threshold"] == 76
    assert outcome.results["threshold_source"] == "given"
    assert (tmp_path / "Seg-CT" / "871 week 0" / "871 week 0 left tibia").is_dir()
    assert any("review" in w for w in outcome.warnings)


def test_configs_are_checked():
    with pytest.raises(SettingsError, match="'masterfoldr'"):
        ReconCTSegmentation({"week": " week 0", "masterfoldr": "x"})
    with pytest.raises(SettingsError, match="week"):
        ReconCTSegmentation({"week": "soon"})
    with pytest.raises(SettingsError, match="masterout"):
        ReconCTSegmentation({"week": 0}).split_image("x", "871")


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("871/week 0", "871 week 0"),
        ("week 3/872", "872 week 3"),
        ("Recon/871 week 12", "871 week 12"),
        ("somewhere/scan", "scan"),
    ],
)
def test_titles_are_read_from_paths(tmp_path, path, title):
    folder = tmp_path / path
    folder.mkdir(parents=True)
    assert title_of(folder) == title


def test_settings_and_label_volumes_are_refused(scan, done, tmp_path):
    with pytest.raises(SettingsError, match="low-x"):
        segment(scan[0], tmp_path / "a", left="west")
    with pytest.raises(SettingsError, match="published"):
        segment(scan[0], tmp_path / "a", method="other")
    with pytest.raises(SettingsError, match="finite"):
        segment(scan[0], tmp_path / "a", threshold=float("nan"))
    with pytest.raises(InputError, match="labels"):
        segment(done[1] / "labels.nii.gz", tmp_path / "a")
    assert not (tmp_path / "a").exists()
