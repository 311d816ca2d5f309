"""How a growth plate bends away from the plane that was found for it: plates of mice are wavy.

Of all surfaces over the plane that are nowhere steeper than a plate is, the one that runs best through the
gap between the bony end plate of the epiphysis and the primary spongiosa is a minimum cut of a graph (Li, Wu,
Chen and Sonka 2006, doi:10.1109/TPAMI.2006.19): the best of all, whatever the start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

BIN_MM = 0.02
# Half the thickness of what is taken for the plate, and where on both sides bone is expected: the bony end
# plate of the epiphysis and the primary spongiosa, each hardly thicker than a trabecula.
WIDTHS_MM = ((0.04, (0.06, 0.12)), (0.06, (0.08, 0.14)))
_REACH_MM = 0.4  # how far from its plane a plate may lie
_NODE_MM = 0.1  # over which width columns of voxels are taken together
_STEEPEST = 0.5
_RIM_MM = 0.15  # how much nearer to the surface of the bone the gap is followed than the plane was sought
_EVEN_MM = 0.1  # standard deviation of the Gaussian that evens the steps of the surface
_UNITS = 10_000  # capacities of the graph are whole numbers: the best gap's
_UNCUT = 100_000_000


@dataclass(frozen=True, eq=False)
class Relief:
    """How a growth plate bends away from its plane.

    Attributes
    ----------
    heights
        (rows, columns) slices by which it lies beyond the plane, towards rising z, at the nodes.
    pixels
        Rows and columns of the stack per node; each node stands in the middle of its pixels.
    """

    heights: NDArray[np.float64]
    pixels: tuple[int, int] = (1, 1)

    def at(self, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the heights at rows and columns of the stack, arrays of one shape."""
        nodes = [(v - (n - 1) / 2) / n for v, n in zip((rows, columns), self.pixels, strict=True)]
        return np.asarray(ndimage.map_coordinates(self.heights, nodes, order=1, mode="nearest"))


def heights_above(
    image: NDArray[np.float64],
    inner: NDArray[np.bool_],
    plane_mm: NDArray[np.float64],
    spacing_mm: tuple[float, float, float],
) -> NDArray[np.float64]:
    """Return by how much the plate lies deeper than its plane in every column, in mm.

    Parameters
    ----------
    image
        (z, y, x) grey values or shares of bone.
    inner
        (z, y, x) which voxels lie well within the bone.
    plane_mm
        (y, x) depth of the plane along z, from the middle of the first voxel.
    spacing_mm
        Voxel (z, y, x).

    Returns
    -------
    (y, x) array
        Columns beyond the inside of the bone go on as those near them.
    """
    level = plane_mm / spacing_mm[0]
    nearest = np.clip(np.round(level).astype(np.int64), 0, len(inner) - 1)
    inside = np.take_along_axis(inner, nearest[None], axis=0)[0]
    if not inside.any():
        return np.zeros_like(plane_mm)
    away = ndimage.distance_transform_edt(~_largest(inside), sampling=spacing_mm[1:])
    inside = away <= _RIM_MM
    reach, margin = round(_REACH_MM / BIN_MM), round(WIDTHS_MM[-1][1][1] / BIN_MM)
    steps = BIN_MM * np.arange(-reach - margin, reach + margin)
    columns = np.stack([_at_depth(image, level + (s + BIN_MM / 2) / spacing_mm[0]) for s in steps])
    score = _gaps(columns, margin) * inside
    rows, cols = (np.flatnonzero(inside.any(axis=a)) for a in (1, 0))
    window = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
    ny, nx = (max(1, round(_NODE_MM / s)) for s in spacing_mm[1:])
    nodes = _summed(score[:, *window], ny, nx)
    steepest = max(1, round(_STEEPEST * min(ny * spacing_mm[1], nx * spacing_mm[2]) / BIN_MM))
    found = BIN_MM * (best_surface(nodes, steepest) - reach)
    out = np.zeros_like(plane_mm)
    shape = out[window].shape
    out[window] = np.repeat(np.repeat(found, ny, axis=0), nx, axis=1)[: shape[0], : shape[1]]
    weight = inside + 1e-4
    even = [_EVEN_MM / s for s in spacing_mm[1:]]
    return np.asarray(ndimage.gaussian_filter(out * weight, even) / ndimage.gaussian_filter(weight, even))


def best_surface(score: NDArray[np.float64], steepest: int) -> NDArray[np.int64]:
    """Return the level in every column of a surface on which a score adds up to most.

    Parameters
    ----------
    score
        (levels, rows, columns), finite.
    steepest
        Levels by which neighbouring columns may differ.

    Returns
    -------
    (rows, columns) array
        Found by a minimum cut; scores count to a ten-thousandth of the greatest.
    """
    top = float(np.abs(score).max()) or 1.0
    gain = np.diff(np.round(-_UNITS / top * score).astype(np.int64), axis=0, prepend=0)
    gain[0] = -_UNCUT // 100  # the lowest level is always below the surface
    node = np.arange(score.size).reshape(score.shape)
    source, sink = score.size, score.size + 1
    arcs = [(node[1:], node[:-1])]
    for axis in (1, 2):
        low, high = np.delete(node, -1, axis), np.delete(node, 0, axis)
        arcs += [(a[steepest:], b[: len(b) - steepest]) for a, b in ((low, high), (high, low))]
    starts, ends = (np.concatenate([arc[i].ravel() for arc in arcs]) for i in (0, 1))
    below, above = node[gain < 0], node[gain >= 0]
    graph = sparse.csr_matrix(
        (
            np.concatenate([np.full(len(starts), _UNCUT), -gain[gain < 0], gain[gain >= 0]]).astype(np.int32),
            (
                np.concatenate([starts, np.full(len(below), source), above]),
                np.concatenate([ends, below, np.full(len(above), sink)]),
            ),
        ),
        shape=(sink + 1, sink + 1),
    )
    left = graph - csgraph.maximum_flow(graph, source, sink).flow
    left.data = np.maximum(left.data, 0)
    left.eliminate_zeros()
    reached = np.zeros(sink + 1, dtype=bool)
    reached[csgraph.breadth_first_order(left, source, return_predecessors=False)] = True
    return np.asarray(reached[:source].reshape(score.shape).sum(axis=0) - 1)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest piece of a mask: the tibia's inside, not that of the fibula's head."""
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((labels == sizes.argmax()) & mask)


def _at_depth(image: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what an image (z, y, x) holds at a depth (y, x), in slices, in every column."""
    below = np.clip(np.floor(depth).astype(np.int64), 0, len(image) - 2)
    low, high = (np.take_along_axis(image, (below + k)[None], axis=0)[0] for k in (0, 1))
    return np.asarray(low + np.clip(depth - below, 0, 1) * (high - low))


def _gaps(columns: NDArray[np.float64], margin: int) -> NDArray[np.float64]:
    """Return how far each border between bins (first axis) is a gap, but for a margin at both ends.

    That is how much less bone it holds than its poorer side; the better of all thicknesses of a plate.
    """
    total = np.concatenate([np.zeros((1, *columns.shape[1:])), columns.cumsum(axis=0)])
    at = np.arange(margin, len(columns) - margin + 1)

    def mean(first_mm: float, last_mm: float) -> NDArray[np.float64]:
        low, high = at + round(first_mm / BIN_MM), at + round(last_mm / BIN_MM)
        return np.asarray((total[high] - total[low]) / (high - low)[:, None, None])

    scores = [
        np.minimum(mean(-far, -near), mean(near, far)) - mean(-half, half) for half, (near, far) in WIDTHS_MM
    ]
    return np.asarray(np.max(scores, axis=0))


def _summed(score: NDArray[np.float64], ny: int, nx: int) -> NDArray[np.float64]:
    """Return the sums over blocks of rows and columns."""
    padded = np.pad(score, [(0, 0), (0, -score.shape[1] % ny), (0, -score.shape[2] % nx)])
    levels, rows, columns = padded.shape
    return np.asarray(padded.reshape(levels, rows // ny, ny, columns // nx, nx).sum(axis=(2, 4)))
