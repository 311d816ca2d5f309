"""Stacks on disk: registered, set upright, and the published class on top."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from test_registration_growth import broken
from test_registration_shapes import LENGTH, Pose, error_voxels, image

from bonemet.api.registration import CTRegistration
from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, MissingInputError, SettingsError
from bonemet.core.transform import Transform
from bonemet.engine.context import ThreadContext
from bonemet.io import sidecar, stacks
from bonemet.io.transforms import read_transform, write_transform
from bonemet.io.volumes import open_volume
from bonemet.kernels.resample import resample
from bonemet.stages.carry import carry
from bonemet.stages.orient import orient
from bonemet.stages.register import register

VOXEL = 0.2
FIRST = Pose.make(10, (3, -4), (0.2, 0.1, 0))
LATER = Pose.make(-120, (8, 6), (1, 2, 3))


def put(folder, volume, name):
    """Write a volume as a stack with its sidecar."""
    folder.mkdir(parents=True)
    form = {"uint8": "png", "uint16": "tiff", "float32": "float"}[str(volume.data.dtype)]
    stacks.write_slices(folder, f"{name} ", volume.array(), format=form)
    model = sidecar.Sidecar(
        bonemet="0",
        name=name,
        grid=sidecar.grid_model(volume.grid),
        quantity=sidecar.quantity_model(volume.quantity),
    )
    sidecar.write(folder, model)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Week 0 and 3 of a left tibia, week 0 of a right one, under ``Seg-CT/week N``."""
    root = tmp_path_factory.mktemp("study")
    for week, side, pose in ((0, "left", FIRST), (3, "left", LATER), (0, "right", FIRST)):
        name = f"871 week {week} {side} tibia"
        volume = image(pose, voxel=VOXEL, side=side, noise=4, seed=week, name=name)
        put(root / "Seg-CT" / f"week {week}" / name, volume, name)
    return root


def error(results):
    return error_voxels(Transform(np.array(results["matrix"])), FIRST, LATER, VOXEL)


def test_a_stack_is_written_on_the_fixed_grid_with_its_transform(study, tmp_path):
    fixed = study / "Seg-CT/week 0/871 week 0 left tibia"
    moving = study / "Seg-CT/week 3/871 week 3 left tibia"
    out = tmp_path / "aligned"
    done = register(moving, fixed, out)
    assert done.outputs == [str(out), str(tmp_path / "aligned.tfm")]
    json.dumps(done.as_dict(), allow_nan=False)
    assert error(done.results) < 0.2
    assert done.results["review"] is False
    assert not done.results["mirrored"]
    written = open_volume(out)
    assert written.grid == open_volume(fixed).grid
    assert written.data.dtype == np.uint8
    assert written.name == "871 week 3 left tibia"
    assert (out / "871 week 3 left tibia registered 00000000.png").is_file()
    a, b = written.array().astype(float), open_volume(fixed).array().astype(float)
    agree, beside = (np.corrcoef(v.ravel(), b.ravel())[0, 1] for v in (a, np.roll(a, 1, axis=2)))
    assert agree > 0.9
    assert beside < 0.8
    kept = read_transform(tmp_path / "aligned.tfm")
    assert np.allclose(kept.matrix, done.results["matrix"], atol=1e-9)
    known = sidecar.read(out)
    assert known.steps[-1].name == "register"
    assert register(moving, fixed, out).done_before


@pytest.mark.parametrize(
    ("dtype", "gain", "suffix"), [(np.uint16, 20000, "tif"), (np.float32, 0.5, "tif"), (np.uint8, 130, "png")]
)
def test_the_type_and_meaning_are_the_moving_ones(study, tmp_path, dtype, gain, suffix):
    volume = image(LATER, voxel=VOXEL, gain=gain, offset=gain / 10, dtype=dtype)
    meaning = Quantity(Kind.GREY, (0.0, 1.5), 65535) if dtype == np.uint16 else volume.quantity
    moving = put(tmp_path / "m", volume.with_data(volume.data, meaning), "m")
    done = register(moving, study / "Seg-CT/week 0/871 week 0 left tibia", tmp_path / "out")
    written = open_volume(tmp_path / "out")
    assert written.data.dtype == dtype
    assert written.quantity == meaning
    assert len(list((tmp_path / "out").glob(f"*.{suffix}"))) == written.grid.shape[0]
    assert error(done.results) < 0.2


def test_threads_write_the_same_bytes(study, tmp_path):
    fixed = study / "Seg-CT/week 0/871 week 0 left tibia"
    moving = study / "Seg-CT/week 3/871 week 3 left tibia"
    for name, context in (("one", ThreadContext(1)), ("three", ThreadContext(3))):
        register(moving, fixed, tmp_path / name, context=context)
    for path in sorted((tmp_path / "one").glob("*.png")):
        assert path.read_bytes() == (tmp_path / "three" / path.name).read_bytes()
    assert (tmp_path / "one.tfm").read_bytes() == (tmp_path / "three.tfm").read_bytes()


def test_slices_may_be_left_out(study, tmp_path):
    fixed = study / "Seg-CT/week 0/871 week 0 left tibia"
    moving = study / "Seg-CT/week 3/871 week 3 left tibia"
    done = register(moving, fixed, tmp_path / "out", fixed_slices=(10, 50), moving_slices=(None, -3))
    grid = open_volume(tmp_path / "out").grid
    assert grid.shape[0] == 40
    assert grid.origin_mm[2] == pytest.approx(open_volume(fixed).grid.origin_mm[2] + 10 * VOXEL)
    assert error(done.results) < 0.3
    with pytest.raises(SettingsError, match="none"):
        register(moving, fixed, tmp_path / "no", fixed_slices=(50, 10))


def test_the_other_leg_is_written_and_marked(study, tmp_path):
    done = register(
        study / "Seg-CT/week 0/871 week 0 right tibia",
        study / "Seg-CT/week 0/871 week 0 left tibia",
        tmp_path / "out",
    )
    assert done.results["review"] is True
    assert any("other leg" in w for w in done.warnings)
    assert not done.results["mirrored"]
    assert not any("named" in w for w in done.warnings)


def test_a_mirrored_leg_says_so_in_its_name_and_transform(study, tmp_path):
    left, right = (study / f"Seg-CT/week 0/871 week 0 {side} tibia" for side in ("left", "right"))
    done = register(right, left, tmp_path / "out", mirror=True)
    assert done.results["mirrored"]
    assert read_transform(tmp_path / "out.tfm").mirrored
    assert open_volume(tmp_path / "out").name == "871 week 0 right tibia mirrored"
    again = register(right, tmp_path / "out", tmp_path / "again", mirror=True)
    assert again.results["mirrored"]
    assert not any("named" in w for w in again.warnings)


def test_a_leg_under_the_wrong_name_is_told(study, tmp_path):
    volume = open_volume(study / "Seg-CT/week 0/871 week 0 right tibia")
    wrong = put(tmp_path / "wrong", volume.with_data(volume.array()), "871 week 3 left tibia")
    done = register(wrong, study / "Seg-CT/week 0/871 week 0 left tibia", tmp_path / "out", mirror=True)
    assert done.results["review"]
    assert any("named left" in reason for reason in done.results["reasons"])
    done = register(wrong, study / "Seg-CT/week 0/871 week 0 right tibia", tmp_path / "out2")
    assert any("named left and right" in reason for reason in done.results["reasons"])


def test_a_tibia_is_set_upright_and_the_later_week_follows(study, tmp_path):
    week_0 = study / "Seg-CT/week 0/871 week 0 left tibia"
    up = orient(week_0, tmp_path / "up", side="left")
    json.dumps(up.as_dict(), allow_nan=False)
    assert not up.results["review"], up.results["reasons"]
    assert (tmp_path / "up.tfm").is_file()
    grid = open_volume(tmp_path / "up").grid
    assert grid.origin_mm == (0, 0, 0)
    done = register(study / "Seg-CT/week 3/871 week 3 left tibia", tmp_path / "up", tmp_path / "out")
    whole = Transform(np.array(done.results["matrix"])).after(
        Transform(np.array(up.results["matrix"])).inverse()
    )
    assert error({"matrix": whole.matrix}) < 0.3
    assert open_volume(tmp_path / "out").grid.same_as(grid)


def test_bad_input_leaves_nothing_behind(study, tmp_path):
    fixed = study / "Seg-CT/week 0/871 week 0 left tibia"
    empty = image(FIRST, voxel=0.5)
    put(tmp_path / "empty", empty.with_data(np.zeros(empty.data.shape, np.uint8)), "nothing")
    with pytest.raises(InputError, match="'nothing' is empty"):
        register(tmp_path / "empty", fixed, tmp_path / "out")
    labels = empty.with_data(empty.data, Quantity(Kind.LABELS))
    with pytest.raises(InputError, match="labels"):
        register(put(tmp_path / "labels", labels, "labels"), fixed, tmp_path / "out")
    with pytest.raises(MissingInputError):
        register(tmp_path / "nowhere", fixed, tmp_path / "out")
    for setting in ({"method": "magic"}, {"kind": "elastic"}, {"interpolation": "quintic"}):
        with pytest.raises(SettingsError):
            register(fixed, fixed, tmp_path / "out", **setting)
    with pytest.raises(SettingsError, match="rigid"):
        register(fixed, fixed, tmp_path / "out", method="published", kind="affine")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "labels"]


# the published class


def test_the_papers_example_from_week_0_to_a_later_week(study, tmp_path):
    config = {
        "workspace": str(study / "Seg-CT" / "week 0"),
        "outputdir": str(tmp_path / "Regist-CT" / "week 0"),
        "img_z_range": [None, None],
        "ref_z_range": [None, None],
        "initial_transform_angles": [np.pi * i / 16 for i in range(-16, 10)],
        "BASELINE_REG": True,
    }
    week_0 = CTRegistration(config)
    first = week_0.register_ct(config["workspace"], "871 week 0 left tibia", 0, config["outputdir"])
    assert (tmp_path / "Regist-CT/week 0/871 week 0 left tibia/bonemet.json").is_file()
    assert not first.results["review"]
    later = CTRegistration(config | {"BASELINE_REG": False, "workspace": str(study / "Seg-CT" / "week 3")})
    folder = str(tmp_path / "Regist-CT" / "week 3")
    done = later.register_ct(str(study / "Seg-CT" / "week 3"), "871_Week_3_LEFT_tibia", 3, folder)
    whole = Transform(np.array(done.results["matrix"])).after(
        Transform(np.array(first.results["matrix"])).inverse()
    )
    assert error({"matrix": whole.matrix}) < 0.3
    assert (tmp_path / "Regist-CT/week 3/871_Week_3_LEFT_tibia.tfm").is_file()


def test_week_0_goes_to_the_reference(study, tmp_path):
    shutil.copytree(study / "Seg-CT/week 0/871 week 0 left tibia", tmp_path / "ref" / "left tibia")
    shutil.copytree(study / "Seg-CT/week 0/871 week 0 right tibia", tmp_path / "ref" / "right tibia")
    for refdir in (tmp_path / "ref", tmp_path / "ref" / "left tibia"):
        registration = CTRegistration({"refdir": refdir, "ref_z_range": (5, None)})
        done = registration.register_ct(
            str(study / "Seg-CT/week 3"), "871 week 3 left tibia", 3, str(tmp_path / refdir.name)
        )
        assert error(done.results) < 0.2


def test_the_datasets_own_layout_is_read(study, tmp_path):
    for week in (0, 3):
        shutil.copytree(
            study / f"Seg-CT/week {week}/871 week {week} left tibia",
            tmp_path / f"Seg/871 left tibia/week {week}",
        )
    registration = CTRegistration({"refdir": tmp_path / "Seg", "BASELINE_REG": False})
    done = registration.register_ct(str(tmp_path / "Seg"), "871 week 3 left tibia", 3, str(tmp_path / "out"))
    assert error(done.results) < 0.2


def test_a_batch_does_what_it_can_and_names_what_failed(study, tmp_path):
    registration = CTRegistration({"BASELINE_REG": True})
    names = ["871 week 0 left tibia", "999 week 0 left tibia", "871 week 0 right tibia"]
    with pytest.raises(InputError, match=r"1 of 3 tibiae.*999 week 0 left tibia") as failure:
        registration.batch_register(str(study / "Seg-CT/week 0"), names, 0, str(tmp_path / "out"))
    assert "871 week 0 left" not in str(failure.value)
    assert (tmp_path / "out" / names[2] / "bonemet.json").is_file()
    done = registration.batch_register(str(study / "Seg-CT/week 0"), names[::2], 0, str(tmp_path / "out"))
    assert list(done) == names[::2]
    assert all(outcome.done_before for outcome in done.values())


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"refdirr": "x"}, "refdirr"),
        ({"BASELINE_REG": "yes"}, "BASELINE_REG"),
        ({"img_z_range": 7}, "img_z_range"),
        ({"ref_z_range": ["a", None]}, "ref_z_range"),
        ({"initial_transform_angles": "half"}, "radians"),
        ({"initial_transform_angles": []}, "empty"),
    ],
)
def test_wrong_configs_are_refused(config, says):
    with pytest.raises(SettingsError, match=says):
        CTRegistration(config)


def test_what_is_not_there_is_named(study, tmp_path):
    source = str(study / "Seg-CT/week 3")
    (tmp_path / "empty").mkdir()
    cases = [
        ({"refdir": tmp_path / "empty"}, "holds no reference"),
        ({"refdir": tmp_path / "nowhere"}, "does not exist"),
        ({"outputdir": tmp_path, "BASELINE_REG": False}, "871 week 0 left tibia"),
        ({"refdir": study / "Seg-CT/week 0"}, None),
    ]
    for config, says in cases[:3]:
        with pytest.raises(MissingInputError, match=says):
            CTRegistration(config).register_ct(source, "871 week 3 left tibia", 3, str(tmp_path / "out"))
    with pytest.raises(InputError, match="week 3"):
        CTRegistration({}).register_ct(source, "871 week 3 left tibia", 0, str(tmp_path / "out"))
    with pytest.raises(MissingInputError, match="900"):
        CTRegistration({}).register_ct(source, "900 week 3 left tibia", 3, str(tmp_path / "out"))
    with pytest.raises(InputError, match="itself"):
        CTRegistration({"refdir": study / "Seg-CT/week 0", "BASELINE_REG": False}).register_ct(
            str(study / "Seg-CT/week 0"), "871 week 0 left tibia", 0, str(tmp_path / "out")
        )
    assert not (tmp_path / "out").exists()


# frames, halves, regions carried back, poses by hand


def test_a_later_week_goes_through_week_0_into_the_upright_frame_in_one_step(study, tmp_path):
    week_0 = study / "Seg-CT/week 0/871 week 0 left tibia"
    week_3 = study / "Seg-CT/week 3/871 week 3 left tibia"
    up = orient(week_0, tmp_path / "up", side="left")
    done = register(week_3, week_0, tmp_path / "out", frame=tmp_path / "up")
    assert open_volume(tmp_path / "out").grid.same_as(open_volume(tmp_path / "up").grid)
    through = Transform(np.array(done.results["fixed_matrix"])).after(
        Transform(np.array(up.results["matrix"]))
    )
    assert np.allclose(through.matrix, done.results["matrix"])
    assert error({"matrix": done.results["fixed_matrix"]}) < 0.2
    a, b = (open_volume(tmp_path / name).array().astype(float) for name in ("out", "up"))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9
    with pytest.raises(MissingInputError, match="beside"):
        register(week_3, week_0, tmp_path / "no", frame=week_0)


def test_halfway_both_weeks_are_interpolated(study, tmp_path):
    week_0 = study / "Seg-CT/week 0/871 week 0 left tibia"
    week_3 = study / "Seg-CT/week 3/871 week 3 left tibia"
    register(week_3, week_0, tmp_path / "later", symmetric=True)
    fixed = tmp_path / "later.fixed.tfm"
    carry(week_0, tmp_path / "later", tmp_path / "first", transforms=[fixed], interpolation="linear")
    angles = [read_transform(p).angle_deg for p in (fixed, tmp_path / "later.tfm")]
    assert angles[0] == pytest.approx(angles[1])
    assert angles[0] > 20
    a, b = (open_volume(tmp_path / name).array().astype(float) for name in ("first", "later"))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9
    with pytest.raises(SettingsError, match="half"):
        register(week_3, week_0, tmp_path / "no", symmetric=True, kind="affine")


def test_a_region_is_carried_back_into_the_scan(study, tmp_path):
    week_0 = study / "Seg-CT/week 0/871 week 0 left tibia"
    orient(week_0, tmp_path / "up", side="left")
    upright = open_volume(tmp_path / "up")
    box = np.zeros(upright.grid.shape, np.uint8)
    box[20:40, 4:12, 5:14] = 255
    put(tmp_path / "region", upright.with_data(box), "region")
    carry(tmp_path / "region", week_0, tmp_path / "native", transforms=[tmp_path / "up.tfm"], back=True)
    native = open_volume(tmp_path / "native")
    assert native.grid.same_as(open_volume(week_0).grid)
    assert set(np.unique(native.array())) == {0, 255}
    volumes = [(v.array() > 0).sum() * v.grid.voxel_mm3 for v in (native, upright.with_data(box))]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.02)
    middle = read_transform(tmp_path / "up.tfm").apply(upright.grid.index_to_mm([29.5, 7.5, 9]))
    found = native.grid.index_to_mm(np.argwhere(native.array() > 0)).mean(0)
    assert np.linalg.norm(found - middle) < VOXEL / 4
    with pytest.raises(SettingsError, match="no transform"):
        carry(week_0, week_0, tmp_path / "no", transforms=[])


def test_a_carried_stack_that_meets_nothing_is_told(study, tmp_path):
    week_0 = study / "Seg-CT/week 0/871 week 0 left tibia"
    far = np.eye(4)
    far[0, 3] = 500
    write_transform(tmp_path / "far.tfm", Transform(far))
    done = carry(week_0, week_0, tmp_path / "out", transforms=[tmp_path / "far.tfm"])
    assert any("apart" in w for w in done.warnings)


def test_a_review_file_holds_a_pose_and_a_persons_word(study, tmp_path):
    week_0 = study / "Seg-CT/week 0/871 week 0 left tibia"
    right = study / "Seg-CT/week 0/871 week 0 right tibia"
    later = study / "Seg-CT/week 3/871 week 3 left tibia"
    truth = Transform(LATER.matrix @ np.linalg.inv(FIRST.matrix))
    write_transform(tmp_path / "hand.tfm", truth)
    review = tmp_path / "poses.toml"
    review.write_text(
        '["871 week 3 left tibia"]\nstart = "hand.tfm"\nrefine = false\nnote = "by eye"\n'
        '["871_week_0_right_tibia"]\naccepted = true\n'
    )
    done = register(later, week_0, tmp_path / "out", pose=review)
    assert np.allclose(done.results["matrix"], truth.matrix, atol=1e-9)
    assert any("by eye" in note for note in done.results["notes"])
    taken = register(right, week_0, tmp_path / "right", pose=review)
    assert taken.results["review"] is False
    assert any("accepted" in note for note in taken.results["notes"])
    refined = register(later, week_0, tmp_path / "refined", pose=tmp_path / "hand.tfm")
    assert error(refined.results) < 0.2
    assert refined.results["inverse_error_um"] < 100
    for content, says in (
        ('["871 week 3 left tibia"]\nstart = "nowhere.tfm"', "nowhere.tfm"),
        ('["871 week 3 left tibia"]\nstrat = "hand.tfm"', "strat"),
        ('["871 week 3 left tibia"]\nrefine = false', "pose"),
        ("[[", "TOML"),
    ):
        review.write_text(content)
        with pytest.raises((SettingsError, MissingInputError), match=says):
            register(later, week_0, tmp_path / "no", pose=review)
    assert not (tmp_path / "no").exists()


def test_a_broken_bone_is_written_with_its_piece_put_back(study, tmp_path):
    later = image(LATER, shape=broken(2.4, (6, 0, 5), np.array((0.3, 0, 0))), voxel=VOXEL, noise=4, seed=3)
    moving = put(tmp_path / "871 week 4 left tibia", later, "871 week 4 left tibia")
    fixed = study / "Seg-CT/week 0/871 week 0 left tibia"
    done = register(moving, fixed, tmp_path / "out")
    (fragment,) = done.results["fragments"]
    assert (fragment["first"], fragment["last"]) == (0, pytest.approx(2.4 / LENGTH, abs=0.04))
    assert done.results["review"]
    own = read_transform(tmp_path / "out.piece1.tfm")
    assert np.allclose(own.matrix, fragment["matrix"])
    written, there = open_volume(tmp_path / "out").array() > 75, open_volume(fixed).array() > 75
    index = np.argwhere(there)
    inside = open_volume(fixed).grid.index_to_mm(index) @ fragment["normal"] >= fragment["level_mm"]
    assert written[tuple(index[inside].T)].mean() > 0.9
    # the main transform alone would have missed half of it
    alone = resample(
        later.array(), later.grid, open_volume(fixed).grid, Transform(np.array(done.results["matrix"]))
    )
    assert (alone > 75)[tuple(index[inside].T)].mean() < 0.7
    carried = carry(tmp_path / "out", moving, tmp_path / "back", transforms=[tmp_path / "out.tfm"], back=True)
    assert any("out.piece1.tfm" in warning for warning in carried.warnings)
