"""Placing a scan's bones into the published layout without a second copy of their slices."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bonemet.io import sidecar
from bonemet.io.output import whole_folder


def place_bone(bone: Path, target: Path) -> None:
    """Make ``target`` hold the files of ``bone``: linked where the disk can, copied elsewhere.

    A target that holds the same files already is left alone.

    Raises
    ------
    OutputExistsError
        If ``target`` holds files that are not an earlier result.
    """
    if _same(bone, target):
        return
    with whole_folder(target, overwrite=(target / sidecar.NAME).is_file()) as partial:
        for path in sorted(bone.iterdir()):
            _link(path, partial / path.name)


def remove_bone(target: Path) -> None:
    """Take away a bone that an earlier run placed and that was not found again; other files stay."""
    if (target / sidecar.NAME).is_file():
        shutil.rmtree(target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _same(bone: Path, target: Path) -> bool:
    if not target.is_dir():
        return False
    return _contents(bone) == _contents(target)


def _contents(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in folder.iterdir() if p.is_file())
