"""Output folders: whole or not there.

Work goes into ``OUT.partial``, which is renamed to ``OUT`` when complete, so a run that was
killed leaves nothing that looks finished.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bonemet.core.errors import MissingInputError, OutputExistsError, OutputWriteError, StopRequestedError
from bonemet.io import journal, sidecar

_FULL = {errno.ENOSPC, errno.EDQUOT}


def partial_path(out: Path) -> Path:
    """Return the folder in which unfinished work on ``out`` lives."""
    place = out.resolve() if out.name in ("", "..") else out  # "." has no name to add to
    return place.with_name(place.name + ".partial")


def fingerprint(
    name: str,
    version: str,
    parameters: Mapping[str, Any],
    inputs: Sequence[Path],
    out: Path | None = None,
) -> str:
    """Return a digest that changes whenever the inputs or settings of a step do.

    Inputs count by the name, size and time of change of every file; an output folder ``out`` that lies
    within an input is no part of it.
    """
    own = set() if out is None else {out, partial_path(out)}
    digest = hashlib.sha256(json.dumps([name, version, parameters], sort_keys=True, default=str).encode())
    for root in inputs:
        if not root.exists():
            raise MissingInputError(f"{root} does not exist; check the path.")
        files = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root]
        for path in files:
            if own.intersection(path.parents):
                continue
            status = path.stat()
            relative = path.relative_to(root).as_posix()
            digest.update(f"{relative}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def finished(out: Path, mark: str) -> sidecar.Sidecar | None:
    """Return the sidecar of ``out`` if it holds the finished work of that fingerprint."""
    if not out.is_dir():
        return None
    try:
        known = sidecar.read(out)
    except ValueError:
        return None
    if known is None or known.fingerprint != mark or count_files(out) < known.files:
        return None
    return known if all(out.with_name(name).is_file() for name in known.beside) else None


def count_files(folder: Path) -> int:
    """Return the number of files in a folder and the folders in it."""
    return sum(1 for p in folder.rglob("*") if p.is_file())


def staged(path: Path) -> Path:
    """Return where a file that belongs beside an output folder is written until the folder is whole."""
    return path.with_name(f"partial.{path.name}")


def refuse_foreign(out: Path, overwrite: bool) -> None:
    """Refuse an output path that holds something else, unless it may be overwritten.

    Raises
    ------
    OutputExistsError
        If ``out`` is a file, or a folder that is not empty and may not be overwritten, or the folder
        that this process stands in, or one around it.
    """
    if Path.cwd().is_relative_to(out.resolve()):
        raise OutputExistsError(
            f"{out} is the current folder or one around it; give the name of a folder to make."
        )
    if out.is_symlink():
        raise OutputExistsError(f"{out} is a link, and the output must be a folder; choose another name.")
    for place in (out, *out.parents):
        if place.is_file():
            raise OutputExistsError(
                f"{place} is a file, and the output must be a folder; choose another name."
            )
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise OutputExistsError(
            f"{out} already holds something else; "
            "choose another output folder, or pass --overwrite to replace it."
        )


def refuse_inputs(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse an output folder that is an input or holds one, since it would be replaced.

    Raises
    ------
    OutputExistsError
        If an input lies at ``out`` or within it, or ``out`` is the root of a disk.
    """
    if not out.resolve().name:
        raise OutputExistsError(f"{out} is the root of a disk; give the name of a folder to make.")
    for path in inputs:
        if path.resolve().is_relative_to(out.resolve()):
            raise OutputExistsError(
                f"{out} is or holds the input {path}, which the output would replace; "
                "choose another output folder."
            )


@contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """Turn failures of the disk into one clear sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise OutputWriteError(
                f"The disk is full while writing {out}; free some space and run again."
            ) from error
        if error.errno in {errno.EACCES, errno.EROFS, errno.EPERM}:
            raise OutputWriteError(f"No permission to write {out}; choose another output folder.") from error
        raise


@contextmanager
def whole_folder(out: Path, overwrite: bool = False, resume: str | None = None) -> Iterator[Path]:
    """Yield the folder in which to build ``out``; rename it when the block ends well, else remove it.

    Parameters
    ----------
    out
        The output folder.
    overwrite
        Whether it may be replaced when it holds something else.
    resume
        The work's fingerprint, where the work keeps a journal: what an earlier run of the same work left is
        then yielded as it is, and what this one leaves when it is stopped, or when the disk is full, is kept.

    Raises
    ------
    OutputExistsError
        If ``out`` holds something else, and overwriting was not asked for.
    OutputWriteError
        If the disk is full or may not be written.
    """
    refuse_foreign(out, overwrite)
    partial = partial_path(out)
    new_parents = [p for p in out.parents if not p.exists()]
    with disk_errors(out):
        try:
            if resume is None or not journal.belongs(partial, resume):
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
                if resume is not None:
                    journal.begin(partial, resume)
            yield partial
            _replace(partial, out)
        except BaseException as error:
            if resume is not None and _goes_on(error) and journal.done(partial):
                raise
            shutil.rmtree(partial, ignore_errors=True)
            for parent in new_parents:
                with suppress(OSError):  # not there, or no longer empty
                    parent.rmdir()
            raise


def _goes_on(error: BaseException) -> bool:
    """Tell whether work that ended with an error can go on where it stopped: nothing was wrong with it."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return isinstance(error, KeyboardInterrupt | SystemExit | MemoryError | StopRequestedError)


def _replace(partial: Path, out: Path) -> None:
    """Put a complete folder in the place of another, which goes only when the new one stands."""
    old = out.with_name(out.name + ".partial.old")
    shutil.rmtree(old, ignore_errors=True)
    try:
        if out.is_dir():
            out.rename(old)
        partial.rename(out)
    except BaseException:
        if old.is_dir() and not out.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a file name beside ``path`` to write to; rename it when the block ends well, else remove it.

    The suffix is kept, so writers that go by it are content.
    """
    partial = path.with_name(f"partial.{path.name}")
    with disk_errors(path):
        try:
            yield partial
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
