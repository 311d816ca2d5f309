"""Outputs are whole or not there, and finished work is not done again."""

import errno

import pytest

from bonemet.core.errors import InputError, MissingInputError, OutputExistsError, OutputWriteError
from bonemet.io import output, sidecar
from bonemet.stages.outcome import Product, produce


def make(tmp_path, parameters=None, overwrite=False, text="one"):
    source = tmp_path / "in"
    source.mkdir(exist_ok=True)
    if not (source / "a.txt").exists():
        (source / "a.txt").write_text("a")
    calls = []

    def work(partial):
        calls.append(partial)
        (partial / "result.txt").write_text(text)
        return Product({"answer": 42}, warnings=["mind this"])

    outcome = produce(tmp_path / "out", "test", parameters or {}, [source], work, overwrite=overwrite)
    return outcome, calls


def test_the_second_run_does_nothing_and_says_the_same(tmp_path):
    first, calls = make(tmp_path)
    assert len(calls) == 1
    assert calls[0].name == "out.partial"
    second, calls = make(tmp_path)
    assert not calls
    assert second.done_before
    assert second.results == first.results == {"answer": 42}
    assert second.warnings == ["mind this"]
    assert second.outputs == first.outputs == [str(tmp_path / "out")]


def test_other_settings_or_inputs_need_overwrite(tmp_path):
    make(tmp_path)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        make(tmp_path, {"threshold": 2})
    outcome, calls = make(tmp_path, {"threshold": 2}, overwrite=True, text="two")
    assert calls
    assert not outcome.done_before
    assert (tmp_path / "out" / "result.txt").read_text() == "two"
    (tmp_path / "in" / "b.txt").write_text("b")
    with pytest.raises(OutputExistsError):
        make(tmp_path, {"threshold": 2})


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.doc").write_text("years of work")
    with pytest.raises(OutputExistsError, match="something else"):
        make(tmp_path)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.doc"]
    assert not (tmp_path / "out.partial").exists()


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "out").mkdir()
    assert make(tmp_path)[1]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), OSError(errno.ENOSPC, "full")])
def test_a_failure_leaves_nothing(tmp_path, error):
    def work(partial):
        (partial / "half.txt").write_text("half")
        raise error

    with pytest.raises((KeyboardInterrupt, ValueError, OutputWriteError)):
        produce(tmp_path / "out", "test", {}, [tmp_path], work)
    assert not list(tmp_path.iterdir())


def test_a_failure_while_overwriting_keeps_the_old(tmp_path):
    make(tmp_path)
    with pytest.raises(ZeroDivisionError):
        produce(tmp_path / "out", "test", {"new": 1}, [], lambda p: 1 / 0, overwrite=True)
    assert (tmp_path / "out" / "result.txt").read_text() == "one"


def test_a_full_disk_is_one_sentence(tmp_path):
    def work(partial):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputWriteError, match="disk is full"):
        produce(tmp_path / "out", "test", {}, [], work)


def test_steps_are_carried_on(tmp_path):
    make(tmp_path)
    produce(tmp_path / "next", "second", {"b": 2}, [tmp_path / "out"], lambda p: Product({}))
    steps = sidecar.read(tmp_path / "next").steps
    assert [s.name for s in steps] == ["test", "second"]
    assert steps[0].notes == ("mind this",)


def test_a_missing_input_is_named(tmp_path):
    with pytest.raises(MissingInputError, match="nowhere"):
        produce(tmp_path / "out", "test", {}, [tmp_path / "nowhere"], lambda p: Product({}))


def test_a_broken_sidecar_is_named(tmp_path):
    (tmp_path / sidecar.NAME).write_text("{")
    with pytest.raises(InputError, match="sidecar"):
        sidecar.read(tmp_path)


def test_whole_file_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")

    def write():
        with output.whole_file(path) as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
