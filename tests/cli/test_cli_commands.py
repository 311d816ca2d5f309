"""The command line: names, help with examples, one JSON object, one sentence and code 2 for bad input."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import bonemet
from bonemet.cli.main import app

COMMANDS = [
    "demo",
    "info",
    "simulate",
    "reconstruct",
    "segment",
    "register",
    "reference",
    "carry",
    "composite",
    "series",
    "crop",
    "measure",
    "run",
    "report",
]

SURFACE = [
    "BonemetError",
    "CTRegistration",
    "Context",
    "Grid",
    "Measure",
    "Outcome",
    "Quantity",
    "ReconCTSegmentation",
    "RoICompositeCropper",
    "Scan",
    "ScanKey",
    "ThreadContext",
    "Transform",
    "Volume",
    "__version__",
    "open_scan",
    "open_volume",
    *COMMANDS,
]


def invoke(*words):
    return CliRunner().invoke(app, [str(w) for w in words])


def test_the_public_names_are_frozen():
    assert sorted(bonemet.__all__) == sorted(SURFACE)
    for name in SURFACE:
        assert getattr(bonemet, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = bonemet.nothing_like_this


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example_and_speaks_json(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"bonemet {command}" in result.output
    assert "--json" in result.output


def test_the_version_is_printed():
    assert invoke("--version").output.strip() == bonemet.__version__


def test_importing_the_package_is_light():
    code = "import sys, bonemet; print([m for m in ('numba', 'SimpleITK', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def stack(tmp_path):
    folder = tmp_path / "stack"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for z in range(6):
        tifffile.imwrite(folder / f"s_{z:04d}.tif", rng.integers(0, 256, (20, 22), dtype=np.uint8))
    return folder


def test_json_is_one_object_with_the_contract_keys(stack):
    result = invoke("measure", stack, "--voxel-um", 20, "--threshold", 100, "--only", "BV,TV,BV/TV", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert {"outputs", "seconds", "peak_mb", "warnings", "measures"} <= set(answer)
    values = {m["name"]: m["value"] for m in answer["measures"]}
    data = np.stack([tifffile.imread(p) for p in sorted(stack.iterdir())])
    assert values["BV"] == pytest.approx((data >= 100).sum() * 0.02**3, rel=1e-9)
    assert values["TV"] == pytest.approx(data.size * 0.02**3, rel=1e-9)
    assert values["BV/TV"] == pytest.approx((data >= 100).mean(), rel=1e-9)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["measure", "{stack}"], "--voxel-um"),
        (["measure", "{tmp}/nowhere", "--voxel-um", "20"], "nowhere"),
        (["measure", "{stack}", "--voxel-um", "-3"], "voxel"),
        (["measure", "{stack}", "--voxel-um", "20", "--only", "Tb.Foo"], "Tb.Foo"),
        (["reconstruct", "{stack}", "{tmp}/out"], "log"),
        (["info", "{tmp}/nowhere"], "nowhere"),
        (["run", "{tmp}"], "Rotation-X-ray"),
        (["report", "{tmp}"], "bonemet run"),
        (["simulate", "{tmp}/study", "--weeks", "a,b"], "weeks"),
        (["simulate", "{tmp}/study", "--preset", "gigantic"], "gigantic"),
        (["composite", "{stack}", "{tmp}/nowhere", "{tmp}/out", "--voxel-um", "20"], "nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(words, says, stack, tmp_path):
    filled = [w.format(stack=stack, tmp=tmp_path) for w in words]
    before = sorted(p.name for p in tmp_path.iterdir())
    result = invoke(*filled)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_json_errors_are_json_too(tmp_path):
    result = invoke("info", tmp_path / "nowhere", "--json")
    assert result.exit_code == 2
    assert "nowhere" in json.loads(result.stdout)["error"]


def test_debug_shows_the_traceback(tmp_path):
    result = invoke("info", tmp_path / "nowhere", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr


def test_what_counts_as_a_change_is_the_same_by_command_and_by_study():
    from inspect import signature

    from bonemet.cli.change import composite
    from bonemet.dataset.settings import Change
    from bonemet.roi.guard import Guard

    names = ("guard_sigma", "guard_difference", "guard_film", "guard_cluster")
    options = signature(composite).parameters
    told = Guard(
        *(options[n].default for n in names),
        noise_sds=options["guard_noise"].default,
        local_mm=options["guard_local"].default,
    )
    assert told == Guard() == Change().guard()
