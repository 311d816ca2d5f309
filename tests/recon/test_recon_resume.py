"""A run that is stopped or killed goes on where it was, and ends with the same bytes."""

import errno
import subprocess
import sys
import time

import pytest
from recon_files import write_scan
from recon_phantom import geometry

from bonemet.core.errors import InputError, OutputWriteError, StopRequestedError
from bonemet.io import journal, stacks
from bonemet.recon import projections
from bonemet.stages.reconstruct import reconstruct
from bonemet.stages.reconstruct_slices import Writer

SETTINGS = {"slices": "0:40", "axis_offset": 0.0, "window": (0.0, 0.15)}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw") / "scan"
    write_scan(folder, geometry(columns=64, rows=40, optical_axis_row=17.0), photons=2e5)
    return folder


@pytest.fixture(autouse=True)
def thin_slabs(monkeypatch):
    monkeypatch.setattr(projections, "SLAB", 16)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, scan):
    out = tmp_path_factory.mktemp("out") / "mouse"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projections, "SLAB", 16)
        outcome = reconstruct(scan, out, **SETTINGS)
    return outcome, contents(out)


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def stop_after(monkeypatch, slabs, error):
    """Make the slab after so many fail; return the list of slabs that were begun."""
    real, begun = Writer._slab, []

    def failing(self, rays, how, slices, blocks, tick):
        begun.append(slices)
        if len(begun) > slabs:
            raise error
        return real(self, rays, how, slices, blocks, tick)

    monkeypatch.setattr(Writer, "_slab", failing)
    return begun


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), StopRequestedError("stop"), OSError(errno.ENOSPC, "No space left on device")],
)
def test_a_stopped_run_goes_on_and_gives_the_same_bytes(scan, whole, tmp_path, monkeypatch, error):
    out = tmp_path / "mouse"
    with monkeypatch.context() as patch:
        stop_after(patch, 2, error)
        expected = OutputWriteError if isinstance(error, OSError) else type(error)
        with pytest.raises(expected):
            reconstruct(scan, out, **SETTINGS)
    partial = tmp_path / "mouse.partial"
    assert not out.exists()
    assert sorted(journal.done(partial)) == list(range(32))
    written = {p.name: p.stat().st_mtime_ns for p in partial.glob("*.png")}
    begun = stop_after(monkeypatch, 99, error)
    outcome = reconstruct(scan, out, **SETTINGS)
    assert begun == [(32, 40)]
    assert contents(out) == whole[1]
    assert outcome.results == whole[0].results
    assert all((out / name).stat().st_mtime_ns == when for name, when in written.items())
    assert not partial.exists()


def test_a_store_goes_on_too(scan, tmp_path, monkeypatch):
    pytest.importorskip("zarr")
    settings = SETTINGS | {"format": "ome-zarr", "window": None}
    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        stop_after(patch, 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            reconstruct(scan, out, **settings)
    begun = stop_after(monkeypatch, 99, KeyboardInterrupt())
    reconstruct(scan, out, **settings)
    assert begun == [(32, 40)]
    reconstruct(scan, tmp_path / "whole", **settings)
    stores = [next((tmp_path / name).glob("*.ome.zarr")) for name in ("stopped", "whole")]
    files = [{p.relative_to(s): p.read_bytes() for p in s.rglob("*") if p.is_file()} for s in stores]
    assert files[0] == files[1]


def test_other_settings_begin_anew(scan, whole, tmp_path, monkeypatch):
    out = tmp_path / "mouse"
    with monkeypatch.context() as patch:
        stop_after(patch, 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            reconstruct(scan, out, **SETTINGS | {"filter": "ramp"})
    reconstruct(scan, out, **SETTINGS)
    assert contents(out) == whole[1]


def test_what_can_never_end_well_leaves_nothing(scan, tmp_path, monkeypatch):
    stop_after(monkeypatch, 2, InputError("this will fail again"))
    with pytest.raises(InputError):
        reconstruct(scan, tmp_path / "mouse", **SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_goes_on_and_gives_the_same_bytes(scan, whole, tmp_path):
    out = tmp_path / "mouse"
    program = (
        "import sys, time\n"
        "from bonemet.recon import projections\n"
        "from bonemet.io import journal\n"
        "from bonemet.stages.reconstruct import reconstruct\n"
        "projections.SLAB = 16\n"
        "real = journal.note\n"
        "def slow(*a):\n    real(*a)\n    time.sleep(60)\n"
        "journal.note = slow\n"
        f"reconstruct(sys.argv[1], sys.argv[2], **{SETTINGS!r})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(scan), str(out)])
    try:
        for _ in range(1200):
            if journal.done(tmp_path / "mouse.partial") or process.poll() is not None:
                break
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    assert len(journal.done(tmp_path / "mouse.partial")) == 16
    outcome = reconstruct(scan, out, **SETTINGS)
    assert contents(out) == whole[1]
    assert outcome.results == whole[0].results
    assert len(stacks.open_stack(out)) == 40


def test_a_damaged_journal_is_no_journal(tmp_path):
    journal.begin(tmp_path, "mark")
    journal.note(tmp_path, {3: 7})
    assert journal.belongs(tmp_path, "mark")
    assert not journal.belongs(tmp_path, "other")
    assert journal.done(tmp_path) == {3: 7}
    (tmp_path / journal.NAME).write_text('{"finger')
    assert not journal.belongs(tmp_path, "mark")
    assert journal.done(tmp_path) == {}
    journal.note(tmp_path, {4: 1})
    assert journal.done(tmp_path) == {}
