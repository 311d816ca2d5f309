"""Many scans at once: failures are collected, and the rest is done."""

import numpy as np
import pytest
from segmentation_limbs import Pose, limbs
from typer.testing import CliRunner

from bonemet.api.segmentation import ReconCTSegmentation
from bonemet.cli.main import app
from bonemet.core.errors import InputError, MissingInputError, SettingsError
from bonemet.io import stacks
from bonemet.stages.segment_many import scans_below, segment_many

LONG = {"right tibia", "right femur"}


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Two good scans between one without bone, in the published layout."""
    root = tmp_path_factory.mktemp("many") / "Recon-CT"
    leg = limbs(Pose(legs=("right",), z_range_mm=(-15, 6)), 0.1)[0][:, :, 100:]
    for animal, volume in (("871", leg), ("872", np.full((40, 40, 40), 30, np.uint8)), ("873", leg[::-1])):
        folder = root / animal / "week 0"
        folder.mkdir(parents=True)
        stacks.write_slices(folder, f"{animal}_rec", iter(volume), format="png")
    return root


def test_every_scan_below_a_folder_is_segmented_and_failures_are_named(studies):
    out = studies / "bones"  # within the input, and no part of it
    done = segment_many(studies, out, voxel_um=100, threshold=95.0)
    assert [s["name"] for s in done.results["scans"]] == ["871 week 0", "873 week 0"]
    assert all(set(s["bones"]) >= LONG for s in done.results["scans"])
    assert all(set(s["review"]) == LONG for s in done.results["scans"])
    assert len(done.results["failed"]) == 1
    assert done.results["failed"][0].startswith("872 week 0: Nothing in this volume is as bright as bone")
    assert (out / "873 week 0" / "873 week 0 right tibia").is_dir()
    assert not (out / "872 week 0").exists()
    names = ["871 week 0", "872 week 0", "873 week 0"]
    assert [name for name, _ in scans_below(studies, out)] == names
    result = CliRunner().invoke(
        app,
        ["segment", str(studies), str(out), "--many", "--voxel-um", "100", "--threshold", "95.0", "--json"],
    )
    assert result.exit_code == 0, result.output
    assert '"873 week 0"' in result.stdout

    config = {"week": " week 0", "masterfolder": str(studies), "masterout": str(out)}
    splitter = ReconCTSegmentation(config, voxel_um=100, threshold="95.0", overwrite=True)
    with pytest.raises(InputError, match=r"1 of 2 scans were not split \(1 were\).*872: Nothing"):
        splitter.batch_split(["872", "873"])


def test_nothing_to_do_and_names_for_two_are_refused(tmp_path):
    with pytest.raises(MissingInputError, match="no reconstruction"):
        segment_many(tmp_path, tmp_path / "out")
    with pytest.raises(MissingInputError, match="not a folder"):
        segment_many(tmp_path / "none", tmp_path / "out")
    for place in ("a/871 week 0", "b/871 week 0"):
        (tmp_path / place).mkdir(parents=True)
        stacks.write_slices(tmp_path / place, "x", iter(np.zeros((2, 4, 4), np.uint8)), format="png")
    with pytest.raises(InputError, match="both be named"):
        segment_many(tmp_path, tmp_path / "out")
    with pytest.raises(SettingsError, match="threshold"):
        segment_many(tmp_path / "a", tmp_path / "out", threshold="bright")
    result = CliRunner().invoke(
        app, ["segment", str(tmp_path), str(tmp_path / "out"), "--many", "--name", "x"]
    )
    assert result.exit_code == 2
    with pytest.raises(SettingsError, match="masterfolder"):
        ReconCTSegmentation({}).batch_split()
