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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bonemet.core.errors import MissingInputError, OutputExistsError, OutputWriteError
from bonemet.io import sidecar

_FULL = {errno.ENOSPC, errno.EDQUOT}


def partial_path(out: Path) -> Path:
    """Return the folder in which unfinished work on ``out`` lives."""
    return out.with_name(out.name + ".partial")


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
    return known if known is not None and known.fingerprint == mark else None


def refuse_foreign(out: Path, overwrite: bool) -> None:
    """Refuse an output path that holds something else, unless it may be overwritten.

    Raises
    ------
    OutputExistsError
        If ``out`` is a file, or a folder that is not empty and may not be overwritten.
    """
    if out.is_file():
        raise OutputExistsError(f"{out} is a file, and the output must be a folder; choose another name.")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise OutputExistsError(
            f"{out} already holds something else; "
            "choose another output folder, or pass --overwrite to replace it."
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
def whole_folder(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield the folder in which to build ``out``; rename it when the block ends well, else remove it.

    Raises
    ------
    OutputExistsError
        If ``out`` holds something else, and overwriting was not asked for.
    OutputWriteError
        If the disk is full or may not be written.
    """
    refuse_foreign(out, overwrite)
    partial = partial_path(out)
    with disk_errors(out):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
            if out.is_dir():
                shutil.rmtree(out)
            partial.rename(out)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


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
