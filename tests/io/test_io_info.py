import json
from pathlib import Path

import numpy as np
import pytest

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, MissingInputError, UnknownFormatError
from bonemet.core.grid import Grid
from bonemet.core.transform import Transform
from bonemet.core.volume import Volume
from bonemet.io.skyscan import read_log, write_rec_log
from bonemet.io.sniff import sniff
from bonemet.io.stacks import write_slices
from bonemet.io.transforms import write_transform
from bonemet.io.volumes import write_volume
from bonemet.stages.info import info

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared example data are not here")
LOGS = sorted(p for p in DATA.glob("skyscan-logs/*/*.log"))
OTHERS = sorted(DATA.glob("skyscan-logs/not-skyscan/*"))
BOX = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def reasons_fit(results):
    """Every None has its reason, and every reason its None."""
    missing = {k for k, v in results.items() if v is None}
    return missing - {"white"} == set(results.get("reason", {}))


@needs_data
@pytest.mark.parametrize("path", LOGS, ids=lambda p: p.name)
def test_every_log_is_told(path):
    results = info(path).results
    log = read_log(path)
    assert results["kind"] == ("reconstruction log" if path.stem.endswith("_rec") else "scan log")
    assert results["scanner"] == log.scanner
    assert len(results["shape"]) == len(results["spacing_mm"]) == 3
    assert reasons_fit(results)
    geometry = results["geometry"]
    if log.reconstructed:
        assert geometry["cone_angle_horizontal_deg"] == log.number("Cone-beam Angle Horiz.(deg)")
        assert geometry["cone_angle_vertical_deg"] == log.number("Cone-beam Angle Vert.(deg)")
        assert results["window"] == list(log.window)
    else:
        assert results["window"] is None
    assert geometry["projections"] == log.number("Number Of Files")
    assert json.loads(json.dumps(results)) == results


@needs_data
def test_a_reconstruction_log_tells_of_its_slices():
    results = info(DATA / "skyscan-logs/1272-mouse-head/DRP_P21_3_rec.log").results
    assert results["shape"] == [1428, 944, 944]
    assert results["spacing_mm"] == pytest.approx([0.01979772] * 3)
    assert results["window"] == [0.0, 0.136673]
    assert "0.136673 1/mm" in results["grey_means"]


@needs_data
def test_a_window_in_hu_is_told_but_not_read_as_attenuation():
    outcome = info(DATA / "skyscan-logs/zebrafish-Control10/Control10_rec.log")
    assert outcome.results["window"] == [0.015259, 0.110286]
    assert outcome.results["grey_means"] is None
    assert "HU Calibration" in outcome.results["reason"]["grey_means"]


@needs_data
@pytest.mark.parametrize("path", OTHERS, ids=lambda p: p.name)
def test_other_vendors_are_refused_in_a_sentence(path):
    with pytest.raises(UnknownFormatError, match=r"Nikon X-Tek|GE phoenix|Scanco") as caught:
        info(path)
    assert str(caught.value).count(". ") == 0


@needs_data
def test_the_folder_of_one_log_is_that_log():
    assert info(DATA / "skyscan-logs/zebrafish-Control10").results["kind"] == "scan log"
    with pytest.raises(InputError, match="3 logs and no images"):
        info(DATA / "skyscan-logs/1272-mouse-head")
    with pytest.raises(UnknownFormatError, match="folder"):
        info(DATA / "skyscan-logs/not-skyscan")


@needs_data
def test_the_cube_has_no_voxel_size_until_it_is_given():
    results = info(DATA / "trabecular-cube").results
    assert results["kind"] == "stack"
    assert results["shape"] == [200, 200, 200]
    assert results["spacing_mm"] is None
    assert "--voxel-um" in results["reason"]["spacing_mm"]
    assert reasons_fit(results)
    assert info(DATA / "trabecular-cube", voxel_um=19.5).results["spacing_mm"] == [0.0195] * 3


@needs_data
def test_the_shrew_says_its_voxel_size():
    results = info(DATA / "shrew-trabecular" / "Shrew.nrrd").results
    assert results["kind"] == "volume"
    assert results["spacing_mm"] == pytest.approx([0.0041] * 3)


def test_a_stack_with_its_log(tmp_path):
    write_slices(tmp_path, "mouse_rec", BOX, format="png", digits=4)
    entries = {
        "Pixel Size (um)": 10,
        "Minimum for CS to Image Conversion": 0,
        "Maximum for CS to Image Conversion": 0.255,
    }
    write_rec_log(tmp_path / "mouse_rec.log", None, entries)
    results = info(tmp_path).results
    assert results["kind"] == "stack"
    assert results["spacing_mm"] == [0.01] * 3
    assert results["window"] == [0, 0.255]
    assert results["grey_step_per_mm"] == pytest.approx(0.001)
    assert results["geometry"] is None
    assert reasons_fit(results)


def test_attenuation_is_said_with_its_unit(tmp_path):
    volume = Volume(BOX.astype(np.float32), Grid.isotropic(BOX.shape, 0.1), Quantity(Kind.ATTENUATION))
    write_volume(tmp_path / "a.nrrd", volume)
    results = info(tmp_path / "a.nrrd").results
    assert results["grey_means"] == "attenuation in 1/mm"
    assert "not windowed grey" in results["reason"]["window"]
    assert results["number_type"] == "float32"
    assert reasons_fit(results)


def test_transforms_and_studies(tmp_path):
    write_transform(tmp_path / "a.tfm", Transform.identity())
    results = info(tmp_path / "a.tfm").results
    assert results["kind"] == "transform"
    assert np.array_equal(results["matrix"], np.eye(4))
    (tmp_path / "Imagery_Dataset").mkdir()
    assert info(tmp_path).results["kind"] == "study"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a0001.png", "is one slice"),
        ("bonemet.json", "is the sidecar"),
        ("a.docx", "unknown kind"),
        ("a.xtekct", "Nikon X-Tek"),
        ("a.log", "no SkyScan log"),
    ],
)
def test_what_is_not_read_is_refused(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(InputError, match=message):
        sniff(tmp_path / name)


def test_nothing_is_refused(tmp_path):
    with pytest.raises(MissingInputError):
        sniff(tmp_path / "none")
    with pytest.raises(UnknownFormatError, match="without slices"):
        sniff(tmp_path)
