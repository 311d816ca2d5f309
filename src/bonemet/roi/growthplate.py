"""The growth plates of a tibia: sheets of cartilage between epiphysis and metaphysis, at knee and ankle.

A plate is found as a plane, the tilted gap across the inside of the bone; :mod:`bonemet.roi.relief` then
tells how it bends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.roi.relief import BIN_MM, WIDTHS_MM, Relief, heights_above

Spacing = tuple[float, float, float]

_SHELL_MM = 0.25  # bone this near to the surface bridges the plate and is left out
_CLOSE_MM = 0.15  # half the widest gap of the cortex that the outline passes over
_TILTS = np.linspace(-0.25, 0.25, 11)  # slopes of the plane along y and x
_FIRST_MM, _LAST_MM = 0.9, 3.5  # how far from the end of the bone a plate may lie
_SAMPLES = 60_000
_APART_MM = 0.25  # another gap lies at least so far away
_CHANCE, _CLEAR = 1.1, 1.5  # by which factor a gap excels any other by chance, and a plate beyond doubt


@dataclass(frozen=True)
class GrowthPlate:
    """A sheet across the bone: a plane, and how the plate bends away from it.

    Attributes
    ----------
    slice
        Where its plane crosses the middle of the bone, in slices of the stack (a fraction).
    middle
        (row, column) of the middle of the bone there.
    slopes
        Slices per row and per column.
    confidence
        0 to 1: how far it excels any other gap across the inside of the bone.
    relief
        How it bends; None for a plane.
    """

    slice: float
    middle: tuple[float, float]
    slopes: tuple[float, float]
    confidence: float
    relief: Relief | None = None

    def slices_beyond(self, index: NDArray[Any]) -> NDArray[np.float64]:
        """Return how many slices voxels (n, 3) given as (z, y, x) lie beyond it, towards rising z."""
        z, y, x = np.asarray(index, dtype=np.float64).T
        dy, dx = self.slopes
        level = self.slice + dy * (y - self.middle[0]) + dx * (x - self.middle[1])
        return np.asarray(z - level if self.relief is None else z - level - self.relief.at(y, x))


def find_growth_plate(
    share: NDArray[Any], spacing_mm: Spacing, direction: int, grey: NDArray[Any] | None = None
) -> GrowthPlate | None:
    """Find a growth plate: the tilted gap across the inside of a bone near its end, bone on both sides.

    Parameters
    ----------
    share
        (z, y, x) share of bone in each voxel, 0 to 1, or a mask, of the whole bone or of its proximal part.
    spacing_mm
        Voxel (z, y, x).
    direction
        +1 if the slice number rises from the end at which the plate lies, else -1: distally for the plate
        at the knee, proximally for that at the ankle.
    grey
        (z, y, x) grey values of the same voxels. The bone beside a plate is often thinner than a voxel, and
        paler than the threshold; grey values show it all the same.

    Returns
    -------
    GrowthPlate | None
        None where no gap is found, as in old animals, or where a lesion has taken its surroundings.
    """
    order = slice(None) if direction > 0 else slice(None, None, -1)
    found = np.flatnonzero((share >= 0.5).any(axis=(1, 2)))
    if len(found) == 0:
        return None
    end = int(found[0] if direction > 0 else found[-1])
    reach = int(np.ceil((_LAST_MM + 0.5) / spacing_mm[0]))
    slab = slice(end, end + reach) if direction > 0 else slice(max(0, end - reach + 1), end + 1)
    image = share if grey is None else grey
    values = np.asarray(image[slab])[order].astype(np.float64)
    inner = _inner(np.asarray(share[slab])[order], spacing_mm)
    points, bone = _sampled(inner, values, spacing_mm)
    if len(points) < 100:
        return None
    middle = points[:, 1:].mean(axis=0)
    slopes = [(float(a), float(b)) for a in _TILTS for b in _TILTS]
    depths = (
        points[:, 0] - a * (points[:, 1] - middle[0]) - b * (points[:, 2] - middle[1]) for a, b in slopes
    )
    scores = np.array([_gaps(depth, bone) for depth in depths])
    plane, level = np.unravel_index(int(scores.argmax()), scores.shape)
    best = float(scores[plane, level])
    if best <= 0:
        return None
    apart = np.abs(np.arange(scores.shape[1]) - level) * BIN_MM > _APART_MM
    lead = best / max(float(scores[:, apart].max()), 1e-3 * best)
    a, b = slopes[int(plane)]
    dz, dy, dx = spacing_mm
    depth_mm = _FIRST_MM + (int(level) + 1) * BIN_MM
    rows, columns = (step * np.arange(n) for step, n in zip((dy, dx), values.shape[1:], strict=True))
    flat_mm = depth_mm + a * (rows[:, None] - middle[0]) + b * (columns - middle[1])
    return GrowthPlate(
        end + direction * depth_mm / dz,
        (float(middle[0] / dy), float(middle[1] / dx)),
        (direction * a * dy / dz, direction * b * dx / dz),
        round(float(np.clip((lead - _CHANCE) / (_CLEAR - _CHANCE), 0, 1)), 3),
        Relief(direction / dz * heights_above(values, inner, flat_mm, spacing_mm)),
    )


def _inner(slab: NDArray[Any], spacing_mm: Spacing) -> NDArray[np.bool_]:
    """Return which voxels of a slab (z, y, x) of shares of bone lie well within the bone."""
    pixel = spacing_mm[1:]
    steps = max(1, round(_CLOSE_MM / min(pixel)))
    inner = np.zeros(slab.shape, dtype=bool)
    for z, values in enumerate(slab):
        mask = np.pad(values >= 0.5, steps)
        closed = ndimage.binary_fill_holes(ndimage.binary_closing(mask, iterations=steps))
        deep = ndimage.distance_transform_edt(closed, sampling=pixel) > _SHELL_MM
        inner[z] = deep[steps:-steps, steps:-steps]
    return inner


def _sampled(
    inner: NDArray[np.bool_], image: NDArray[np.float64], spacing_mm: Spacing
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points (z, y, x) in mm well within the bone, at most so many, and what the image holds there."""
    index = np.argwhere(inner)
    index = index[:: max(1, len(index) // _SAMPLES)]
    return index * np.asarray(spacing_mm), image[tuple(index.T)]


def _gaps(depth_mm: NDArray[np.float64], bone: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each depth from :data:`_FIRST_MM` on is a gap, in steps of :data:`BIN_MM`.

    That is how much less bone it holds than its poorer side, weighed by the square of how wide it is; the
    better of all thicknesses that a plate may have.
    """
    bins = np.clip(np.floor(depth_mm / BIN_MM), 0, None).astype(np.int64)
    size = int((_LAST_MM + WIDTHS_MM[-1][1][1]) / BIN_MM) + 2
    keep = bins < size
    count = np.bincount(bins[keep], minlength=size).cumsum()
    total = np.bincount(bins[keep], bone[keep], minlength=size).cumsum()
    at = np.arange(round(_FIRST_MM / BIN_MM), round(_LAST_MM / BIN_MM))

    def mean(first_mm: float, last_mm: float) -> NDArray[np.float64]:
        low, high = at + round(first_mm / BIN_MM), at + round(last_mm / BIN_MM)
        return np.asarray((total[high] - total[low]) / np.maximum(count[high] - count[low], 1))

    best = np.zeros(len(at))
    for half_mm, (near, far) in WIDTHS_MM:
        half = round(half_mm / BIN_MM)
        beside = np.minimum(mean(-far, -near), mean(near, far))
        area = (count[at + half] - count[at - half]) / max(1, np.max(count[2 * half :] - count[: -2 * half]))
        best = np.maximum(best, (beside - mean(-half_mm, half_mm)) * area**2)
    return best
