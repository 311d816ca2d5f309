"""What a run does with a bone's weeks, its stages replaced by records of how they were called."""

from pathlib import Path

import pytest

from bonemet.core.context import SILENT
from bonemet.core.ids import ScanKey
from bonemet.dataset import layout
from bonemet.dataset.layout import Component
from bonemet.io import sidecar
from bonemet.stages.outcome import Outcome
from bonemet.workflows import run as workflow

TOML = """
[change]
sigma_voxels = 0.5

[[regions]]
name = "metaphysis"
anchor = "growth plate"
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Stages that only write down their call, and three weeks of one tibia."""
    made: list[tuple[str, tuple, dict]] = []

    def stub(name):
        def call(*paths, **settings):
            made.append((name, paths, settings))
            return Outcome([], 0.0, 0.0, [], {"first_slice": 3, "last_slice": 9})

        return call

    for name in ("orient", "register", "composite", "crop", "measure_bone"):
        monkeypatch.setattr(workflow, name, stub(name))
    for week in (0, 1, 3):
        folder = layout.folder(tmp_path, Component.SEG_CT, ScanKey("871", week, "left", "tibia"))
        folder.mkdir(parents=True)
        (folder / sidecar.NAME).write_text("{}", encoding="utf-8")
    (tmp_path / "study.toml").write_text(TOML, encoding="utf-8")
    work = workflow._Run(tmp_path, False, SILENT)
    work.thresholds["871", 0] = 100.0
    work.tibia("871", "left", [0, 1, 3])
    return made


def weeks_of(call) -> tuple[int, ...]:
    return tuple(int(Path(p).name.split()[-1]) for p in call[1][:2])


def test_every_week_is_laid_on_the_first_and_on_the_week_before(calls):
    composites = [c for c in calls if c[0] == "composite"]
    assert [weeks_of(c) for c in composites] == [(0, 1), (0, 3), (1, 3)]
    assert [Path(c[1][2]).name.split()[-1] for c in composites] == [
        "w0w1composite",
        "w0w3composite",
        "w1w3composite",
    ]
    landmarks = [c[2]["landmarks"] for c in composites]
    assert landmarks[:2] == [None, None]
    assert landmarks[2].name == "week 0"


def test_the_study_says_what_counts_as_a_change_and_where(calls):
    for _, _, settings in (c for c in calls if c[0] == "composite"):
        assert settings["guard"].sigma_voxels == 0.5
        assert settings["guard"].smallest_difference == 0.05
        assert settings["regions"].name == "study.toml"


def test_the_region_of_the_first_week_is_that_of_all(calls):
    later = [c for c in calls if c[0] == "crop"][1:]
    assert len(later) == 4
    assert {(c[2]["first_slice"], c[2]["last_slice"]) for c in later} == {(3, 9)}
