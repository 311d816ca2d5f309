"""The six components: one spelling in writing, many in reading."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bonemet.core.errors import MissingInputError, SettingsError
from bonemet.core.ids import ScanKey
from bonemet.dataset import layout
from bonemet.dataset.layout import Component

ANIMALS = st.from_regex(r"\A[A-Za-z0-9]([A-Za-z0-9_-]{0,6}[A-Za-z0-9])?\Z").filter(
    lambda a: "week" not in a.lower()
)
WEEKS = st.integers(0, 99)
SIDES = st.sampled_from(["left", "right"])
BONES = st.sampled_from(["tibia", "femur"])


def test_published_paths():
    study = Path("STUDY")
    left = ScanKey("871", 0, "left", "tibia")
    imagery = study / "Imagery_Dataset"
    assert (
        layout.folder(study, Component.ROTATION_XRAY, ScanKey("871", 0))
        == imagery / "Rotation-X-ray/871/week 0"
    )
    assert layout.folder(study, Component.RECON_CT, left) == imagery / "Recon-CT/871/week 0"
    assert layout.folder(study, Component.SEG_CT, left) == imagery / "Seg-CT/871 left tibia/week 0"
    assert layout.folder(study, Component.REGIST_CT, left) == imagery / "Regist-CT/871 left tibia/week 0"
    roi = ScanKey("871", 3, "left", "tibia")
    assert layout.folder(study, Component.ROI_CT, roi) == imagery / "ROI-CT/871L proximal tibia/week 3"
    assert layout.record_path(study) == study / "MiceMediRec Dataset/record.csv"
    assert layout.truth_folder(study, roi) == study / "truth/871 week 3"


@given(animal=ANIMALS, week=WEEKS, side=SIDES, bone=BONES, component=st.sampled_from(Component))
def test_every_key_comes_back(tmp_path_factory, animal, week, side, bone, component):
    study = tmp_path_factory.mktemp("study")
    whole = component in (Component.ROTATION_XRAY, Component.RECON_CT)
    key = ScanKey(animal, week) if whole else ScanKey(animal, week, side, bone)
    path = layout.folder(study, component, key)
    path.mkdir(parents=True)
    assert layout.find(study, component) == [(key, path)]


@pytest.mark.parametrize(
    ("component", "written", "key"),
    [
        (Component.REGIST_CT, "4. Regist-CT/871 left tibia/week 0", ScanKey("871", 0, "left", "tibia")),
        (
            Component.REGIST_CT,
            "Imagery_Dataset/4. Regist-CT/851 Left Tibia/Week 1",
            ScanKey("851", 1, "left", "tibia"),
        ),
        (
            Component.SEG_CT,
            "imagery dataset/SEG_CT/871_right_femur/week_2",
            ScanKey("871", 2, "right", "femur"),
        ),
        (Component.SEG_CT, "Seg-CT/871 spine/week2", ScanKey("871", 2, None, "spine")),
        (Component.SEG_CT, "Seg-CT/week 0/871 week 0 left tibia", ScanKey("871", 0, "left", "tibia")),
        (Component.ROTATION_XRAY, "1. Rotation-X-Ray/001/week 5", ScanKey("001", 5)),
        (Component.RECON_CT, "Recon-CT/week 0/871", ScanKey("871", 0)),
        (Component.ROI_CT, "RoI-CT/001r Proximal Tibia/week 4", ScanKey("001", 4, "right", "tibia")),
    ],
)
def test_reads_other_spellings(tmp_path, component, written, key):
    (tmp_path / written).mkdir(parents=True)
    assert layout.find(tmp_path, component) == [(key, tmp_path / written)]


def test_sorted_by_number_and_whole_folders_only(tmp_path):
    for name in ("10/week 0", "9/week 10", "9/week 2", "9/week 3.partial", "9/notes", ".hidden/week 0"):
        (tmp_path / "Imagery_Dataset" / "Recon-CT" / name).mkdir(parents=True)
    (tmp_path / "Imagery_Dataset" / "Recon-CT" / "readme.txt").write_text("x")
    keys = [key for key, _ in layout.find(tmp_path, Component.RECON_CT)]
    assert keys == [ScanKey("9", 2), ScanKey("9", 10), ScanKey("10", 0)]
    assert layout.find(tmp_path, Component.SEG_CT) == []


@pytest.mark.parametrize("animal", ["", "../x", "a/b", ".x", " a", "a ", "C:x"])
def test_refuses_names_that_leave_the_study(animal):
    with pytest.raises(SettingsError, match="cannot name"):
        layout.folder(Path("s"), Component.RECON_CT, ScanKey(animal, 0))


def test_refuses_a_bone_without_name():
    with pytest.raises(SettingsError, match="single bones"):
        layout.folder(Path("s"), Component.SEG_CT, ScanKey("871", 0))
    with pytest.raises(SettingsError, match="single bones"):
        layout.folder(Path("s"), Component.ROI_CT, ScanKey("871", 0, None, "spine"))
    with pytest.raises(MissingInputError, match="not a folder"):
        layout.find(Path("nowhere at all"), Component.SEG_CT)
