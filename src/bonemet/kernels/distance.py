"""Exact Euclidean distances, and spheres painted by them: the kernels under every thickness.

The distance map is separable: along x by two sweeps, along y and z by the lower envelope of parabolas
(Felzenszwalb and Huttenlocher 2012, doi:10.4086/toc.2012.v008a019). Squared distances are in units of the
smallest voxel edge squared, so on cubic voxels they are whole numbers and exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.errors import SettingsError
from bonemet.kernels.jit import kernel

SLAB = 16  # slices that one task takes; results do not depend on it
DIRECTIONS = ((1, 0, 0), (1, 1, 0), (1, 1, 1))  # to neighbours across a face, an edge, a corner
PAINT_SLAB = 64  # larger, since every task looks at every sphere
_OPEN = 1 - 4e-7  # keeps float32 rounding from closing open spheres


def relative_edges(spacing: Sequence[float]) -> NDArray[np.float64]:
    """Return the voxel edges (z, y, x) in units of the smallest; those within 1e-4 of it are taken as equal.

    Headers often hold rounded numbers, and voxels that are cubes but for these are cubes.
    """
    edges = np.asarray(spacing, dtype=np.float64) / min(spacing)
    edges[edges < 1 + 1e-4] = 1.0
    return edges


def slabs(n: int, size: int = SLAB) -> list[tuple[int, int]]:
    """Return half-open ranges that cover ``n`` indices."""
    return [(a, min(a + size, n)) for a in range(0, n, size)]


def squared_distance(
    structure: NDArray[Any], spacing: Sequence[float] = (1.0, 1.0, 1.0), mapper: Mapper = map
) -> NDArray[np.float32]:
    """Return the squared distance from each voxel's centre to the nearest centre outside the structure.

    Parameters
    ----------
    structure
        (z, y, x), non-zero inside. What lies outside the array counts neither as inside nor as outside.
    spacing
        Voxel edges (z, y, x).
    mapper
        An ordered map over slabs.

    Returns
    -------
    ndarray
        (z, y, x) float32 in units of the smallest voxel edge squared: 0 outside, infinite where the array
        holds nothing outside the structure.
    """
    inside = np.ascontiguousarray(structure).astype(np.uint8, copy=False)
    wz, wy, wx = relative_edges(spacing) ** 2
    out = np.empty(inside.shape, dtype=np.float32)

    def along_x_and_y(part: tuple[int, int]) -> None:
        _sweep_rows(inside, out, np.float64(wx), part[0], part[1])
        _lower_envelopes(out, 1, np.float64(wy), part[0], part[1])

    def along_z(part: tuple[int, int]) -> None:
        _lower_envelopes(out, 0, np.float64(wz), part[0], part[1])

    for _ in mapper(along_x_and_y, slabs(inside.shape[0])):
        pass
    for _ in mapper(along_z, slabs(inside.shape[1])):
        pass
    return out


def neighbours() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the steps (26, 3) to the neighbours of a voxel, and which of ``DIRECTIONS`` each is like."""
    steps = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    kinds = np.abs(steps).sum(axis=1) - 1
    order = np.argsort(kinds, kind="stable")[1:]
    return steps[order], kinds[order]


def containing_radii(largest: int) -> NDArray[np.int32]:
    """Return how large a neighbour's sphere must be to hold all voxels of a sphere.

    Parameters
    ----------
    largest
        Largest squared radius.

    Returns
    -------
    ndarray
        (directions, largest + 1): for neighbours in each of ``DIRECTIONS`` and each squared radius, the
        smallest squared radius of the neighbour's open sphere that holds every voxel of the open sphere (the
        tables of Remy and Thiel 2005, Image and Vision Computing 23:167-175, by direct count).
    """
    table = np.zeros((len(DIRECTIONS), largest + 1), dtype=np.int32)
    _farthest(table, np.asarray(DIRECTIONS), int(np.sqrt(largest)) + 1)
    # Open spheres of squared radius r2 hold the voxels with squared distance below r2.
    grown = np.maximum.accumulate(table, axis=1)
    table[:, 1:] = grown[:, :-1] + 1
    table[:, 0] = 0
    return table


def ridge(
    squared: NDArray[np.float32], centre: NDArray[np.uint8], spacing: Sequence[float], mapper: Mapper = map
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the spheres that no neighbour's sphere holds, largest first.

    Parameters
    ----------
    squared
        (z, y, x) squared distances of :func:`squared_distance`, finite where ``centre`` is set.
    centre
        (z, y, x), non-zero where spheres may be centred.
    spacing
        Voxel edges (z, y, x).
    mapper
        An ordered map over slabs.

    Returns
    -------
    tuple
        Centres (n, 3) as (z, y, x), and squared radii (n,). The spheres left out lie wholly in larger ones,
        so painting all and painting these gives the same.
    """
    edge = relative_edges(spacing)
    cubic = bool(np.all(edge == 1))
    largest = int(squared[centre != 0].max(initial=0)) if cubic else 0
    table = containing_radii(largest) if cubic else np.zeros((1, 0), dtype=np.int32)
    steps, kinds = neighbours()
    lengths = np.sqrt(((steps * edge) ** 2).sum(axis=1))
    kept = np.zeros(squared.shape, dtype=np.uint8)

    def mark(part: tuple[int, int]) -> None:
        kept[part[0] : part[1]] = _ridge_slab(squared, centre, table, steps, kinds, lengths, part[0], part[1])

    for _ in mapper(mark, slabs(squared.shape[0])):
        pass
    where = np.argwhere(kept).astype(np.int32)
    radii = squared[kept != 0]
    order = np.argsort(-radii, kind="stable")
    return where[order], radii[order]


def paint(
    centres: NDArray[np.int32],
    radii: NDArray[np.float32],
    target: NDArray[np.uint8],
    spacing: Sequence[float],
    mapper: Mapper = map,
) -> NDArray[np.float32]:
    """Return the largest squared radius of the open spheres that hold each target voxel; 0 where none does.

    Parameters
    ----------
    centres, radii
        Spheres in falling order of radius, as :func:`ridge` gives them.
    target
        (z, y, x), non-zero where a radius is wanted.
    spacing
        Voxel edges (z, y, x).
    mapper
        An ordered map over slabs.

    Raises
    ------
    SettingsError
        If rows are longer than 65000 voxels.
    """
    if target.shape[2] > 65000:
        raise SettingsError(f"Rows of {target.shape[2]} voxels are too long to paint; crop the volume.")
    out = np.zeros(target.shape, dtype=np.float32)
    weight = relative_edges(spacing) ** 2

    def fill(part: tuple[int, int]) -> None:
        _paint_slab(centres, radii, weight, target, part[0], part[1], out)

    for _ in mapper(fill, slabs(target.shape[0], PAINT_SLAB)):
        pass
    return out


@kernel
def _sweep_rows(inside: Any, out: Any, weight: float, first: int, last: int) -> None:
    """Write the weighted squared distance to the nearest outside voxel of the same row."""
    _, rows, columns = inside.shape
    for z in range(first, last):
        for y in range(rows):
            steps = np.inf
            for x in range(columns):
                steps = steps + 1.0 if inside[z, y, x] else 0.0
                out[z, y, x] = steps
            steps = np.inf
            for x in range(columns - 1, -1, -1):
                steps = steps + 1.0 if inside[z, y, x] else 0.0
                steps = min(steps, np.float64(out[z, y, x]))
                out[z, y, x] = weight * steps * steps


@kernel
def _lower_envelopes(squared: Any, axis: int, weight: float, first: int, last: int) -> None:
    """Replace values along z (axis 0, of rows first..last) or y (axis 1, of slices first..last)."""
    size = squared.shape[axis]
    value, best = np.empty(size), np.empty(size)
    site, start = np.empty(size, np.int64), np.empty(size)
    for other in range(first, last):
        for x in range(squared.shape[2]):
            for i in range(size):
                value[i] = squared[i, other, x] if axis == 0 else squared[other, i, x]
            _envelope(value, weight, site, start, best)
            for i in range(size):
                if axis == 0:
                    squared[i, other, x] = best[i]
                else:
                    squared[other, i, x] = best[i]


@kernel
def _envelope(value: Any, weight: float, site: Any, start: Any, best: Any) -> None:
    """Write the lower envelope of the parabolas that stand on ``value``; infinite values bear none."""
    count = 0
    for i in range(value.size):
        if value[i] == np.inf:
            continue
        begin = -np.inf
        while count > 0:
            j = site[count - 1]
            begin = (value[i] - value[j] + weight * (i * i - j * j)) / (2.0 * weight * (i - j))
            if begin > start[count - 1]:
                break
            count -= 1
            begin = -np.inf
        site[count], start[count] = i, begin
        count += 1
    k = 0
    for i in range(value.size):
        if count == 0:
            best[i] = np.inf
            continue
        while k + 1 < count and start[k + 1] < i:
            k += 1
        best[i] = value[site[k]] + weight * (i - site[k]) ** 2


@kernel
def _farthest(table: Any, directions: Any, reach: int) -> None:
    """Write, for each squared distance of a voxel, its largest squared distance to each neighbour."""
    largest = table.shape[1] - 1
    for a in range(reach + 1):
        for b in range(a + 1):
            for c in range(b + 1):
                n = a * a + b * b + c * c
                if n > largest:
                    break
                for k in range(directions.shape[0]):
                    i, j, h = directions[k, 0], directions[k, 1], directions[k, 2]
                    far = n + 2 * (a * i + b * j + c * h) + i * i + j * j + h * h
                    table[k, n] = max(table[k, n], far)


@kernel
def _ridge_slab(
    squared: Any, centre: Any, table: Any, steps: Any, kinds: Any, lengths: Any, first: int, last: int
) -> Any:
    """Return a mark on the centres of slices first..last whose sphere no neighbour's sphere holds.

    ``table`` is that of :func:`containing_radii`; where voxels are not cubes it is empty, and spheres must
    hold each other in space, by the ``lengths`` of the steps.
    """
    depth, rows, columns = squared.shape
    cubic = table.shape[1] > 0
    out = np.zeros((last - first, rows, columns), np.uint8)
    for z in range(first, last):
        for y in range(rows):
            for x in range(columns):
                if centre[z, y, x] == 0:
                    continue
                out[z - first, y, x] = 1
                mine = squared[z, y, x]
                for n in range(kinds.size):
                    i, j, k = z + steps[n, 0], y + steps[n, 1], x + steps[n, 2]
                    if not (0 <= i < depth and 0 <= j < rows and 0 <= k < columns) or centre[i, j, k] == 0:
                        continue
                    theirs = squared[i, j, k]
                    if cubic:
                        held = theirs >= table[kinds[n], np.int64(mine)]
                    else:
                        held = np.sqrt(theirs) >= np.sqrt(mine) + lengths[n]
                    if held:
                        out[z - first, y, x] = 0
                        break
    return out


@kernel
def _paint_slab(centres: Any, radii: Any, weight: Any, target: Any, first: int, last: int, out: Any) -> None:
    """Paint open spheres, largest first, into the target voxels of slices first..last.

    ``centres`` (n, 3) as (z, y, x) and their squared ``radii`` must be in falling order of radius, so that
    the first sphere to reach a voxel is its largest. ``after`` leads from each voxel of a row to the next
    unpainted one, so every voxel is painted once, and a sphere costs its rows, not its voxels.
    """
    _, rows, columns = out.shape
    after = np.empty((last - first, rows, columns + 1), np.uint16)
    for z in range(last - first):
        for y in range(rows):
            after[z, y, columns] = columns
            for x in range(columns - 1, -1, -1):
                after[z, y, x] = x if target[first + z, y, x] else after[z, y, x + 1]
    for s in range(radii.size):
        cz, cy, cx = centres[s, 0], centres[s, 1], centres[s, 2]
        r2 = np.float64(radii[s]) * _OPEN
        reach = int(np.sqrt(r2 / weight[0]))
        for z in range(max(first, cz - reach), min(last, cz + reach + 1)):
            left = r2 - weight[0] * (z - cz) * (z - cz)
            if left <= 0:
                continue
            wide = int(np.sqrt(left / weight[1]))
            for y in range(max(0, cy - wide), min(rows, cy + wide + 1)):
                chord = left - weight[1] * (y - cy) * (y - cy)
                if chord <= 0:
                    continue
                half = int(np.sqrt(chord / weight[2]))
                if weight[2] * half * half >= chord:
                    half -= 1
                _paint_row(
                    after, z - first, y, max(0, cx - half), min(columns - 1, cx + half), out, z, radii[s]
                )


@kernel
def _paint_row(after: Any, row: int, y: int, start: int, end: int, out: Any, z: int, r2: float) -> None:
    """Paint the unpainted voxels from start to end of one row, and lead past them all."""
    x = np.int64(start)
    while True:
        while np.int64(after[row, y, x]) != x:
            x = np.int64(after[row, y, x])
        if x > end:
            break
        out[z, y, x] = r2
        after[row, y, x] = end + 1
        x += 1
    after[row, y, start] = x
