import csv
import json

import numpy as np
import pytest
from PIL import Image
from roi_bones import greys, make
from scipy import ndimage

from bonemet.api.roi import RoICompositeCropper, slice_number
from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, MissingInputError, OutputExistsError, SettingsError
from bonemet.core.grid import Grid
from bonemet.engine.context import ThreadContext
from bonemet.io import sidecar, stacks
from bonemet.io.volumes import open_volume
from bonemet.roi.composite import composite as compose
from bonemet.stages._growth import known_growth
from bonemet.stages.composite import composite
from bonemet.stages.crop import crop
from bonemet.stages.series import series

VOXEL = 0.1


@pytest.fixture(scope="module")
def bone():
    return make(VOXEL)


@pytest.fixture(scope="module")
def weeks(bone):
    """Return greys of week 0 and of week 3, in which a planted hole has gone and a lump has come."""
    after = bone.mask.copy()
    after[24:34, 12:24, 12:24] = False
    after[60:66, 10:14, 18:24] = True
    return greys(bone.mask, 0.5, 4, 1), greys(after, 0.5, 4, 2)


def write(folder, data, name="", digits=4, grid=None, quantity=None):
    """Write a stack with a sidecar that says where it is."""
    folder.mkdir(parents=True)
    stacks.write_slices(folder, f"{name}_", data, format="png", digits=digits)
    grid = grid or Grid.isotropic(data.shape, VOXEL, (1.0, 2.0, 3.0))
    side = sidecar.Sidecar(
        bonemet="0",
        name=name,
        grid=sidecar.grid_model(grid),
        quantity=sidecar.quantity_model(quantity or Quantity(Kind.GREY)),
    )
    sidecar.write(folder, side)
    return folder


@pytest.fixture
def pair(tmp_path, weeks):
    return [
        write(tmp_path / f"w{w}", data, f"871 week {w} left tibia")
        for w, data in zip((0, 3), weeks, strict=True)
    ]


@pytest.fixture
def overlay(tmp_path, pair):
    composite(*pair, tmp_path / "overlay", threshold=90)
    return tmp_path / "overlay"


# composite


def test_composite_on_disk_is_the_definition(tmp_path, pair, weeks):
    outcome = composite(*pair, tmp_path / "out", threshold=90, context=ThreadContext(2))
    expected = compose(*weeks, 90)
    volume = open_volume(tmp_path / "out")
    np.testing.assert_array_equal(volume.array(), expected)
    assert volume.quantity.kind is Kind.LABELS
    assert volume.grid.origin_mm == (1.0, 2.0, 3.0)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names[0] == "871 week 3 left tibia w0w3composite 0000.png"
    assert len(names) == len(expected) + 1  # and the sidecar
    beside = sorted(p.name for p in tmp_path.glob("out *"))
    assert beside == ["out lesions.csv", "out lesions.nii.gz", "out remodelling.csv"]
    results = outcome.results
    for name, grey in (("unchanged_mm3", 180), ("formed_mm3", 240), ("resorbed_mm3", 60)):
        assert results[name] == pytest.approx(np.count_nonzero(expected == grey) * VOXEL**3)
    assert results["net_mm3"] == pytest.approx(results["formed_mm3"] - results["resorbed_mm3"])
    assert results["threshold_source"] == "given"
    assert results["guard"]["smallest_cluster_voxels"] == 8
    assert json.loads(json.dumps(outcome.as_dict())) == outcome.as_dict()


def test_guarded_figures_are_nearer_to_what_was_planted(tmp_path, pair, bone):
    results = composite(*pair, tmp_path / "out", threshold=100).results
    planted = np.count_nonzero(bone.mask[24:34, 12:24, 12:24]) * VOXEL**3
    assert results["guarded"]["resorbed_mm3"] == pytest.approx(planted, rel=0.25)
    assert set(results["guarded"]) == {"unchanged_mm3", "formed_mm3", "resorbed_mm3", "net_mm3"}
    volume = results["bone_volume"]
    assert volume["net_mm3"] == pytest.approx(volume["after_mm3"] - volume["before_mm3"])
    assert volume["net_mm3"] == pytest.approx(6 * 4 * 6 * VOXEL**3 - planted, rel=0.05)
    table = (tmp_path / "out remodelling.csv").read_text(encoding="utf-8")
    assert f'whole,"BV, net change",{volume["net_mm3"]}' in table


def test_a_week_has_one_bone_volume_whatever_it_is_compared_with(tmp_path, pair, bone):
    later = write(tmp_path / "w5", greys(bone.mask, 0.5, 4, 3), "871 week 5 left tibia")
    told = [
        composite(*both, tmp_path / f"out {n}", threshold=100).results["bone_volume"]
        for n, both in enumerate([pair, (pair[0], later), (pair[1], later)])
    ]
    assert told[0]["before_mm3"] == told[1]["before_mm3"]
    assert told[0]["net_mm3"] + told[2]["net_mm3"] == pytest.approx(told[1]["net_mm3"], abs=0.002)


def test_composite_is_done_once_and_whatever_the_threads(tmp_path, pair):
    first = composite(*pair, tmp_path / "out", threshold=90)
    again = composite(*pair, tmp_path / "out", threshold=90)
    assert (first.done_before, again.done_before) == (False, True)
    assert again.results == first.results
    other = composite(*pair, tmp_path / "other", threshold=90, context=ThreadContext(2))
    assert other.results == first.results
    with pytest.raises(OutputExistsError):
        composite(*pair, tmp_path / "out", threshold=91)


def test_without_a_threshold_otsu_parts_marrow_from_bone(tmp_path, pair, weeks):
    results = composite(*pair, tmp_path / "out").results
    assert results["threshold_source"] == "Otsu"
    assert 70 <= results["threshold"] <= 120
    outside = weeks[0].copy()
    outside[:, :, -8:] = 0  # what a segmentation cut away must not draw the threshold down
    cut = write(tmp_path / "cut", outside, "871 week 0 left tibia")
    again = composite(cut, pair[1], tmp_path / "again").results
    assert again["threshold"] == pytest.approx(results["threshold"], abs=3)


def test_masks_and_floats_have_thresholds_too(tmp_path, bone):
    mask = write(tmp_path / "mask", bone.mask, "a", quantity=Quantity(Kind.MASK))
    assert composite(mask, mask, tmp_path / "out1").results["threshold"] == 127.5
    folder = tmp_path / "float"
    folder.mkdir()
    stacks.write_slices(folder, "b_", bone.mask * 0.5 + 0.1 + np.eye(54) * 0.01, format="float")
    results = composite(folder, folder, tmp_path / "out2", voxel_um=100).results
    assert 0.12 < results["threshold"] <= 0.6
    assert results["formed_mm3"] == results["resorbed_mm3"] == 0


def test_plain_names_where_no_animal_is_known(tmp_path, weeks):
    paths = [write(tmp_path / n, d, n) for n, d in zip("ab", weeks, strict=True)]
    composite(*paths, tmp_path / "out", threshold=90)
    assert (tmp_path / "out" / "composite00000000.png").is_file()


def test_different_windows_mean_different_thresholds(tmp_path, weeks):
    windows = ((0.0, 0.51), (0.0, 1.02))
    paths = [
        write(tmp_path / n, d, n, quantity=Quantity(Kind.GREY, w))
        for n, d, w in zip("ab", (weeks[0], (weeks[0] / 2).astype(np.uint8)), windows, strict=True)
    ]
    outcome = composite(*paths, tmp_path / "out", threshold=90)
    assert outcome.results["followup_threshold"] == pytest.approx(45)
    assert outcome.results["formed_mm3"] < 0.05 * outcome.results["unchanged_mm3"]
    assert any("windows" in w for w in outcome.warnings)


def test_bad_pairs_are_refused_in_one_sentence(tmp_path, pair, weeks):
    moved = write(
        tmp_path / "moved", weeks[1], "871 week 3 left tibia", grid=Grid.isotropic(weeks[1].shape, VOXEL)
    )
    with pytest.raises(InputError, match="register"):
        composite(pair[0], moved, tmp_path / "out")
    finer = write(
        tmp_path / "finer",
        weeks[1],
        "871 week 3 left tibia",
        grid=Grid.isotropic(weeks[1].shape, 0.05, (1.0, 2.0, 3.0)),
    )
    with pytest.raises(InputError, match=r"100 x 100 x 100 um.*50 x 50 x 50 um"):
        composite(pair[0], finer, tmp_path / "out")
    wrong = write(tmp_path / "wrong", weeks[1], "871 week 3 right tibia")
    with pytest.raises(InputError, match="different bones"):
        composite(pair[0], wrong, tmp_path / "out")
    with pytest.raises(InputError, match="no bone"):
        composite(*pair, tmp_path / "out", threshold=255.5)
    with pytest.raises(MissingInputError):
        composite(pair[0], tmp_path / "nowhere", tmp_path / "out")
    hu = write(tmp_path / "hu", weeks[1], "871 week 3 left tibia", quantity=Quantity(Kind.HU))
    with pytest.raises(InputError, match="HU"):
        composite(pair[0], hu, tmp_path / "out", threshold=90)
    assert not list(tmp_path.glob("out*"))


def test_a_bone_beside_the_other_raises_a_doubt(tmp_path, weeks):
    paths = [
        write(tmp_path / n, d, n) for n, d in zip("ab", (weeks[0], np.roll(weeks[0], 5, axis=2)), strict=True)
    ]
    outcome = composite(*paths, tmp_path / "out", threshold=90)
    assert any("share only" in w for w in outcome.warnings)


def table(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def planted(bone):
    """Return the bone voxels of the hole that was planted."""
    hole = np.zeros_like(bone.mask)
    hole[24:34, 12:24, 12:24] = True
    return hole & bone.mask


def test_the_planted_hole_is_a_lesion_in_labels_and_table(tmp_path, pair, bone):
    outcome = composite(*pair, tmp_path / "out", threshold=100, context=ThreadContext(2))
    lytic = [x for x in outcome.results["lesions"] if x["kind"] == "osteolytic"]
    assert lytic[0]["volume_mm3"] == max(x["volume_mm3"] for x in lytic)
    hole = planted(bone)
    assert lytic[0]["volume_mm3"] == pytest.approx(np.count_nonzero(hole) * VOXEL**3, rel=0.25)
    z, y, x = np.argwhere(hole).mean(axis=0) * VOXEL
    assert lytic[0]["centre_mm"] == pytest.approx([1 + x, 2 + y, 3 + z], abs=0.1)
    assert lytic[0]["perforations"] >= 1
    assert outcome.results["perforations"] == sum(x["perforations"] for x in lytic)
    labels = open_volume(tmp_path / "out lesions.nii.gz")
    where = np.argwhere(labels.array() == lytic[0]["number"])
    assert len(where) == round(lytic[0]["volume_mm3"] / VOXEL**3)
    there = np.rint((labels.grid.index_to_mm(where) - (1.0, 2.0, 3.0)) / VOXEL).astype(int)
    assert hole[tuple(there[:, ::-1].T)].mean() > 0.9
    rows = table(tmp_path / "out lesions.csv")
    assert [int(r["number"]) for r in rows] == [x["number"] for x in outcome.results["lesions"]]
    assert float(rows[0]["centre_x_mm"]) == lytic[0]["centre_mm"][0]


def test_remodelling_is_told_by_region_and_per_day(tmp_path, pair):
    results = composite(*pair, tmp_path / "out", threshold=100).results
    assert results["days"] == 21.0
    whole = {m["name"]: m["value"] for m in results["remodelling"]}
    guarded = results["guarded"]
    before = guarded["unchanged_mm3"] + guarded["resorbed_mm3"]
    assert whole["EV/BV"] == pytest.approx(guarded["resorbed_mm3"] / before)
    assert whole["BRR"] == pytest.approx(whole["EV/BV"] / 21)
    region = {r["name"]: r for r in results["regions"]}["proximal tibia"]
    assert region["last_slice"] - region["first_slice"] == 29
    assert region["resorbed_mm3"] > 0.9 * guarded["resorbed_mm3"]
    assert region["net_mm3"] == pytest.approx(region["formed_mm3"] - region["resorbed_mm3"])
    rows = table(tmp_path / "out remodelling.csv")
    assert {r["region"] for r in rows} == {"whole", *(r["name"] for r in results["regions"])}
    again = composite(*pair, tmp_path / "days", threshold=100, days=10.0)
    assert {m["name"]: m["value"] for m in again.results["remodelling"]}["BRR"] == pytest.approx(
        whole["EV/BV"] / 10
    )
    assert not any("two weeks" in w for w in again.warnings)


def test_long_intervals_are_flagged_and_senseless_numbers_refused(tmp_path, pair):
    assert any("two weeks" in w for w in composite(*pair, tmp_path / "out", threshold=100).warnings)
    for bad in ({"days": 0.0}, {"error_um": -1.0}):
        with pytest.raises(SettingsError):
            composite(*pair, tmp_path / "bad", threshold=100, **bad)
    assert not (tmp_path / "bad").exists()


def test_the_registration_error_goes_into_the_guard(tmp_path, pair):
    side = sidecar.read(pair[1])
    sidecar.write(pair[1], side.model_copy(update={"results": {"expected_error_um": 30.0}}))
    results = composite(*pair, tmp_path / "out", threshold=100).results
    assert results["error_um"] == 30.0
    assert results["guard"]["error_voxels"] == pytest.approx(0.3)
    given = composite(*pair, tmp_path / "given", threshold=100, error_um=0.0).results
    assert given["guard"]["error_voxels"] == 0.0
    assert given["guarded"]["resorbed_mm3"] >= results["guarded"]["resorbed_mm3"]


@pytest.mark.parametrize(
    ("first", "last", "between"),
    [
        ({}, {}, None),
        ({}, {"growth": {"proximal_mm": 0.25}}, 0.25),
        ({"growth": {"proximal_mm": 0.1}}, {"growth": {"proximal_mm": 0.25}}, 0.15),
        ({"growth": None}, {"growth": {"proximal_mm": 0.25}}, None),
        ({}, {"growth": {"proximal_mm": None}}, None),
    ],
)
def test_growth_is_what_registration_measured(pair, first, last, between):
    for path, results in zip(pair, (first, last), strict=True):
        side = sidecar.read(path)
        sidecar.write(path, side.model_copy(update={"results": results}))
    found = known_growth(pair)
    assert found.proximal_mm == (between if between is None else pytest.approx(between))
    assert found.distal_mm is None


def test_regions_come_from_one_file(tmp_path, pair):
    path = tmp_path / "regions.toml"
    path.write_text(
        """
[[regions]]
name = "below"
anchor = "junction"
start_mm = 0.5
length_mm = 1.0

[[regions]]
name = "middle"
anchor = "length"
percent = 50
length_mm = 0.5
""",
        encoding="utf-8",
    )
    results = composite(*pair, tmp_path / "out", threshold=100, regions=path).results
    below, middle = results["regions"]
    assert (below["name"], middle["name"]) == ("below", "middle")
    assert below["first_slice"] == round(results["landmarks"]["junction_slice"]) + 5
    assert middle["last_slice"] - middle["first_slice"] == 4
    with pytest.raises(MissingInputError):
        composite(*pair, tmp_path / "out2", regions=tmp_path / "none.toml")
    path.write_text('[[regions]]\nname = "a"\nanchor = "knee"\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="anchor"):
        composite(*pair, tmp_path / "out2", regions=path)
    path.write_text("[region]\nlength_mm = 2.0\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="no region"):
        composite(*pair, tmp_path / "out2", regions=path)


def test_bones_without_a_fibula_have_change_but_no_landmarks(tmp_path, bone):
    greyed = [greys(m, 0.5, 4, s) for s, m in ((1, bone.tibia), (2, bone.tibia & ~planted(bone)))]
    paths = [write(tmp_path / n, d, n) for n, d in zip("ab", greyed, strict=True)]
    results = composite(*paths, tmp_path / "out", threshold=100).results
    assert results["landmarks"]["direction"] is None
    assert results["growth"]["growth_mm"] is None
    assert all(r["net_mm3"] is None and r["reason"] for r in results["regions"])
    assert results["lesions"][0]["below_growth_plate_mm"] is None
    assert results["days"] is None


# series


def test_a_series_lays_each_week_on_week_0_and_on_the_one_before(tmp_path, pair, weeks):
    last = write(tmp_path / "w4", weeks[1], "871 week 4 left tibia")
    outcome = series([*pair, last], tmp_path / "all", threshold=100)
    names = [p["folder"].split("all/")[-1].split("all\\")[-1] for p in outcome.results["pairs"]]
    assert names == [
        "871 week 3 left tibia w0w3composite",
        "871 week 4 left tibia w0w4composite",
        "871 week 4 left tibia w3w4composite",
    ]
    np.testing.assert_array_equal(
        open_volume(tmp_path / "all" / names[1]).array(), compose(weeks[0], weeks[1], 100)
    )
    between = sidecar.read(tmp_path / "all" / names[2]).results
    assert between["formed_mm3"] == between["resorbed_mm3"] == 0
    first = sidecar.read(tmp_path / "all" / names[0]).results
    assert between["landmarks"] == first["landmarks"]
    slices = [[r.get("first_slice") for r in pair["regions"]] for pair in (first, between)]
    assert slices[0] == slices[1]
    assert any(s is not None for s in slices[0])
    assert [p["days"] for p in outcome.results["pairs"]] == [21.0, 28.0, 7.0]
    assert series([*pair, last], tmp_path / "all", threshold=100).done_before
    with pytest.raises(SettingsError, match="at least two"):
        series(pair[:1], tmp_path / "other")
    with pytest.raises(SettingsError, match="twice"):
        series([pair[0], pair[0]], tmp_path / "other")


# crop


def test_crop_starts_at_the_junction(tmp_path, overlay, bone, weeks):
    outcome = crop(overlay, tmp_path / "roi")
    results = outcome.results
    assert abs(results["junction_slice"] - bone.junction) <= 2
    assert results["direction"] == 1
    assert results["first_slice"] == results["junction_slice"]
    assert results["last_slice"] == results["first_slice"] + 29  # 3 mm of 100 um
    assert results["length_mm"] == pytest.approx(3.0)
    assert len(results["contours"]) == len(bone.mask)
    assert results["fibula_voxels_removed"] > 0
    region = open_volume(tmp_path / "roi")
    span = slice(results["first_slice"], results["last_slice"] + 1)
    assert region.grid.same_as(
        open_volume(overlay).grid.crop((span.start, 0, 0), (span.stop, *bone.mask.shape[1:]))
    )
    assert region.quantity.kind is Kind.LABELS
    names = sorted(p.name for p in (tmp_path / "roi").glob("*.png"))
    assert names[0] == "871 week 3 left tibia w0w3composite 00_voi_0000.png"
    data, before = region.array(), compose(*weeks, 90)[span]
    assert not data[2:][bone.fibula[span][2:]].any()
    assert np.count_nonzero((data != before) & bone.tibia[span]) <= 0.005 * np.count_nonzero(bone.tibia[span])


def test_the_other_way_round_gives_the_same_bone(tmp_path, overlay):
    upright = crop(overlay, tmp_path / "roi", length_slices=20).results
    volume = open_volume(overlay)
    turned = write(
        tmp_path / "turned",
        volume.array()[::-1],
        "871 week 3 left tibia w0w3composite",
        quantity=volume.quantity,
    )
    results = crop(turned, tmp_path / "roi2", length_slices=20).results
    last = volume.grid.shape[0] - 1
    assert results["direction"] == -1
    assert results["junction_slice"] == last - upright["junction_slice"] == results["last_slice"]
    assert results["first_slice"] == last - upright["last_slice"]
    np.testing.assert_array_equal(
        open_volume(tmp_path / "roi2").array()[::-1], open_volume(tmp_path / "roi").array()
    )


def test_below_above_lengths_and_given_slices(tmp_path, overlay):
    start = crop(overlay, tmp_path / "a").results["junction_slice"]
    below = crop(overlay, tmp_path / "b", below_junction=4, length_mm=1.0).results
    assert (below["first_slice"], below["last_slice"]) == (start + 4, start + 13)
    above = crop(overlay, tmp_path / "c", below_junction=-5, length_slices=10)
    assert above.results["first_slice"] == start - 5
    assert any("5 slices" in w and "stays" in w for w in above.warnings)
    given = crop(overlay, tmp_path / "d", first_slice=40, last_slice=44).results
    assert (given["first_slice"], given["last_slice"], given["junction_slice"]) == (40, 44, start)
    one = crop(overlay, tmp_path / "e", last_slice=44, length_slices=5).results
    assert (one["first_slice"], one["last_slice"]) == (40, 44)


def test_a_region_longer_than_the_bone_is_shortened_and_says_so(tmp_path, overlay):
    outcome = crop(overlay, tmp_path / "roi", length_mm=40.0)
    assert outcome.results["last_slice"] == 169
    assert any("shortened" in w for w in outcome.warnings)
    known = sidecar.read(tmp_path / "roi")
    assert any("shortened" in w for w in known.warnings)


def test_keeping_the_fibula_keeps_every_voxel(tmp_path, overlay):
    results = crop(overlay, tmp_path / "roi", keep_fibula=True).results
    span = slice(results["first_slice"], results["last_slice"] + 1)
    np.testing.assert_array_equal(open_volume(tmp_path / "roi").array(), open_volume(overlay).array()[span])
    assert results["fibula_voxels_removed"] == 0


def test_a_registered_scan_is_cropped_too(tmp_path, pair, bone):
    results = crop(pair[0], tmp_path / "roi", threshold=90, context=ThreadContext(2)).results
    assert abs(results["junction_slice"] - bone.junction) <= 2
    assert results["threshold"] == 90
    region = open_volume(tmp_path / "roi")
    assert region.array().max() > 150
    assert region.quantity.kind is Kind.GREY
    otsu = crop(pair[0], tmp_path / "roi2").results
    assert abs(otsu["junction_slice"] - bone.junction) <= 2


def test_without_a_fibula_slices_must_be_given(tmp_path, bone):
    alone = write(tmp_path / "alone", greys(bone.tibia, 0.5), "871 week 0 left tibia")
    with pytest.raises(InputError, match="No fibula"):
        crop(alone, tmp_path / "roi", threshold=90)
    outcome = crop(alone, tmp_path / "roi", threshold=90, first_slice=20, length_slices=5)
    assert outcome.results["junction_slice"] is None
    assert "No fibula" in outcome.results["reason"]
    assert (outcome.results["first_slice"], outcome.results["last_slice"]) == (20, 24)


@pytest.mark.parametrize(
    ("settings", "error", "word"),
    [
        ({"length_mm": 0.0}, SettingsError, "length"),
        ({"length_slices": 0}, SettingsError, "at least one"),
        ({"first_slice": 9, "last_slice": 4}, SettingsError, "after"),
        ({"first_slice": -1}, SettingsError, "from 0"),
        ({"first_slice": 1000}, InputError, "outside the stack"),
        ({"below_junction": 1000}, InputError, "outside the bone"),
    ],
)
def test_settings_without_sense_are_refused(tmp_path, overlay, settings, error, word):
    with pytest.raises(error, match=word):
        crop(overlay, tmp_path / "roi", **settings)
    assert not list(tmp_path.glob("roi*"))


def test_labels_that_are_no_composite_are_refused(tmp_path, bone):
    labels = write(tmp_path / "l", bone.mask * np.uint8(3), "labels", quantity=Quantity(Kind.LABELS))
    with pytest.raises(InputError, match="not a composite"):
        crop(labels, tmp_path / "roi")


def test_defined_regions_are_cut_out_of_cortex(tmp_path, pair, bone):
    results = crop(pair[0], tmp_path / "roi", threshold=100, region="Diaphysis 50 %").results
    assert results["part"] == "cortical"
    assert results["last_slice"] - results["first_slice"] == 4
    found = np.flatnonzero(bone.mask.any(axis=(1, 2)))
    assert (results["first_slice"] + results["last_slice"]) / 2 == pytest.approx(found.mean(), abs=1)
    mask = open_volume(tmp_path / "roi mask.nii.gz")
    region = open_volume(tmp_path / "roi")
    assert mask.grid.same_as(region.grid)
    span = slice(results["first_slice"], results["last_slice"] + 1)
    share = np.count_nonzero((mask.array() > 0) & bone.tibia[span]) / np.count_nonzero(bone.tibia[span])
    assert share > 0.95
    assert not region.array()[mask.array() == 0].any()
    with pytest.raises(SettingsError, match="No region is called"):
        crop(pair[0], tmp_path / "roi2", region="knee")
    with pytest.raises(SettingsError, match="its own slices"):
        crop(pair[0], tmp_path / "roi2", region="metaphysis", first_slice=3)
    with pytest.raises(SettingsError, match="which one"):
        crop(pair[0], tmp_path / "roi2", regions=tmp_path / "regions.toml")


def test_the_marrow_space_below_a_growth_plate(tmp_path):
    bone = make(0.06)
    z, y, x = np.indices(bone.tibia.shape)
    inside = np.hypot(y - 33, x - 33) * 0.06 < 1.05
    bone.tibia[(np.abs(z * 0.06 - 1.0) < 0.07) & inside] = False
    stack = write(
        tmp_path / "w0", greys(bone.mask, 0.5), "871 week 0 left tibia", grid=Grid.isotropic(z.shape, 0.06)
    )
    results = crop(stack, tmp_path / "roi", threshold=100, region="metaphysis").results
    assert results["growth_plate_slice"] == pytest.approx(1.0 / 0.06, abs=1.5)
    assert results["first_slice"] == round(results["growth_plate_slice"] + 0.25 / 0.06)
    assert results["last_slice"] - results["first_slice"] == round(1 / 0.06) - 1
    mask = open_volume(tmp_path / "roi mask.nii.gz").array() > 0
    span = slice(results["first_slice"], results["last_slice"] + 1)
    assert not (mask & bone.fibula[span]).any()
    deep = inside[span] & (np.hypot(y - 33, x - 33)[span] * 0.06 < 0.6)
    assert mask[deep].mean() > 0.85  # the rest are trabeculae at its edge


def test_week_0_says_where_a_later_week_is_cut(tmp_path, pair, bone):
    later = np.where(np.indices(bone.mask.shape)[0] < bone.junction + 6, 0, greys(bone.mask, 0.5)).astype(
        np.uint8
    )
    eaten = write(tmp_path / "w5", later, "871 week 5 left tibia")
    first = crop(pair[0], tmp_path / "a", threshold=90).results
    results = crop(eaten, tmp_path / "b", threshold=90, landmarks=pair[0]).results
    same = ("junction_slice", "first_slice", "last_slice", "direction")
    assert [results[k] for k in same] == [first[k] for k in same]
    other = write(tmp_path / "other", later[:, 1:], "871 week 5 left tibia")
    with pytest.raises(InputError, match="grid"):
        crop(other, tmp_path / "c", threshold=90, landmarks=pair[0])


def test_contours_drawn_by_hand_take_the_place_of_the_fibula_finder(tmp_path, overlay, bone):
    start = crop(overlay, tmp_path / "a").results["junction_slice"]
    drawn = np.zeros(bone.mask.shape, np.uint8)
    for z in (start, start + 12, start + 20):
        drawn[z] = ndimage.binary_fill_holes(ndimage.binary_closing(bone.tibia[z], iterations=3))
    hand = write(tmp_path / "hand", drawn * np.uint8(255), "hand")
    outcome = crop(overlay, tmp_path / "roi", contours=hand)
    assert (outcome.results["first_slice"], outcome.results["last_slice"]) == (start, start + 20)
    assert any("drawn part" in w and "shortened" in w for w in outcome.warnings)
    data, whole = open_volume(tmp_path / "roi").array(), open_volume(overlay).array()[start : start + 21]
    np.testing.assert_array_equal(data[12], np.where(drawn[start + 12], whole[12], 0))
    assert not data[bone.fibula[start : start + 21]].any()
    kept = np.count_nonzero((data > 0) & bone.tibia[start : start + 21])
    assert kept > 0.95 * np.count_nonzero((whole > 0) & bone.tibia[start : start + 21])


# the published class

BELOW, ABOVE = "first_slice_selected_below_t-f_junction", "first_slice_selected_above_t-f_junction"


def published(key=BELOW):
    """Return the config of the paper's Figure 6."""
    return {
        "foldername": "selected 300 slices below proximal Tibia-fibular junction",
        "first_slice_selected": "first slice selected",
        "last_slice_selected": "last slice selected",
        key: 0,
    }


@pytest.mark.parametrize("key", [BELOW, ABOVE])
def test_the_paper_example_on_a_folder_of_composites(tmp_path, overlay, key):
    root = tmp_path / "Tibia w0w3composite"
    root.mkdir()
    overlay.rename(root / "871 week 3 left tibia")
    config = published(key)
    cropper = RoICompositeCropper(config)
    output_folder = root / config["foldername"]
    arguments = (
        root,
        output_folder,
        config["first_slice_selected"],
        config["last_slice_selected"],
        config[key],
    )
    (outcome,) = cropper.crop_roi(*arguments)
    assert outcome.outputs[0] == str(output_folder / "871 week 3 left tibia")
    assert outcome.results["first_slice"] == outcome.results["junction_slice"]
    (again,) = cropper.crop_roi(*arguments)  # its own output is no input
    assert again.done_before


def test_slices_right_in_the_input_folder(tmp_path, overlay):
    stack = open_volume(overlay).array()
    plain = tmp_path / "composites"
    plain.mkdir()
    for k, image in enumerate(stack):
        Image.fromarray(image).save(plain / f"851 week 1 left tibia w0w1composite {k:06d}.png")
    cropper = RoICompositeCropper(published(), voxel_um=100)
    (outcome,) = cropper.crop_roi(plain, first_slice_selected="30", last_slice_selected=34.0)
    region = plain / published()["foldername"]
    assert outcome.outputs[0] == str(region)
    assert (region / "851 week 1 left tibia w0w1composite 00_voi_0004.png").is_file()
    assert cropper.crop_roi(plain, first_slice_selected="30", last_slice_selected=34.0)[0].done_before


def test_config_values_stand_where_no_argument_is_given(tmp_path, overlay):
    config = published() | {"first_slice_selected": "30", "last_slice_selected": 33, BELOW: "5"}
    (outcome,) = RoICompositeCropper(config).crop_roi(overlay, tmp_path / "roi")
    assert (outcome.results["first_slice"], outcome.results["last_slice"]) == (30, 33)
    config = published() | {BELOW: "5"}
    (outcome,) = RoICompositeCropper(config, length_mm=1.0).crop_roi(overlay, tmp_path / "roi2")
    assert outcome.results["first_slice"] == outcome.results["junction_slice"] + 5


def test_one_bad_composite_does_not_stop_the_others(tmp_path, overlay):
    root = tmp_path / "all"
    root.mkdir()
    overlay.rename(root / "b")
    write(root / "a", np.zeros((5, 6, 7), np.uint8), "empty")
    with pytest.raises(InputError, match=r"1 of 2 .*a: "):
        RoICompositeCropper({}).crop_roi(root, tmp_path / "roi")
    assert sidecar.read(tmp_path / "roi" / "b") is not None


def test_unknown_keys_and_contradictions_are_named(tmp_path):
    with pytest.raises(SettingsError, match="'fist_slice'"):
        RoICompositeCropper({"fist_slice": 3})
    with pytest.raises(SettingsError, match="differ"):
        RoICompositeCropper({BELOW: 1, ABOVE: 2})
    with pytest.raises(SettingsError, match="foldername"):
        RoICompositeCropper({}).crop_roi(tmp_path)
    with pytest.raises(MissingInputError, match="no slices"):
        RoICompositeCropper({}).crop_roi(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, None),
        ("first slice selected", None),
        ("nan", None),
        ("120", 120),
        (120.0, 120),
        (np.int64(7), 7),
    ],
)
def test_slice_numbers(value, number):
    assert slice_number(value, "first_slice_selected") == number


@pytest.mark.parametrize("value", [1.5, "1.5", True, [3]])
def test_what_is_no_slice_number(value):
    with pytest.raises(SettingsError, match="first_slice_selected"):
        slice_number(value, "first_slice_selected")
