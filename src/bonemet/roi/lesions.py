"""Lesions: bone lost or added together, told from scattered remodelling, with size and place.

A lesion is where much of the bone that was there has gone, or where much of the bone that is there is new.
Parts within a short way of each other are one lesion, as the lost trabeculae of one focus are. It all happens
on a coarse grid, so memory stays small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.grid import Grid
from bonemet.roi.clusters import CORNERS
from bonemet.roi.growthplate import GrowthPlate

Kind = Literal["osteolytic", "osteoblastic"]
Shape = tuple[int, int, int]

COARSE_MM = 0.05
_AROUND_MM = 0.1  # standard deviation of the neighbourhood in which the share of changed bone is taken
_SHARE = 0.3  # of the bone there, at least, is lost (or new) in a lesion
_JOIN_MM = 0.4  # lesions nearer than this are one; trabeculae of a mouse are up to 0.3 mm apart
SMALLEST_MM3 = 0.005  # a ball of 0.2 mm
_LEAST_HOLE_MM2 = 0.008  # a round hole of 0.1 mm; vessels of a mouse's cortex are narrower
_SIX = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    Attributes
    ----------
    number
        Its label, from 1, the largest of its kind first.
    kind
        ``osteolytic`` (bone lost) or ``osteoblastic`` (bone formed).
    volume_mm3
        Bone lost or formed.
    surface_mm2
        Surface of that bone.
    centre_mm
        (x, y, z) of its centroid.
    first_slice, last_slice
        Where it lies in the stack.
    below_growth_plate_mm, nearest_growth_plate_mm
        Of its centroid and of its nearest voxel, along the bone, distal positive; None without a plate.
    trabecular, cortical, periosteal
        Shares of its volume within the baseline's marrow space, in its cortex, and outside it.
    depth_mm
        Least distance from the baseline's outer surface, 0 where it reaches it; None outside of it.
    perforations
        Holes through the cortex that it has made; None for new bone.
    perforated_mm2
        Their area on the outer surface.
    """

    number: int
    kind: Kind
    volume_mm3: float
    surface_mm2: float
    centre_mm: tuple[float, float, float]
    first_slice: int
    last_slice: int
    below_growth_plate_mm: float | None
    nearest_growth_plate_mm: float | None
    trabecular: float | None
    cortical: float | None
    periosteal: float | None
    depth_mm: float | None
    perforations: int | None
    perforated_mm2: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, numbers rounded to what they can mean."""
        return {
            name: [round(v, 4) for v in value]
            if isinstance(value, tuple)
            else round(value, 5)
            if isinstance(value, float)
            else value
            for name, value in asdict(self).items()
        }


class Contours(Protocol):
    """Compartments of the baseline in a box: outline, cortex and marrow space, each (z, y, x) bool."""

    @property
    def outline(self) -> NDArray[np.bool_]:
        """All that the periosteal contour encloses."""
        ...

    @property
    def trabecular(self) -> NDArray[np.bool_]:
        """The marrow space, trabeculae included."""
        ...


class CoarseBone:
    """Counts a stack's bone in coarse voxels, slice by slice, and adds up its grey values where it gets them.

    Parameters
    ----------
    shape
        (z, y, x) of the stack.
    spacing_mm
        Its voxel.
    """

    def __init__(self, shape: Shape, spacing_mm: tuple[float, float, float]) -> None:
        self.shape = shape
        self.factors = coarse_factors(spacing_mm)
        self.spacing_mm = tuple(f * s for f, s in zip(self.factors, spacing_mm, strict=True))
        self.counts = np.zeros(coarse_shape(shape, self.factors), dtype=np.int32)
        self._light: NDArray[np.float32] | None = None

    def add(self, z: int, bone: NDArray[np.bool_], grey: NDArray[Any] | None = None) -> None:
        """Count slice ``z``; ``grey`` are its values where it is a scan, given with all slices or none."""
        self.counts[z // self.factors[0]] += self._summed(bone, np.int32)
        if grey is not None:
            if self._light is None:
                self._light = np.zeros(self.counts.shape, np.float32)
            self._light[z // self.factors[0]] += self._summed(grey, np.float32)

    def _summed(self, plane: NDArray[Any], kind: Any) -> NDArray[Any]:
        """Return the sums of a slice (y, x) in coarse pixels."""
        _, fy, fx = self.factors
        rows = np.add.reduceat(plane, np.arange(0, self.shape[1], fy), axis=0, dtype=kind)
        return np.asarray(np.add.reduceat(rows, np.arange(0, self.shape[2], fx), axis=1))

    @property
    def grey(self) -> NDArray[np.float32] | None:
        """Mean grey value of each whole coarse voxel; None where no slice had grey values."""
        return None if self._light is None else self._light / np.float32(np.prod(self.factors))

    @property
    def share(self) -> NDArray[np.float32]:
        """Share of bone in each coarse voxel."""
        return (self.counts / float(np.prod(self.factors))).astype(np.float32)


def coarse_factors(spacing_mm: tuple[float, float, float]) -> Shape:
    """Return how many voxels (z, y, x) make a coarse voxel of about 0.05 mm."""
    z, y, x = (max(1, round(COARSE_MM / s)) for s in spacing_mm)
    return z, y, x


def coarse_shape(shape: Shape, factors: Shape) -> Shape:
    """Return the shape of the coarse grid that covers a stack."""
    z, y, x = (-(-n // f) for n, f in zip(shape, factors, strict=True))
    return z, y, x


def group(
    voxels: NDArray[np.int64], bone: CoarseBone, spacing_mm: tuple[float, float, float]
) -> list[NDArray[np.int64]]:
    """Return the flat voxels of every lesion, the largest first.

    Parameters
    ----------
    voxels
        Flat indices of the lost or the formed voxels of the stack.
    bone
        The bone that they are a share of: the baseline for lost bone, the follow-up for new bone.
    spacing_mm
        Voxel (z, y, x) of the stack.
    """
    if voxels.size == 0:
        return []
    coarse = np.ravel_multi_index(
        tuple(i // f for i, f in zip(np.unravel_index(voxels, bone.shape), bone.factors, strict=True)),
        bone.counts.shape,
    )
    changed = np.bincount(coarse, minlength=bone.counts.size).reshape(bone.counts.shape)
    edges = np.asarray(bone.spacing_mm)
    sigma = _AROUND_MM / edges
    part, whole = (
        ndimage.gaussian_filter(v.astype(np.float32), sigma, mode="constant") for v in (changed, bone.counts)
    )
    core = (changed > 0) & (part >= _SHARE * whole)
    if not core.any():
        return []
    near = ndimage.distance_transform_edt(~core, sampling=edges) <= _JOIN_MM / 2
    labels, count = ndimage.label(near, structure=CORNERS)
    of_voxel = labels.reshape(-1)[coarse]
    sizes = np.bincount(of_voxel, minlength=count + 1)
    least = SMALLEST_MM3 / float(np.prod(spacing_mm))
    chosen = [int(i) for i in np.argsort(-sizes, kind="stable") if i > 0 and sizes[i] >= max(least, 1)]
    return [voxels[of_voxel == i] for i in chosen]


@dataclass(frozen=True, eq=False)
class Box:
    """A lesion in its box.

    Attributes
    ----------
    start
        First voxel (z, y, x) of the box in the stack.
    mask
        (z, y, x) voxels of the lesion.
    """

    start: Shape
    mask: NDArray[np.bool_]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Where the box lies in the stack."""
        z, y, x = (slice(a, a + n) for a, n in zip(self.start, self.mask.shape, strict=True))
        return z, y, x


def box_of(voxels: NDArray[np.int64], shape: Shape, margin: int = 2) -> Box:
    """Return a lesion's voxels as a mask in their box, with a margin as far as the stack reaches."""
    index = np.stack(np.unravel_index(voxels, shape), axis=1)
    low = np.maximum(index.min(axis=0) - margin, 0)
    high = np.minimum(index.max(axis=0) + 1 + margin, shape)
    mask = np.zeros(tuple(high - low), dtype=bool)
    mask[tuple((index - low).T)] = True
    z, y, x = (int(v) for v in low)
    return Box((z, y, x), mask)


def describe(
    voxels: NDArray[np.int64],
    grid: Grid,
    number: int,
    kind: Kind,
    *,
    plate: GrowthPlate | None,
    direction: int,
    surface_mm2: Callable[[NDArray[np.bool_]], float],
    around: Callable[[Box], tuple[Contours, NDArray[np.bool_]]],
) -> Lesion:
    """Return size and place of a lesion.

    Parameters
    ----------
    voxels
        Flat indices of its voxels.
    grid
        Of the stack.
    number, kind
        What it is called.
    plate
        The growth plate, in slices of the stack.
    direction
        +1 if the slice number rises distally, else -1.
    surface_mm2
        Returns the surface of a mask on the grid's voxels.
    around
        Returns the baseline's compartments and bone in a box.
    """
    index = np.stack(np.unravel_index(voxels, grid.shape), axis=1)
    centre = index.mean(axis=0)
    x, y, z = (float(v) for v in grid.index_to_mm(centre))
    box = box_of(voxels, grid.shape)
    below = None if plate is None else direction * plate.slices_beyond(index) * grid.spacing_mm[0]
    contours, bone = around(box)
    share = {
        "trabecular": float(contours.trabecular[box.mask].mean()),
        "periosteal": float((~contours.outline)[box.mask].mean()),
    }
    share["cortical"] = max(0.0, 1.0 - share["trabecular"] - share["periosteal"])
    holes: tuple[int | None, float | None] = (None, None)
    if kind == "osteolytic":
        holes = perforations(box.mask, bone, contours, grid.spacing_mm)
    return Lesion(
        number,
        kind,
        len(voxels) * grid.voxel_mm3,
        surface_mm2(box.mask),
        (x, y, z),
        int(index[:, 0].min()),
        int(index[:, 0].max()),
        None if below is None else float(below.mean()),
        None if below is None else float(below[np.argmin(np.abs(below))]),
        **share,
        depth_mm=_depth(box.mask, contours.outline, grid.spacing_mm),
        perforations=holes[0],
        perforated_mm2=holes[1],
    )


def perforations(
    lost: NDArray[np.bool_],
    bone: NDArray[np.bool_],
    contours: Contours,
    spacing_mm: tuple[float, float, float],
) -> tuple[int, float]:
    """Count the holes that lost bone makes through the cortex, and return their area on its outer surface.

    A hole is a patch of the outer surface (26-connected) that is open, through lost bone and gaps of the
    cortex, to the marrow space. Patches smaller than a round hole of 0.1 mm do not count.

    Parameters
    ----------
    lost
        (z, y, x) voxels that were bone and are no longer.
    bone
        The baseline's bone.
    contours
        The baseline's compartments.
    spacing_mm
        Voxel (z, y, x).
    """
    cortex = contours.outline & ~contours.trabecular
    gone = lost & cortex
    if not gone.any():
        return 0, 0.0
    free, _ = ndimage.label(~bone & ~contours.trabecular, structure=_SIX)
    outer = np.unique(free[~contours.outline])
    outside = np.isin(free, outer[outer > 0])
    opened, _ = ndimage.label(gone | contours.trabecular, structure=_SIX)
    inner = np.unique(opened[contours.trabecular])
    through = gone & np.isin(opened, inner[inner > 0])
    area = np.zeros(gone.shape)
    for axis in range(3):
        face = float(np.prod(spacing_mm) / spacing_mm[axis])
        for step in (1, -1):
            area += face * (through & _moved(outside, axis, step))
    patches, count = ndimage.label(area > 0, structure=CORNERS)
    if count == 0:
        return 0, 0.0
    areas = ndimage.sum_labels(area, patches, np.arange(1, count + 1)) / _ROUGH
    large = areas[areas >= _LEAST_HOLE_MM2]
    return len(large), float(large.sum())


_ROUGH = 1.5  # faces of voxels have, over all directions, that many times the area of a smooth surface


def _moved(mask: NDArray[np.bool_], axis: int, step: int) -> NDArray[np.bool_]:
    """Return a mask moved by one voxel; what leaves is lost, what comes in is False."""
    out = np.zeros_like(mask)
    ahead, behind = [slice(None)] * 3, [slice(None)] * 3
    ahead[axis], behind[axis] = (
        (slice(1, None), slice(None, -1)) if step > 0 else (slice(None, -1), slice(1, None))
    )
    out[tuple(ahead)] = mask[tuple(behind)]
    return out


def _depth(
    mask: NDArray[np.bool_], outline: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> float | None:
    """Return the least distance, within the slices, of a mask from the outer surface."""
    inside = mask & outline
    if not inside.any():
        return None
    least = np.inf
    for z in np.flatnonzero(inside.any(axis=(1, 2))):
        far = ndimage.distance_transform_edt(np.pad(outline[z], 1), sampling=spacing_mm[1:])[1:-1, 1:-1]
        least = min(least, float(far[inside[z]].min()))
    return max(0.0, least - min(spacing_mm[1:]))
