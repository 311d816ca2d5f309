"""What ``study.toml`` says about reconstruction reaches it."""

import inspect

import pytest

from bonemet.core.errors import InputError, SettingsError
from bonemet.dataset import settings
from bonemet.stages.reconstruct import reconstruct
from bonemet.workflows import run as workflow

TOML = """
[reconstruction]
accuracy = "fine"
extend = true
ring_level = 7
hardening = "bone"
median = 1
smooth = 0.5
tilt = 0.25
skip_bad = true
calibration = [4000.0, -100.0]
"""


def test_a_study_says_what_reconstruct_is_asked_for(tmp_path, monkeypatch):
    raw = tmp_path / "Imagery_Dataset" / "Rotation-X-ray" / "871" / "week 0"
    raw.mkdir(parents=True)
    (raw / "scan.log").write_text("[System]\n")
    (tmp_path / settings.NAME).write_text(TOML)
    asked = {}

    def stop(_raw, _out, **known):
        asked.update(known)
        raise InputError("stop here")

    monkeypatch.setattr(workflow, "reconstruct", stop)
    with pytest.raises(InputError, match="stop here"):
        workflow.run(tmp_path)
    assert (asked["accuracy"], asked["extend"], asked["ring_level"]) == ("fine", True, 7)
    assert (asked["hardening"], asked["median"], asked["smooth"]) == ("bone", 1, 0.5)
    assert (asked["tilt"], asked["skip_bad"], asked["calibration"]) == (0.25, True, (4000.0, -100.0))
    assert asked["filter"] == "hamming"


def test_defaults_of_a_study_are_those_of_the_command():
    known = {n: p.default for n, p in inspect.signature(reconstruct).parameters.items()}
    ours = settings.Reconstruction().model_dump()
    assert known.pop("hardening") is None  # the same as 0 percent
    assert ours.pop("hardening") == 0
    assert {n: known[n] for n in ours} == ours


@pytest.mark.parametrize(
    "line", ["hardening = 120.0", 'hardening = "lead"', "median = 9", 'accuracy = "best"']
)
def test_senseless_settings_are_named(tmp_path, line):
    (tmp_path / settings.NAME).write_text(f"[reconstruction]\n{line}\n")
    with pytest.raises(SettingsError, match=line.split(" ")[0]):
        settings.read(tmp_path)
