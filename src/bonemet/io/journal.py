"""The journal of unfinished work: which slices of ``OUT.partial`` are whole, so that a run can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "journal.json"


def begin(folder: Path, mark: str) -> None:
    """Begin a journal for the work of a fingerprint."""
    _write(folder / NAME, {"fingerprint": mark, "done": {}})


def belongs(folder: Path, mark: str) -> bool:
    """Tell whether a folder holds unfinished work of that fingerprint."""
    return _read(folder / NAME).get("fingerprint") == mark


def done(folder: Path) -> dict[int, Any]:
    """Return what was noted of each finished slice, by its number."""
    found = _read(folder / NAME).get("done", {})
    return {int(k): v for k, v in found.items()}


def note(folder: Path, finished: Mapping[int, Any]) -> None:
    """Note finished slices, whose files must be whole already; numbers and strings only."""
    known = _read(folder / NAME)
    if known:
        known["done"] = known.get("done", {}) | {str(k): v for k, v in finished.items()}
        _write(folder / NAME, known)


def end(folder: Path) -> None:
    """Remove the journal: the work is finished."""
    (folder / NAME).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    fresh = path.with_name("new." + path.name)
    fresh.write_text(json.dumps(content), encoding="utf-8")
    os.replace(fresh, path)  # whole at any moment, even when killed
