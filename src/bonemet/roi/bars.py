"""The threshold at every place: half-way between bone and what lies around it.

One threshold for a whole bone is half-way for its cortex, whose mineral decides it. Trabeculae and new bone
hold less mineral, so that they look thinner than they are, and what is lost and formed is counted short.
Half-way between the highest and the lowest value around, as adaptive thresholding in the field's programs
takes it, is right for each (thresholds that follow the surroundings: Waarsing 2004, doi:10.1359/JBMR.040705).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.context import Mapper
from bonemet.core.volume import SlicedArray
from bonemet.kernels.extremes import block_extremes
from bonemet.roi.difference import Scale
from bonemet.roi.lesions import coarse_shape

LOWEST, HIGHEST = -0.12, 0.12  # limits of the threshold about the one given, in contrasts of bone
_LAYERS = 32  # layers of nodes that are found at once
_FLAT = 3e-5  # the eighth power of a contrast that is none


@dataclass(frozen=True, eq=False)
class LocalBars:
    """Thresholds of a stack, in units of the contrast of bone about the threshold of the whole.

    Attributes
    ----------
    nodes
        (z, y, x) float16, one in the middle of every block of voxels.
    factors
        Voxels along the edges of a block.
    shape
        (z, y, x) of the stack.
    """

    nodes: NDArray[np.float16]
    factors: tuple[int, int, int]
    shape: tuple[int, int, int]

    def planes(self, first: int, stop: int, window: tuple[slice, slice]) -> NDArray[np.float32]:
        """Return the thresholds of some slices in a window of rows and columns, linear between nodes."""
        factor = self.factors[0]
        low = max(first // factor - 1, 0)
        out = self.nodes[low : (stop - 1) // factor + 2].astype(np.float32)
        across = (np.arange(*w.indices(n)) for w, n in zip(window, self.shape[1:], strict=True))
        for axis, places in enumerate(across, start=1):
            out = _between(out, axis, places, self.factors[axis])
        return _between(out, 0, np.arange(first, stop) - low * factor, factor)


def _between(
    nodes: NDArray[np.float32], axis: int, places: NDArray[np.int64], factor: int
) -> NDArray[np.float32]:
    """Return what lies at places of the stack along an axis, linear between nodes, constant beyond them."""
    count = nodes.shape[axis]
    at = np.clip((places - (factor - 1) / 2) / factor, 0, count - 1)
    low = at.astype(np.int64)
    share = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    below, above = (np.take(nodes, np.minimum(low + k, count - 1), axis) for k in (0, 1))
    return np.asarray(below + share * (above - below))


def local_bars(
    scans: Sequence[SlicedArray],
    scales: Sequence[Scale],
    radius_mm: float,
    spacing_mm: tuple[float, float, float],
    mapper: Mapper = map,
) -> LocalBars:
    """Return the thresholds of a scan, or those that two of one bone share, so that what stayed is no change.

    Parameters
    ----------
    scans
        (z, y, x) values on one grid; 0 is what was cut away.
    scales
        Their thresholds and contrasts.
    radius_mm
        How far around a place values are looked at.
    spacing_mm
        Voxel (z, y, x).
    mapper
        Ordered map over parts of the stack.
    """
    depth, rows, columns = scans[0].shape
    shape = (depth, rows, columns)
    z, y, x = (max(1, round(radius_mm / 2 / s)) for s in spacing_mm)
    factors = (z, y, x)
    reach = [max(1, round(radius_mm / (s * f))) for s, f in zip(spacing_mm, factors, strict=True)]
    nodes = np.zeros(coarse_shape(shape, factors), np.float16)

    def part(first: int) -> None:
        last = min(first + _LAYERS, len(nodes))
        low, high = max(0, first - 2 * reach[0]), min(len(nodes), last + 2 * reach[0])
        even = _half_way(*_extremes(scans, scales, (low, high), factors), reach)
        nodes[first:last] = np.clip(even, LOWEST, HIGHEST)[first - low : last - low]

    for _ in mapper(part, range(0, len(nodes), _LAYERS)):
        pass
    return LocalBars(nodes, factors, shape)


def _extremes(
    scans: Sequence[SlicedArray],
    scales: Sequence[Scale],
    layers: tuple[int, int],
    factors: tuple[int, int, int],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the highest and the lowest value of all scans in the blocks of some layers."""
    depth, rows, columns = scans[0].shape
    size = (layers[1] - layers[0], *coarse_shape((depth, rows, columns), factors)[1:])
    high, low = np.full(size, -np.inf, np.float32), np.full(size, np.inf, np.float32)
    for z in range(layers[0] * factors[0], min(layers[1] * factors[0], depth)):
        k = z // factors[0] - layers[0]
        for scan, scale in zip(scans, scales, strict=True):
            top, bottom = block_extremes(np.asarray(scan[z]), factors[1:])
            np.maximum(high[k], scale.normal(top), out=high[k])
            np.minimum(low[k], scale.normal(bottom), out=low[k])
    return high, low


def _half_way(high: NDArray[np.float32], low: NDArray[np.float32], reach: list[int]) -> NDArray[np.float32]:
    """Return what lies half-way between the extremes around every node, given those of its block."""
    around = [2 * r + 1 for r in reach]
    high, low = ndimage.maximum_filter(high, around), ndimage.minimum_filter(low, around)
    known = np.isfinite(high) & np.isfinite(low)
    high, low = np.where(known, high, 0.0), np.where(known, low, 0.0)
    # within bone or marrow alone there is no half-way: the surfaces around decide
    weight = (high - low) ** 8
    even = ndimage.uniform_filter(0.5 * (high + low) * weight, around)
    return np.asarray(even / (ndimage.uniform_filter(weight, around) + _FLAT))
