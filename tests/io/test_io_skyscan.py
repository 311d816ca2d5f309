import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonemet.core.errors import InputError, MissingInputError, UnknownFormatError
from bonemet.io.skyscan import (
    SkyScanLog,
    axis_row,
    format_log,
    geometry_from_log,
    geometry_notes,
    parse,
    pixel_mm,
    read_log,
    write_rec_log,
)
from bonemet.io.thermal import read_shifts

LOGS = Path(__file__).parents[2].parent / "shared" / "data" / "skyscan-logs"
needs_data = pytest.mark.skipif(not LOGS.is_dir(), reason="the shared example logs are not here")
SKYSCAN = sorted(
    p for p in LOGS.glob("*/*") if p.parent.name != "not-skyscan" and p.suffix in (".log", ".oog")
)
OTHERS = sorted(LOGS.glob("not-skyscan/*"))

SCAN = {
    "System": {"Scanner": "SkyScan1276", "Camera X/Y Ratio": "1.0"},
    "Acquisition": {
        "Filename Prefix": "mouse",
        "Number Of Files": "  260",
        "Number Of Rows": "  336",
        "Number Of Columns": "  504",
        "Optical Axis (line)": " 160",
        "Camera to Source (mm)": "166.5",
        "Object to Source (mm)": "92.2",
        "Image Pixel Size (um)": "84.0",
        "Rotation Step (deg)": "0.800",
        "Rotation Direction": "CC",
        "Flat Field Correction": "ON",
        "Reference Intensity": "57000",
    },
}


def log_of(**changes):
    acquisition = {k: v for k, v in (SCAN["Acquisition"] | changes).items() if v is not None}
    return SkyScanLog(Path("mouse.log"), {"System": SCAN["System"], "Acquisition": acquisition})


PRINTABLE = st.text(st.characters(codec="latin-1", categories=("L", "N", "P", "Zs")), max_size=12)
NAMES = PRINTABLE.map(str.strip).filter(lambda t: t and not set(t) & set("[]=\x85\xa0"))
VALUES = PRINTABLE.map(str.strip).filter(lambda t: not set(t) & set("\x85\xa0[]"))


@settings(deadline=None)
@given(
    sections=st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=4), max_size=4),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16"]),
    newline=st.sampled_from(["\r\n", "\n"]),
)
def test_logs_come_back_in_every_encoding(tmp_path_factory, sections, encoding, newline):
    path = tmp_path_factory.mktemp("log") / "a.log"
    whole = {"System": {"Scanner": "SkyScan1276", "Where": "Zürich"}, "Acquisition": {}} | {
        k: v for k, v in sections.items() if k not in ("System", "Acquisition")
    }
    path.write_bytes(format_log(whole).replace("\r\n", newline).encode(encoding))
    assert read_log(path).sections == whole


def test_the_layout_is_the_scanners():
    assert format_log({"System": {"Scanner": "SkyScan1276"}, "Acquisition": {"Number Of Files": 3}}) == (
        "[System]\r\nScanner=SkyScan1276\r\n[Acquisition]\r\nNumber Of Files=3\r\n"
    )


@pytest.mark.parametrize(
    ("spelt", "asked"),
    [
        ("Number of Files", "Number Of Files"),
        ("NUMBER OF FILES", "Number Of Files"),
        ("Mininum for CS to Image Conversion", "Minimum for CS to Image Conversion"),
        ("CameraXYRatio", "Camera X/Y Ratio"),
        ("Software", "Software Version"),
        ("Image Pixel Size  (um) ", "Image Pixel Size (um)"),
    ],
)
def test_keys_are_found_in_other_spellings(spelt, asked):
    log = SkyScanLog(Path("a.log"), parse(f"[Acquisition]\n{spelt}= 7\n"))
    assert log.number(asked) == 7


@pytest.mark.parametrize(
    ("text", "number"),
    [("28.344 mm", 28.344), ("ON (3)", 3), ("-0.5", -0.5), ("  471", 471), ("0,4", 0.4), ("1.5e-3", 0.0015)],
)
def test_numbers_are_found_among_words(text, number):
    assert log_of(Something=text).number("Something") == number


def test_a_missing_number_names_its_key():
    with pytest.raises(InputError, match=r"mouse\.log has no 'Rotation Step \(deg\)'"):
        log_of(**{"Rotation Step (deg)": None}).number("Rotation Step (deg)")
    with pytest.raises(InputError, match="which is no number"):
        log_of(**{"Rotation Step (deg)": "unknown"}).number("Rotation Step (deg)")


def test_switches():
    log = log_of(A="ON", B="off", C="YES", D="NO", E="perhaps")
    assert [log.flag(k) for k in "ABCDEF"] == [True, False, True, False, None, None]


def test_geometry_says_what_the_log_says():
    g = geometry_from_log(log_of())
    assert (g.rows, g.columns, len(g.angles_deg)) == (336, 504, 260)
    assert (g.pixel_mm, g.sod_mm, g.sdd_mm) == (0.084, 92.2, 166.5)
    assert np.allclose(g.angles_deg, 0.8 * np.arange(260))
    assert g.range_deg == pytest.approx(208)
    assert g.optical_axis_row == 335 - 160
    assert g.axis_offset_px == 0
    assert g.turn == 1


@pytest.mark.parametrize(("line_from", "row"), [("top", 160), ("bottom", 175)])
def test_the_edge_that_lines_are_counted_from_is_one_setting(line_from, row):
    assert geometry_from_log(log_of(), line_from=line_from).optical_axis_row == row


@given(line=st.floats(-10, 400), rows=st.integers(1, 400), line_from=st.sampled_from(["top", "bottom"]))
def test_lines_and_rows_are_each_others_inverse(line, rows, line_from):
    assert axis_row(axis_row(line, rows, line_from), rows, line_from) == pytest.approx(line)


def test_without_an_axis_the_middle_row_is_taken_and_said():
    log = log_of(**{"Optical Axis (line)": None})
    assert geometry_from_log(log).optical_axis_row == 167.5
    assert "middle row" in " ".join(geometry_notes(log))


def test_the_sense_of_rotation_follows_the_log():
    assert geometry_from_log(log_of(**{"Rotation Direction": "CW"})).turn == -1
    assert "is missing" in " ".join(geometry_notes(log_of(**{"Rotation Direction": None})))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("Rotation Step (deg)", None, "has no 'Rotation Step"),
        ("Rotation Step (deg)", "0", "no view has its angle"),
        ("Number Of Files", "0", "no projections"),
        ("Number Of Files", None, "has no 'Number Of Files'"),
        ("Object to Source (mm)", None, "has no 'Object to Source"),
        ("Camera to Source (mm)", None, "has no 'Camera to Source"),
        ("Camera to Source (mm)", "50", "nearer to the object"),
        ("Image Pixel Size (um)", None, "has no 'Image Pixel Size"),
        ("Image Pixel Size (um)", "0", "Image Pixel Size"),
        ("Number Of Rows", None, "has no 'Number Of Rows'"),
    ],
)
def test_what_a_log_lacks_is_named(key, value, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        geometry_from_log(log_of(**{key: value}))


@pytest.mark.parametrize("what", [{"rows": 335}, {"columns": 1}, {"views": 261}])
def test_images_that_contradict_the_log_are_refused(what):
    with pytest.raises(InputError, match=f"say {next(iter(what.values()))}"):
        geometry_from_log(log_of(), **what)


def test_images_fill_in_what_the_log_leaves_out():
    log = log_of(**{"Number Of Rows": None, "Number Of Columns": None, "Number Of Files": None})
    g = geometry_from_log(log, 10, 20, 30)
    assert (g.rows, g.columns, len(g.angles_deg)) == (10, 20, 30)


def test_a_finer_pixel_size_of_the_reconstruction_is_used():
    rounded = {"Image Pixel Size (um)": "    1.66"}
    log = log_of(**rounded)
    assert pixel_mm(log) == pytest.approx(0.00166)
    finer = SkyScanLog(log.path, log.sections | {"Reconstruction": {"Pixel Size (um)": "1.65905"}})
    assert pixel_mm(finer) == pytest.approx(0.00165905)
    other = SkyScanLog(log.path, log.sections | {"Reconstruction": {"Pixel Size (um)": "3.31810"}})
    assert pixel_mm(other) == pytest.approx(0.00166)


def test_notes_tell_what_is_not_used():
    log = log_of(
        **{"Number of connected scans": "2", "Current scan number": "1", "Maximum vertical TS": "5.0"}
    )
    log.sections["Reconstruction"] = {"Postalignment": "-3.50"}
    log.sections["Acquisition"]["Image crop origin Y"] = "40"
    log.sections["Acquisition"]["Number Of Horizontal Offset Positions"] = "2"
    text = " ".join(geometry_notes(log))
    for part in ("part 1 of 2", "-3.5 pixels", "thermal", "cropped", "horizontal camera"):
        assert part in text


def test_a_rec_log_comes_back(tmp_path):
    path = tmp_path / "mouse_rec.log"
    entries = {
        "Pixel Size (um)": 84.0,
        "Result File Type": "PNG",
        "Minimum for CS to Image Conversion": 0.0,
        "Maximum for CS to Image Conversion": 0.25,
        "Filename Index Length": 8,
        "Filename Prefix": "mouse_rec",
    }
    write_rec_log(path, log_of(), entries)
    log = read_log(path)
    assert log.is_reconstruction_log
    assert log.window == (0.0, 0.25)
    assert (log.prefix, log.slice_prefix) == ("mouse", "mouse_rec")
    assert geometry_from_log(log).cone_angle_horizontal_deg == pytest.approx(
        geometry_from_log(log_of()).cone_angle_horizontal_deg
    )
    assert path.read_bytes().count(b"\r\n") == path.read_bytes().count(b"\n")
    write_rec_log(path, log, entries | {"Maximum for CS to Image Conversion": 0.5})
    assert read_log(path).window == (0.0, 0.5)
    write_rec_log(path, None, entries)
    assert read_log(path).window == (0.0, 0.25)
    assert read_log(path).scanner == ""


def test_what_is_no_log_is_refused(tmp_path):
    with pytest.raises(MissingInputError):
        read_log(tmp_path / "none.log")
    for name, raw in (
        ("a.log", b"hello"),
        ("b.log", b"\x00\x01\x02"),
        ("c.log", b""),
        ("d.log", b"[System]\n"),
    ):
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(UnknownFormatError, match="is no SkyScan log"):
            read_log(tmp_path / name)


@needs_data
@pytest.mark.parametrize("path", SKYSCAN, ids=lambda p: p.name)
def test_real_logs_are_read(path):
    log = read_log(path)
    assert log.scanner.casefold().startswith("skyscan1")
    g = geometry_from_log(log)
    assert g.rows > 800
    assert 188 < g.range_deg < 241
    assert 0 < g.optical_axis_row < g.rows
    assert log.is_reconstruction_log == path.stem.endswith("_rec")


@needs_data
@pytest.mark.parametrize("path", SKYSCAN, ids=lambda p: p.name)
def test_computed_cone_angles_equal_the_printed(path):
    log = read_log(path)
    g = geometry_from_log(log)
    printed = (
        log
        if log.reconstructed
        else next(
            read_log(p)
            for p in sorted(path.parent.glob("*_rec.log"))
            if read_log(p).prefix[:8] == log.prefix[:8]
        )
    )
    horizontal = printed.number("Cone-beam Angle Horiz.(deg)")
    vertical = printed.number("Cone-beam Angle Vert.(deg)")
    # An unreconstructed log of the 1172 rounds its pixel to 1.66 um.
    tolerance = 1e-3 * horizontal if path.suffix == ".oog" else 5e-5
    assert math.isclose(g.cone_angle_horizontal_deg, horizontal, abs_tol=tolerance)
    assert math.isclose(g.cone_angle_vertical_deg, vertical, abs_tol=tolerance)


@needs_data
@pytest.mark.parametrize("path", sorted(LOGS.glob("zebrafish-*/*.log")), ids=lambda p: p.name)
def test_the_1172_scan_part_alone_is_within_a_thousandth(path):
    log = read_log(path)
    scan = SkyScanLog(path, {k: v for k, v in log.sections.items() if k != "Reconstruction"})
    printed = log.number("Cone-beam Angle Horiz.(deg)")
    assert geometry_from_log(scan).cone_angle_horizontal_deg == pytest.approx(printed, rel=1e-3)
    assert pixel_mm(log) == pytest.approx(0.00165905)


@needs_data
@pytest.mark.parametrize("path", OTHERS, ids=lambda p: p.name)
def test_other_vendors_are_refused_by_name(path):
    with pytest.raises(UnknownFormatError, match=r"Nikon X-Tek|GE phoenix|Scanco") as caught:
        read_log(path)
    assert "\n" not in str(caught.value)


@needs_data
def test_the_seam_of_the_joined_scans_stands_about_the_optical_axis():
    # NRecon joined two scans of one object at its slice 814; the second begins where the stage was moved to.
    # Lines count the same way as slices, if the seam lies as far above the axis in one as below in the other.
    folder = LOGS / "1272-mouse-head"
    low, high = (read_log(folder / f"DRP_P21_3~0{i}.log") for i in (0, 1))
    moved_mm = high.number("Scanning position") - low.number("Scanning position")
    lines = moved_mm / pixel_mm(low)
    seam = read_log(folder / "DRP_P21_3_rec.log").number("Sub-Scan 0 ends at slice")
    axis = low.number("Optical Axis (line)")
    assert (seam + (seam - lines)) / 2 == pytest.approx(axis, abs=3)
    assert (seam + (seam - lines)) / 2 != pytest.approx(low.number("Number Of Rows") - 1 - axis, abs=100)
    length = read_log(folder / "DRP_P21_3_rec.log").number("Sub-scan scan length [0]")
    assert seam - length / 2 == pytest.approx(axis, abs=1)  # as many lines above the axis as below


@needs_data
def test_nrecon_counts_rows_of_its_pictures_upwards():
    logs = [read_log(p) for p in sorted(LOGS.glob("*/*_rec.log"))]
    regions = [
        (log.number("ROI Top (pixels)"), log.number("ROI Bottom (pixels)"))
        for log in logs
        if (log.text("Reconstruction from ROI") or "OFF").startswith("ON")
    ]
    assert len(regions) >= 4
    assert all(top > bottom for top, bottom in regions)


@needs_data
@pytest.mark.parametrize("path", sorted(LOGS.glob("zebrafish-*/*_TS.csv")), ids=lambda p: p.name)
def test_real_tables_of_thermal_shifts_are_those_of_their_logs(path):
    log = read_log(path.with_name(path.name.replace("_TS.csv", ".log")))
    shifts = read_shifts(path, int(log.number("Number Of Files")))
    rows, columns = np.abs(shifts).max(axis=0)
    assert rows == log.number("Maximum vertical TS")
    assert columns == log.number("Maximum horizontal TS")
