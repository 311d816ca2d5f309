import numpy as np
import pytest
import tifffile

from bonemet.core.errors import InputError, MissingInputError, UnknownFormatError
from bonemet.io.scans import open_scan
from bonemet.io.skyscan import format_log, write_rec_log
from bonemet.io.sniff import sniff
from bonemet.io.volumes import open_volume
from bonemet.stages.info import info

VIEWS, ROWS, COLUMNS = 5, 6, 8
VIEWS_DATA = (np.arange(VIEWS * ROWS * COLUMNS).reshape(VIEWS, ROWS, COLUMNS) * 37).astype(np.uint16)


def scan_folder(folder, prefix="mouse", digits=4, log_name=None, count=VIEWS, **changes):
    folder.mkdir(exist_ok=True)
    acquisition = {
        "Filename Prefix": prefix,
        "Number Of Files": VIEWS,
        "Number Of Rows": ROWS,
        "Number Of Columns": COLUMNS,
        "Optical Axis (line)": 2,
        "Camera to Source (mm)": 166.5,
        "Object to Source (mm)": 92.2,
        "Image Pixel Size (um)": 84.0,
        "Depth (bits)": 16,
        "Reference Intensity": 57000,
        "Rotation Step (deg)": 40.0,
        "Flat Field Correction": "ON",
        "Rotation Direction": "CC",
    } | changes
    sections = {
        "System": {"Scanner": "SkyScan1276"},
        "Acquisition": {k: v for k, v in acquisition.items() if v is not None},
    }
    (folder / f"{log_name or prefix}.log").write_bytes(format_log(sections).encode())
    for i in range(count):
        tifffile.imwrite(folder / f"{prefix}{i:0{digits}d}.tif", VIEWS_DATA[i % VIEWS])
    return folder


@pytest.mark.parametrize("digits", [1, 4, 8])
@pytest.mark.parametrize("prefix", ["mouse", "871 week 0_", "Control10", "a~00"])
def test_a_scan_comes_with_its_projections(tmp_path, prefix, digits):
    scan = open_scan(scan_folder(tmp_path, prefix, digits))
    assert scan.projections.shape == (VIEWS, ROWS, COLUMNS)
    assert np.array_equal(scan.projections[:], VIEWS_DATA)
    assert np.array_equal(scan.projections[1:3, 2], VIEWS_DATA[1:3, 2])
    assert scan.white == 57000
    assert scan.flats is None
    assert scan.darks is None
    assert scan.geometry.optical_axis_row == ROWS - 1 - 2
    assert scan.log["Scanner"] == "SkyScan1276"
    assert scan.name == prefix.rstrip("_")


def test_the_log_is_as_good_as_its_folder(tmp_path):
    scan_folder(tmp_path)
    assert np.array_equal(open_scan(tmp_path / "mouse.log").projections[:], VIEWS_DATA)


def test_what_is_no_view_is_left_out(tmp_path):
    scan_folder(tmp_path)
    for name in ("mouse_arc.tif", "mouse_spr.tif", "mouse_IR0000.tif", "mouse_rec0000.tif", "other0000.tif"):
        tifffile.imwrite(tmp_path / name, np.zeros((2, 2), np.uint8))
    write_rec_log(tmp_path / "mouse_rec.log", None, {})
    assert open_scan(tmp_path).projections.shape[0] == VIEWS


def test_images_after_the_last_view_are_left_out_and_said(tmp_path):
    scan = open_scan(scan_folder(tmp_path, count=VIEWS + 2))
    assert scan.projections.shape[0] == VIEWS
    assert any("2 images after the last view" in note for note in scan.notes)


def test_a_neighbour_whose_name_begins_alike_does_not_mix_in(tmp_path):
    scan_folder(tmp_path, "mouse1")
    scan_folder(tmp_path, "mouse10")
    assert open_scan(tmp_path / "mouse1.log").projections.shape[0] == VIEWS
    with pytest.raises(InputError, match=r"several scans.*mouse1\.log and mouse10\.log"):
        open_scan(tmp_path)


def test_numbers_may_outgrow_their_width(tmp_path):
    scan = open_scan(scan_folder(tmp_path, digits=1, count=12, **{"Number Of Files": 12}))
    assert scan.projections.shape[0] == 12
    assert [p.name for p in scan.projections.paths[-2:]] == ["mouse10.tif", "mouse11.tif"]  # type: ignore[attr-defined]


def test_connected_scans_are_each_their_own(tmp_path):
    scan_folder(tmp_path, "m~00")
    scan_folder(tmp_path, "m~01")
    (tmp_path / "m.log").write_bytes((tmp_path / "m~00.log").read_bytes())
    with pytest.raises(InputError, match="several scans"):
        open_scan(tmp_path)
    assert open_scan(tmp_path / "m~01.log").name == "m~01"
    assert open_scan(tmp_path / "m.log").name == "m~00"


def test_a_renamed_scan_is_found_by_the_name_of_its_log(tmp_path):
    scan_folder(tmp_path, "renamed", **{"Filename Prefix": "old"})
    assert open_scan(tmp_path).name == "renamed"


def test_without_a_reference_the_open_beam_is_unknown(tmp_path):
    scan = open_scan(scan_folder(tmp_path, **{"Reference Intensity": None}))
    assert scan.white is None
    assert "no Reference Intensity" in scan.notes[0]


def test_without_flat_field_correction_nothing_is_assumed(tmp_path):
    scan = open_scan(scan_folder(tmp_path, **{"Flat Field Correction": "OFF"}))
    assert scan.white is None
    assert "not flat-field corrected" in scan.notes[0]


def test_files_beside_the_scan_are_said(tmp_path):
    scan_folder(tmp_path)
    (tmp_path / "mouse_TS.csv").write_text("x")
    (tmp_path / "mouse.oog").write_text("x")
    notes = " ".join(open_scan(tmp_path).notes)
    assert "mouse_TS.csv" in notes
    assert "mouse.oog" in notes


@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_missing_projection_is_named(tmp_path, number):
    scan_folder(tmp_path)
    (tmp_path / f"mouse000{number}.tif").unlink()
    with pytest.raises(InputError, match=rf"mouse000{number}\.tif"):
        open_scan(tmp_path)


def test_every_second_projection_is_not_enough(tmp_path):
    scan_folder(tmp_path)
    for number in (1, 3):
        (tmp_path / f"mouse000{number}.tif").unlink()
    with pytest.raises(InputError, match=r"mouse0001\.tif is missing"):
        open_scan(tmp_path)


def test_one_projection_twice_is_refused(tmp_path):
    scan_folder(tmp_path)
    tifffile.imwrite(tmp_path / "mouse0003.tiff", VIEWS_DATA[0])
    with pytest.raises(InputError, match=r"mouse0003\.tif and mouse0003\.tiff"):
        open_scan(tmp_path)


def test_an_unequal_projection_is_named(tmp_path):
    scan_folder(tmp_path)
    tifffile.imwrite(tmp_path / "mouse0003.tif", VIEWS_DATA[0][:-1])
    with pytest.raises(InputError, match=r"mouse0003\.tif is 8 x 5 pixels"):
        open_scan(tmp_path)


@pytest.mark.parametrize("share", [0, 0.5, 0.95])
def test_a_truncated_projection_is_named(tmp_path, share):
    scan_folder(tmp_path)
    path = tmp_path / "mouse0003.tif"
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(InputError, match=r"mouse0003\.tif"):
        open_scan(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Number Of Files": 0}, "no projections"),
        ({"Rotation Step (deg)": None}, "Rotation Step"),
        ({"Number Of Rows": ROWS + 1}, "Number Of Rows"),
        ({"Object to Source (mm)": None}, "Object to Source"),
        ({"Number Of Files": VIEWS + 1}, r"mouse0005\.tif is missing"),
    ],
)
def test_a_log_that_does_not_fit_is_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        open_scan(scan_folder(tmp_path, **changes))


def test_floats_are_no_projections(tmp_path):
    scan_folder(tmp_path)
    for i in range(VIEWS):
        tifffile.imwrite(tmp_path / f"mouse000{i}.tif", VIEWS_DATA[i].astype(np.float32))
    with pytest.raises(InputError, match="holds float32 numbers"):
        open_scan(tmp_path)


def test_no_log_no_images_nothing(tmp_path):
    with pytest.raises(MissingInputError):
        open_scan(tmp_path / "none")
    with pytest.raises(InputError, match="no scan log"):
        open_scan(tmp_path)
    (tmp_path / "a.xtekct").write_text("[XTekCT]")
    with pytest.raises(UnknownFormatError, match="Nikon"):
        open_scan(tmp_path)
    scan_folder(tmp_path, count=0)
    with pytest.raises(InputError, match=r"mouse0000\.tif"):
        open_scan(tmp_path)
    with pytest.raises(InputError, match=r"mouse0000\.tif"):
        open_scan(tmp_path / "mouse.log")


def test_projections_are_no_volume(tmp_path):
    with pytest.raises(InputError, match="reconstruct it first"):
        open_volume(scan_folder(tmp_path), 10)


def test_info_of_a_scan(tmp_path):
    outcome = info(scan_folder(tmp_path))
    results = outcome.results
    assert sniff(tmp_path).kind == results["kind"] == "scan"
    assert outcome.outputs == []
    assert results["scanner"] == "SkyScan1276"
    assert results["projections_shape"] == [VIEWS, ROWS, COLUMNS]
    assert results["shape"] == [ROWS, COLUMNS, COLUMNS]
    assert results["spacing_mm"] == [0.084] * 3
    assert results["bit_depth"] == 16
    assert results["window"] is None
    assert results["reason"]["window"]
    geometry = results["geometry"]
    assert geometry["projections"] == VIEWS
    assert (geometry["step_deg"], geometry["range_deg"], geometry["pixel_um"]) == (40, 200, 84)
    assert geometry["cone_angle_horizontal_deg"] == pytest.approx(
        np.degrees(2 * np.arctan(COLUMNS * 0.084 / 2 / 92.2))
    )
    assert results["memory_gb"]["projections_float32"] == pytest.approx(
        VIEWS * ROWS * COLUMNS * 4e-9, abs=1e-6
    )
    assert {p.name for p in tmp_path.iterdir()} == {"mouse.log", *(f"mouse000{i}.tif" for i in range(VIEWS))}
