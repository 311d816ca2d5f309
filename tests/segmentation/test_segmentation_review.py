"""What a person says in a review file is done: names, knees and sides, and it stands in the results."""

import numpy as np
import pytest
from segmentation_limbs import Pose, limbs

from bonemet.core.errors import InputError, MissingInputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.core.ids import ScanKey
from bonemet.dataset import derived, layout, review
from bonemet.dataset.layout import Component
from bonemet.io import sidecar, stacks
from bonemet.io.volumes import open_volume
from bonemet.reporting.report import report
from bonemet.segmentation.choices import Cut
from bonemet.segmentation.names import Label
from bonemet.segmentation.revision import Revision
from bonemet.segmentation.slabs import find_limbs
from bonemet.stages.collect import collect, marked_bones
from bonemet.stages.outcome import Outcome
from bonemet.stages.segment import segment
from bonemet.workflows import run as runs

H = 0.1
SPACING = (H, H, H)
T = 95.0


def segmented(grey, revision=None):
    return find_limbs(grey, SPACING, Cut(T, "given"), revision=revision).found


@pytest.fixture(scope="module")
def scan():
    grey, truth = limbs(Pose(legs=("right",), z_range_mm=(-17, 7)), H)  # one leg: its side is a guess
    return grey[:, :, 100:].copy(), truth[:, :, 100:].copy()


@pytest.fixture(scope="module")
def stack(scan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("review") / "871" / "week 0"
    folder.mkdir(parents=True)
    stacks.write_slices(folder, "871_rec", iter(scan[0]), format="png")
    return folder


@pytest.fixture(scope="module")
def plain(scan):
    return segmented(scan[0])


def test_a_knee_slice_parts_the_leg_there_and_nowhere_else(scan, plain):
    leg = np.isin(plain.labels, (Label.RIGHT_TIBIA, Label.RIGHT_FEMUR))
    found = segmented(scan[0], Revision(knees={"right": 120}))
    again = np.isin(found.labels, (Label.RIGHT_TIBIA, Label.RIGHT_FEMUR))
    assert np.count_nonzero(leg ^ again) < 0.02 * np.count_nonzero(
        leg
    )  # the joint space lies within a bone now
    tibia, femur = (np.flatnonzero((found.labels == k).any(axis=(1, 2))) for k in (5, 4))
    assert abs(tibia.max() - 120) <= 1
    assert abs(femur.min() - 121) <= 1
    assert any("right knee at slice 120" in note for note in found.notes)


def test_a_piece_takes_the_name_that_it_is_given(scan, plain):
    spine = np.argwhere(plain.labels == Label.SPINE)
    voxel = tuple(int(v) for v in spine[len(spine) // 2])
    found = segmented(scan[0], Revision(pieces=((voxel, "left femur"),)))
    moved = (plain.labels == Label.SPINE) & (found.labels == Label.LEFT_FEMUR)
    assert moved[voxel]
    kept = ~np.isin(plain.labels, (Label.SPINE, Label.NONE))
    assert (found.labels[kept] == plain.labels[kept]).mean() > 0.9999
    bone = next(b for b in found.bones if b.name == "left femur")
    assert bone.review  # a name given by hand is not thereby accepted


def test_a_dropped_bone_becomes_other_and_is_missing(scan, plain):
    found = segmented(scan[0], Revision(dropped=frozenset({"right femur"})))
    assert not (found.labels == Label.RIGHT_FEMUR).any()
    assert (found.labels[plain.labels == Label.RIGHT_FEMUR] == Label.OTHER).mean() > 0.99
    assert found.missing["right femur"] == "a person dropped it."


def test_a_piece_where_there_is_no_bone_is_refused(scan):
    with pytest.raises(InputError, match="no bone is there"):
        segmented(scan[0], Revision(pieces=(((0, 0, 0), "left femur"),)))
    with pytest.raises(InputError, match="no left leg"):
        segmented(scan[0], Revision(knees={"left": 120}))


def test_marked_bones_bring_a_template_that_says_nothing_until_it_is_edited(stack, tmp_path):
    out = tmp_path / "bones"
    first = segment(stack, out, voxel_um=100, threshold=T)
    template = tmp_path / "bones.review.toml"
    text = template.read_text(encoding="utf-8")
    assert '["871 week 0"]' in text
    assert '# accept = ["right tibia", "right femur"]' in text
    assert "Only one leg was found" in text
    assert review.read(template, "871 week 0") == review.Entry()
    assert segment(stack, out, voxel_um=100, threshold=T, review=template).done_before

    template.write_text(
        text.replace("# accept", "accept").replace("# left =", "left =") + 'note = "prone"\n',
        encoding="utf-8",
    )
    again = segment(stack, out, voxel_um=100, threshold=T, review=template, overwrite=True)
    names = {b["name"]: b for b in again.results["bones"]}
    assert again.results["side_source"] == "review"
    assert again.results["left"] == "high-x"
    assert set(names) - {"spine"} == {"left tibia", "left femur"}  # the other side now
    assert again.results["reviewed"]["accept"] == ["right tibia", "right femur"]
    assert any("Review: prone" in w for w in again.warnings)
    assert any("accepted the right tibia, which was not found" in w for w in again.warnings)
    old = {b["name"]: b["voxels"] for b in first.results["bones"]}
    assert names["left tibia"]["voxels"] == old["right tibia"]


def test_accepted_bones_are_no_longer_marked(stack, tmp_path):
    said = tmp_path / "said.toml"
    said.write_text('["871 WEEK_0"]\naccept = ["right tibia", "right femur"]\n', encoding="utf-8")
    done = segment(stack, tmp_path / "bones", voxel_um=100, threshold=T, review=said)
    named = {b["name"]: b for b in done.results["bones"]}
    assert not named["right tibia"]["review"]
    assert named["right tibia"]["accepted"]
    assert named["right tibia"]["confidence"] < 0.7  # what was found stays on record
    assert not any("marked for review" in w for w in done.warnings)
    assert not (tmp_path / "bones.review.toml").exists()
    assert open_volume(tmp_path / "bones" / "871 week 0 right tibia").name == "871 week 0 right tibia"


def test_a_template_is_added_once_and_what_stands_there_stays(tmp_path):
    path = tmp_path / "review.toml"
    bones = [{"name": "left tibia", "confidence": 0.5, "reasons": ["Why."], "review": True}]
    path.write_text('["872 week 0"]\ndrop = ["spine"]\n', encoding="utf-8")
    legs = {"legs": [{"tibia": "left tibia", "knee_voxel": [101.6, 1, 2]}]}
    assert review.add_template(path, "871 week 0", bones, legs)
    assert not review.add_template(path, "871 week 0", bones, legs)
    text = path.read_text(encoding="utf-8")
    assert "# knee = { left = 102 }" in text
    assert review.read(path, "872 week 0").drop == ("spine",)
    assert review.read(path, "871 week 0") == review.Entry()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "not valid TOML"),
        ('["871 week 0"]\nleft = "west"', "'871 week 0'.*left"),
        ('["871 week 0"]\nkne = 3', "kne"),
        ('["871 week 0"]\nknee = { left = "high" }', "knee.left"),
        ('["871 week 0"]\npieces = [{ at = [1, 2], bone = "left femur" }]', "pieces.0.at"),
        ('["871 week 0"]\npieces = [{ at = [1, 2, 3], bone = "skull" }]', "pieces.0.bone"),
        ('["871 week 0"]\naccept = ["tibia"]', "accept.0"),
        ("note = 3", "'note'"),
    ],
)
def test_faults_of_a_review_file_are_told_in_one_sentence(tmp_path, text, said):
    path = tmp_path / "review.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=said) as error:
        review.read(path, "871 week 0")
    assert str(path) in str(error.value)


def test_a_missing_review_file_and_the_published_method_are_refused(stack, tmp_path):
    with pytest.raises(MissingInputError, match="review file"):
        segment(stack, tmp_path / "bones", voxel_um=100, review=tmp_path / "none.toml")
    path = tmp_path / "review.toml"
    path.write_text('["871 week 0"]\nknee = { left = 3 }\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="default method"):
        segment(stack, tmp_path / "bones", voxel_um=100, method="published", review=path)
    assert not (tmp_path / "bones").exists()


def test_a_studys_review_is_honoured_on_its_next_run_and_its_marks_are_collected(scan, tmp_path, monkeypatch):
    key = ScanKey("871", 0)
    recon = layout.folder(tmp_path, Component.RECON_CT, key)
    recon.mkdir(parents=True)
    stacks.write_slices(recon, "871_rec", iter(scan[0]), format="png")
    grid = sidecar.grid_model(Grid.isotropic(scan[0].shape, H))
    sidecar.write(recon, sidecar.Sidecar(bonemet="0", name="871_rec", grid=grid))
    monkeypatch.setattr(runs, "reconstruct", lambda *_, **__: Outcome([str(recon)], 0.0, 0.0))
    runs._Run(tmp_path, False, runs.SILENT).scan(key, recon)
    femur = layout.folder(tmp_path, Component.SEG_CT, ScanKey.parse("871 week 0 right femur"))
    assert femur.is_dir()
    assert marked_bones(tmp_path, key) == {"871 week 0 right tibia", "871 week 0 right femur"}
    assert collect(tmp_path).results["review"] == ["871 week 0 right femur", "871 week 0 right tibia"]
    page = (tmp_path / report(tmp_path).outputs[0]).read_text(encoding="utf-8")
    assert page.count('right femur <span class="flag">review</span>') == 1
    assert "Only one leg was found, so its side is a guess." in page
    template = tmp_path / review.NAME
    assert "# accept" in template.read_text(encoding="utf-8")

    template.write_text(
        '["871 week 0"]\ndrop = ["right femur"]\naccept = ["right tibia"]\n', encoding="utf-8"
    )
    second = runs._Run(tmp_path, False, runs.SILENT)
    second.scan(key, recon)
    assert second.revised == {"871"}
    assert not femur.exists()
    assert collect(tmp_path).results["review"] == []
    page = (tmp_path / report(tmp_path).outputs[0]).read_text(encoding="utf-8")
    assert 'right tibia <span class="good">accepted</span>' in page
    assert '<span class="flag">review</span>' not in page
    assert derived.labels_folder(tmp_path, key).is_dir()
    third = runs._Run(tmp_path, False, runs.SILENT)
    third.scan(key, recon)
    assert not third.revised
