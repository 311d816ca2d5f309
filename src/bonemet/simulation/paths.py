"""What lies around every place of an animal: how noisy it is there, and how hard the beam has become.

The body is taken coarsely (1 mm) and looked through along parallel lines from 24 sides. The noise of a voxel
is the mean, over the lines through it, of the variance of their line integrals; a material attenuates there
as the hardened beam at the end of these lines says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.grid import Grid
from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.anatomy import Animal
from bonemet.simulation.materials import HYDROXYAPATITE, MUSCLE
from bonemet.simulation.pose import ScanPose
from bonemet.simulation.render import render
from bonemet.simulation.scanner import Scanner, pixel_variance
from bonemet.simulation.spectrum import AttenuationTable, attenuation_table, soft_materials, tube_spectrum

COARSE_MM = 1.0
_EACH_MM = 0.25
_ANGLES = 24
REACH_MM = 21.0

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tones:
    """How materials attenuate in a reconstruction.

    Attributes
    ----------
    soft
        Attenuation in 1/mm of air, muscle, fat and plastic.
    mineral
        Attenuation in 1/mm that 1 mg HA/cm3 adds to muscle, the room it takes counted.
    """

    soft: Array
    mineral: float


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What the beam met on its way to each place of a coarse grid.

    Attributes
    ----------
    grid
        Of the coarse voxels.
    deviation
        (z, y, x) float32: standard deviation of a pixel's line integral on the way there.
    tones
        How materials attenuate, at the mean place of the bones.
    """

    grid: Grid
    deviation: NDArray[np.float32]
    tones: Tones


@fast_kernel
def _through(volume: NDArray[np.float32], angle: float, sums: NDArray[np.float32]) -> None:
    """Sum (z, n, n) along lines at an angle into (z, n): nearest-plane bilinear samples one voxel apart."""
    depth, n, _ = volume.shape
    c, s, mid = math.cos(angle), math.sin(angle), 0.5 * (n - 1)
    for u in range(n):
        for t in range(n):
            x = mid + (u - mid) * c - (t - mid) * s
            y = mid + (u - mid) * s + (t - mid) * c
            i, j = math.floor(x), math.floor(y)
            if i < 0 or j < 0 or i >= n - 1 or j >= n - 1:
                continue
            a, b = np.float32(x - i), np.float32(y - j)
            for k in range(depth):
                low = (1 - a) * volume[k, j, i] + a * volume[k, j, i + 1]
                high = (1 - a) * volume[k, j + 1, i] + a * volume[k, j + 1, i + 1]
                sums[k, u] += (1 - b) * low + b * high


@fast_kernel
def _lay_back(sums: NDArray[np.float32], angle: float, out: NDArray[np.float32]) -> None:
    """Add to every voxel (z, n, n) the value of the line (z, n) through it."""
    depth, n, _ = out.shape
    c, s, mid = math.cos(angle), math.sin(angle), 0.5 * (n - 1)
    for j in range(n):
        for i in range(n):
            u = min(max(mid + (i - mid) * c + (j - mid) * s, 0.0), n - 1.001)
            m = int(u)
            part = np.float32(u - m)
            for k in range(depth):
                out[k, j, i] += (1 - part) * sums[k, m] + part * sums[k, m + 1]


def _coarse(
    animal: Animal, week: int, pose: ScanPose, z_mm: tuple[float, float], mapper: Mapper
) -> tuple[Grid, NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return a coarse grid, and muscle (cm/cm), apatite of soft tissue and mineral (both g/cm3) on it."""
    across = 2 * round(REACH_MM / COARSE_MM) + 1
    depth = max(1, math.ceil((z_mm[1] - z_mm[0]) / COARSE_MM))
    corner = -(across - 1) / 2 * COARSE_MM
    grid = Grid.isotropic((depth, across, across), COARSE_MM, (corner, corner, z_mm[0] + COARSE_MM / 2))
    n = round(COARSE_MM / _EACH_MM)
    origin = tuple(v - (n - 1) / 2 * _EACH_MM for v in grid.origin_mm)
    shape = (depth * n, across * n, across * n)
    seen = render(
        animal, week, pose, shape, _EACH_MM, (origin[0], origin[1], origin[2]), supersample=1, mapper=mapper
    )

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        blocks = values.reshape(depth, n, across, n, across, n)
        return np.asarray(blocks.mean(axis=(1, 3, 5), dtype=np.float32))

    table = soft_materials(tube_spectrum()).astype(np.float32)
    mineral = mean(seen.bone) * np.float32(1e-3)
    muscle = mean(table[:, 0][seen.soft]) - mineral / np.float32(HYDROXYAPATITE.density)
    return grid, muscle, mean(table[:, 1][seen.soft]), mineral


def _looked_up(table: AttenuationTable, apatite: Array, muscle: Array) -> Array:
    """Return the line integral behind amounts (g/cm2; cm)."""
    a = np.clip((apatite - table.start[0]) / table.step[0], 0, table.values.shape[0] - 1.001)
    m = np.clip((muscle - table.start[1]) / table.step[1], 0, table.values.shape[1] - 1.001)
    i, j = a.astype(int), m.astype(int)
    a, m = a - i, m - j
    v = table.values
    here, there = (1 - m) * v[i, j] + m * v[i, j + 1], (1 - m) * v[i + 1, j] + m * v[i + 1, j + 1]
    return np.asarray((1 - a) * here + a * there)


def tones(apatite_g_cm2: NDArray[Any], muscle_cm: NDArray[Any], weights: Array) -> Tones:
    """Return how materials attenuate at the end of lines through amounts of apatite and muscle.

    A little bone adds to a line integral what the beam behind the whole line gives it. Soft tissue
    makes most of the line itself, so it is taken halfway.

    Parameters
    ----------
    apatite_g_cm2, muscle_cm
        (lines,) amounts along lines.
    weights
        (lines,) of sum 1.
    """
    beam = tube_spectrum()
    energies, signal = beam.energies_kev, beam.weights
    bone, flesh = HYDROXYAPATITE.mass_attenuation(energies), MUSCLE.attenuation(energies)

    def rest(share: float) -> Array:
        lines = np.multiply.outer(apatite_g_cm2, bone) + np.multiply.outer(muscle_cm, flesh)
        left = np.exp(-share * lines) * signal
        left /= left.sum(axis=1, keepdims=True)
        return np.asarray((left * weights[:, None]).sum(axis=0))

    at_end, halfway = rest(1.0), rest(0.5)
    table = soft_materials(beam)
    soft = table @ np.array([(halfway * flesh).sum(), (halfway * bone).sum()]) / 10
    added = (at_end * bone).sum() - (at_end * flesh).sum() / HYDROXYAPATITE.density
    return Tones(soft, float(added) / 1e4)


def surroundings(
    animal: Animal,
    week: int,
    pose: ScanPose,
    z_mm: tuple[float, float],
    scanner: Scanner,
    *,
    mapper: Mapper = map,
) -> Surroundings:
    """Return what the beam met on its way to the places between two levels of an animal.

    Parameters
    ----------
    animal, week, pose
        Who, when and how.
    z_mm
        Levels in the scan frame.
    scanner
        Its camera decides the noise.
    mapper
        An ordered map, for threads.
    """
    grid, muscle, apatite, mineral = _coarse(animal, week, pose, z_mm, mapper)
    table = attenuation_table(tube_spectrum())
    variance = np.zeros(grid.shape, np.float32)
    behind = np.zeros((2, *grid.shape), np.float32)
    cm = COARSE_MM / 10
    for angle in np.arange(_ANGLES) * (math.pi / _ANGLES):
        sums = np.zeros((2, grid.shape[0], grid.shape[2]), np.float32)
        _through(apatite + mineral, float(angle), sums[0])
        _through(muscle, float(angle), sums[1])
        lines = sums.astype(np.float64) * cm
        noisy = pixel_variance(scanner, _looked_up(table, lines[0], lines[1]))
        _lay_back(noisy.astype(np.float32), float(angle), variance)
        for i in range(2):
            _lay_back(sums[i] * np.float32(cm), float(angle), behind[i])
    share = (mineral / max(float(mineral.sum()), 1e-9)).astype(np.float64)
    where = share > 0
    made = (
        tones(behind[0][where] / _ANGLES, behind[1][where] / _ANGLES, share[where])
        if where.any()
        else tones(np.zeros(1), np.full(1, 2.0), np.ones(1))
    )
    return Surroundings(grid, np.sqrt(variance / _ANGLES), made)
