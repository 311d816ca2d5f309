"""Views of a scan looked at otherwise: some left out, moved by a known shift, or binned.

Each class stands in the place of a scan's projections and hands out one view at a time, so that memory
stays bounded.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError
from bonemet.core.volume import SlicedArray
from bonemet.kernels.jit import inlined, kernel

FULL = 0.5  # share of the pixels at the largest count from which on a view is worth nothing


def fault(image: NDArray[Any]) -> str | None:
    """Return what makes a view worthless (``black``, ``saturated``), or None."""
    if not image.any():
        return "black"
    if image.dtype.kind == "u" and np.mean(image == np.iinfo(image.dtype).max) > FULL:
        return "saturated"
    return None


def rows_of(images: SlicedArray, view: int, first: int, stop: int) -> NDArray[Any]:
    """Return the rows (first, stop) of a view, and read no more where its source can read rows alone."""
    rows = getattr(images, "rows", None)
    return np.asarray(images[view][first:stop] if rows is None else rows(view, first, stop))


class CheckedViews:
    """The views of a scan, each looked at as it is read.

    Parameters
    ----------
    images
        (views, rows, columns).
    names
        What the views are called in sentences, one each.
    """

    def __init__(self, images: SlicedArray, names: Sequence[str]) -> None:
        self._images = images
        self._names = names
        self._sums: dict[int, int] = {}
        self._good: set[int] = set()
        self.shape = images.shape
        self.dtype = images.dtype

    def __getitem__(self, view: int) -> NDArray[Any]:
        """Return a view, or refuse it where it is black or saturated."""
        image = np.ascontiguousarray(self._images[view])
        wrong = fault(image)
        if wrong is not None:
            raise InputError(
                f"Projection {view} ({self._names[view]}) is {wrong}; copy it from the scanner anew, or "
                "leave it out with --skip-bad."
            )
        if image.min() != image.max():
            self._sums[int(view)] = zlib.crc32(image.data)
        self._good.add(int(view))
        return image

    def rows(self, view: int, first: int, stop: int) -> NDArray[Any]:
        """Return rows of a view, which is looked at whole the first time."""
        if view not in self._good:
            return np.asarray(self[view][first:stop])
        return rows_of(self._images, view, first, stop)

    def refuse_copies(self) -> None:
        """Refuse two neighbouring views of those read so far that are one and the same image.

        Noise never makes two alike; where most are, a round object was computed without noise.

        Raises
        ------
        InputError
            If there are such views.
        """
        alike = [view for view, total in sorted(self._sums.items()) if self._sums.get(view + 1) == total]
        for view in alike[:1]:
            if 2 * len(alike) < len(self._sums):
                raise InputError(
                    f"Projections {view} and {view + 1} ({self._names[view]}, {self._names[view + 1]}) are "
                    "one and the same image; copy them from the scanner anew, or leave the second out with "
                    "--skip-bad."
                )


class ShiftedViews:
    """Views moved by known shifts, linearly interpolated.

    Parameters
    ----------
    images
        (views, rows, columns) of unsigned counts.
    shifts
        (views, 2): by how many rows and columns what is seen moves in each view.
    """

    def __init__(self, images: SlicedArray, shifts: NDArray[np.float64]) -> None:
        self._images = images
        self._shifts = shifts
        self.shape = images.shape
        self.dtype = images.dtype

    def __getitem__(self, view: int) -> NDArray[Any]:
        """Return a view in its place; pixels made from a dead one are 0."""
        image = np.asarray(self._images[view])
        rows, columns = self._shifts[view]
        if rows == 0 and columns == 0:
            return image
        out = np.empty_like(image)
        _shift(image, out, float(rows), float(columns), np.iinfo(image.dtype).max)
        return out


@kernel
def _shift(image: Any, out: Any, down: float, right: float, full: int) -> None:
    rows, columns = image.shape
    for j in range(rows):
        y = min(max(j - down, 0.0), rows - 1.0)
        for i in range(columns):
            out[j, i] = _blended(image, y, min(max(i - right, 0.0), columns - 1.0), full)


@inlined
def _blended(image: Any, y: float, x: float, full: int) -> int:
    """Return what lies between four pixels, rounded; 0 where one of them is dead or full."""
    rows, columns = image.shape
    j0, i0 = min(int(y), max(rows - 2, 0)), min(int(x), max(columns - 2, 0))
    j1, i1 = min(j0 + 1, rows - 1), min(i0 + 1, columns - 1)
    t, s = y - j0, x - i0
    a, b, c, d = float(image[j0, i0]), float(image[j0, i1]), float(image[j1, i0]), float(image[j1, i1])
    if min(a, b, c, d) <= 0 or max(a, b, c, d) >= full:
        return 0
    return int((1 - t) * ((1 - s) * a + s * b) + t * ((1 - s) * c + s * d) + 0.5)


class TurnedViews:
    """Views turned about a point until the rotation axis runs along the columns, linearly interpolated.

    Parameters
    ----------
    images
        (views, rows, columns) of unsigned counts.
    tilt_deg
        Of the axis against the columns, see :class:`bonemet.core.scan.ConeGeometry`.
    centre
        Row and column of the point that stays.
    """

    def __init__(self, images: SlicedArray, tilt_deg: float, centre: tuple[float, float]) -> None:
        self._images = images
        self._turn = (math.cos(math.radians(tilt_deg)), math.sin(math.radians(tilt_deg)), *centre)
        self.shape = images.shape
        self.dtype = images.dtype

    def __getitem__(self, view: int) -> NDArray[Any]:
        """Return an upright view; pixels made from a dead one are 0."""
        return self.rows(view, 0, self.shape[1])

    def rows(self, view: int, first: int, stop: int) -> NDArray[Any]:
        """Return rows of an upright view."""
        c, s, row, column = self._turn
        ends = [row + c * (j - row) - s * (i - column) for j in (first, stop) for i in (0, self.shape[2])]
        low = min(max(math.floor(min(ends)) - 1, 0), self.shape[1] - 1)
        high = min(max(math.ceil(max(ends)) + 2, low + 1), self.shape[1])
        image = rows_of(self._images, view, low, high)
        out = np.empty((stop - first, self.shape[2]), self.dtype)
        _upright(image, out, (first, low, self.shape[1]), self._turn, np.iinfo(self.dtype).max)
        return out


@kernel
def _upright(image: Any, out: Any, where: Any, turn: Any, full: int) -> None:
    first, low, rows = where
    c, s, row, column = turn
    columns = image.shape[1]
    for j in range(out.shape[0]):
        for i in range(columns):
            v, u = first + j - row, i - column
            y = min(max(row + c * v - s * u, 0.0), rows - 1.0)
            x = min(max(column + c * u + s * v, 0.0), columns - 1.0)
            out[j, i] = _blended(image, y - low, x, full)


class BinnedViews:
    """Views of which n x n pixels are made one; what does not fill a pixel is left out.

    Parameters
    ----------
    images
        (views, rows, columns) of unsigned counts.
    n
        Pixels along each side.
    """

    def __init__(self, images: SlicedArray, n: int) -> None:
        self._images = images
        self._n = n
        views, rows, columns = images.shape
        self.shape = (views, max(1, rows // n), max(1, columns // n))
        self.dtype = images.dtype

    def __getitem__(self, view: int) -> NDArray[Any]:
        """Return a view: means over live pixels, 0 where there is none."""
        out = np.empty(self.shape[1:], self.dtype)
        _bin(np.asarray(self._images[view]), out, self._n, np.iinfo(self.dtype).max)
        return out

    def rows(self, view: int, first: int, stop: int) -> NDArray[Any]:
        """Return rows of a view."""
        n = self._n
        out = np.empty((stop - first, self.shape[2]), self.dtype)
        _bin(rows_of(self._images, view, first * n, stop * n), out, n, np.iinfo(self.dtype).max)
        return out


@kernel
def _bin(image: Any, out: Any, n: int, full: int) -> None:
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            total, count = 0.0, 0
            for y in range(j * n, min((j + 1) * n, image.shape[0])):
                for x in range(i * n, min((i + 1) * n, image.shape[1])):
                    value = image[y, x]
                    if 0 < value < full:
                        total += value
                        count += 1
            out[j, i] = int(total / count + 0.5) if count else 0


def at_even_angles(
    rays: NDArray[np.float32], angles_deg: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return sinograms and angles in which views that were left out stand again, interpolated.

    Parameters
    ----------
    rays
        (views, rows, columns).
    angles_deg
        (views,) rising or falling, multiples of one step apart.
    """
    steps = np.abs(np.diff(angles_deg))
    if steps.size == 0 or np.allclose(steps, steps.min(), rtol=1e-6):
        return rays, angles_deg
    place = np.rint(np.abs(angles_deg - angles_deg[0]) / steps.min()).astype(int)
    every = np.arange(place[-1] + 1)
    after = np.minimum(np.searchsorted(place, every, side="right"), place.size - 1)
    t = ((every - place[after - 1]) / np.maximum(place[after] - place[after - 1], 1)).astype(np.float32)
    t = np.clip(t, 0, 1)[:, None, None]
    even = (1 - t) * rays[after - 1] + t * rays[after]
    return even, np.interp(every, place, angles_deg)
