"""Projections on disk that cannot be used: which, and why."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from bonemet.core.context import Mapper
from bonemet.core.errors import InputError
from bonemet.io import slicefiles
from bonemet.io.stacks import Series
from bonemet.recon.views import fault

LARGEST_GAP = 4  # neighbouring views that may be left out; more leave an angle that nothing fills
LARGEST_SHARE = 0.1  # of the views that may be left out in all


@dataclass(frozen=True)
class Frame:
    """One projection as found: its number, its file, what is wrong with it, and a sum over its pixels."""

    index: int
    path: Path | None
    fault: str | None
    total: int | None = None
    shape: tuple[int, ...] = ()


def look_at(series: Series, views: int, mapper: Mapper = map) -> list[Frame]:
    """Return all views of a scan, each read once and judged.

    Parameters
    ----------
    series
        The projections that are there; gaps are allowed.
    views
        How many the scan should have.
    mapper
        Spreads reading over threads.
    """
    there = dict(zip(series.indices, series.paths, strict=True))
    frames = list(mapper(_look, [(i, there.get(i)) for i in range(views)]))
    shapes = [f.shape for f in frames if f.fault is None]
    usual = max(set(shapes), key=shapes.count) if shapes else ()
    alike = [a.total is not None and a.total == b.total for a, b in pairwise(frames)]
    round_object = 2 * sum(alike) >= len(alike)  # computed, without noise
    judged = []
    for frame, again in zip(frames, [False, *alike], strict=True):
        wrong = frame.fault
        if wrong is None and frame.shape != usual:
            wrong = "of another size"
        if wrong is None and again and not round_object:
            wrong = "the image before it once more"
        judged.append(replace(frame, fault=wrong))
    return judged


def _look(numbered: tuple[int, Path | None]) -> Frame:
    index, path = numbered
    if path is None:
        return Frame(index, None, "missing")
    try:
        slicefiles.header(path)
        image = np.ascontiguousarray(slicefiles.read(path))
    except InputError:
        return Frame(index, path, "damaged or truncated")
    flat = image.min() == image.max()
    return Frame(index, path, fault(image), None if flat else zlib.crc32(image.data), image.shape)


def refuse_too_many(faulty: Sequence[Frame], views: int, folder: Path) -> None:
    """Refuse to go on without so many views.

    Raises
    ------
    InputError
        If more than ``LARGEST_SHARE`` of all views, or more than ``LARGEST_GAP`` neighbours, are bad.
    """
    numbers = np.array([f.index for f in faulty])
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    longest = max(runs, key=len)
    if len(longest) > LARGEST_GAP:
        raise InputError(
            f"{folder} lacks {len(longest)} good projections on end ({longest[0]} to {longest[-1]}), an "
            "angle that nothing fills; scan again."
        )
    if len(numbers) > LARGEST_SHARE * views:
        raise InputError(
            f"{folder} has {len(numbers)} bad projections among {views}, the first of which is "
            f"{numbers[0]} ({faulty[0].fault}); scan again."
        )
