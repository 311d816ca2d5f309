"""From a raw scan on disk to slices, log and sidecar."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from recon_files import write_scan
from recon_phantom import geometry, intensities, project, truth
from scipy import ndimage

from bonemet.core.errors import InputError, MissingInputError, OutputExistsError, SettingsError
from bonemet.core.scan import Scan
from bonemet.engine.context import ThreadContext
from bonemet.io import sidecar, skyscan, stacks
from bonemet.io.volumes import open_volume
from bonemet.recon import fdk, projections, weights
from bonemet.stages.info import info
from bonemet.stages.reconstruct import DEFAULT_WINDOW, parse_slices, reconstruct
from bonemet.stages.segment_many import scans_below

OFFSET = -2.6


@pytest.fixture(scope="module")
def geo():
    return geometry(columns=96, rows=40, axis_offset_px=OFFSET, optical_axis_row=17.0)


@pytest.fixture(scope="module")
def scan(tmp_path_factory, geo):
    folder = tmp_path_factory.mktemp("raw") / "mouse week 0"
    write_scan(folder, geo, photons=2e5)
    return folder


@pytest.fixture(scope="module")
def floats(tmp_path_factory, scan):
    """The scan reconstructed to 1/mm: outcome, and slices (z, y, x)."""
    out = tmp_path_factory.mktemp("out") / "float"
    outcome = reconstruct(scan, out, format="float", context=ThreadContext(2))
    return outcome, np.asarray(stacks.open_stack(out)[:])


def test_slices_hold_the_planted_attenuation(floats, geo):
    outcome, found = floats
    planted = truth(geo, fdk.default_grid(geo))
    flat = ndimage.maximum_filter(planted, 7) == ndimage.minimum_filter(planted, 7)
    for value in (0.05, 0.17):
        where = (flat & np.isclose(planted, value))[15:20]
        assert found[15:20][where].mean() == pytest.approx(value, rel=0.01)
    assert outcome.warnings == []
    assert outcome.results["axis_offset_px"] == pytest.approx(OFFSET, abs=0.1)
    assert outcome.results["axis_source"] == "data"
    assert outcome.results["turn"] == 1
    assert outcome.results["white"] == 40000
    assert outcome.results["air"] == pytest.approx(0, abs=0.01)
    assert outcome.results["window"] is None
    json.dumps(outcome.as_dict())


def test_grey_values_are_the_floats_in_their_window(scan, floats, tmp_path):
    _, attenuation = floats
    for kind, top, name in (("png", 255, "png"), ("tiff", 65535, "tif")):
        out = tmp_path / kind
        outcome = reconstruct(scan, out, format=kind, slices="10:14")
        low, high = outcome.results["window"]
        assert (low, high) == DEFAULT_WINDOW
        grey = np.asarray(stacks.open_stack(out)[:])
        expected = np.clip((attenuation[10:14] - low) / (high - low) * top, 0, top)
        assert np.abs(grey - expected).max() <= 0.501 + 1e-4 * top
        bone = outcome.results["attenuation_at_grey_75"]
        assert bone == (pytest.approx(75 / 255 * high) if top == 255 else None)
        assert outcome.results["grey_step"] == pytest.approx((high - low) / top)
        assert sorted(p.name for p in out.iterdir()) == [
            "bonemet.json",
            "mouse_rec.log",
            *(f"mouse_rec{k:08d}.{name}" for k in range(10, 14)),
        ]


def test_sidecar_keeps_a_range_in_its_place_and_the_log_reads_back(scan, geo, tmp_path):
    out = tmp_path / "part"
    outcome = reconstruct(scan, out, slices=(12, 15), window=(0.0, 0.2), axis_offset=OFFSET)
    known = sidecar.read(out)
    grid, quantity = known.core_grid(), known.core_quantity()
    assert grid.shape == (3, 96, 96) == tuple(outcome.results["shape"])
    assert grid.same_as(fdk.default_grid(geo).crop((12, 0, 0), (15, 96, 96)))
    assert quantity.window == (0.0, 0.2)
    assert known.name == "mouse"
    assert [s.name for s in known.steps] == ["reconstruct"]
    assert outcome.results["axis_source"] == "given"
    log = skyscan.read_log(out / "mouse_rec.log")
    assert log.is_reconstruction_log
    assert log.window == (0.0, 0.2)
    assert log.number("Pixel Size (um)") == pytest.approx(geo.pixel_mm * 1000, abs=1e-4)
    assert log.number("First Section") == 12
    assert log.number("Sections Count") == 3
    assert log.number("Cone-beam Angle Horiz.(deg)") == pytest.approx(25.888290, abs=1e-4)
    assert log.number("Object to Source (mm)") == pytest.approx(geo.sod_mm, abs=1e-5)
    assert log.slice_prefix == "mouse_rec"
    assert skyscan.geometry_from_log(log).axis_offset_px == pytest.approx(OFFSET, abs=1e-6)
    assert not any("postalignment" in note for note in skyscan.geometry_notes(log))


def test_a_range_threads_and_memory_change_no_byte(scan, floats, tmp_path, monkeypatch):
    _, whole = floats
    monkeypatch.setattr(projections, "SLAB", 16)
    reconstruct(scan, tmp_path / "a", format="float", slices="5:33", memory_gb=0.4)
    assert np.array_equal(np.asarray(stacks.open_stack(tmp_path / "a")[:]), whole[5:33])


def test_a_store_holds_the_floats_in_their_place(scan, floats, tmp_path, monkeypatch):
    pytest.importorskip("zarr")
    monkeypatch.setattr(projections, "SLAB", 16)
    outcome = reconstruct(scan, tmp_path / "zarr", format="ome-zarr", slices="5:33")
    reconstruct(scan, tmp_path / "float", format="float", slices="5:33")
    store = next((tmp_path / "zarr").glob("*_rec.ome.zarr"))
    expected = open_volume(tmp_path / "float")
    for path in (store, tmp_path / "zarr"):
        found = open_volume(path)
        np.testing.assert_array_equal(found.array(), floats[1][5:33])
        np.testing.assert_allclose(found.grid.origin_mm, expected.grid.origin_mm)
        np.testing.assert_allclose(found.grid.spacing_mm, expected.grid.spacing_mm)
        assert found.quantity == expected.quantity
    assert expected.view is not None
    assert open_volume(tmp_path / "zarr").view == expected.view
    assert info(tmp_path / "zarr").results["shape"] == info(store).results["shape"] == [28, 96, 96]
    assert [path for _, path in scans_below(tmp_path / "zarr")] == [tmp_path / "zarr"]
    assert outcome.results["window"] is None


def test_done_work_is_not_done_again(scan, tmp_path):
    out = tmp_path / "out"
    first = reconstruct(scan, out, slices="0:2", axis_offset=OFFSET)
    again = reconstruct(scan, out, slices="0:2", axis_offset=OFFSET, memory_gb=2.0)
    assert (first.done_before, again.done_before) == (False, True)
    assert again.results == first.results
    with pytest.raises(OutputExistsError):
        reconstruct(scan, out, slices="0:3", axis_offset=OFFSET)


def test_slices_inside_the_scan_folder_are_no_input(geo, tmp_path):
    folder = tmp_path / "scan"
    write_scan(folder, replace(geo, rows=8, optical_axis_row=3.5))
    out = folder / "mouse_Rec"
    assert not reconstruct(folder, out, slices="0:1").done_before
    assert reconstruct(folder, out, slices="0:1").done_before


def test_other_voxels_cover_the_same_field(scan, geo, tmp_path):
    out = tmp_path / "coarse"
    outcome = reconstruct(scan, out, voxel_um=2000 * geo.pixel_mm, axis_offset=OFFSET, format="float")
    assert outcome.results["shape"] == [20, 48, 48]
    image = np.asarray(stacks.open_stack(out)[:])
    grid = sidecar.read(out).core_grid()
    planted = truth(geo, grid)
    flat = ndimage.maximum_filter(planted, 3) == ndimage.minimum_filter(planted, 3)
    where = (flat & np.isclose(planted, 0.17))[7:10]
    assert image[7:10][where].mean() == pytest.approx(0.17, rel=0.02)


def test_wrong_sense_in_the_log_is_said_and_mended(geo, floats, tmp_path):
    write_scan(tmp_path / "scan", geo, **{"Rotation Direction": "CW"})
    outcome = reconstruct(tmp_path / "scan", tmp_path / "out", format="float", slices="17:18")
    assert outcome.results["turn"] == 1
    assert any("turn the other way" in w for w in outcome.warnings)
    image = np.asarray(stacks.open_stack(tmp_path / "out")[0])
    assert np.abs(image - floats[1][17]).mean() < 0.003


def test_wrong_sense_is_mended_where_the_axis_is_given(geo, floats, tmp_path):
    folder = tmp_path / "scan"
    write_scan(folder, geo, photons=2e5, **{"Rotation Direction": "CW"})
    outcome = reconstruct(folder, tmp_path / "out", format="float", slices="8:12", axis_offset=OFFSET)
    found = np.asarray(stacks.open_stack(tmp_path / "out")[:])
    assert (outcome.results["turn"], outcome.results["axis_source"]) == (1, "given")
    assert any("the other way" in w for w in outcome.warnings)
    assert np.abs(found - floats[1][8:12]).max() < 0.02


def test_optical_axis_counted_from_the_other_edge_is_said(tmp_path):
    geo = geometry(columns=96, rows=64, optical_axis_row=14.0)
    for line in (49, 14):  # counted from the bottom, and from the top
        folder = tmp_path / f"line {line}"
        write_scan(folder, geo, photons=1e5, **{"Optical Axis (line)": line})
        outcome = reconstruct(folder, tmp_path / f"out {line}")
        assert any("Optical Axis (line)" in w for w in outcome.warnings) == (line == 14)


def test_stuck_pixels_leave_no_rings(geo, floats, tmp_path):
    images = intensities(project(geo), 40000.0, 2e5).astype(np.uint16)
    rng = np.random.default_rng(4)
    for value in (0, 65535):
        for _ in range(20):
            images[:, rng.integers(geo.rows), rng.integers(geo.columns)] = value
    folder = tmp_path / "scan"
    write_scan(folder, geo, images=images)
    outcome = reconstruct(folder, tmp_path / "out", format="float")
    found = np.asarray(stacks.open_stack(tmp_path / "out")[:])
    assert 15 <= outcome.results["stuck_pixels"] <= 20
    assert outcome.warnings == []
    assert np.abs(found - floats[1]).max() < 0.05  # left in, they make rings of more than 0.5 1/mm


def test_warnings_about_the_data(geo, tmp_path):
    rays = project(geo)
    images = intensities(rays, 40000.0)
    write_scan(tmp_path / "white", geo, images=images, **{"Reference Intensity": "50000"})
    outcome = reconstruct(tmp_path / "white", tmp_path / "a", slices="17:18", window=(0.0, 0.1))
    assert any("should read 50000" in w for w in outcome.warnings)
    assert any("saturated" in w for w in outcome.warnings)
    assert outcome.results["saturated_share"] > 0.001
    write_scan(tmp_path / "few", geo, images=images[:240])
    outcome = reconstruct(tmp_path / "few", tmp_path / "b", slices="17:18")
    assert any("the fan needs" in w for w in outcome.warnings)


def test_white_from_the_air(geo, tmp_path):
    images = intensities(project(geo), 33000.0)
    changes = {"Flat Field Correction": None, "Reference Intensity": None}
    write_scan(tmp_path / "scan", geo, images=images, **changes)
    outcome = reconstruct(tmp_path / "scan", tmp_path / "out", slices="17:18")
    assert outcome.results["white_source"] == "air"
    assert outcome.results["white"] == pytest.approx(33000, rel=1e-3)


def test_bad_scans_leave_no_output(geo, tmp_path):
    images = intensities(project(geo))
    write_scan(tmp_path / "half", geo, images=images[:200])
    with pytest.raises(InputError, match="at least 180"):
        reconstruct(tmp_path / "half", tmp_path / "out")
    dark = images.copy()
    dark[7] = 0
    write_scan(tmp_path / "black", geo, images=dark)
    with pytest.raises(InputError, match=r"Projection 7 .* is black"):
        reconstruct(tmp_path / "black", tmp_path / "out")
    with pytest.raises(MissingInputError):
        reconstruct(tmp_path / "nowhere", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["black", "half"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"slices": "9"}, "A:B"),
        ({"slices": "9:9"}, "hold nothing"),
        ({"slices": "30:50"}, "do not lie within the 40 slices"),
        ({"window": (0.3, 0.1)}, "must rise"),
        ({"voxel_um": 0.0}, "positive size"),
        ({"format": "gif"}, "png, tiff, bmp, float"),
        ({"filter": "hat"}, "choose one of"),
        ({"ring_level": 21}, "between 0"),
        ({"memory_gb": 0.0}, "positive"),
        ({"region": "3:9"}, "X0:X1,Y0:Y1"),
        ({"region": "9:3,0:5"}, "holds nothing"),
        ({"region": "0:97,0:5"}, "96 x 96"),
        ({"hardening": "steel"}, "water or bone"),
        ({"hardening": 101}, "0 to 100"),
        ({"median": 4}, "0 .off. to 3"),
        ({"smooth": -1.0}, "0 .off. to 5"),
        ({"undersample": 0}, "1 to 16"),
        ({"undersample": 2, "voxel_um": 50.0}, "not both"),
        ({"rotate_deg": float("nan")}, "finite"),
        ({"thermal": "hot"}, "auto, off, plus, minus"),
        ({"memory_gb": 0.01}, "needs at least"),
    ],
)
def test_senseless_settings_are_refused(scan, tmp_path, settings, words):
    with pytest.raises(SettingsError, match=words):
        reconstruct(scan, tmp_path / "out", **settings)
    assert not list(tmp_path.iterdir())


def test_slices_are_parsed():
    assert parse_slices("3:9") == (3, 9) == parse_slices((3, 9))
    assert parse_slices(None) is None


def test_flats_and_darks_are_used(geo):
    rng = np.random.default_rng(0)
    flats = rng.uniform(2e4, 4e4, (3, 40, 96))
    darks = rng.uniform(50, 60, (2, 40, 96))
    rays = project(geo)[:3]
    beam, dark = flats.mean(axis=0), darks.mean(axis=0)
    counts = np.rint(dark + (beam - dark) * np.exp(-rays)).astype(np.uint16)
    short = replace(geo, angles_deg=geo.angles_deg[:3])
    source = projections.Projections(Scan(short, counts, flats=flats, darks=darks), white=1.0)
    assert source.sinograms(5, 30) == pytest.approx(rays[:, 5:30], abs=2e-3)
    source.load(3, 20)
    for rows in ((4, 18), (10, 33), (0, 9)):  # loaded, and not
        assert source.rows(1, *rows) == pytest.approx(rays[1, rows[0] : rows[1]], abs=2e-3)


def test_ring_level_takes_rings_away(geo, tmp_path):
    thin = replace(geo, rows=5, optical_axis_row=2.0)
    gain = np.ones(96)
    gain[[30, 41, 60, 70]] = [0.9, 1.08, 0.93, 1.05]
    images = np.rint(intensities(project(thin), 40000.0) * gain).astype(np.uint16)
    write_scan(tmp_path / "scan", thin, images=images)
    rays = project(thin)
    clean = fdk.reconstruct(lambda v, a, b: rays[v, a:b], thin, None, (2, 3))[0]
    error = {}
    for level in (0, 2):
        out = tmp_path / f"rings {level}"
        reconstruct(
            tmp_path / "scan", out, format="float", slices="2:3", ring_level=level, axis_offset=OFFSET
        )
        error[level] = np.sqrt(np.mean((np.asarray(stacks.open_stack(out)[0]) - clean) ** 2))
    assert error[2] < error[0] / 2


def test_memory_plan_keeps_its_budget():
    full = replace(geometry(columns=864, rows=464), angles_deg=np.arange(260) * 0.8)
    grid = fdk.default_grid(full)
    wide = projections.plan_slabs(full, grid, (0, 464), 4.0)
    assert wide.cache
    assert wide.slabs[0] == (0, 128)
    assert wide.slabs[-1] == (384, 464)
    narrow = projections.plan_slabs(full, grid, (0, 464), 0.7)
    assert not narrow.cache
    assert len(narrow.slabs) > len(wide.slabs)
    with pytest.raises(SettingsError, match="needs at least"):
        projections.plan_slabs(full, grid, (0, 464), 0.36)
    assert weights.range_note(full) is None


def test_tiff_slices_are_16_bit(scan, tmp_path):
    reconstruct(scan, tmp_path / "out", format="tiff", slices="17:18", axis_offset=OFFSET)
    assert tifffile.imread(tmp_path / "out" / "mouse_rec00000017.tif").dtype == np.uint16
