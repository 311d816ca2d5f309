"""What a user may do wrong: one sentence, code 2, nothing half written, and JSON where it was asked for."""

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image
from typer.testing import CliRunner

from bonemet.cli.main import app
from bonemet.io import slicefiles

SIZE = (24, 26)
VOXEL = ("--voxel-um", 20)
CROP = (*VOXEL, "--threshold", 100, "--first-slice", 1, "--last-slice", 3)


def invoke(*words):
    return CliRunner().invoke(app, [str(w) for w in words])


def refused(root, *words):
    """Demand a refusal, with and without JSON, that leaves ``root`` as it was; return its sentence."""
    before = listing(root)
    for more in ((), ("--json",)):
        result = invoke(*words, *more)
        assert result.exit_code == 2, result.output
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr
        assert "Traceback" not in result.output
        if more:
            answer = json.loads(result.stdout)
            assert {"error", "outputs", "seconds", "peak_mb", "warnings"} <= set(answer)
            assert answer["error"] in result.stderr
        else:
            assert result.stdout == ""
    assert listing(root) == before
    return result.stderr


def listing(root):
    return {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file() or not any(p.iterdir())}


def planes(count=6, dtype=np.uint8):
    rng = np.random.default_rng(3)
    return rng.integers(0, np.iinfo(dtype).max + 1, (count, *SIZE)).astype(dtype)


@pytest.fixture
def stack(tmp_path):
    folder = tmp_path / "a stäck"
    folder.mkdir()
    for z, plane in enumerate(planes()):
        tifffile.imwrite(folder / f"s_{z:04d}.tif", plane)
    return folder


def lose(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def scribble(path):
    path.write_text("This is no image.")


def truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def shrink(path):
    tifffile.imwrite(path, np.zeros((SIZE[0] - 1, SIZE[1]), np.uint8))


def deepen(path):
    tifffile.imwrite(path, np.zeros(SIZE, np.uint16))


def paint(path):
    colours = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    tifffile.imwrite(path, colours, photometric="rgb")


@pytest.mark.parametrize("damage", [lose, empty, scribble, truncate, shrink, deepen, paint])
def test_a_damaged_stack_is_refused_by_the_name_of_the_slice(stack, tmp_path, damage):
    damage(stack / "s_0003.tif")
    assert "s_0003.tif" in refused(tmp_path, "measure", stack, *VOXEL, "--only", "BV")
    assert "s_0003.tif" in refused(tmp_path, "crop", stack, tmp_path / "new" / "out", *CROP)


def test_a_truncated_png_and_damage_in_its_middle_are_refused(tmp_path):
    folder = tmp_path / "png"
    folder.mkdir()
    for z, plane in enumerate(planes()):
        Image.fromarray(plane).save(folder / f"s_{z:04d}.png")
    path = folder / "s_0002.png"
    whole = path.read_bytes()
    for broken in (whole[:-30], whole[:200] + bytes(100) + whole[300:]):
        path.write_bytes(broken)
        assert "s_0002.png" in refused(tmp_path, "crop", folder, tmp_path / "out", *CROP)


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd", "mha"])
def test_truncated_volumes_are_refused(tmp_path, suffix, capfd):
    path = tmp_path / f"v.{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(planes()), str(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert path.name in refused(tmp_path, "measure", path, *VOXEL, "--only", "BV")
    assert capfd.readouterr().err == ""  # no words of the reading libraries beside ours


def test_a_folder_of_two_series_is_refused(stack, tmp_path):
    shutil.copy(stack / "s_0000.tif", stack / "t_0000.tif")
    assert "more than one series" in refused(tmp_path, "measure", stack, *VOXEL)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["measure", "{s}", "--voxel-um", "abc"], "--help"),
        (["measure", "{s}", "--no-such"], "--no-such"),
        (["measure"], "VOLUME"),
        (["no-such"], "no-such"),
        (["measure", "{s}", "--voxel-um", "nan"], "nan"),
        (["info", "{s}", "--voxel-um", "0"], "0.0"),
        (["measure", "{s}", "--voxel-um", "20", "--threshold", "nan"], "threshold"),
        (["composite", "{s}", "{s}", "{o}", "--voxel-um", "20", "--threshold=-inf"], "threshold"),
        (["crop", "{s}", "{o}", "--voxel-um", "20", "--threshold", "nan"], "threshold"),
        (["segment", "{s}", "{o}", "--voxel-um", "20", "--threshold", "nan"], "threshold"),
        (["composite", "{s}", "{s}", "{o}", "--voxel-um", "20", "--threshold", "300"], "no bone"),
        (["crop", "{s}", "{o}", "--voxel-um", "20", "--first-slice", "4", "--last-slice", "2"], "2"),
        (["crop", "{s}", "{o}", "--voxel-um", "20", "--length-mm", "nan"], "nan"),
        (["measure", "{s}", "--voxel-um", "20", "--memory-gb", "0"], "memory"),
        (["composite", "{s}", "{s}", "{o}", "--voxel-um", "20", "--workers", "0"], "worker"),
        (["register", "{s}", "{s}", "{o}", "--voxel-um", "20", "--method", "foo"], "foo"),
    ],
)
def test_senseless_arguments_are_refused(stack, tmp_path, words, says):
    filled = [w.format(s=stack, o=tmp_path / "out") for w in words]
    assert says in refused(tmp_path, *filled)


def test_a_threshold_above_all_greys_is_told(stack):
    result = invoke("measure", stack, *VOXEL, "--threshold", 300, "--only", "BV", "--json")
    assert result.exit_code == 0
    assert any("300" in w for w in json.loads(result.stdout)["warnings"])


# Output folders


def test_an_output_that_is_or_holds_the_input_is_refused(stack, tmp_path):
    for out in (stack, tmp_path, stack.parent / "." / stack.name):
        assert "input" in refused(tmp_path, "crop", stack, out, *CROP, "--overwrite")
    assert "root" in refused(tmp_path, "crop", stack, "/", *CROP, "--overwrite")


def test_the_folder_that_one_stands_in_is_not_replaced(stack, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    (here / "note.txt").write_text("mine")
    monkeypatch.chdir(here)
    for out in (".", "", here):
        assert "current folder" in refused(tmp_path, "crop", stack, out, *CROP, "--overwrite")


def test_files_and_links_are_no_output_folders(stack, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "other")
    for out in ("file", "file/below", "link"):
        assert out.split("/")[0] in refused(tmp_path, "crop", stack, tmp_path / out, *CROP, "--overwrite")


def test_other_content_stays_until_it_may_be_replaced(stack, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "note.txt").write_text("mine")
    assert "--overwrite" in refused(tmp_path, "crop", stack, out, *CROP)
    lose(stack / "s_0003.tif")
    refused(tmp_path, "crop", stack, out, *CROP, "--overwrite")  # a failed run replaces nothing
    tifffile.imwrite(stack / "s_0003.tif", planes()[3])
    assert invoke("crop", stack, out, *CROP, "--overwrite").exit_code == 0
    assert "note.txt" not in {p.name for p in out.iterdir()}
    assert {p.name for p in tmp_path.iterdir()} == {stack.name, "out"}


def test_a_second_run_does_nothing_and_answers_the_same(stack, tmp_path):
    out = tmp_path / "Möß bar" / "new one"
    (out.parent / "new one.partial").mkdir(parents=True)  # left by a run that was killed
    (out.parent / "new one.partial" / "junk").write_text("half")
    first, second = (json.loads(invoke("crop", stack, f"{out}/", *CROP, "--json").stdout) for _ in range(2))
    assert (first.pop("done_before"), second.pop("done_before")) == (False, True)
    assert first["outputs"] == [str(out)]
    assert [p.name for p in out.parent.iterdir()] == ["new one"]
    assert {p.suffix for p in out.iterdir()} == {".png", ".json"}
    same = set(first) - {"seconds", "peak_mb"}
    assert {k: first[k] for k in same} == {k: second[k] for k in same}
    assert "Nothing to do" in invoke("crop", stack, out, *CROP).stdout
    refused(tmp_path, "crop", stack, out, *VOXEL, "--threshold", 101, "--first-slice", 1)


@pytest.mark.parametrize(("number", "says"), [(errno.ENOSPC, "full"), (errno.EACCES, "permission")])
def test_a_disk_that_is_full_or_closed_leaves_nothing(stack, tmp_path, monkeypatch, number, says):
    def fail(path, image, **how):
        raise OSError(number, "refused", str(path))

    monkeypatch.setattr(slicefiles, "write", fail)
    assert says in refused(tmp_path, "crop", stack, tmp_path / "new" / "out", *CROP)


# Scans


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    out = tmp_path_factory.mktemp("scans") / "study"
    assert invoke("simulate", out, "--preset", "tiny", "--animals", 1, "--weeks", 0).exit_code == 0
    return out / "Imagery_Dataset" / "Rotation-X-ray" / "871" / "week 0"


@pytest.fixture
def scan(original, tmp_path):
    folder = tmp_path / "scan"
    shutil.copytree(original, folder)
    return folder


def reword(folder, key, value):
    """Change an entry of the log, or take it out."""
    path: Path = next(folder.glob("*.log"))
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(key)]
    assert len(kept) < len(lines)
    place = next(i for i, line in enumerate(lines) if line.startswith(key))
    kept[place:place] = [] if value is None else [f"{key}={value}"]
    path.write_text("\n".join(kept))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Rotation Step (deg)", None),
        ("Rotation Step (deg)", "1e999"),
        ("Object to Source (mm)", None),
        ("Object to Source (mm)", "-5"),
        ("Camera to Source (mm)", "10"),
        ("Image Pixel Size (um)", "0"),
        ("Number Of Files", "0"),
        ("Number Of Files", "300"),
        ("Number Of Rows", "77"),
    ],
)
def test_a_log_that_lacks_or_contradicts_is_named(scan, tmp_path, key, value):
    reword(scan, key, value)
    assert "871_week0" in refused(tmp_path, "reconstruct", scan, tmp_path / "out")
    assert "871_week0" in refused(tmp_path, "info", scan)


def test_damaged_projections_are_refused(scan, tmp_path):
    path = scan / "871_week0_00000100.tif"
    whole = path.read_bytes()
    black = np.zeros_like(tifffile.imread(path))
    truncate(path)
    assert path.name in refused(tmp_path, "reconstruct", scan, tmp_path / "out")
    tifffile.imwrite(path, black)
    assert "100" in refused(tmp_path, "reconstruct", scan, tmp_path / "out", "--slices", "60:61")
    lose(path)
    assert path.name in refused(tmp_path, "reconstruct", scan, tmp_path / "out")
    path.write_bytes(whole)
    for other in scan.glob("*.tif"):
        other.unlink()
    assert "no projections" in refused(tmp_path, "reconstruct", scan, tmp_path / "out")


@pytest.mark.parametrize(
    "words",
    [
        ("--slices", "5:2"),
        ("--slices", "a:b"),
        ("--slices", "100:99999"),
        ("--axis-offset", "nan"),
        ("--axis-offset", "1e9"),
        ("--window", "1", "0"),
        ("--window", "0", "inf"),
        ("--format", "jpg"),
        ("--filter", "none"),
        ("--ring-level", "21"),
        ("--voxel-um", "inf"),
        ("--memory-gb", "0"),
        ("--memory-gb", "1e-6"),
    ],
)
def test_senseless_reconstructions_are_refused(original, tmp_path, words):
    assert refused(tmp_path, "reconstruct", original, tmp_path / "out", *words).startswith("Error: ")


def test_raw_projections_are_no_slices(original, tmp_path):
    assert "reconstruct" in refused(tmp_path, "measure", original, *VOXEL)
    assert "reconstruct" in refused(tmp_path, "segment", original, tmp_path / "out", *VOXEL)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not toml [", "TOML"),
        ("[region]\nlength_cm = 1", "length_cm"),
        ("[region]\nlength_mm = -1", "length_mm"),
        ("[reconstruction]\nwindow = [1, 0]", "window"),
        ('[reconstruction]\nfilter = "none"', "filter"),
        ("[segmentation]\nthreshold = nan", "threshold"),
    ],
)
def test_a_broken_study_file_is_refused_before_any_work(tmp_path, original, text, says):
    study = tmp_path / "study"
    folder = study / "Imagery_Dataset" / "Rotation-X-ray" / "871" / "week 0"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(original)
    (study / "study.toml").write_text(text)
    assert says in refused(study, "run", study)
