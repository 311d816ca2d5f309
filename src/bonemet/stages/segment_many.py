"""Segment many: every reconstruction below a folder; one that fails does not keep the rest from its turn."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bonemet.core.context import SILENT, Context
from bonemet.core.errors import BonemetError, InputError, MissingInputError, SettingsError
from bonemet.io import imagefiles, omezarr, stacks
from bonemet.stages.outcome import Outcome, peak_memory_mb
from bonemet.stages.segment import segment, title_of


def segment_many(root: str | Path, out: str | Path, *, context: Context = SILENT, **settings: Any) -> Outcome:
    """Segment every reconstruction below a folder.

    Parameters
    ----------
    root
        Folder that holds reconstructions, at any depth: folders of slices, or volume files.
    out
        Folder that gets one folder for each scan, named as the scan is (``871 week 0``).
    context
        Threads, memory and progress.
    settings
        As :func:`bonemet.stages.segment.segment` takes, the same for all scans; no ``name``.

    Returns
    -------
    Outcome
        ``scans``: a list of ``name``, ``path``, ``review`` (bones to look at) and ``bones``; ``failed``: one
        sentence for each scan that failed.

    Raises
    ------
    MissingInputError
        If there is no such folder, or no reconstruction in it.
    InputError
        If two scans bear one name, or no scan could be segmented.
    """
    start = time.perf_counter()
    found = scans_below(Path(root), Path(out).resolve())
    done: list[tuple[str, Outcome]] = []
    failed: list[str] = []
    with context.progress("Scans", len(found)) as tick:
        for title, path in found:
            try:
                done.append(
                    (title, segment(path, Path(out) / title, name=title, context=context, **settings))
                )
            except SettingsError:
                raise
            except BonemetError as error:
                failed.append(f"{title}: {error}")
            tick(1)
    if not done:
        raise InputError(f"No scan below {root} could be segmented; the first fault: {failed[0]}")
    scans = [
        {
            "name": title,
            "path": one.outputs[0],
            "bones": [b["name"] for b in one.results["bones"]],
            "review": [b["name"] for b in one.results["bones"] if b["review"]],
        }
        for title, one in done
    ]
    return Outcome(
        [str(out), *(one.outputs[0] for _, one in done)],
        time.perf_counter() - start,
        peak_memory_mb(),
        [*failed, *(f"{title}: {w}" for title, one in done for w in one.warnings)],
        {"scans": scans, "failed": failed},
        done_before=all(one.done_before for _, one in done) and not failed,
    )


def scans_below(root: Path, skip: Path | None = None) -> list[tuple[str, Path]]:
    """Return the reconstructions below a folder by name, without those in the folder ``skip``."""
    if not root.is_dir():
        raise MissingInputError(f"{root} is not a folder; give the folder that holds the reconstructions.")
    found = [(title_of(path), path) for path in _walk(root, skip)]
    if not found:
        raise MissingInputError(f"{root} holds no reconstruction; give the folder that holds them.")
    _refuse_twins(found)
    return sorted(found)


def _walk(folder: Path, skip: Path | None) -> Iterator[Path]:
    """Yield folders of slices and OME-Zarr stores, with nothing that lies below them, and volume files."""
    if folder.resolve() == skip:
        return
    if stacks.find_series(folder) or omezarr.is_store(folder) or omezarr.inside(folder) is not None:
        yield folder
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            yield from _walk(path, skip)
        elif path.is_file() and imagefiles.is_image_file(path):
            yield path


def _refuse_twins(found: Sequence[tuple[str, Path]]) -> None:
    seen: dict[str, Path] = {}
    for title, path in found:
        if title in seen:
            raise InputError(
                f"{seen[title]} and {path} would both be named {title!r}; "
                "segment them one by one, each with a name."
            )
        seen[title] = path
