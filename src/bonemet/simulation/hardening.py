"""What hardening of the beam does to a reconstruction, down to a few tenths of a millimetre.

Volumes without X-rays give each material one value, as if a line integral were a sum over the line. It is
less the more the beam has hardened, so between the true line integrals and these sums something is left; its
reconstruction is what a scan has more or less than one value per material: cupping, dark bands between
bones, walls that are fainter because rays along them are harder, and marrow that is lifted because the first
wall of a bone attenuates more than the last (Brooks and Di Chiro 1976, doi:10.1088/0031-9155/21/3/004).

Lines are taken as parallel and within slices, and filtered backprojection as the formula has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from bonemet.core.grid import Grid
from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.materials import HYDROXYAPATITE
from bonemet.simulation.spectrum import AttenuationTable

ACROSS_MM = 0.125
ALONG_MM = 0.5
_SOFTER = 2
"""Voxels of soft tissue for one of bone, along x and y."""
_ANGLES = 90

Floats = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Amounts:
    """What lies on a coarse grid, :data:`ACROSS_MM` in x and y and :data:`ALONG_MM` along z.

    Attributes
    ----------
    grid
        Where.
    muscle
        (z, y, x) parts of muscle, bone counted as muscle.
    apatite, mineral
        (z, y, x) in g/cm3: the part of soft tissue that attenuates as hydroxyapatite, and that of bone.
    """

    grid: Grid
    muscle: Floats
    apatite: Floats
    mineral: Floats


@fast_kernel
def _through(volume: Floats, full: NDArray[np.bool_], angle: float, pitch: float, sums: Floats) -> None:
    """Sum (y, x, z) along lines at an angle into (lines, z): bilinear samples one voxel apart.

    ``full``: whether a voxel (y, x) or the next ones hold anything; ``pitch``: voxels from line to line.
    """
    n, columns, depth = volume.shape
    c, s = math.cos(angle), math.sin(angle)
    mid_x, mid_y, mid = 0.5 * (columns - 1), 0.5 * (n - 1), 0.5 * (sums.shape[0] - 1)
    reach = math.ceil(mid * pitch)
    for u in range(sums.shape[0]):
        for t in range(-reach, reach + 1):
            x = mid_x + (u - mid) * pitch * c - t * s
            y = mid_y + (u - mid) * pitch * s + t * c
            i, j = math.floor(x), math.floor(y)
            if i < 0 or j < 0 or i >= columns - 1 or j >= n - 1 or not full[j, i]:
                continue
            a, b = np.float32(x - i), np.float32(y - j)
            w00, w01 = (1 - b) * (1 - a), (1 - b) * a
            w10, w11 = b * (1 - a), b * a
            for k in range(depth):
                sums[u, k] += (
                    w00 * volume[j, i, k]
                    + w01 * volume[j, i + 1, k]
                    + w10 * volume[j + 1, i, k]
                    + w11 * volume[j + 1, i + 1, k]
                )


@fast_kernel
def _lay_back(lines: Floats, angle: float, out: Floats) -> None:
    """Add to every voxel (y, x, z) the value of the line (lines, z) through it."""
    n, columns, depth = out.shape
    c, s, mid = math.cos(angle), math.sin(angle), 0.5 * (lines.shape[0] - 1)
    for j in range(n):
        for i in range(columns):
            u = mid + (i - 0.5 * (columns - 1)) * c + (j - 0.5 * (n - 1)) * s
            m = min(max(int(u), 0), lines.shape[0] - 2)
            part = np.float32(min(max(u - m, 0.0), 1.0))
            for k in range(depth):
                out[j, i, k] += (1 - part) * lines[m, k] + part * lines[m + 1, k]


@dataclass(frozen=True, eq=False)
class _Lines:
    """A field laid out for :func:`_through`: (y, x, z), voxels from line to line, and where it is full."""

    volume: Floats
    full: NDArray[np.bool_]
    pitch: float

    @classmethod
    def of(cls, values: Floats, fewer: int) -> _Lines:
        """Take a field (z, y, x), ``fewer`` voxels along x and y joined into one."""
        depth, rows, columns = values.shape
        blocks = values.reshape(depth, rows // fewer, fewer, columns // fewer, fewer)
        volume = np.ascontiguousarray(blocks.mean(axis=(2, 4), dtype=np.float32).transpose(1, 2, 0))
        full = np.pad(volume.any(axis=2), ((0, 1), (0, 1)))
        full = full[:-1, :-1] | full[1:, :-1] | full[:-1, 1:] | full[1:, 1:]
        return cls(volume, full, 1 / fewer)

    def sums(self, angle: float, count: int) -> Floats:
        """Return the integrals (lines, z) at an angle, in mm."""
        out = np.zeros((count, self.volume.shape[2]), np.float32)
        _through(self.volume, self.full, angle, self.pitch, out)
        return out * np.float32(ACROSS_MM / self.pitch)


def _filter(count: int) -> Array:
    """Return the transfer function of the ramp for ``count`` padded lines."""
    n = np.arange(count)
    n = np.minimum(n, count - n)
    kernel = np.where(n % 2 == 1, -1 / (np.pi * np.maximum(n, 1)) ** 2, 0.0)
    kernel[0] = 0.25
    return np.asarray(fft.rfft(kernel).real / ACROSS_MM)


def looked_up(table: AttenuationTable, apatite: NDArray[np.floating], muscle: NDArray[np.floating]) -> Array:
    """Return the line integral behind amounts (g/cm2; cm)."""
    a = np.clip((apatite - table.start[0]) / table.step[0], 0, table.values.shape[0] - 1.001)
    m = np.clip((muscle - table.start[1]) / table.step[1], 0, table.values.shape[1] - 1.001)
    i, j = a.astype(np.int64), m.astype(np.int64)
    a, m = a - i, m - j
    v = table.values
    here, there = (1 - m) * v[i, j] + m * v[i, j + 1], (1 - m) * v[i + 1, j] + m * v[i + 1, j + 1]
    return np.asarray((1 - a) * here + a * there)


def left_over(
    amounts: Amounts,
    table: AttenuationTable,
    soft: tuple[float, float],
    mineral: float,
    before: tuple[float, float] = (0.0, 0.0),
) -> Floats:
    """Return what a reconstruction shows beyond one value per material, (z, y, x) in 1/mm.

    Parameters
    ----------
    amounts
        What is there.
    table
        The beam.
    soft
        Values of muscle (1/cm) and of apatite in soft tissue (cm2/g).
    mineral
        What 1 g HA/cm3 of bone adds to muscle, 1/cm.
    before
        Apatite (g/cm2) and muscle (cm) that every line crosses besides.
    """
    depth, rows, columns = amounts.grid.shape
    count = math.ceil(math.hypot(rows, columns)) + 2
    soft_fields = (amounts.muscle, amounts.apatite)
    fields = [*(_Lines.of(v, _SOFTER) for v in soft_fields), _Lines.of(amounts.mineral, 1)]
    padded = int(fft.next_fast_len(2 * count, real=True))
    transfer = _filter(padded)[:, None]
    free = float(looked_up(table, np.array(before[0]), np.array(before[1])))
    out = np.zeros((rows, columns, depth), np.float32)
    for angle in np.arange(_ANGLES) * (math.pi / _ANGLES):
        muscle, apatite, bone = (field.sums(float(angle), count) * np.float32(0.1) for field in fields)
        room = bone / HYDROXYAPATITE.density
        true = looked_up(table, apatite + bone + before[0], muscle - room + before[1]) - free
        added = soft[0] * muscle + soft[1] * apatite + mineral * bone
        filtered = fft.irfft(fft.rfft(true - added, padded, axis=0) * transfer, padded, axis=0)[:count]
        _lay_back(filtered.astype(np.float32), float(angle), out)
    out *= np.float32(math.pi / _ANGLES)
    return np.ascontiguousarray(out.transpose(2, 0, 1))
