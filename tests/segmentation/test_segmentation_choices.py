"""One choice of threshold for a study: written by people, turned into each scan's own numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, SettingsError
from bonemet.dataset import settings
from bonemet.segmentation import slabs
from bonemet.segmentation.choices import Choice, Cut, cut, parse, recorded
from bonemet.segmentation.threshold import bone_threshold, half_height, local_bone

GREY = Quantity(Kind.GREY, (0.0, 0.51), 255)
NOTHING = Quantity(Kind.GREY)
VOLUME = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        (76, Choice("grey", 76.0)),
        ("76", Choice("grey", 76.0)),
        ("1.2e3", Choice("grey", 1200.0)),
        ("0.12/mm", Choice("attenuation", 0.12)),
        ("0.12 1/mm", Choice("attenuation", 0.12)),
        ("400mgHA", Choice("density", 400.0)),
        ("400 mg HA/cm3", Choice("density", 400.0)),
        ("400 mg HA/cm³", Choice("density", 400.0)),
        ("Published", Choice("published")),
        ("otsu", Choice("otsu")),
        ("half_height", Choice("half-height")),
        ("local", Choice("local")),
        ("local 96:70.5", Choice("local", 96.0, 70.5)),
    ],
)
def test_choices_are_read_as_people_write_them(text, choice):
    assert parse(text) == choice


@pytest.mark.parametrize("text", ["", "bone", "12 HU", "0.12/cm", "/mm", "local 96", float("nan"), "inf"])
def test_other_words_are_refused(text):
    with pytest.raises(SettingsError, match="threshold"):
        parse(text)


@given(st.floats(0.01, 0.5), st.floats(-0.1, 0.0), st.floats(0.52, 2.0))
def test_bone_by_attenuation_is_the_same_bone_through_any_window(attenuation, low, high):
    rng = np.random.default_rng(1)
    true = rng.uniform(low, high, 500)
    quantity = Quantity(Kind.GREY, (low, high), 65535)
    grey = np.rint((true - low) / (high - low) * 65535)
    bone = grey >= cut(parse(f"{attenuation!r}/mm"), VOLUME, quantity).value
    sure = np.abs(true - attenuation) > (high - low) / 65535
    assert np.array_equal(bone[sure], (true >= attenuation)[sure])


def test_density_goes_through_the_calibration():
    line = (1000.0, -20.0)  # mg HA/cm3 for each 1/mm, and at none
    assert cut(parse("230mgHA"), VOLUME, GREY, line).value == 125  # 0.25 of 0.51 per mm
    assert cut(parse("230mgHA"), VOLUME, Quantity(Kind.DENSITY)).value == 230
    with pytest.raises(InputError, match="calibration"):
        cut(parse("230mgHA"), VOLUME, GREY)
    with pytest.raises(InputError, match="without a window"):
        cut(parse("0.1/mm"), VOLUME, NOTHING)


def test_published_is_grey_76_of_8_bits_only():
    assert cut(parse("published"), VOLUME, NOTHING).value == 76
    with pytest.raises(InputError, match="8-bit"):
        cut(parse("published"), VOLUME.astype(np.uint16), NOTHING)


def limb(thickness, bright=190.0, seed=0):
    """A blurred plate of bone in soft tissue in air; its true mask beside it."""
    rng = np.random.default_rng(seed)
    image = np.full((12, 120, 120), 5.0)
    image[:, 10:110, 10:110] = 55.0
    true = np.zeros(image.shape, bool)
    true[:, 40:80, 30 : 30 + thickness] = True
    image[true] = bright
    image = ndimage.gaussian_filter(image, 1.0) + rng.normal(0, 4, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), true


def test_half_height_lies_between_soft_tissue_and_solid_bone_and_marks_its_true_edge():
    grey, true = limb(16)
    found = half_height(np.bincount(grey.ravel(), minlength=256))
    assert found.soft == pytest.approx(55, abs=2)
    assert found.bone == pytest.approx(190, abs=4)
    assert found.halfway == pytest.approx(122, abs=3)
    bone = grey >= cut(parse("half-height"), grey, NOTHING).value
    assert abs(np.count_nonzero(bone) / np.count_nonzero(true) - 1) < 0.02


def test_the_default_and_otsu_are_one_while_the_histogram_is_read_in_any_way():
    grey, _ = limb(16)
    wide = grey.astype(np.uint16) * 200
    assert cut(None, grey, NOTHING).value == cut(parse("otsu"), grey, NOTHING).value == bone_threshold(grey)
    assert cut(None, wide, NOTHING).value / 200 == pytest.approx(bone_threshold(grey), abs=3)


def test_a_local_threshold_keeps_a_strut_that_partial_volume_has_dimmed_and_adds_no_noise():
    grey, true = limb(16)
    strut = np.zeros(grey.shape)
    strut[:, 20:100, 100] = 115.0  # one voxel wide: its peak is far below half of solid bone
    grey = np.clip(grey + ndimage.gaussian_filter(strut, 1.0), 0, 255).astype(np.uint8)
    found = cut(parse("local"), grey, NOTHING)
    assert found.low < found.value
    plain = grey >= found.value
    local = local_bone(grey, (0.05, 0.05, 0.05), found.value, found.low)
    where = np.s_[:, 25:95, 100]
    assert plain[where].mean() < 0.3
    assert local[where].mean() > 0.9
    elsewhere = ~ndimage.binary_dilation(true | (strut > 0), iterations=5)
    assert local[elsewhere].mean() < 1e-3
    assert (local | ~plain).all()  # never less than the global one


def test_a_local_threshold_in_slabs_is_that_of_the_whole(monkeypatch):
    rng = np.random.default_rng(4)
    grey = rng.integers(40, 120, (64, 20, 24)).astype(np.uint8)
    whole = local_bone(grey, (0.1, 0.1, 0.1), 100, 70)

    class Slices:
        shape, dtype = grey.shape, grey.dtype

        def __getitem__(self, key):
            return grey[key]

    monkeypatch.setattr(slabs, "CHUNK_BYTES", 7 * grey[0].size)
    lifted = slabs.working_copy(Slices(), (0.1, 0.1, 0.1), Cut(100.0, "local", 70.0), (1, 1, 1))
    assert np.array_equal(lifted >= 100, whole)
    assert np.array_equal(lifted[~whole], grey[~whole])


def test_what_is_recorded_serves_the_studys_other_scans():
    grey, _ = limb(16)
    local = cut(parse("local"), grey, GREY)
    said = recorded(local, GREY, "local")
    again = cut(parse(said["threshold_for_others"]), VOLUME, GREY)
    assert (again.value, again.low) == (local.value, local.low)
    assert said["threshold_attenuation_per_mm"] == pytest.approx(local.value * 0.002)
    fixed = recorded(cut(parse("0.2/mm"), grey, GREY), GREY, "0.2/mm")
    assert fixed["threshold_for_others"] == "0.2/mm"
    assert recorded(cut(None, grey, NOTHING), NOTHING, None)["threshold_choice"] == "default"


def test_a_study_takes_any_choice(tmp_path):
    path = tmp_path / settings.NAME
    for text, value in (("84", 84.0), ('"0.12/mm"', "0.12/mm"), ('"half-height"', "half-height")):
        path.write_text(f"[segmentation]\nthreshold = {text}\n", encoding="utf-8")
        assert settings.read(tmp_path).segmentation.threshold == value
    path.write_text('[segmentation]\nthreshold = "bright"\n', encoding="utf-8")
    with pytest.raises(SettingsError, match=r"segmentation\.threshold"):
        settings.read(tmp_path)
