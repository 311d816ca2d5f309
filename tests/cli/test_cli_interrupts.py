"""Stopping a command: one sentence, code 2, nothing unfinished left, and the next run works."""

import json
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from bonemet.cli.entry import Stopper

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")

PROGRAM = [sys.executable, "-c", "from bonemet.cli.entry import main; main()"]


def start(*words):
    return subprocess.Popen(
        [*PROGRAM, *(str(w) for w in words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def simulate(out, *words):
    return start("simulate", out, "--preset", "tiny", "--animals", "3", "--weeks", "0,1,2", *words)


def wait_for(path, process):
    """Wait until a command has begun to write."""
    for _ in range(600):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"{path} was never begun.")


@pytest.mark.parametrize("numbers", [[signal.SIGINT] * 3, [signal.SIGTERM, signal.SIGINT]])
def test_a_stopped_command_leaves_nothing_and_says_one_sentence(tmp_path, numbers):
    out = tmp_path / "new" / "study"
    process = simulate(out, "--json")
    wait_for(out.with_name("study.partial"), process)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.05)
    said, complained = process.communicate(timeout=30)
    assert process.returncode == 2
    assert len(complained.strip().splitlines()) == 1
    answer = json.loads(said)
    assert "Stopped" in answer["error"]
    assert {"outputs", "seconds", "peak_mb", "warnings"} <= set(answer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seconds", [0.1, 0.25, 0.5])
def test_a_command_stopped_while_libraries_load_shows_no_traceback(tmp_path, seconds):
    """The interpreter's own first moments are not ours, so the test waits until ``entry`` runs."""
    code = (
        "import sys; from bonemet.cli.entry import main; print('ready', file=sys.stderr, flush=True); main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "simulate", str(tmp_path / "s"), "--preset", "tiny"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, complained = process.communicate(timeout=30)
    assert process.returncode == 2
    assert len(complained.strip().splitlines()) == 1
    assert "Stopped" in complained
    assert list(tmp_path.iterdir()) == []


def test_a_killed_command_can_be_run_again(tmp_path):
    out = tmp_path / "study"
    process = simulate(out)
    wait_for(tmp_path / "study.partial", process)
    process.kill()
    process.communicate()
    assert not out.exists()
    slices = tmp_path / "slices"
    slices.mkdir()
    for z in range(5):
        tifffile.imwrite(slices / f"s_{z:04d}.tif", np.full((9, 9), 40 * z, np.uint8))
    again = start("composite", slices, slices, out, "--voxel-um", 20, "--threshold", 100)
    _, complained = again.communicate(timeout=120)
    assert again.returncode == 0, complained
    assert {p.name for p in tmp_path.iterdir()} == {
        "slices",
        "study",
        "study lesions.csv",
        "study remodelling.csv",
    }
    assert not (out / "Imagery_Dataset").exists()


def test_an_interrupt_lost_in_a_callback_comes_again():
    stopper = Stopper()
    before = signal.signal(signal.SIGINT, stopper)
    try:
        with pytest.raises(KeyboardInterrupt):
            stopper(signal.SIGINT, None)
        stopper.again(SimpleNamespace(exc_type=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
    finally:
        signal.signal(signal.SIGINT, before)
