"""Connected scans: parts that the stage moved apart make one volume again."""

from dataclasses import replace

import numpy as np
import pytest
from recon_files import write_scan
from recon_phantom import BODY, Ellipsoid, geometry, intensities, project, truth
from scipy import ndimage

from bonemet.core.errors import InputError
from bonemet.engine.context import ThreadContext
from bonemet.io import sidecar, skyscan, stacks
from bonemet.recon import fdk, joining
from bonemet.stages.info import info
from bonemet.stages.reconstruct import reconstruct

GEO = geometry(columns=96, rows=48, axis_offset_px=1.4, optical_axis_row=22.0)
APART = 2.1  # mm, by the stage
MISS = (0.13, -0.09, 0.17)  # mm by which the lower part lies elsewhere than the stage says
OFFSETS = (1.4, -2.3)  # of the axis in the upper and in the lower part
SHAPES = (*BODY, Ellipsoid((0.6, 0.9, 0.0), (0.3, 0.25, 0.35), 0.1))


def moved(by):
    return [Ellipsoid(tuple(np.add(e.centre, by)), e.axes, e.value) for e in SHAPES]


UPPER = moved((0, 0, APART / 2))
LOWER = moved((MISS[0], MISS[1], MISS[2] - APART / 2))


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """The lower part was taken first: a larger position lies at higher lines, which count from below."""
    folder = tmp_path_factory.mktemp("raw") / "mouse"
    for k, (shapes, place) in enumerate(((LOWER, 30.0), (UPPER, 30.0 + APART))):
        geo = replace(GEO, axis_offset_px=OFFSETS[1 - k])
        images = intensities(project(geo, shapes), 40000.0, 2e5, seed=k)
        changes = {
            "Scanning position": f"{place:.3f} mm",
            "Number of connected scans": 2,
            "Current scan number": k + 1,
            "Source Voltage (kV)": 50,
        }
        write_scan(folder, geo, name=f"mouse~{k:02d}", images=images, **changes)
    (folder / "mouse.log").write_bytes((folder / "mouse~00.log").read_bytes())
    return folder


@pytest.fixture(scope="module")
def whole(scan, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "whole"
    outcome = reconstruct(scan, out, format="float", context=ThreadContext(2))
    return outcome, np.asarray(stacks.open_stack(out)[:]), out


def tall(rows):
    return fdk.default_grid(replace(GEO, rows=rows))


def test_two_parts_make_the_whole(whole):
    outcome, found, out = whole
    rows = round(APART / GEO.pixel_mm) + GEO.rows
    assert found.shape == (rows, 96, 96)
    planted = truth(GEO, tall(rows), UPPER)
    flat = ndimage.maximum_filter(planted, 7) == ndimage.minimum_filter(planted, 7)
    seam = outcome.results["parts"][0]["slices"][1]
    for value in (0.05, 0.17):
        for z in (slice(seam - 6, seam), slice(seam, seam + 6)):
            where = flat[z] & np.isclose(planted[z], value)
            assert where.sum() > 50
            assert found[z][where].mean() == pytest.approx(value, rel=0.02)
    assert stacks.open_stack(out).prefix == "mouse_rec"
    grid = sidecar.read(out).core_grid()
    assert grid.shape == found.shape
    assert grid.origin_mm == (0, 0, 0)


def test_what_both_parts_saw_tells_how_they_lie(whole):
    outcome, found, _ = whole
    upper, lower = outcome.results["parts"]
    assert [upper["name"], lower["name"]] == ["mouse~01", "mouse~00"]
    assert [p["axis_offset_px"] for p in (upper, lower)] == pytest.approx(OFFSETS, abs=0.1)
    assert np.array(lower["shift_um"]) / 1000 == pytest.approx(np.array(MISS), abs=0.2 * GEO.pixel_mm)
    assert lower["turn_deg"] == 0
    assert lower["agreement"] > 0.95
    planted = truth(GEO, tall(len(found)), UPPER)
    seam = upper["slices"][1]
    part = slice(seam + 2, seam + 10)  # of the lower part
    inner = np.hypot(*(np.indices((96, 96)) - 47.5)) < 40
    found_rms, shifted_rms = (
        np.sqrt(np.mean((f[part] - planted[part])[:, inner] ** 2))
        for f in (found, ndimage.shift(found, np.array(MISS[::-1]) / GEO.pixel_mm, order=1))
    )
    assert found_rms < 0.6 * shifted_rms


def test_a_range_is_that_part_of_the_whole(scan, whole, tmp_path):
    outcome, found, _ = whole
    seam = outcome.results["parts"][0]["slices"][1]
    span = (seam - 3, seam + 4)
    reconstruct(scan / "mouse.log", tmp_path / "part", format="float", slices=span)
    assert np.array_equal(np.asarray(stacks.open_stack(tmp_path / "part")[:]), found[span[0] : span[1]])


def test_the_log_tells_of_the_parts(whole):
    outcome, found, out = whole
    log = skyscan.read_log(out / "mouse_rec.log")
    assert log.number("Connected Reconstruction (parts)") == 2
    lengths = [log.number(f"Sub-scan scan length [{k}]") for k in (0, 1)]
    assert sum(lengths) == len(found)
    assert log.number("Sub-scan post alignment [1]") == pytest.approx(OFFSETS[1], abs=0.1)
    assert outcome.results["quality"]["grade"] in ("good", "fair", "poor")


def test_one_part_is_read_by_its_log(scan, tmp_path):
    outcome = reconstruct(scan / "mouse~01.log", tmp_path / "one", format="float", slices="20:23")
    assert "parts" not in outcome.results
    assert outcome.results["shape"] == [3, 96, 96]
    assert any("part 2 of 2" in n for n in outcome.results["notes"])
    assert info(scan).results["projections_shape"][2] == 96


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Scanning position=32.1", "Scanning position=38.1", "8.1 mm apart.*do not overlap"),
        ("Scanning position", "Scanning place", "mouse~01.log gives no 'Scanning position'"),
        ("Image Pixel Size (um)=93", "Image Pixel Size (um)=91", "differ in size or pixel"),
    ],
)
def test_parts_that_cannot_be_joined_are_named(scan, tmp_path, old, new, words):
    for path in scan.iterdir():
        (tmp_path / path.name).hardlink_to(path)
    log = tmp_path / "mouse~01.log"
    text = log.read_text(encoding="latin-1")
    assert old in text
    log.unlink()
    log.write_text(text.replace(old, new), encoding="latin-1")
    with pytest.raises(InputError, match=words):
        reconstruct(tmp_path, tmp_path.with_name("out"))


def test_a_missing_part_is_named(scan, tmp_path):
    for path in scan.iterdir():
        (tmp_path / path.name.replace("~01", "~02")).hardlink_to(path)
    (tmp_path / "mouse~02.log").unlink()
    text = (scan / "mouse~01.log").read_text(encoding="latin-1").replace("~01", "~02")
    (tmp_path / "mouse~02.log").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"mouse~01\.log"):
        reconstruct(tmp_path, tmp_path.with_name("out"))


@pytest.mark.parametrize("turn", [0.0, 1.2])
def test_slabs_are_matched_with_and_without_a_turn(turn):
    rng = np.random.default_rng(3)
    z, y, x = np.indices((20, 72, 72)) - np.array([9.5, 35.5, 35.5])[:, None, None, None]
    blobs = [(*rng.uniform(-18, 18, 2), rng.uniform(-8, 8), rng.uniform(3, 6)) for _ in range(12)]

    def slab(shift, degrees):
        """What lies at p in the plain slab lies at R p + shift here."""
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        out = np.zeros(z.shape, np.float32)
        for bx, by, bz, width in blobs:
            at = (c * bx - s * by + shift[0], s * bx + c * by + shift[1], bz + shift[2])
            out += np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2) / width**2)
        return out

    planted = (1.6, -2.2, 1.1)
    found = joining.match(slab((0, 0, 0), 0), 1.1 * slab(planted, turn))
    assert found.shift == pytest.approx(planted, abs=0.1)
    assert found.turn_deg == pytest.approx(turn, abs=0.05)
    assert found.good
    assert found.correlation > 0.99 > found.before
