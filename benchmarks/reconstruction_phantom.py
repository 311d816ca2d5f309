"""Ellipsoids as reconstruction's truth: exact line integrals, voxels, and errors in flat regions."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.recon import fdk, weights

FAN_DEG = 25.888290
SOD_MM, SDD_MM = 100.0, 170.0
VIEWS, STEP_DEG = 260, 0.8
FLAT = 5  # voxels: regions are flat where nothing changes within a cube of this size

# centre and semi-axes (x, y, z) over the body's radius, angle about z in degrees, what is added in 1/mm
BODIES = (
    (0, 0, 0, 0.95, 0.80, 0.70, 0, 0.020),
    (0, 0, -0.02, 0.90, 0.75, 0.66, 0, 0.010),
    (0.30, 0.05, 0, 0.16, 0.28, 0.45, 18, 0.060),
    (-0.30, -0.05, 0.05, 0.18, 0.30, 0.40, -22, 0.070),
    (0.30, 0.05, 0, 0.10, 0.20, 0.38, 18, -0.040),
    (0, 0.40, 0.1, 0.12, 0.12, 0.12, 0, 0.030),
    (0, -0.45, -0.15, 0.10, 0.10, 0.20, 0, 0.040),
    (0.05, 0, 0.25, 0.05, 0.05, 0.05, 0, 0.080),
    (-0.05, 0, -0.25, 0.05, 0.05, 0.05, 0, -0.020),
    (0.55, -0.2, -0.1, 0.06, 0.06, 0.20, 0, 0.050),
)
RADIUS_MM = 16.0


def bodies() -> NDArray[np.float64]:
    """Return the ellipsoids (n, 8) in mm."""
    table = np.array(BODIES, dtype=np.float64)
    table[:, :6] *= RADIUS_MM
    return table


def geometry(columns: int, rows: int, views: int = VIEWS) -> ConeGeometry:
    """Return a short scan of 25.9 degrees of fan, the optical axis in its middle."""
    pixel = 2 * SOD_MM * math.tan(math.radians(FAN_DEG / 2)) / columns
    angles = np.arange(views) * STEP_DEG
    return ConeGeometry(rows, columns, pixel, SOD_MM, SDD_MM, angles, 0.0, (rows - 1) / 2)


def inner_grid(scan: ConeGeometry, shape: tuple[int, int, int]) -> Grid:
    """Return the middle of a scan's default grid."""
    full = fdk.default_grid(scan)
    first = [(n - m) // 2 for n, m in zip(full.shape, shape, strict=True)]
    return full.crop(first, [a + m for a, m in zip(first, shape, strict=True)])


@numba.njit(nogil=True, cache=True, fastmath=True)
def _project(out: Any, angle: float, scan: Any, table: Any, fine: int) -> None:
    rows, columns, pixel, sod, top = scan
    c, s = math.cos(angle), math.sin(angle)
    for e in range(len(table)):
        turn = math.radians(table[e, 6])
        ct, st = math.cos(turn), math.sin(turn)
        x, y, z = sod * s - table[e, 0], sod * c - table[e, 1], -table[e, 2]
        a, b, d = (ct * x + st * y) / table[e, 3], (-st * x + ct * y) / table[e, 4], z / table[e, 5]
        beyond = a * a + b * b + d * d - 1
        for j in range(rows):
            for i in range(columns):
                total = 0.0
                for n in range(fine * fine):
                    u = (i + (n % fine + 0.5) / fine - 0.5 * columns) * pixel
                    v = (j + (n // fine + 0.5) / fine - 0.5 - top) * pixel
                    length = math.sqrt(u * u + v * v + sod * sod)
                    x, y, z = (u * c - sod * s) / length, (-u * s - sod * c) / length, v / length
                    p, q, r = (
                        (ct * x + st * y) / table[e, 3],
                        (-st * x + ct * y) / table[e, 4],
                        z / table[e, 5],
                    )
                    square = p * p + q * q + r * r
                    along = a * p + b * q + d * r
                    root = along * along - square * beyond
                    if root > 0:
                        total += 2 * math.sqrt(root) / square
                out[j, i] += total * table[e, 7] / fine**2


def project(
    scan: ConeGeometry,
    view: int,
    rows: tuple[int, int] | None = None,
    fine: int = 2,
    bodies_used: int | None = None,
) -> NDArray[np.float32]:
    """Return exact line integrals (rows, columns) of one view, averaged over ``fine`` x ``fine`` points."""
    first, stop = rows or (0, scan.rows)
    out = np.zeros((stop - first, scan.columns), np.float32)
    frame = (stop - first, scan.columns, scan.pixel_mm, scan.sod_mm, scan.optical_axis_row - first)
    _project(out, math.radians(scan.angles_deg[view]), frame, bodies()[:bodies_used], fine)
    return out


def projections(scan: ConeGeometry, mapper: Any = map) -> NDArray[np.float32]:
    """Return exact line integrals (views, rows, columns)."""
    return np.array(list(mapper(lambda view: project(scan, view), range(len(scan.angles_deg)))))


@numba.njit(nogil=True, cache=True, fastmath=True)
def _voxels(out: Any, places: Any, table: Any, fine: int) -> None:
    xs, ys, z, h = places
    for iy in range(ys.size):
        for ix in range(xs.size):
            for e in range(len(table)):
                turn = math.radians(table[e, 6])
                ct, st = math.cos(turn), math.sin(turn)
                x, y, w = xs[ix] - table[e, 0], ys[iy] - table[e, 1], (z - table[e, 2]) / table[e, 5]
                near = 0.87 * h / min(table[e, 3], table[e, 4], table[e, 5]) * 1.01
                p, q = (ct * x + st * y) / table[e, 3], (-st * x + ct * y) / table[e, 4]
                r = math.sqrt(p * p + q * q + w * w)
                if r > 1 + near:
                    continue
                if r < 1 - near:
                    out[iy, ix] += table[e, 7]
                    continue
                inside = 0
                for n in range(fine**3):
                    dx = x + ((n % fine + 0.5) / fine - 0.5) * h
                    dy = y + ((n // fine % fine + 0.5) / fine - 0.5) * h
                    dw = w + ((n // fine**2 + 0.5) / fine - 0.5) * h / table[e, 5]
                    p, q = (ct * dx + st * dy) / table[e, 3], (-st * dx + ct * dy) / table[e, 4]
                    inside += p * p + q * q + dw * dw < 1
                out[iy, ix] += table[e, 7] * inside / fine**3


def voxels(scan: ConeGeometry, grid: Grid, fine: int = 3) -> NDArray[np.float32]:
    """Return the ellipsoids on a grid (z, y, x), edges averaged over ``fine``^3 points."""
    out = np.zeros(grid.shape, np.float32)
    z, y, x = _places(scan, grid)
    for k in range(grid.shape[0]):
        _voxels(out[k], (x, y, z[k], grid.spacing_mm[0]), bodies(), fine)
    return out


def _places(scan: ConeGeometry, grid: Grid) -> list[NDArray[np.float64]]:
    """Return the voxels' z, y and x from the axis and the plane of the source."""
    axis = (scan.columns - 1) / 2 * scan.pixel_mm
    zero = (scan.optical_axis_row * scan.pixel_mm, axis, axis)
    origin = grid.origin_mm[::-1]
    return [origin[n] + np.arange(grid.shape[n]) * grid.spacing_mm[n] - zero[n] for n in range(3)]


def errors(
    volume: NDArray[np.float32], planted: NDArray[np.float32], scan: ConeGeometry, grid: Grid
) -> dict[str, float]:
    """Return root mean square errors in 1/mm: over all that is well covered, and over its flat mid-plane."""
    z, y, x = _places(scan, grid)
    radius = np.hypot(y[:, None], x)
    cone = scan.rows * scan.pixel_mm / 2 / scan.sod_mm
    covered = radius < 0.95 * weights.field_radius_mm(scan)
    seen = covered & (np.abs(z)[:, None, None] < 0.97 * cone * (scan.sod_mm - radius))
    change = ndimage.maximum_filter(planted, FLAT) - ndimage.minimum_filter(planted, FLAT)
    middle = slice(len(z) // 2 - max(2, len(z) // 64), len(z) // 2 + max(2, len(z) // 64))
    flat = seen & (change <= 1e-7)
    difference = (volume - planted).astype(np.float64)
    return {
        "everywhere": float(np.sqrt(np.mean(difference[seen] ** 2))),
        "flat mid-plane": float(np.sqrt(np.mean(difference[middle][flat[middle]] ** 2))),
    }
