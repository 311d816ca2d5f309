"""Tables of thermal shifts, ``PREFIX_TS.csv``: how far the image has crept by the time of each view.

SkyScan's software finds the shifts by comparing the views with those of a short reference scan. A table has
three columns: the view, Y1 and Y2, in pixels of the camera. Y2 is the vertical one: its largest value is the
``Maximum vertical TS`` of the same scan's log, and that of Y1 its ``Maximum horizontal TS``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError


def read_shifts(path: Path, views: int) -> NDArray[np.float64]:
    """Return the shifts (views, 2) by rows and columns, as the table gives them, signs included.

    The sense in which the table counts is not known, see ``docs/skyscan-geometry.md``. A table may end one
    view early; the last shift then stands for the rest.

    Raises
    ------
    InputError
        If the file holds no such table, or one of another scan.
    """
    rows = [r for line in path.read_text(encoding="latin-1").splitlines() if (r := _numbers(line))]
    table = np.array([r for r in rows if len(r) == 3], dtype=np.float64)
    if table.size == 0:
        raise InputError(f"{path} holds no rows 'view, Y1, Y2'; remove it, or copy it from the scanner.")
    numbers = table[:, 0]
    if (numbers < 0).any() or (np.diff(numbers) <= 0).any() or not -2 <= numbers[-1] - (views - 1) <= 0:
        raise InputError(
            f"{path} gives shifts up to view {numbers[-1]:g}, and the scan has {views}; "
            "remove it, or give the table of this scan."
        )
    every = np.arange(views)
    return np.stack([np.interp(every, numbers, table[:, column]) for column in (2, 1)], axis=1)


def _numbers(line: str) -> list[float]:
    """Return the numbers of a line of commas, empty where anything else stands in it."""
    try:
        found = [float(part) for part in line.split(",")]
    except ValueError:
        return []
    return found if np.isfinite(found).all() else []
