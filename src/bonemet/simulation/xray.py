"""Cone-beam projections of a body: amounts of material along every ray.

Rays go from the source to the pixels' centres (geometry: :mod:`bonemet.core.scan`) and are summed
as Joseph (1982, doi:10.1109/TMI.1982.4307572) does: one sample for every plane of voxels along the
ray's main direction, interpolated within the plane. All rays of one detector column lie in one
vertical plane through the source, so they cross the same vertical lines of voxels; these lie
contiguous in memory, are joined once per column, and are then sampled for all rows at once.
Lines keep only the range in which they hold anything, 2 % of the box about the bones of two legs, so
that bones at 10 um fit into memory. Where the axis is tilted against the camera, columns are cut into pieces
short enough to be taken as upright.

A body is two fields: mineral, fine, and soft tissue, coarse, as amounts of muscle and
hydroxyapatite that attenuate alike (:func:`bonemet.simulation.spectrum.as_muscle_and_apatite`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonemet.core.scan import ConeGeometry
from bonemet.kernels.jit import fast_kernel, inlined, kernel
from bonemet.simulation.fields import Field, Floats, Ints
from bonemet.simulation.materials import HYDROXYAPATITE
from bonemet.simulation.spectrum import AttenuationTable

Point = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Body:
    """What stands in the beam.

    Attributes
    ----------
    mineral
        Hydroxyapatite in mg/cm3.
    muscle
        Soft tissue and plastic as parts of muscle, bone counted as if it were muscle: the room
        that its mineral takes is subtracted in projecting.
    apatite
        What is left of them, as hydroxyapatite in mg/cm3; may be negative.
    far
        Mineral that no picture shows whole, in coarser voxels; None where there is none.
    """

    mineral: Field
    muscle: Field
    apatite: Field
    far: Field | None = None


@dataclass(frozen=True)
class Rays:
    """The rays of one view through a grid of detector points.

    Attributes
    ----------
    angle_deg, turn
        Angle of the object, and the sense in which it turns.
    tilt_deg
        Tilt of the axis against the camera's columns.
    sod_mm
        Source to axis.
    column_mm, row_mm
        Position of the first column and the first row from the optical axis along the camera's own rows
        and columns, as scaled to the axis.
    pitch_mm
        From column to column and from row to row.
    columns, rows
        How many.
    """

    angle_deg: float
    turn: int
    tilt_deg: float
    sod_mm: float
    column_mm: float
    row_mm: float
    pitch_mm: float
    columns: int
    rows: int

    @classmethod
    def of_view(cls, geometry: ConeGeometry, view: int, split: int = 1, every: int = 1) -> Rays:
        """Return a view's rays: ``split`` a pixel along each side, and of these ``every`` so many.

        Rays left out lie between those given, so the last may pass beyond the detector's edge.
        """
        pitch = geometry.pixel_mm / split
        inside = (split - 1) / 2  # the first ray lies this far before the first pixel's centre
        middle = (geometry.columns - 1) / 2 + geometry.axis_offset_px
        counts = (math.ceil((n * split - 1) / every) + 1 for n in (geometry.columns, geometry.rows))
        columns, rows = counts if every > 1 else (geometry.columns * split, geometry.rows * split)
        return cls(
            angle_deg=float(geometry.angles_deg[view]),
            turn=geometry.turn,
            tilt_deg=geometry.axis_tilt_deg,
            sod_mm=geometry.sod_mm,
            column_mm=-middle * geometry.pixel_mm - inside * pitch,
            row_mm=-geometry.optical_axis_row * geometry.pixel_mm - inside * pitch,
            pitch_mm=pitch * every,
            columns=columns,
            rows=rows,
        )


@fast_kernel
def _join(
    values: Floats,
    begin: NDArray[np.int64],
    first: Ints,
    stop: Ints,
    step: tuple[bool, int, float],
    wanted: tuple[int, int],
    joined: Floats,
) -> tuple[int, int]:
    """Write the line between the two lines of voxels beside a place and return its z range.

    ``step`` says whether the planes follow y, which of them it is, and the place within it; no more than
    the ``wanted`` range of z is joined. One zero stands before it and two behind, so that it may be
    sampled up to one voxel outside.
    """
    along_y, plane, place = step
    others = first.shape[1] if along_y else first.shape[0]
    below = math.floor(place)
    low, high = 2**30, 0
    for j in range(max(below, 0), min(below + 2, others)):
        y, x = (plane, j) if along_y else (j, plane)
        if first[y, x] < stop[y, x]:
            low, high = min(low, first[y, x]), max(high, stop[y, x])
    low, high = max(low, wanted[0]), min(high, wanted[1])
    if low >= high:
        return 0, 0
    joined[: high - low + 3] = 0
    for j in range(max(below, 0), min(below + 2, others)):
        y, x = (plane, j) if along_y else (j, plane)
        share = np.float32(1 - abs(place - j))
        a, b = max(low, first[y, x]), min(high, stop[y, x])
        at = begin[y, x] - first[y, x]
        for z in range(a, b):
            joined[z - low + 1] += share * values[at + z]
    return low, high


@fast_kernel
def _sample(joined: Floats, length: int, start: float, rise: float, out: Floats) -> None:
    """Add ``joined``, interpolated at start + v * rise, to the rows v that cross it."""
    v0 = max(0, math.ceil(-start / rise))
    v1 = min(out.size, math.floor((length + 1 - start) / rise) + 1)
    start32, rise32 = np.float32(start), np.float32(rise)
    for v in range(v0, v1):
        q = max(start32 + np.float32(v) * rise32, np.float32(0))
        i = np.int32(q)
        out[v] += joined[i] + (q - np.float32(i)) * (joined[i + 1] - joined[i])


@fast_kernel
def _march(
    values: Floats,
    begin: NDArray[np.int64],
    first: Ints,
    stop: Ints,
    depth: int,
    frame: NDArray[np.float64],
    height: int,
    out: Floats,
) -> None:
    """Sum a field of ``depth`` slices along all rays of one view into ``out`` (columns, rows), in voxels.

    ``frame`` holds, as voxel indices (x, y, z), the source, the point of the first pixel, and the
    steps from column to column and from row to row. Where the axis is tilted, ``height`` rows at a time
    are taken as standing upright.
    """
    columns, rows = out.shape
    source, pixel, across, down = frame
    joined = np.zeros(depth + 3, dtype=np.float32)
    for u in range(columns):
        for top in range(0, rows, height):
            part = out[u, top : top + height]
            middle = top + 0.5 * (part.size - 1)
            dx = pixel[0] + u * across[0] + middle * down[0] - source[0]
            dy = pixel[1] + u * across[1] + middle * down[1] - source[1]
            dz = pixel[2] + u * across[2] + top * down[2] - source[2]
            along_y = abs(dy) >= abs(dx)
            main, side = (1, 0) if along_y else (0, 1)
            major, minor = (dy, dx) if along_y else (dx, dy)
            planes, others = first.shape if along_y else (first.shape[1], first.shape[0])
            for plane in range(planes):
                t = (plane - source[main]) / major  # 0 at the source, 1 at the axis
                place = source[side] + t * minor
                if t <= 0 or place <= -1 or place >= others:
                    continue
                start, rise = source[2] + t * dz, t * down[2]
                wanted = math.floor(start), math.floor(start + part.size * rise) + 2
                low, high = _join(values, begin, first, stop, (along_y, plane, place), wanted, joined)
                if low < high:
                    _sample(joined, high - low, start - low + 1, rise, part)
            for v in range(part.size):
                length = math.sqrt(dx * dx + dy * dy + (dz + v * down[2]) ** 2)
                part[v] *= length / abs(major)


_UPRIGHT_PX = 0.05
"""Pixels by which a column may lean within what is taken as standing upright."""


def line_integrals(body: Field, rays: Rays, shift_mm: Point = (0.0, 0.0, 0.0)) -> Floats:
    """Return the integrals of a field along rays.

    Parameters
    ----------
    body
        The numbers to sum.
    rays
        The rays of one view.
    shift_mm
        By how much (x, y, z) the body lies away from its place.

    Returns
    -------
    NDArray[np.float32]
        (columns, rows), in the field's unit times mm.
    """
    angle, tilt = math.radians(rays.angle_deg) * rays.turn, math.radians(rays.tilt_deg)
    # the object stands still, and the scanner turns the other way
    x_axis, z_axis = np.array([math.cos(angle), -math.sin(angle), 0.0]), np.array([0.0, 0.0, 1.0])
    across = math.cos(tilt) * x_axis + math.sin(tilt) * z_axis
    down = math.cos(tilt) * z_axis - math.sin(tilt) * x_axis
    source = rays.sod_mm * np.array([math.sin(angle), math.cos(angle), 0.0])
    pixel = rays.column_mm * across + rays.row_mm * down
    spacing = body.grid.spacing_mm[0]
    corner = np.asarray(body.grid.origin_mm) + np.asarray(shift_mm)
    frame = np.concatenate([np.stack([source, pixel]) - corner, rays.pitch_mm * np.stack([across, down])])
    height = math.ceil(rays.rows / max(1, math.ceil(rays.rows * abs(math.sin(tilt)) / _UPRIGHT_PX)))
    out = np.zeros((rays.columns, rays.rows), dtype=np.float32)
    depth = body.grid.shape[0]
    _march(body.values, body.begin, body.first, body.stop, depth, frame / spacing, height, out)
    out *= np.float32(spacing)
    return out


@inlined
def _between(image: Floats, u: int, v: int, factor: int) -> float:
    """Return a coarse image's value at pixel (u, v) of one ``factor`` times as fine."""
    i, j = u // factor, v // factor
    fu, fv = np.float32(u - i * factor) / factor, np.float32(v - j * factor) / factor
    i1, j1 = i + (1 if fu > 0 else 0), j + (1 if fv > 0 else 0)
    here = (1 - fv) * image[i, j] + fv * image[i, j1]
    there = (1 - fv) * image[i1, j] + fv * image[i1, j1]
    between: float = (1 - fu) * here + fu * there
    return between


@kernel
def _transmit(
    mineral: Floats,
    soft: Floats,
    factor: int,
    table: Floats,
    scale: NDArray[np.float64],
    room: float,
    out: Floats,
) -> None:
    """Turn amounts (g/cm2; cm) into transmission, (columns, rows) into (rows, columns)."""
    columns, rows = mineral.shape
    for u in range(columns):
        for v in range(rows):
            bone = mineral[u, v]
            a = (bone + _between(soft[0], u, v, factor) - scale[0, 0]) / scale[1, 0]
            m = (_between(soft[1], u, v, factor) - bone * room - scale[0, 1]) / scale[1, 1]
            i = min(max(int(a), 0), table.shape[0] - 2)
            j = min(max(int(m), 0), table.shape[1] - 2)
            a, m = a - i, m - j
            here = (1 - m) * table[i, j] + m * table[i, j + 1]
            there = (1 - m) * table[i + 1, j] + m * table[i + 1, j + 1]
            out[v, u] = math.exp(-((1 - a) * here + a * there))


def project(
    body: Body,
    geometry: ConeGeometry,
    view: int,
    table: AttenuationTable,
    shift_mm: Point = (0.0, 0.0, 0.0),
) -> Floats:
    """Return one noise-free view.

    Parameters
    ----------
    body
        What stands in the beam.
    geometry
        The scan.
    view
        Which of its angles.
    table
        The beam (:func:`bonemet.simulation.spectrum.attenuation_table`).
    shift_mm
        By how much (x, y, z) the body lies away from its place in this view.

    Returns
    -------
    NDArray[np.float32]
        (rows, columns): the detector's signal over that of the open beam.
    """
    bone_mm, soft_mm = body.mineral.grid.spacing_mm[0], body.muscle.grid.spacing_mm[0]
    split = max(1, round(geometry.pixel_mm / bone_mm))  # or fine bone would be missed between rays
    every = max(1, round(soft_mm / geometry.pixel_mm * split))
    fine, coarse = Rays.of_view(geometry, view, split), Rays.of_view(geometry, view, split, every)
    # mg/cm3 mm in g/cm2, and mm in cm
    mineral = line_integrals(body.mineral, fine, shift_mm)
    if body.far is not None:
        mineral += line_integrals(body.far, fine, shift_mm)
    mineral *= np.float32(1e-4)
    apatite = line_integrals(body.apatite, coarse, shift_mm) * np.float32(1e-4)
    soft = np.stack([apatite, line_integrals(body.muscle, coarse, shift_mm) * np.float32(0.1)])
    room = 1 / HYDROXYAPATITE.density  # cm of muscle whose room 1 g/cm2 of mineral takes
    out = np.empty((fine.rows, fine.columns), dtype=np.float32)
    _transmit(mineral, soft, every, table.values, np.array([table.start, table.step]), room, out)
    blocks = out.reshape(geometry.rows, split, geometry.columns, split)
    return blocks.mean(axis=(1, 3), dtype=np.float32) if split > 1 else out
