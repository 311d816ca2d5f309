"""A simulated study: real files, the truth beside them, the same bytes from the same seed."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bonemet.core.context import SilentContext
from bonemet.core.errors import OutputExistsError, SettingsError
from bonemet.core.ids import ScanKey
from bonemet.dataset import layout
from bonemet.dataset.layout import Component
from bonemet.engine.context import ThreadContext
from bonemet.io.scans import open_scan
from bonemet.io.volumes import open_volume
from bonemet.records import table
from bonemet.simulation import LABELS, animal, bone_in_own_frame, scan_pose, spectrum
from bonemet.simulation.presets import preset
from bonemet.simulation.scene import body_in_beam, label_volume, reconstruction_grid
from bonemet.stages.simulate import simulate

COARSE = {"preset": "tiny", "animals": 1, "seed": 3}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulated") / "study"
    outcome = simulate(out, weeks=(3,), context=ThreadContext(workers=2), **COARSE)
    return out, outcome


def truth(out, week):
    return json.loads((layout.truth_folder(out, ScanKey("871", week)) / "truth.json").read_text())


def test_layout_and_outcome(study):
    out, outcome = study
    found = layout.find(out, Component.ROTATION_XRAY)
    assert [key for key, _ in found] == [ScanKey("871", 3)]
    assert [out / scan["path"] for scan in outcome.results["scans"]] == [path for _, path in found]
    assert len(list(found[0][1].glob("871_week3_*.tif"))) == 260
    assert outcome.outputs[0] == str(out)


def test_scan_reads_as_it_was_made(study):
    out, _ = study
    scan = open_scan(layout.folder(out, Component.ROTATION_XRAY, ScanKey("871", 3)))
    geometry, planted = scan.geometry, truth(out, 3)
    assert (geometry.columns, geometry.rows) == (216, 120)
    assert geometry.cone_angle_horizontal_deg == pytest.approx(25.888290, abs=1e-5)
    assert geometry.optical_axis_row == planted["optical_axis_row"]
    assert geometry.turn == planted["turn"]
    assert geometry.pixel_mm == pytest.approx(planted["pixel_mm"], rel=1e-7)
    assert geometry.angles_deg[-1] == pytest.approx(259 * 0.8)
    assert scan.white == 57000
    view = np.asarray(scan.projections[0]).astype(float)
    assert np.median(view[:, :8]) == pytest.approx(57000, rel=0.005)  # air beside the bed
    assert 0.02 < np.percentile(view, 0.1) / 57000 < 0.6  # bone and flesh let some light through


def test_the_same_seed_gives_the_same_bytes_whatever_the_threads(study, tmp_path):
    out, _ = study
    again = tmp_path / "again"
    simulate(again, weeks=(3,), context=SilentContext(), **COARSE)
    files = [p.relative_to(again) for p in sorted(again.rglob("*")) if p.is_file() and p.suffix != ".json"]
    files.append((layout.truth_folder(again, ScanKey("871", 3)) / "truth.json").relative_to(again))
    assert len(files) == 260 + 4
    for path in files:
        assert (again / path).read_bytes() == (out / path).read_bytes(), path


def test_labels_and_matrices_tell_the_same_place(study):
    out, _ = study
    planted = truth(out, 3)
    labels = open_volume(layout.truth_folder(out, ScanKey("871", 3)) / "labels.nii.gz")
    data = labels.array()
    assert data.shape == (120, 216, 216)
    assert data.dtype == np.uint8
    mouse = animal(3000, age_weeks=8.0, tumour_side=None)  # outlines hardly depend on age or disease
    for bone in ("left tibia", "right tibia"):
        filled, _, grid = bone_in_own_frame(mouse, 0, bone, 0.4)
        points = grid.index_to_mm(np.argwhere(filled))
        matrix = np.array(planted["bones"][bone]["matrix"])
        there = points @ matrix[:3, :3].T + matrix[:3, 3]
        index = np.rint(there[:, ::-1] / planted["pixel_mm"]).astype(int)
        index = index[(index >= 0).all(axis=1) & (index < data.shape).all(axis=1)]
        assert len(index) > 100
        assert np.mean(data[tuple(index.T)] == LABELS[bone]) > 0.85
        assert planted["bones"][bone]["mirrored"] == bone.startswith("left")
        junction = planted["bones"][bone]["landmarks"]["junction"]
        assert junction["scan_mm"] == pytest.approx(
            (matrix @ [0, 0, junction["level_mm"], 1])[:3].tolist(), abs=1e-5
        )
        assert junction["slice"] == pytest.approx(junction["scan_mm"][2] / planted["pixel_mm"], abs=1e-3)
    left = np.argwhere(data == LABELS["left tibia"])[:, 2].mean()
    assert left < np.argwhere(data == LABELS["right tibia"])[:, 2].mean()


def test_planted_change(study):
    planted = truth(study[0], 3)
    sick = planted["tumour_side"]
    well = {"left": "right", "right": "left"}[sick]
    for side in ("left", "right"):
        now = planted["tibiae"][side]
        assert now["unchanged_mm3"] + now["formed_mm3"] == pytest.approx(now["bone_volume_mm3"])
        assert 5 < now["bone_volume_mm3"] < 30
    assert planted["tibiae"][sick]["resorbed_mm3"] > 5 * planted["tibiae"][well]["resorbed_mm3"]
    assert planted["tibiae"][sick]["resorbed_mm3"] > 0.1


def test_records(study):
    out, _ = study
    rows = table.read(layout.record_path(out))
    assert list(rows["Animal"]) == ["871"] * 2
    assert list(rows["Week"]) == ["3"] * 2
    tumour = rows["Tibiae tumor inoculation"]
    assert set(rows["Side"][tumour == "with tumor"]) == {truth(out, 3)["tumour_side"]}
    assert (rows["Age (week)"].astype(float) >= 11).all()
    assert (rows["Body Weight (g)"].astype(float) > 14).all()


def test_second_run_does_nothing_and_foreign_folders_are_refused(study, tmp_path):
    out, _ = study
    assert simulate(out, weeks=(3,), **COARSE).done_before
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(OutputExistsError):
        simulate(tmp_path, weeks=(0,), **COARSE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preset": "huge"}, "preset"),
        ({"preset": "full"}, "GB of memory"),
        ({"animals": 0}, "at least one animal"),
        ({"weeks": ()}, "Weeks"),
        ({"weeks": (0, 0)}, "Weeks"),
        ({"weeks": (-1,)}, "Weeks"),
        ({"seed": -1}, "seed"),
        ({"dose": "lethal"}, "dose"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(tmp_path, change, message):
    settings = {"preset": "tiny", "animals": 1, "weeks": (0,), "seed": 1} | change
    with pytest.raises(SettingsError, match=message):
        simulate(tmp_path / "out", **settings)
    assert list(Path(tmp_path).iterdir()) == []


def test_mineral_in_the_beam_lies_where_the_labels_are():
    chosen = preset("tiny")
    geometry = chosen.geometry(2.0)
    mouse = animal(5, tumour_side=None)
    pose = scan_pose(mouse, 0, 5)
    soft = spectrum.soft_materials(spectrum.tube_spectrum())
    body = body_in_beam(mouse, 0, pose, chosen, geometry, soft)
    labels = label_volume(mouse, 0, pose, geometry)
    grid = reconstruction_grid(geometry)
    y, x, z = np.nonzero(body.mineral.lines > 500)
    index = np.rint(grid.mm_to_index(body.mineral.grid.index_to_mm(np.stack([z, y, x], axis=1)))).astype(int)
    inside = ((index >= 0) & (index < grid.shape)).all(axis=1)
    assert inside.mean() > 0.7
    bones = ndimage.binary_dilation((labels > 0) & (labels != LABELS["holder"]))  # labels are coarser
    assert bones[tuple(index[inside].T)].mean() > 0.99
    assert bones.mean() < 0.05
    # and the flesh is there: no mineral without muscle about it
    points = body.muscle.grid.mm_to_index(body.mineral.grid.index_to_mm(np.stack([z, y, x], axis=1)))
    k, j, i = np.rint(points).astype(int).T
    assert body.muscle.lines[j, i, k].mean() > 0.9
