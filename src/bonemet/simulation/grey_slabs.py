"""A volume without X-rays in the making: tissue, point spread, noise, rings and hardening, slab by slab.

Bones are sampled finely and blurred by the scanner's point spread; soft tissue is added with blurred
edges; noise has the spectrum of filtered backprojection and is stronger where the beam was weaker
(:mod:`bonemet.simulation.scanner`, :mod:`bonemet.simulation.paths`). Slabs and threads do not change a byte.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.grid import Grid
from bonemet.core.rim import RIM_VOXELS, with_rim
from bonemet.kernels.jit import fast_kernel
from bonemet.simulation import body, fine, soft
from bonemet.simulation.noise import Noise, Rings
from bonemet.simulation.paths import Surroundings, Tones
from bonemet.simulation.scanner import Scanner, frequencies, taps
from bonemet.simulation.skeleton import LABELS, Part

SLAB = 32
"""Slices that are made at a time."""

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]
Keep = Callable[[Floats], NDArray[Any]]
"""What is kept of attenuation (z, y, x) in 1/mm, voxel by voxel: its 8-bit grey values, for example."""


@dataclass(frozen=True, eq=False)
class GreyVolume:
    """Grey values and what is true of them.

    Attributes
    ----------
    values
        (z, y, x) attenuation, float32 in 1/mm, or what was kept of it.
    labels
        (z, y, x) uint8, as :class:`bonemet.simulation.Rendered` has them.
    grid
        Where the voxels are in the scan frame of poses.
    matrices
        4 x 4 per bone: points of the bone's frame to the grid's frame, mm.
    tones
        The attenuation of each material.
    """

    values: NDArray[Any]
    labels: NDArray[np.uint8]
    grid: Grid
    matrices: Mapping[str, Matrix]
    tones: Tones


@fast_kernel
def _row(coarse: Floats, place: Matrix, j: int, row: Floats) -> None:
    """Interpolate a coarse slice at row ``j``; ``place``: its index (y, x) at voxel 0, and its step."""
    v = min(max(place[0] + j * place[2], 0.0), coarse.shape[0] - 1.001)
    b = int(v)
    part = np.float32(v - b)
    for i in range(row.size):
        row[i] = coarse[b, i] + part * (coarse[b + 1, i] - coarse[b, i])


@fast_kernel
def _finish(
    out: Floats,
    noise: Floats,
    deviation: Floats,
    hardened: Floats,
    places: Matrix,
    rings: Floats,
    ring: Matrix,
) -> None:
    """Add noise, rings and what hardening leaves to one slice (y, x).

    ``deviation`` and ``hardened`` are coarse slices; ``places``: their indices (y, x) at voxel 0 and their
    steps; ``ring``: x and y (mm) of voxel 0, the voxel, the pitch of ``rings`` (2, radii), the field's
    radius.
    """
    spread, lift = np.empty(deviation.shape[1], np.float32), np.empty(hardened.shape[1], np.float32)
    for j in range(out.shape[0]):
        _row(deviation, places[0], j, spread)
        _row(hardened, places[1], j, lift)
        y = ring[1] + j * ring[2]
        half = 0 if y >= 0.0 else 1
        for i in range(out.shape[1]):
            x = ring[0] + i * ring[2]
            radius = math.sqrt(x * x + y * y)
            if radius > ring[4]:
                out[j, i] = 0.0
                continue
            u = min(max(places[0, 1] + i * places[0, 2], 0.0), spread.size - 1.001)
            a = int(u)
            value = out[j, i] + (spread[a] + (u - a) * (spread[a + 1] - spread[a])) * noise[j, i]
            u = min(max(places[1, 1] + i * places[1, 2], 0.0), lift.size - 1.001)
            a = int(u)
            value += lift[a] + (u - a) * (lift[a + 1] - lift[a])
            r = radius / ring[3]
            n = int(r)
            if n + 1 < rings.shape[1]:
                value += rings[half, n] + (r - n) * (rings[half, n + 1] - rings[half, n])
            out[j, i] = np.float32(value)


def _slice_at(stack: Floats, index: float) -> Floats:
    """Return a slice between two of a stack."""
    k = min(max(index, 0.0), stack.shape[0] - 1.0)
    low = int(k)
    high = min(low + 1, stack.shape[0] - 1)
    return np.asarray(stack[low] + np.float32(k - low) * (stack[high] - stack[low]), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class GreyScene:
    """An animal, or a bone, about to be made grey on a grid: the work of :mod:`bonemet.simulation.grey`.

    Attributes
    ----------
    parts
        The bones, in their places.
    grid
        The voxels.
    scanner
        What decides sharpness and noise.
    around
        Noise and tones at each place.
    seed
        Of noise and rings.
    outline
        Of the animal's soft tissue; None for muscle everywhere.
    fat_mm
        Thickness of its fat.
    field_mm
        Radius about the axis beyond which the scan saw nothing: values are 0 there.
    bare
        Whether values beyond the bones' rim are 0, as in the stack of a single bone.
    """

    parts: Sequence[Part]
    grid: Grid
    scanner: Scanner
    around: Surroundings
    seed: int
    outline: Matrix | None = None
    fat_mm: float = 0.0
    field_mm: float = math.inf
    bare: bool = False
    matrices: Mapping[str, Matrix] = field(default_factory=dict)

    @property
    def slabs(self) -> list[tuple[int, int]]:
        """The slabs (first, stop) in which the volume is made."""
        depth = self.grid.shape[0]
        return [(z, min(z + SLAB, depth)) for z in range(0, depth, SLAB)]

    @cached_property
    def _voxel(self) -> float:
        return self.grid.spacing_mm[0]

    @cached_property
    def _stride(self) -> int:
        return fine.oversampling(self._voxel)

    @cached_property
    def _taps(self) -> tuple[Floats, Floats]:
        step = self._voxel / self._stride
        edge = fine.edge_transfer(frequencies(step), step)
        across, along = (taps(self.scanner, self._voxel, step, edge, across=a) for a in (True, False))
        return across.astype(np.float32), along.astype(np.float32)

    @cached_property
    def _noise(self) -> Noise:
        return Noise(self.scanner, self._voxel, self.grid.shape[1:], self.seed)

    @cached_property
    def _rings(self) -> Rings | None:
        rings = Rings(self.scanner, self._voxel, min(self._reach_mm, self.field_mm) + self._voxel, self.seed)
        return rings if rings.size > 0 and self.outline is not None else None

    @cached_property
    def _reach_mm(self) -> float:
        corners = self.grid.index_to_mm([[0, 0, 0], np.asarray(self.grid.shape) - 1])
        return float(np.hypot(*np.abs(corners[:, :2]).max(axis=0)))

    @cached_property
    def _edges(self) -> tuple[Floats, float, float, float]:
        """Profile of soft tissue over distance, its first distance and step, the blur of edges (mm)."""
        s = self.scanner
        variance = 0.16 + (3 / 12 if s.rays == 1 else 4 / 12) + 0.46
        blur = math.sqrt(variance * max(s.pixel_mm, self._voxel) ** 2 + s.soft_mm**2 / 4)
        return *soft.profile(self.around.tones.soft, self.fat_mm, blur), blur

    @cached_property
    def _bed(self) -> Floats:
        return soft.bed(self.grid, float(self.around.tones.soft[body.PLASTIC]), self._edges[3])

    def prepare(self) -> None:
        """Compute what all slabs share, before threads ask for it."""
        _ = self._taps, self._noise.along, self._noise.planes, self._edges, self._bed
        if self._rings is not None:
            self._rings.profile(0)

    def slab(self, first: int, stop: int) -> tuple[Floats, NDArray[np.uint8]]:
        """Return attenuation and labels (z, y, x) of one of :attr:`slabs`."""
        part = self.grid.crop((first, 0, 0), (stop, *self.grid.shape[1:]))
        out, labels = self._tissue(part)
        noise = self._noise.slab(first, stop)
        for k in range(stop - first):
            self._blemish(out[k], noise[k], first + k)
        return out, labels

    def _tissue(self, part: Grid) -> tuple[Floats, NDArray[np.uint8]]:
        """Return noise-free values and labels of part of the grid."""
        tone = self.around.tones
        labels = np.zeros(part.shape, np.uint8)
        muscle = np.float32(tone.soft[body.MUSCLE])
        if self.outline is None:
            out = np.full(part.shape, muscle)
        else:
            out = np.empty(part.shape, np.float32)
            out[:] = self._bed
            labels[:] = (self._bed > 0.5 * tone.soft[body.PLASTIC]) * np.uint8(LABELS["holder"])
            soft.fill(out, self.outline, part, *self._edges[:3])
        found = self._mineral(part)
        if found is None:
            return out, labels
        box, bones, mineral = found
        labels[box] = np.where(bones != 0, bones, labels[box])
        out[box][bones != 0] = muscle
        out[box] += mineral * np.float32(tone.mineral)
        return out, labels

    def _mineral(self, part: Grid) -> tuple[tuple[slice, slice, slice], NDArray[np.uint8], Floats] | None:
        """Return the box of the bones in part of the grid, their labels and their blurred mineral."""
        across, along = self._taps
        o = self._stride
        half = np.array([along.size // 2, across.size // 2, across.size // 2])
        limits = fine.box_of(self.parts, part, int(half.max()) // o + 2)
        if limits is None:
            return None
        low, high = limits
        step = self._voxel / o
        corner = part.index_to_mm(low) - half[::-1] * step
        shape = (high - low - 1) * o + 1 + 2 * half
        samples = Grid.isotropic(shape.tolist(), step, (float(corner[0]), float(corner[1]), float(corner[2])))
        bones, mineral = fine.paint_fine(self.parts, samples)
        inner = tuple(slice(int(h), int(n - h), o) for h, n in zip(half, shape, strict=True))
        box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
        return box, bones[inner], fine.reduce(mineral, across, along, o)

    def _blemish(self, plane: Floats, noise: Floats, z: int) -> None:
        """Add noise and rings to slice ``z``."""
        around, grid = self.around, self.grid
        point = grid.index_to_mm([z, 0, 0])
        at = [g.mm_to_index(point) for g in (around.grid, around.hardened)]
        steps = [self._voxel / g.spacing_mm[1] for g in (around.grid, around.hardened)]
        places = np.array([[*place[1:], step] for place, step in zip(at, steps, strict=True)])
        deviation = _slice_at(around.deviation, float(at[0][0]))
        hardened = _slice_at(around.left_over, float(at[1][0]))
        rings = np.zeros((2, 1), np.float32) if self._rings is None else self._rings.profile(z)
        pitch = 1.0 if self._rings is None else self._rings.pitch_mm
        ring = np.array([point[0], point[1], self._voxel, pitch, self.field_mm])
        _finish(plane, noise, deviation, hardened, places, rings, ring)

    def volume(self, mapper: Mapper = map, keep: Keep = np.asarray) -> GreyVolume:
        """Return the whole volume, or what is kept of it slab by slab; nothing else is held whole.

        The box of a leaning tibia holds 2 billion voxels of 10 um: 8-bit grey values of it fit into memory.
        """
        self.prepare()
        kind = keep(np.zeros((1, 1, 1), np.float32)).dtype
        out, labels = np.empty(self.grid.shape, kind), np.empty(self.grid.shape, np.uint8)

        def one(slab: tuple[int, int]) -> None:
            values, labels[slice(*slab)] = self.slab(*slab)
            out[slice(*slab)] = keep(values)

        for _ in mapper(one, self.slabs):
            pass
        if self.bare:
            for first, stop in self.slabs:
                begin = max(first - RIM_VOXELS, 0)
                inside = with_rim(labels[begin : stop + RIM_VOXELS] != 0)
                out[first:stop][~inside[first - begin : stop - begin]] = 0
        return GreyVolume(out, labels, self.grid, self.matrices, self.around.tones)
