"""Bad projections are named, and may be left out; thermal shifts are tried by what fits the data."""

import numpy as np
import pytest
import tifffile
from recon_files import write_scan
from recon_phantom import geometry, intensities, project
from scipy import ndimage

from bonemet.core.errors import InputError
from bonemet.io import stacks, thermal
from bonemet.recon.views import BinnedViews, ShiftedViews, at_even_angles
from bonemet.stages.reconstruct import reconstruct

GEO = geometry(columns=96, rows=24, axis_offset_px=1.4, optical_axis_row=11.0)
SETTINGS = {"format": "float", "slices": "8:14"}


@pytest.fixture(scope="module")
def images():
    return intensities(project(GEO), 40000.0, 2e5)


@pytest.fixture(scope="module")
def clean(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("clean")
    write_scan(folder / "scan", GEO, images=images)
    reconstruct(folder / "scan", folder / "out", **SETTINGS)
    return np.asarray(stacks.open_stack(folder / "out")[:])


def spoil(folder, images):
    """Make five views of a scan unusable, each in a way of its own."""
    write_scan(folder, GEO, images=images)
    names = {v: folder / f"mouse{v:08d}.tif" for v in range(len(images))}
    names[20].unlink()
    names[60].write_bytes(names[60].read_bytes()[:2000])
    tifffile.imwrite(names[100], np.zeros_like(images[0]))
    tifffile.imwrite(names[101], np.full_like(images[0], 65535))
    tifffile.imwrite(names[200], images[199])


def test_bad_views_are_left_out_and_their_neighbours_weighted(images, clean, tmp_path):
    spoil(tmp_path / "scan", images)
    outcome = reconstruct(tmp_path / "scan", tmp_path / "out", skip_bad=True, **SETTINGS)
    assert outcome.results["left_out"] == [
        "view 20 (missing)",
        "mouse00000060.tif (damaged or truncated)",
        "mouse00000100.tif (black)",
        "mouse00000101.tif (saturated)",
        "mouse00000200.tif (the image before it once more)",
    ]
    assert outcome.results["projections"] == 255
    assert any("mouse00000100.tif (black)" in w for w in outcome.warnings)
    found = np.asarray(stacks.open_stack(tmp_path / "out")[:])
    inner = np.hypot(*(np.indices((96, 96)) - 47.5)) < 40
    assert found[:, inner].mean() == pytest.approx(clean[:, inner].mean(), rel=2e-3)
    assert np.sqrt(np.mean((found - clean)[:, inner] ** 2)) < 0.004
    assert outcome.results["axis_offset_px"] == pytest.approx(1.4, abs=0.1)


def test_a_scan_without_faults_is_the_same_with_skip_bad(images, clean, tmp_path):
    write_scan(tmp_path / "scan", GEO, images=images)
    outcome = reconstruct(tmp_path / "scan", tmp_path / "out", skip_bad=True, **SETTINGS)
    assert outcome.results["left_out"] == []
    assert np.array_equal(np.asarray(stacks.open_stack(tmp_path / "out")[:]), clean)


@pytest.mark.parametrize(
    ("view", "image", "words"),
    [
        (7, lambda i: 0 * i[7], r"mouse00000007\.tif\) is black.*--skip-bad"),
        (9, lambda i: 0 * i[9] + 65535, r"mouse00000009\.tif\) is saturated.*--skip-bad"),
        (12, lambda i: i[11], r"mouse00000011\.tif, mouse00000012\.tif.*one and the same.*--skip-bad"),
    ],
)
def test_each_fault_is_named(images, tmp_path, view, image, words):
    write_scan(tmp_path / "scan", GEO, images=images)
    tifffile.imwrite(tmp_path / "scan" / f"mouse{view:08d}.tif", image(images))
    with pytest.raises(InputError, match=words):
        reconstruct(tmp_path / "scan", tmp_path / "out", **SETTINGS)
    assert [p.name for p in tmp_path.iterdir()] == ["scan"]


def test_an_angle_that_nothing_fills_is_refused(images, tmp_path):
    write_scan(tmp_path / "gap", GEO, images=images)
    for view in range(50, 56):
        (tmp_path / "gap" / f"mouse{view:08d}.tif").unlink()
    with pytest.raises(InputError, match=r"6 good projections on end \(50 to 55\)"):
        reconstruct(tmp_path / "gap", tmp_path / "out", skip_bad=True, **SETTINGS)
    with pytest.raises(InputError, match="mouse00000050"):
        reconstruct(tmp_path / "gap", tmp_path / "out", **SETTINGS)
    write_scan(tmp_path / "many", GEO, images=images)
    for view in range(0, 260, 8):
        (tmp_path / "many" / f"mouse{view:08d}.tif").unlink()
    with pytest.raises(InputError, match="33 bad projections among 260"):
        reconstruct(tmp_path / "many", tmp_path / "out", skip_bad=True, **SETTINGS)


def table(folder, shifts):
    rows = [f"{v:.6f}, {y1:.6f}, {y2:.6f}" for v, (y1, y2) in enumerate(shifts)]
    text = [
        "Format,  CSV",
        f"Property of the curves, 2 {len(rows)} 1.000000 1.000000 ",
        "CURVE, Y1, Y2",
        *rows,
    ]
    (folder / "mouse_TS.csv").write_text("\n".join(text) + "\n")


@pytest.mark.parametrize("sense", [(1, 1), (-1, -1), (1, -1), (0, 0)])
def test_thermal_shifts_are_applied_in_the_sense_that_fits(images, clean, tmp_path, sense):
    drift = np.stack([np.linspace(4, 0, 260), np.linspace(2.5, 0, 260)], axis=1)  # rows, columns
    crept = [
        ndimage.shift(i.astype(float), -np.array(sense) * d, order=1, mode="nearest")
        for i, d in zip(images, drift, strict=True)
    ]
    write_scan(tmp_path / "scan", GEO, images=np.rint(crept).astype(np.uint16))
    table(tmp_path / "scan", drift[:259, ::-1])
    outcome = reconstruct(tmp_path / "scan", tmp_path / "out", **SETTINGS)
    found = np.asarray(stacks.open_stack(tmp_path / "out")[:])
    inner = np.hypot(*(np.indices((96, 96)) - 47.5)) < 40
    words = f"signs {sense[0]:+d} along rows and {sense[1]:+d}" if any(sense) else "not applied"
    assert words in outcome.results["thermal"]
    assert np.sqrt(np.mean((found - clean)[:, inner] ** 2)) < 0.004


def test_tables_of_another_scan_are_refused(tmp_path):
    table(tmp_path, [(1, 2)] * 30)
    path = tmp_path / "mouse_TS.csv"
    assert thermal.read_shifts(path, 31).shape == (31, 2)
    assert thermal.read_shifts(path, 31)[30] == pytest.approx((2, 1))
    with pytest.raises(InputError, match="up to view 29, and the scan has 260"):
        thermal.read_shifts(path, 260)
    path.write_text("nothing\n")
    with pytest.raises(InputError, match="no rows"):
        thermal.read_shifts(path, 30)


def test_shifted_views_are_linear_and_keep_dead_pixels_dead():
    rng = np.random.default_rng(0)
    images = rng.integers(1000, 60000, (2, 12, 9)).astype(np.uint16)
    shifts = np.array([[1.25, -0.5], [0.0, 0.0]])
    found = ShiftedViews(images, shifts)[0]
    expected = ndimage.shift(images[0].astype(float), shifts[0], order=1, mode="nearest")
    assert np.abs(found - expected).max() <= 0.5
    assert np.array_equal(ShiftedViews(images, shifts)[1], images[1])
    images[0, 5, 4] = 0
    assert np.count_nonzero(ShiftedViews(images, shifts)[0] == 0) == 4


def test_binned_views_are_means_of_live_pixels():
    images = np.random.default_rng(1).integers(1000, 60000, (1, 7, 9)).astype(np.uint16)
    found = BinnedViews(images, 3)
    assert found.shape == (1, 2, 3)
    assert np.abs(found[0] - images[0, :6].reshape(2, 3, 3, 3).mean(axis=(1, 3))).max() <= 0.5
    images[0, :3, :3] = 0
    images[0, 0, 0] = 500
    assert found[0][0, 0] == 500


def test_left_out_views_stand_again_in_between():
    angles = 0.8 * np.delete(np.arange(20), [4, 9, 10])
    rays = angles.astype(np.float32)[:, None, None] * np.ones((1, 2, 3), np.float32)
    even, at = at_even_angles(rays, angles)
    assert at == pytest.approx(0.8 * np.arange(20))
    assert even[:, 0, 0] == pytest.approx(0.8 * np.arange(20), abs=1e-5)
    assert at_even_angles(rays[:4], angles[:4])[0] is not None


def test_bad_files_and_logs_are_named_by_reconstruct(images, tmp_path):
    def refused(name, words, spoil, **changes):
        write_scan(tmp_path / name, GEO, images=images, **changes)
        spoil(tmp_path / name)
        with pytest.raises(InputError, match=words):
            reconstruct(tmp_path / name, tmp_path / "out", **SETTINGS)
        assert not (tmp_path / "out").exists()
        assert not (tmp_path / "out.partial").exists()

    def cut(folder):
        path = folder / "mouse00000123.tif"
        path.write_bytes(path.read_bytes()[:1500])

    def twice(folder):
        (folder / "mouse00000031.tiff").write_bytes((folder / "mouse00000031.tif").read_bytes())

    refused("cut", r"mouse00000123\.tif is truncated", cut)
    refused("gone", r"mouse00000044", lambda folder: (folder / "mouse00000044.tif").unlink())
    refused("twice", r"mouse00000031\.tiff? and mouse00000031\.tiff? .* same number", twice)
    refused(
        "rows", r"'Number Of Rows' = 99.*give the log that belongs", lambda _: None, **{"Number Of Rows": 99}
    )
    refused("few", r"260 projections where .* says 300", lambda _: None, **{"Number Of Files": 300})
