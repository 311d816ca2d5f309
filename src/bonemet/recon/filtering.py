"""Weighting and ramp-filtering of projections, into columns as the backprojection kernels take them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from bonemet.core.errors import SettingsError
from bonemet.core.scan import ConeGeometry
from bonemet.kernels.jit import kernel
from bonemet.recon import between, weights
from bonemet.recon.backends import compiled, rowfft
from bonemet.recon.backends.columns import aligned

Accuracy = Literal["standard", "sharp", "fine"]
FINER = {"standard": 1, "sharp": 2, "fine": 2}  # filtered columns per detector column
SHARPEN = np.float32(0.5 * (1 / 12 + 1 / 6))
EXTENSION = 0.5  # share of the columns by which a truncated row is carried on to both sides
EDGE = 8  # columns whose mean is taken for a row's end
ROWS = rowfft.ROWS


@dataclass(frozen=True, eq=False)
class Recipe:
    """How projections are filtered.

    Attributes
    ----------
    filter
        Name of a window, see :func:`bonemet.recon.weights.ramp_filter`.
    accuracy
        ``sharp`` and ``fine`` compute two filtered columns per detector column, by band-limited
        interpolation, so that the backprojection's linear one hardly smooths. ``sharp`` makes good what
        the width of the pixels and the interpolation between rows have smoothed besides, for detail as fine
        as a few pixels, at twice the noise and twice the memory. ``fine`` adds a view between any two, see
        :mod:`bonemet.recon.between`, at four times the memory and twice the time.
    extend
        Carry rows on beyond both ends of the detector, as an ellipse about the axis would that
        has their value and slope there, where the object is larger than the field of view (after Hsieh et al.
        2004, doi:10.1118/1.1776673).
    shares
        (views, columns) weights of rays in radians, instead of
        :func:`bonemet.recon.weights.redundancy_weights`; of all views where there are views between.
    cutoff
        Where the window ends, in units of the pixels' Nyquist frequency; what suits the voxels by default.

    Raises
    ------
    SettingsError
        If there is no such accuracy.
    """

    filter: str = "hamming"
    accuracy: Accuracy = "standard"
    extend: bool = False
    shares: NDArray[np.float32] | None = None
    cutoff: float | None = None

    def __post_init__(self) -> None:
        if self.accuracy not in FINER:
            raise SettingsError(f"There is no accuracy {self.accuracy!r}; choose one of {', '.join(FINER)}.")

    @property
    def finer(self) -> int:
        """Filtered columns per detector column."""
        return FINER[self.accuracy]

    def views(self, geometry: ConeGeometry) -> between.Views:
        """Return the views that are backprojected."""
        return between.denser(geometry) if self.accuracy == "fine" else between.measured(geometry)


@dataclass(frozen=True, eq=False)
class RowFilter:
    """What turns one view's line integrals into filtered columns.

    Attributes
    ----------
    shares
        (views, columns) weight of each ray.
    slant
        (rows, columns) cosine of the angle between ray and central ray, of rows from ``first`` on.
    first
        Detector row of ``slant``'s first.
    transfer
        (finer, length // 2 + 1) transfer function for each filtered column of a detector column.
    factors
        The same as :mod:`bonemet.recon.backends.rowfft` takes it.
    axis
        Column of the rotation axis.
    fade
        (n,) weights of what is carried on beyond both ends; empty if nothing is.
    length
        To which rows are padded.
    """

    shares: NDArray[np.float32]
    slant: NDArray[np.float32]
    first: int
    transfer: NDArray[np.complex64]
    factors: NDArray[np.float32]
    axis: float
    fade: NDArray[np.float32]
    length: int

    @classmethod
    def of(cls, geometry: ConeGeometry, recipe: Recipe, cutoff: float, rows: tuple[int, int]) -> RowFilter:
        """Prepare for the rows (first, stop) of a scan."""
        reach = round(EXTENSION * geometry.columns) if recipe.extend else 0
        length = weights.padded_length(geometry.columns + reach)
        ramp = weights.ramp_filter(length, geometry.pixel_mm, recipe.filter, recipe.cutoff or cutoff)
        if recipe.accuracy == "sharp":  # a pixel sees the mean over its width
            ramp /= np.sinc(np.linspace(0, 0.5, ramp.size)).astype(np.float32)
        transfer = np.array([ramp * _shift(length, e / recipe.finer) for e in range(recipe.finer)])
        u = (np.arange(geometry.columns) - weights.axis_column(geometry)) * geometry.pixel_mm
        v = (np.arange(*rows)[:, None] - geometry.optical_axis_row) * geometry.pixel_mm
        slant = 1 / np.sqrt(1 + (u / geometry.sod_mm) ** 2 + (v / geometry.sod_mm) ** 2)
        shares = weights.redundancy_weights(geometry) if recipe.shares is None else recipe.shares
        fade = np.cos(np.pi / 2 * np.clip(2 * (np.arange(reach) + 1) / (reach + 1) - 1, 0, 1)) ** 2
        return cls(
            np.ascontiguousarray(shares, np.float32),
            slant.astype(np.float32),
            rows[0],
            transfer.astype(np.complex64),
            np.array([rowfft.prepared(t, length) for t in transfer]),
            weights.axis_column(geometry),
            fade.astype(np.float32),
            length,
        )

    def apply(self, rays: NDArray[np.float32], view: int, out: NDArray[np.float32], start: int) -> None:
        """Write a view's filtered columns.

        Parameters
        ----------
        rays
            (rows, columns) line integrals of all prepared rows.
        view
            Its number.
        out
            (finer * columns, pitch) filtered columns, row ``start`` of which is the first of ``rays``. Rows
            before and beyond are given the value of the nearest: a limb goes on.
        start
            A multiple of 16, which may lie beyond the pitch.
        """
        if not compiled():
            rows = self.filtered(rays, view)
            places = np.clip(np.arange(out.shape[1]) - start, 0, len(rows) - 1)
            out[:] = rows.T[:, places]
            return
        work, spectrum = aligned((self.length, ROWS)), aligned((self.length, ROWS))
        lines = (self.fade, self.shares[view], self.slant, self.axis)
        transform = (rowfft.twiddles(self.length), self.factors)
        _filter_view(np.ascontiguousarray(rays, np.float32), out, start, lines, transform, (work, spectrum))

    def filtered(self, rays: NDArray[np.float32], view: int) -> NDArray[np.float32]:
        """Return filtered rows (rows, finer * columns), computed plainly: what :meth:`apply` must equal."""
        count, columns = rays.shape
        reach = self.fade.size
        padded = np.zeros((count, self.length))
        middle = rays * (self.slant * self.shares[view])
        padded[:, reach : reach + columns] = middle
        plain = (rays * self.slant).astype(np.float64)
        share = self.shares[view]
        padded[:, :reach] = (self._beyond(plain, self.axis) * share[0])[:, ::-1]
        right = self._beyond(plain[:, ::-1], columns - 1 - self.axis) * share[-1]
        padded[:, reach + columns : 2 * reach + columns] = right
        spectrum = fft.rfft(padded, axis=1)
        parts = [fft.irfft(spectrum * t, self.length, axis=1) for t in self.transfer]
        inner = np.stack(parts, axis=2)[:, reach : reach + columns]
        return inner.reshape(count, -1).astype(np.float32)

    def _beyond(self, rows: NDArray[np.float64], axis: float) -> NDArray[np.float64]:
        """Return how rows go on before their first column, outwards."""
        edge = min(EDGE, rows.shape[1] // 2)
        level, inner = rows[:, :edge].mean(axis=1), rows[:, edge : 2 * edge].mean(axis=1)
        place = axis - (edge - 1) / 2
        fall = level * np.minimum(level - inner, 0) / edge / place
        beyond = axis + 1 + np.arange(self.fade.size)
        square = level[:, None] ** 2 + fall[:, None] * (beyond**2 - place**2)
        return np.asarray(np.sqrt(np.maximum(square, 0)) * (level > 0)[:, None] * self.fade)


def _shift(length: int, part: float) -> NDArray[np.complex128]:
    """Return the transfer function of a look-up ``part`` of a pixel ahead."""
    turn = np.exp(2j * math.pi * np.arange(length // 2 + 1) * part / length)
    turn[-1] = turn[-1].real
    return np.asarray(turn)


@kernel
def sharpen_rows(columns: Any) -> None:
    """Make good, in place, what pixels and linear interpolation smooth across rows; (columns, rows).

    A pixel is one row wide, which spreads by 1/12 of a squared row; interpolating anywhere between two rows
    spreads by 1/6 on average. What is taken away is half their sum times the second difference. The first and
    the last row stay as they are.
    """
    for i in range(columns.shape[0]):
        line = columns[i]
        before = line[0]
        for r in range(1, line.size - 1):
            here = line[r]
            line[r] = here + SHARPEN * (here + here - before - line[r + 1])
            before = here


@kernel
def _filter_view(rays: Any, out: Any, start: int, lines: Any, transform: Any, rooms: Any) -> None:
    """Filter 16 rows after the other, and write them into columns."""
    turns, factors = transform
    work, spectrum = rooms
    length, finer, reach, columns = len(work), len(factors), lines[0].size, lines[1].size
    for first in range(0, rays.shape[0], ROWS):
        count = min(ROWS, rays.shape[0] - first)
        _lay(rays, work, lines, first)
        rowfft.forward(work.ctypes.data, length, turns)
        for e in range(finer):
            target = spectrum if e < finer - 1 else work
            rowfft.multiply(target.ctypes.data, work.ctypes.data, factors[e])
            rowfft.inverse(target.ctypes.data, length, turns)
            for i in range(columns):
                _spread_edges(
                    out[finer * i + e], target[reach + i], start + first, count, first, rays.shape[0]
                )


@kernel
def _lay(rays: Any, work: Any, lines: Any, first: int) -> None:
    """Lay 16 weighted rows side by side, one column after the other, and carry them on beyond their ends."""
    fade, share, slant, axis = lines
    count = min(ROWS, rays.shape[0] - first)
    columns, reach = share.size, fade.size
    work[:] = 0
    for i0 in range(0, columns, 16):
        for r in range(count):
            for i in range(i0, min(columns, i0 + 16)):
                work[reach + i, r] = rays[first + r, i] * slant[first + r, i] * share[i]
    if reach == 0:
        return
    for r in range(count):
        _carry_on(work[:, r], (rays[first + r], slant[first + r]), (0, 1, axis), fade, share[0])
        last = (columns - 1, -1, columns - 1 - axis)
        _carry_on(work[:, r], (rays[first + r], slant[first + r]), last, fade, share[-1])


@kernel
def _carry_on(row: Any, rays: Any, end: Any, fade: Any, share: float) -> None:
    """Carry a row on beyond an end, as an ellipse about the axis would that has its value and slope there."""
    rays, slant = rays
    at, inwards, axis = end
    edge = min(EDGE, rays.size // 2)
    level, inner = 0.0, 0.0
    for n in range(edge):
        level += rays[at + inwards * n] * slant[at + inwards * n] / edge
        inner += rays[at + inwards * (n + edge)] * slant[at + inwards * (n + edge)] / edge
    place = axis - (edge - 1) / 2
    fall = level * min(level - inner, 0.0) / edge / place
    if level <= 0:
        return
    for n in range(fade.size):
        square = level**2 + fall * ((axis + 1 + n) ** 2 - place**2)
        if square <= 0:
            break
        row[fade.size + at - inwards * (n + 1)] = np.sqrt(square) * fade[n] * share


@kernel
def _spread_edges(out: Any, values: Any, at: int, count: int, first: int, rows: int) -> None:
    """Write up to 16 rows of a column, and repeat the first and the last row of all to its ends."""
    pitch = out.size
    for r in range(max(0, -at), min(count, pitch - at)):
        out[at + r] = values[r]
    if first == 0:
        for j in range(min(at, pitch)):
            out[j] = values[0]
    if first + count == rows:
        for j in range(max(at + count, 0), pitch):
            out[j] = values[count - 1]
