"""A simulated study: real files, the truth beside them, the same bytes from the same seed."""

import datetime
import json
import math
import re
from dataclasses import replace
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
from bonemet.io import skyscan, slicefiles
from bonemet.io.scans import open_scan
from bonemet.io.volumes import open_volume
from bonemet.records import table
from bonemet.simulation import (
    LABELS,
    animal,
    bone_in_own_frame,
    detector,
    points_in_bone,
    render,
    scan_pose,
    spectrum,
    xray,
)
from bonemet.simulation.motion import Jump, Motion, draw_motion
from bonemet.simulation.phantom import phantom_in_beam
from bonemet.simulation.phantom import truth as phantom_truth
from bonemet.simulation.presets import preset
from bonemet.simulation.scene import (
    aimed_pose,
    body_in_beam,
    label_slabs,
    mineral_field,
    reconstruction_grid,
)
from bonemet.simulation.skeleton import skeleton
from bonemet.stages.simulate import simulate
from bonemet.stages.simulated_scan import Shot, scan_log

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
    # log, record, truth, labels, lesions, gain and its drift, change and cause of two tibiae
    assert len(files) == 260 + 11
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
        place = (np.linalg.inv(matrix) @ [*junction["scan_mm"], 1])[:3]
        assert place[2] == pytest.approx(junction["level_mm"], abs=1e-5)
        assert abs(points_in_bone(mouse, 0, bone, place)[0, 0]) < 0.1  # in the gap between tibia and fibula
        assert junction["slice"] == pytest.approx(junction["scan_mm"][2] / planted["pixel_mm"], abs=1e-3)
    left = np.argwhere(data == LABELS["left tibia"])[:, 2].mean()
    assert left < np.argwhere(data == LABELS["right tibia"])[:, 2].mean()


def test_planted_change(study):
    planted = truth(study[0], 3)
    sick = planted["tumour_side"]
    well = {"left": "right", "right": "left"}[sick]
    for side in ("left", "right"):
        now = planted["tibiae"][side]
        assert (
            now["unchanged_mm3"] + now["formed_mm3"] < now["bone_volume_mm3"]
        )  # the rest lies beyond the plates
        assert 5 < now["bone_volume_mm3"] < 30
        exact = planted["bones"][f"{side} tibia"]["bone_volume_mm3"]
        assert exact == pytest.approx(now["bone_volume_mm3"], rel=0.05)  # whole voxels of 0.08 mm
        assert 0 < abs(now["grown_mm3"]) < 1  # growth, less what thins or is eaten there
        assert now["resorbed_mm3"] > 0  # normal remodelling
        folder = layout.truth_folder(study[0], ScanKey("871", 3))
        masks = open_volume(folder / f"{side} tibia change.nii.gz")
        greys = np.bincount(np.asarray(masks.array()).ravel(), minlength=256) * masks.grid.voxel_mm3
        assert greys[240] == pytest.approx(now["formed_mm3"], rel=1e-4)
        assert greys[60] == pytest.approx(now["resorbed_mm3"], rel=1e-4)
    assert planted["tibiae"][sick]["resorbed_by_disease_mm3"] > 0.1
    assert planted["tibiae"][well]["resorbed_by_disease_mm3"] == 0
    assert planted["tibiae"][well]["formed_by_disease_mm3"] == 0
    assert planted["tibiae"][sick]["needle_track"]["radius_mm"] > 0
    assert planted["tibiae"][well]["needle_track"] is None


def test_lesions_lie_within_the_diseased_tibia(study):
    planted = truth(study[0], 3)
    folder = layout.truth_folder(study[0], ScanKey("871", 3))
    labels, lesions = (open_volume(folder / f"{name}.nii.gz").array() for name in ("labels", "lesions"))
    assert set(np.unique(labels[lesions > 0])) == {LABELS[f"{planted['tumour_side']} tibia"]}
    assert {1, 3} <= set(np.unique(lesions))


def test_poses_of_all_bones_are_told(study):
    planted = truth(study[0], 3)
    assert set(planted["other_bones"]) == {"body", "left foot", "right foot"}
    for matrix in planted["other_bones"].values():
        assert abs(np.linalg.det(np.array(matrix)[:3, :3])) == pytest.approx(1, abs=1e-6)
    grown = planted["bones"]["left tibia"]["growth_mm"]
    assert 0 < grown["distal"] < grown["proximal"] < 0.4


def test_records(study):
    out, _ = study
    rows = table.read(layout.record_path(out))
    assert list(rows["Animal"]) == ["871"] * 2
    assert list(rows["Week"]) == ["3"] * 2
    tumour = rows["Tibiae tumor inoculation"]
    assert set(rows["Side"][tumour == "with tumor"]) == {truth(out, 3)["tumour_side"]}
    assert (rows["Age (week)"].astype(float) >= 11).all()
    assert set(rows["Injection"]) == {"tumor cells", "none"}
    assert set(rows["Arm"]) == {"tumour"}
    assert (rows["Average Radiant Efficiency (uW/cm2)"].astype(float) > 0).all()
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
        ({"preset": "full", "context": ThreadContext(workers=2, memory_gb=1.0)}, "GB of memory"),
        ({"motion": "much"}, "move in some"),
        ({"field": (215, 100)}, "window"),
        ({"off_axis_mm": 3.0}, "narrow"),
        ({"preset": "narrow", "off_axis_mm": 14.0}, "off the axis"),
        ({"animals": 0}, "at least one animal"),
        ({"weeks": ()}, "Weeks"),
        ({"weeks": (0, 0)}, "Weeks"),
        ({"weeks": (-1,)}, "Weeks"),
        ({"weeks": (0, 13)}, "week"),
        ({"arms": ("cured",)}, "arms"),
        ({"arms": ()}, "arms"),
        ({"strain": "CD-1"}, "strain"),
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
    labels = np.concatenate(list(label_slabs(mouse, 0, pose, geometry)))
    grid = reconstruction_grid(geometry)
    z, y, x = np.nonzero(body.mineral.array() > 500)
    index = np.rint(grid.mm_to_index(body.mineral.grid.index_to_mm(np.stack([z, y, x], axis=1)))).astype(int)
    inside = ((index >= 0) & (index < grid.shape)).all(axis=1)
    assert inside.mean() > 0.7
    bones = ndimage.binary_dilation((labels > 0) & (labels != LABELS["holder"]))  # labels are coarser
    assert bones[tuple(index[inside].T)].mean() > 0.99
    assert bones.mean() < 0.05
    # and the flesh is there: no mineral without muscle about it
    points = body.muscle.grid.mm_to_index(body.mineral.grid.index_to_mm(np.stack([z, y, x], axis=1)))
    k, j, i = np.rint(points).astype(int).T
    assert body.muscle.array()[k, j, i].mean() > 0.9


def test_parts_and_the_whole_are_the_same_bytes():
    mouse = animal(5, tumour_side="left")
    pose = scan_pose(mouse, 3, 5)
    parts = skeleton(mouse, 3, pose)
    shape, corner = (90, 100, 170), (-12.0, -4.0, -9.0)
    whole = render(mouse, 3, pose, shape, 0.15, corner)
    for tile in (8, 64):
        made = mineral_field(parts, whole.grid, tile=tile, mapper=ThreadContext(workers=2).map)
        assert np.array_equal(made.array(), whole.bone), tile
    geometry = preset("tiny").geometry()
    slabs = np.concatenate(list(label_slabs(mouse, 3, pose, geometry, depth=8)))
    assert np.array_equal(slabs, np.concatenate(list(label_slabs(mouse, 3, pose, geometry, depth=120))))
    grid = reconstruction_grid(geometry)
    rendered = render(mouse, 3, pose, grid.shape, geometry.pixel_mm, grid.origin_mm, supersample=1).labels
    assert np.array_equal(slabs, rendered)


def test_labels_of_a_broken_tibia_are_its_two_pieces_where_they_lie():
    mouse = replace(animal(4, tumour_side="left"), fractured=True)
    pose = scan_pose(mouse, 4, 5)
    geometry = preset("tiny").geometry()
    grid = reconstruction_grid(geometry)
    labels = np.concatenate(list(label_slabs(mouse, 4, pose, geometry)))
    rendered = render(mouse, 4, pose, grid.shape, geometry.pixel_mm, grid.origin_mm, supersample=1).labels
    assert np.count_nonzero(labels == LABELS["left tibia"]) > 1000
    assert np.array_equal(labels, rendered)


def test_narrow_picture_of_a_leg_is_the_middle_of_the_wide_one():
    wide, mouse = preset("tiny"), animal(5, tumour_side="left")
    narrow = wide.window(60, 40)
    pose = aimed_pose(scan_pose(mouse, 0, 5), "right", 3.0)
    aimed = pose.matrices["right tibia"] @ [0, 0, 1.8, 1]
    assert aimed[:3] == pytest.approx([3.0, 0.0, 0.0], abs=1e-9)
    beam = spectrum.tube_spectrum()
    soft, table = spectrum.soft_materials(beam), spectrum.attenuation_table(beam)
    images = []
    for chosen in (wide, narrow):
        geometry = chosen.geometry(1.5)
        body = body_in_beam(mouse, 0, pose, chosen, geometry, soft)
        assert (body.far is None) == (chosen is wide)
        images.append([xray.project(body, geometry, v, table) for v in (0, 110)])
    top = wide.optical_axis_row - narrow.optical_axis_row
    for whole, part in zip(*images, strict=True):
        middle = whole[top : top + 40, 78 : 78 + 60]
        assert middle.std() > 0.05
        # what lies far from the axis is drawn in voxels of 0.4 mm here
        assert np.abs(part - middle).mean() < 0.01
        assert np.corrcoef(part.ravel(), middle.ravel())[0, 1] > 0.99


def test_narrow_scan_with_motion_and_a_window_tells_what_was_planted(tmp_path):
    out = tmp_path / "study"
    simulate(out, weeks=(0,), motion="all", field=(120, 60), context=ThreadContext(workers=2), **COARSE)
    scan = open_scan(layout.folder(out, Component.ROTATION_XRAY, ScanKey("871", 0)))
    planted = truth(out, 0)
    assert scan.log["Image crop origin X"] == "48"
    assert scan.log["Partial Width"] == "56%"
    assert scan.geometry.optical_axis_row == planted["optical_axis_row"]
    assert scan.geometry.pixel_mm == pytest.approx(planted["pixel_mm"], rel=1e-7)
    motion, camera = planted["motion"], planted["camera"]
    assert motion["moves"]
    gain = slicefiles.read(layout.truth_folder(out, ScanKey("871", 0)) / "gain.tif")
    assert gain.shape == (60, 120)
    assert gain.std() == pytest.approx(camera["gain_error"], rel=0.05)

    # the planted motion explains the last picture better than none does
    mouse = animal(3000, age_weeks=8.0, tumour_side=planted["tumour_side"])
    chosen = preset("tiny").window(120, 60)
    geometry = chosen.geometry(planted["axis_offset_px"], planted["axis_tilt_deg"])
    beam = spectrum.tube_spectrum()
    pose = pose_of(planted, geometry, mouse)
    body = body_in_beam(mouse, 0, pose, chosen, geometry, spectrum.soft_materials(beam))
    moved = Motion(
        tuple(motion["drift_mm"]), tuple(Jump(j["view"], tuple(j["shift_mm"])) for j in motion["jumps"])
    )
    shift = moved.shift_mm(259, 260)
    assert 0.01 < np.linalg.norm(shift) < 0.4
    table = spectrum.attenuation_table(beam)
    seen = np.asarray(scan.projections[259]) / 57000
    still, there = (
        np.abs(xray.project(body, geometry, 259, table, s) - seen).mean() for s in ((0.0, 0.0, 0.0), shift)
    )
    assert there < still


def pose_of(planted, geometry, mouse):
    """The pose that a study drew, checked against the matrices in its truth."""
    pose = scan_pose(mouse, 0, 3)
    corner = np.asarray(reconstruction_grid(geometry).origin_mm)
    for bone in ("left tibia", "right femur"):
        there = np.array(planted["bones"][bone]["matrix"])
        assert there[:3, 3] + corner == pytest.approx(pose.matrices[bone][:3, 3], abs=0.3)
    return pose


def test_motion_is_rare_and_reproducible():
    moving = [draw_motion(np.random.default_rng(seed), 260, "some") for seed in range(2000)]
    share = np.mean([not m.still for m in moving])
    assert 0.02 < share < 0.04
    assert all(draw_motion(np.random.default_rng(s), 260, "none").still for s in range(50))
    drawn = [draw_motion(np.random.default_rng(s), 260, "all") for s in range(50)]
    assert not any(m.still for m in drawn)
    assert any(m.jumps and any(m.drift_mm) for m in drawn)
    one = Motion((0.1, 0.0, -0.2), (Jump(100, (0.0, 0.05, 0.0)),))
    assert one.shift_mm(0, 201) == (0.0, 0.0, 0.0)
    assert one.shift_mm(99, 201) == pytest.approx((0.0495, 0.0, -0.099))
    assert one.shift_mm(100, 201) == pytest.approx((0.05, 0.05, -0.1))


def test_log_has_the_keys_of_a_real_one():
    real = Path(__file__).parents[3] / "shared/data/skyscan-logs/1272-mouse-head/DRP_P21_3~00.log"
    if not real.is_file():
        pytest.skip("logs of real scanners are not here")
    theirs = skyscan.parse(real.read_text("latin-1"))
    rng = np.random.default_rng(1)
    shot = Shot(
        preset=preset("narrow"),
        camera=detector.dose("low"),
        dose="low",
        geometry=preset("narrow").geometry(2.0),
        seed=int(rng.integers(9)),
        when=datetime.datetime(2019, 3, 4, 9, 5, 7),
    )
    ours = scan_log(shot, "871_week0")
    for section in ("System", "User", "Acquisition"):
        known = [k for k in ours[section] if k != "Simulated Photons per Pixel"]
        assert [k for k in theirs[section] if k in known] == known, section
    date = re.compile(r"\d\d \w{3} \d{4}  \d\dh:\d\dm:\d\ds")
    for log in (ours["Acquisition"], theirs["Acquisition"]):
        assert date.fullmatch(log["Study Date and Time"])
        assert re.fullmatch(r"\d+h:\d+m:\d+s", log["Scan duration"])
    assert (ours["Acquisition"]["Image crop origin X"], ours["Acquisition"]["Partial Width"]) == (1696, "16%")


def chord(point, direction, centre, diameter):
    """Length of a line through a circle; nan for lines that graze it."""
    away = np.asarray(centre) - point
    across = abs(away[0] * direction[1] - away[1] * direction[0])
    if abs(across - diameter / 2) < 0.2:
        return math.nan
    return 2 * math.sqrt(max(diameter**2 / 4 - across**2, 0.0))


def test_calibration_rods_have_their_line_integrals():
    chosen = replace(preset("tiny"), bone_mm=0.04, soft_mm=0.1).window(160, 16)
    geometry = replace(chosen.geometry(1.0), angles_deg=np.array([0.0, 40.0, 90.0]))
    beam = spectrum.single_energy(28.0)
    body = phantom_in_beam(chosen, geometry, beam)
    table = spectrum.attenuation_table(beam)
    holder, *inserts = phantom_truth(beam)
    row, compared = int(geometry.optical_axis_row), 0
    for view, angle in enumerate(np.radians(geometry.angles_deg)):
        measured = -np.log(xray.project(body, geometry, view, table)[row])
        source = geometry.sod_mm * np.array([math.sin(angle), math.cos(angle)])
        for u in range(30, 130, 3):
            off = (u - 79.5 - 1.0) * geometry.pixel_mm
            pixel = off * np.array([math.cos(angle), -math.sin(angle)])
            direction = (pixel - source) / np.linalg.norm(pixel - source)
            water = chord(source, direction, (0, 0), holder["diameter_mm"])
            wanted = water * holder["attenuation_per_mm"]
            for rod in inserts:
                length = chord(source, direction, rod["centre_mm"], rod["diameter_mm"])
                wanted += length * (rod["attenuation_per_mm"] - holder["attenuation_per_mm"])
            if not math.isnan(wanted):
                assert measured[u] == pytest.approx(wanted, rel=0.012, abs=0.004), (view, u)
                compared += 1
    assert compared > 50
    densities = {row["name"]: row["density_g_cm3"] for row in inserts}
    assert densities["hydroxyapatite 0.25"] == 0.25
    assert densities["hydroxyapatite 0.75"] == 0.75


def test_calibration_scan_stands_beside_the_study(tmp_path):
    out = tmp_path / "study"
    small = COARSE | {"field": (100, 16)}
    outcome = simulate(out, weeks=(0,), calibration=True, context=ThreadContext(workers=2), **small)
    scan = open_scan(out / outcome.results["calibration"])
    assert scan.projections.shape == (260, 16, 100)
    known = json.loads((out / "truth" / "calibration" / "truth.json").read_text())
    assert {i["density_g_cm3"] for i in known["inserts"]} == {0.0, 0.25, 0.75}
    assert known["photons_per_pixel"] == 15_000
    view = np.asarray(scan.projections[0])[8] / 57000
    assert view[:10] == pytest.approx(np.ones(10), abs=0.08)
    assert view.min() < 0.3
    assert [key for key, _ in layout.find(out, Component.ROTATION_XRAY)] == [ScanKey("871", 0)]
