"""What lies around every place of an animal: how noisy it is there, and how hard the beam has become.

The body is taken coarsely (1 mm) and looked through along parallel lines from 24 sides. The noise of a voxel
is the mean, over the lines through it, of the variance of their line integrals; a material attenuates there
as the hardened beam at the end of these lines says, and :mod:`bonemet.simulation.hardening` adds what one
value per material leaves out.
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
from bonemet.simulation import body
from bonemet.simulation.anatomy import Animal
from bonemet.simulation.hardening import ACROSS_MM, ALONG_MM, Amounts, left_over, looked_up
from bonemet.simulation.materials import HYDROXYAPATITE, MUSCLE
from bonemet.simulation.pose import ScanPose
from bonemet.simulation.render import Rendered, paint_parts, render
from bonemet.simulation.scanner import Scanner, pixel_variance
from bonemet.simulation.skeleton import Part
from bonemet.simulation.spectrum import attenuation_table, soft_materials, tube_spectrum

_TYPICAL = (0.075, 1.7)
"""Apatite (g/cm2) and muscle (cm) that the beam crosses on its way to a tibia; for bones on their own."""
COARSE_MM = 1.0
_EACH_MM = ACROSS_MM
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
    parts
        Attenuation of muscle in 1/cm, and of hydroxyapatite within soft tissue in cm2/g.
    """

    soft: Array
    mineral: float
    parts: tuple[float, float]


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
    hardened
        Where :attr:`left_over` lies.
    left_over
        (z, y, x) float32, 1/mm: what a reconstruction shows beyond one value per material.
    """

    grid: Grid
    deviation: NDArray[np.float32]
    tones: Tones
    hardened: Grid
    left_over: NDArray[np.float32]


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


def amounts_of(seen: Rendered) -> Amounts:
    """Return the amounts of a body rendered in cubes of :data:`ACROSS_MM`, whole coarser slices of them."""
    n = round(ALONG_MM / ACROSS_MM)

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(values.reshape(-1, n, *values.shape[1:]).mean(axis=1, dtype=np.float32))

    table = soft_materials(tube_spectrum()).astype(np.float32)
    mineral = mean(seen.bone) * np.float32(1e-3)
    x, y, z = seen.grid.origin_mm
    grid = Grid(mineral.shape, (ALONG_MM, ACROSS_MM, ACROSS_MM), (x, y, z + (ALONG_MM - ACROSS_MM) / 2))
    return Amounts(grid, mean(table[:, 0][seen.soft]), mean(table[:, 1][seen.soft]), mineral)


def _body(animal: Animal, week: int, pose: ScanPose, z_mm: tuple[float, float], mapper: Mapper) -> Amounts:
    """Return the amounts of a whole animal between two levels, a whole number of coarse slices."""
    across = (2 * round(REACH_MM / COARSE_MM) + 1) * round(COARSE_MM / _EACH_MM)
    depth = max(1, math.ceil((z_mm[1] - z_mm[0]) / COARSE_MM)) * round(COARSE_MM / _EACH_MM)
    corner = -(across - 1) / 2 * _EACH_MM
    origin = (corner, corner, z_mm[0] + _EACH_MM / 2)
    shape = (depth, across, across)
    return amounts_of(render(animal, week, pose, shape, _EACH_MM, origin, supersample=1, mapper=mapper))


def _coarse(amounts: Amounts) -> tuple[Grid, list[NDArray[np.float32]]]:
    """Return a grid of :data:`COARSE_MM`, and muscle, apatite of soft tissue and mineral on it."""
    n, m = round(COARSE_MM / ALONG_MM), round(COARSE_MM / ACROSS_MM)
    depth, rows, columns = (v // k for v, k in zip(amounts.grid.shape, (n, m, m), strict=True))
    middle = amounts.grid.index_to_mm([(n - 1) / 2, (m - 1) / 2, (m - 1) / 2])
    grid = Grid.isotropic((depth, rows, columns), COARSE_MM, (middle[0], middle[1], middle[2]))
    blocks = (depth, n, rows, m, columns, m)
    flesh = amounts.muscle - amounts.mineral / np.float32(HYDROXYAPATITE.density)
    fields = (flesh, amounts.apatite, amounts.mineral)
    return grid, [v.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32) for v in fields]


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
    parts = float((halfway * flesh).sum()), float((halfway * bone).sum())
    soft = table @ np.array(parts) / 10
    added = (at_end * bone).sum() - (at_end * flesh).sum() / HYDROXYAPATITE.density
    return Tones(soft, float(added) / 1e4, parts)


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
    amounts = _body(animal, week, pose, z_mm, mapper)
    return looked_through(amounts, scanner)


def looked_through(amounts: Amounts, scanner: Scanner) -> Surroundings:
    """Return what the beam met on its way to the places of a body."""
    grid, (muscle, apatite, mineral) = _coarse(amounts)
    table = attenuation_table(tube_spectrum())
    variance = np.zeros(grid.shape, np.float32)
    behind = np.zeros((2, *grid.shape), np.float32)
    cm = COARSE_MM / 10
    for angle in np.arange(_ANGLES) * (math.pi / _ANGLES):
        sums = np.zeros((2, grid.shape[0], grid.shape[2]), np.float32)
        _through(apatite + mineral, float(angle), sums[0])
        _through(muscle, float(angle), sums[1])
        lines = sums.astype(np.float64) * cm
        noisy = pixel_variance(scanner, looked_up(table, lines[0], lines[1]))
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
    rest = left_over(amounts, table, made.parts, 1e4 * made.mineral)
    return Surroundings(grid, np.sqrt(variance / _ANGLES), made, amounts.grid, rest)


def around_bone(part: Part, grid: Grid, scanner: Scanner) -> Surroundings:
    """Return what the beam met on its way to a bone on its own: a typical leg's muscle, and the bone."""
    made = tones(np.array(_TYPICAL[:1]), np.array(_TYPICAL[1:]), np.ones(1))
    integral = 10 * _TYPICAL[1] * made.soft[body.MUSCLE] + 1e4 * _TYPICAL[0] * made.mineral
    deviation = np.sqrt(pixel_variance(scanner, np.full((1, 2, 2), integral))).astype(np.float32)
    corners = np.array(np.meshgrid(*zip(part.low, part.high, strict=True))).reshape(3, -1).T
    placed = corners @ part.matrix[:3, :3].T + part.matrix[:3, 3]
    low, high = placed.min(axis=0) - 0.5, placed.max(axis=0) + 0.5
    low[2] = max(low[2], grid.origin_mm[2] - ALONG_MM)
    high[2] = min(high[2], grid.index_to_mm(np.array(grid.shape) - 1)[2] + ALONG_MM)
    n = round(ALONG_MM / _EACH_MM)
    shape = np.maximum(np.ceil((high - low) / (n * _EACH_MM)).astype(int), 1) * n
    rough = Grid.isotropic(shape[::-1], _EACH_MM, (float(low[0]), float(low[1]), float(low[2])))
    labels, bone = np.zeros(rough.shape, np.uint8), np.zeros(rough.shape, np.float32)
    paint_parts([part], rough, labels, bone, 1)
    own = amounts_of(Rendered(labels, bone, np.zeros_like(labels), rough))
    lines = own.mineral.sum(axis=2)  # looked at from one side
    typical = float((lines**2).sum() / max(float(lines.sum()), 1e-9)) * ACROSS_MM / 10
    before = max(_TYPICAL[0] - typical, 0.0), _TYPICAL[1]
    table = attenuation_table(tube_spectrum())
    rest = left_over(own, table, made.parts, 1e4 * made.mineral, before)
    return Surroundings(Grid.isotropic((1, 2, 2), 1.0), deviation, made, own.grid, rest)
