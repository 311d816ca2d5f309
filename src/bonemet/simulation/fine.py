"""Bones as finely sampled mineral, and its reduction to voxels by weighted sums.

Bones are sampled at the voxels' centres and, where voxels are larger than 25 um, halfway between, so that
an edge keeps its place to a small part of a voxel wherever it falls. Cubes of samples that no surface can
cross are filled with what is in their middle. Where samples lie closer than 12 um, every second one asks the
shapes for their distance, and the others interpolate it.

The value of a sample is the share of tissue about it: a smooth step over the distance to the
surface, narrow enough that trabeculae keep their mass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bonemet.core.grid import Grid
from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.shapes import Array
from bonemet.simulation.skeleton import Part
from bonemet.simulation.tissue import new_bone_mm, outline, sample

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]

BLOCK = 8
_PATCH = 4
_SLACK = 1.3
_SMOOTH_MM = 0.026
"""Samples closer than this have smooth edges, others straight ones: these keep the mass of thin plates."""
_TAIL = 1.4
"""Samples beyond a surface to which its edge reaches."""
_EDGE = 0.55
"""Standard deviation of a smooth edge in samples."""


def oversampling(voxel_mm: float) -> int:
    """Return samples per voxel along each axis."""
    return 1 if voxel_mm <= 0.025 else 2


def edge_transfer(f: Array, fine_mm: float) -> Array:
    """Return what the edges of samples leave of a wave of frequency ``f`` (1/mm)."""
    if fine_mm <= _SMOOTH_MM:
        return np.asarray(np.exp(-2 * (np.pi * _EDGE * fine_mm * f) ** 2))
    return np.asarray(np.sinc(fine_mm * f))


@fast_kernel
def _share(distance: float, step: float, smooth: bool) -> float:
    """Return the share of tissue about a place at a signed distance from its surface."""
    if not smooth:
        return min(max(0.5 - distance / step, 0.0), 1.0)
    u = distance / (_EDGE * step)
    if u > 3.0:
        return 0.0
    if u < -3.0:
        return 1.0
    return 0.5 * math.erfc(u * 0.7071067811865476)


@fast_kernel
def _near(table: Array, inverse: Array, at: Array, half: float, reach: float, p: Array) -> bool:
    """Tell whether a cube about ``at`` may hold bone; ``p`` is room for a point."""
    for a in range(3):
        p[a] = inverse[a, 0] * at[0] + inverse[a, 1] * at[1] + inverse[a, 2] * at[2] + inverse[a, 3]
    radius = _SLACK * half * 1.7320508 + reach
    return outline(table, p[0], p[1], p[2]) <= radius


@fast_kernel
def _uniform(table: Array, inverse: Array, at: Array, radius: float, tail: float) -> tuple[bool, float]:
    """Tell whether a sphere deep within a bone is crossed by no surface, and its mineral."""
    x = inverse[0, 0] * at[0] + inverse[0, 1] * at[1] + inverse[0, 2] * at[2] + inverse[0, 3]
    y = inverse[1, 0] * at[0] + inverse[1, 1] * at[1] + inverse[1, 2] * at[2] + inverse[1, 3]
    z = inverse[2, 0] * at[0] + inverse[2, 1] * at[1] + inverse[2, 2] * at[2] + inverse[2, 3]
    outer, tissue, mineral = sample(table, x, y, z)
    clear = _SLACK * radius + tail
    return outer < -clear and abs(tissue) > clear, mineral if tissue < 0.0 else 0.0


@fast_kernel
def _fill_cube(
    label: int, density: float, labels: Codes, mineral: Floats, corner: NDArray[np.int64], size: int
) -> None:
    """Paint a cube of samples that is the same throughout."""
    for k in range(corner[0], min(corner[0] + size, labels.shape[0])):
        for j in range(corner[1], min(corner[1] + size, labels.shape[1])):
            for i in range(corner[2], min(corner[2] + size, labels.shape[2])):
                if labels[k, j, i] == 0:
                    mineral[k, j, i] += np.float32(density)
                    labels[k, j, i] = label


@fast_kernel
def _paint_patch(
    table: Array,
    inverse: Array,
    label: int,
    labels: Codes,
    mineral: Floats,
    frame: Array,
    corner: NDArray[np.int64],
    room: tuple[Array, Array, Array],
) -> None:
    """Paint one patch of samples, if bone is near; ``room``: for nodes, a place and a point."""
    step, every, (nodes, at, p) = frame[3], int(frame[4]), room
    for a in range(3):
        at[a] = frame[a] + (corner[2 - a] + 0.5 * (_PATCH - 1)) * step
    if not _near(table, inverse, at, 0.5 * _PATCH * step, 2.0 * step * every + new_bone_mm(table), p):
        return
    same, density = _uniform(table, inverse, at, 0.866 * (_PATCH - 1) * step, _TAIL * step)
    if same:
        _fill_cube(label, density, labels, mineral, corner, _PATCH)
    elif _ask(table, inverse, frame, corner, every, nodes):
        _fill(nodes, every, label, labels, mineral, corner, step)


@fast_kernel
def _ask(
    table: Array,
    inverse: Array,
    frame: Array,
    corner: NDArray[np.int64],
    every: int,
    nodes: Array,
) -> bool:
    """Fill the distances and densities at every so many samples of a patch; tell whether bone is near."""
    step = frame[3]
    count = _PATCH // every + (1 if every > 1 else 0)
    found = False
    for k in range(count):
        z = frame[2] + (corner[0] + k * every) * step
        for j in range(count):
            y = frame[1] + (corner[1] + j * every) * step
            for i in range(count):
                x = frame[0] + (corner[2] + i * every) * step
                outer, tissue, mineral = sample(
                    table,
                    inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2] * z + inverse[0, 3],
                    inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2] * z + inverse[1, 3],
                    inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2] * z + inverse[2, 3],
                )
                nodes[k, j, i, 0], nodes[k, j, i, 1], nodes[k, j, i, 2] = outer, tissue, mineral
                found = found or outer <= 2.0 * step * every
    return found


@fast_kernel
def _between(nodes: Array, k: int, j: int, i: int, every: int, what: int) -> float:
    """Return one of the numbers at a sample of a patch, interpolated between those asked for."""
    if every == 1:
        return float(nodes[k, j, i, what])
    k0, j0, i0 = k // 2, j // 2, i // 2
    k1, j1, i1 = (k + 1) // 2, (j + 1) // 2, (i + 1) // 2
    low = (
        nodes[k0, j0, i0, what] + nodes[k0, j0, i1, what] + nodes[k0, j1, i0, what] + nodes[k0, j1, i1, what]
    )
    high = (
        nodes[k1, j0, i0, what] + nodes[k1, j0, i1, what] + nodes[k1, j1, i0, what] + nodes[k1, j1, i1, what]
    )
    return float(0.125 * (low + high))


@fast_kernel
def _fill(
    nodes: Array,
    every: int,
    label: int,
    labels: Codes,
    mineral: Floats,
    corner: NDArray[np.int64],
    step: float,
) -> None:
    """Paint one patch of samples."""
    smooth = step <= _SMOOTH_MM
    for k in range(min(_PATCH, labels.shape[0] - corner[0])):
        for j in range(min(_PATCH, labels.shape[1] - corner[1])):
            for i in range(min(_PATCH, labels.shape[2] - corner[2])):
                z, y, x = corner[0] + k, corner[1] + j, corner[2] + i
                if labels[z, y, x] != 0:
                    continue
                outer = _between(nodes, k, j, i, every, 0)
                if outer > 2.0 * step:
                    continue
                density = nodes[
                    (k + every - 1) // every, (j + every - 1) // every, (i + every - 1) // every, 2
                ]
                share = _share(_between(nodes, k, j, i, every, 1), step, smooth)
                mineral[z, y, x] += np.float32(density * share)
                if outer <= 0.0:
                    labels[z, y, x] = label


@fast_kernel
def _paint(
    table: Array,
    inverse: Array,
    label: int,
    labels: Codes,
    mineral: Floats,
    frame: Array,
    span: NDArray[np.int64],
) -> None:
    """Paint one bone into a slab of samples; ``span``: first and last ones (z, y, x; half-open)."""
    step = frame[3]
    reach = 2.0 * step * frame[4] + new_bone_mm(table)
    nodes = np.empty((_PATCH + 1, _PATCH + 1, _PATCH + 1, 3))
    first, corner, at, p = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3), np.empty(3)
    for k0 in range(span[0] // BLOCK * BLOCK, span[3], BLOCK):
        for j0 in range(span[1] // BLOCK * BLOCK, span[4], BLOCK):
            for i0 in range(span[2] // BLOCK * BLOCK, span[5], BLOCK):
                first[0], first[1], first[2] = k0, j0, i0
                for a in range(3):
                    at[a] = frame[a] + (first[2 - a] + 0.5 * (BLOCK - 1)) * step
                if not _near(table, inverse, at, 0.5 * BLOCK * step, reach, p):
                    continue
                same, density = _uniform(table, inverse, at, 0.866 * (BLOCK - 1) * step, _TAIL * step)
                if same:
                    _fill_cube(label, density, labels, mineral, first, BLOCK)
                    continue
                for n in range(8):
                    corner[0] = k0 + _PATCH * (n // 4)
                    corner[1] = j0 + _PATCH * (n // 2 % 2)
                    corner[2] = i0 + _PATCH * (n % 2)
                    _paint_patch(table, inverse, label, labels, mineral, frame, corner, (nodes, at, p))


def box_of(parts: Sequence[Part], grid: Grid, margin: int) -> tuple[Array, Array] | None:
    """Return the first and last voxels (z, y, x; half-open) of a grid that bones may touch, if any."""
    lows, highs = [], []
    for part in parts:
        low, high = _span(part, grid, margin)
        if np.all(low < high):
            lows.append(low)
            highs.append(high)
    return (np.min(lows, axis=0), np.max(highs, axis=0)) if lows else None


def _span(part: Part, grid: Grid, margin: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    corners = np.array(np.meshgrid(*zip(part.low, part.high, strict=True))).reshape(3, -1).T
    index = grid.mm_to_index(corners @ part.matrix[:3, :3].T + part.matrix[:3, 3])
    low = np.clip(np.floor(index.min(axis=0)) - margin, 0, grid.shape)
    high = np.clip(np.ceil(index.max(axis=0)) + 1 + margin, 0, grid.shape)
    return low.astype(np.int64), high.astype(np.int64)


def paint_fine(parts: Sequence[Part], grid: Grid) -> tuple[Codes, Floats]:
    """Return labels and mineral (mg HA/cm3) of bones at samples (z, y, x); the first at a place wins."""
    labels, mineral = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.float32)
    step = grid.spacing_mm[0]
    every = 2 if step < 0.012 else 1
    frame = np.array([*grid.origin_mm, step, every])
    for part in parts:
        low, high = _span(part, grid, 2)
        if np.all(low < high):
            inverse = np.ascontiguousarray(np.linalg.inv(part.matrix)[:3])
            span = np.concatenate([low, high])
            _paint(part.shape.pack(), inverse, part.label, labels, mineral, frame, span)
    return labels, mineral


@fast_kernel
def _reduce_z(values: Floats, weights: Floats, stride: int, out: Floats) -> None:
    for k in range(out.shape[0]):
        for t in range(weights.size):
            w = weights[t]
            for j in range(out.shape[1]):
                for i in range(out.shape[2]):
                    out[k, j, i] += w * values[k * stride + t, j, i]


@fast_kernel
def _reduce_y(values: Floats, weights: Floats, stride: int, out: Floats) -> None:
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            for t in range(weights.size):
                w = weights[t]
                for i in range(out.shape[2]):
                    out[k, j, i] += w * values[k, j * stride + t, i]


@fast_kernel
def _reduce_x(values: Floats, weights: Floats, stride: int, out: Floats) -> None:
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            for t in range(weights.size):
                w = weights[t]
                for i in range(out.shape[2]):
                    out[k, j, i] += w * values[k, j, i * stride + t]


def reduce(samples: Floats, across: Floats, along: Floats, stride: int) -> Floats:
    """Return weighted sums of samples (z, y, x), of every ``stride``-th place along each axis.

    Parameters
    ----------
    samples
        With half the weights' number to spare on either side of each axis.
    across, along
        Odd numbers of weights for x and y, and for z.
    stride
        Samples per voxel.
    """
    sizes = [(n - w.size) // stride + 1 for n, w in zip(samples.shape, (along, across, across), strict=True)]
    z, y, x = sizes
    first = np.zeros((z, *samples.shape[1:]), np.float32)
    _reduce_z(samples, along, stride, first)
    second = np.zeros((z, y, samples.shape[2]), np.float32)
    _reduce_y(first, across, stride, second)
    out = np.zeros((z, y, x), np.float32)
    _reduce_x(second, across, stride, out)
    return out
