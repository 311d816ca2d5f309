"""Ellipsoids and their exact line integrals: the truth that reconstruction is held against."""

from dataclasses import dataclass

import numpy as np

from bonemet.core.scan import ConeGeometry


@dataclass(frozen=True)
class Ellipsoid:
    """Centre and semi-axes (x, y, z) in mm from axis and optical plane; what it adds in 1/mm."""

    centre: tuple
    axes: tuple
    value: float


BODY = (
    Ellipsoid((0.1, -0.2, 0.3), (3.6, 2.8, 3.4), 0.05),
    Ellipsoid((1.6, 0.4, 0.2), (0.9, 1.3, 2.2), 0.12),
    Ellipsoid((-1.5, -0.7, -0.4), (0.8, 0.7, 1.5), -0.03),
    Ellipsoid((0.5, -1.9, 0.8), (0.35, 0.3, 0.4), 0.10),
)


def geometry(columns=96, rows=64, views=260, step=0.8, *, fan_deg=25.888290, field_mm=9.0, **changes):
    """A scan whose columns span ``field_mm`` at the axis."""
    sod = field_mm / 2 / np.tan(np.radians(fan_deg / 2))
    known = {
        "rows": rows,
        "columns": columns,
        "pixel_mm": field_mm / columns,
        "sod_mm": sod,
        "sdd_mm": 1.7 * sod,
        "angles_deg": np.arange(views) * step,
        "optical_axis_row": (rows - 1) / 2,
    }
    return ConeGeometry(**(known | changes))


def project(geo: ConeGeometry, shapes=BODY, oversample=2) -> np.ndarray:
    """Exact line integrals (views, rows, columns), averaged over each pixel; written from core/scan.py."""
    n = oversample
    sub = (np.arange(n) + 0.5) / n - 0.5
    u = (
        np.arange(geo.columns)[:, None] + sub - (geo.columns - 1) / 2 - geo.axis_offset_px
    ).ravel() * geo.pixel_mm
    v = (np.arange(geo.rows)[:, None] + sub - geo.optical_axis_row).ravel() * geo.pixel_mm
    out = np.zeros((len(geo.angles_deg), geo.rows, geo.columns), np.float32)
    for k, angle in enumerate(np.radians(geo.angles_deg)):
        c, s = np.cos(angle), geo.turn * np.sin(angle)
        total = np.zeros((v.size, u.size))
        for e in shapes:
            x, y, z = e.centre
            start = np.array([x * c - y * s, x * s + y * c, z])  # the centre as it stands in the scanner
            # back into the object's frame, in which the ellipsoid's axes lie along the coordinates
            source = np.array([0.0, geo.sod_mm, 0.0]) - start
            source = np.array([source[0] * c + source[1] * s, -source[0] * s + source[1] * c, source[2]])
            ray = (u[None, :], np.full((1, u.size), -geo.sod_mm), v[:, None])
            ray = (ray[0] * c + ray[1] * s, -ray[0] * s + ray[1] * c, ray[2])
            a = sum((d / r) ** 2 for d, r in zip(ray, e.axes, strict=True))
            b = sum(d * o / r**2 for d, o, r in zip(ray, source, e.axes, strict=True))
            q = sum((o / r) ** 2 for o, r in zip(source, e.axes, strict=True)) - 1
            root = np.sqrt(np.maximum(b * b - a * q, 0))
            length = np.sqrt(u[None, :] ** 2 + geo.sod_mm**2 + v[:, None] ** 2)
            total += e.value * 2 * root / a * length
        out[k] = total.reshape(geo.rows, n, geo.columns, n).mean(axis=(1, 3))
    return out


def truth(geo: ConeGeometry, grid, shapes=BODY) -> np.ndarray:
    """The ellipsoids sampled at the voxel centres (z, y, x)."""
    axis = (geo.columns - 1) / 2 * geo.pixel_mm
    x = grid.origin_mm[0] + np.arange(grid.shape[2]) * grid.spacing_mm[2] - axis
    y = grid.origin_mm[1] + np.arange(grid.shape[1]) * grid.spacing_mm[1] - axis
    z = (
        grid.origin_mm[2]
        + np.arange(grid.shape[0]) * grid.spacing_mm[0]
        - geo.optical_axis_row * geo.pixel_mm
    )
    out = np.zeros(grid.shape)
    for e in shapes:
        r2 = (
            ((z[:, None, None] - e.centre[2]) / e.axes[2]) ** 2
            + ((y[:, None] - e.centre[1]) / e.axes[1]) ** 2
            + ((x - e.centre[0]) / e.axes[0]) ** 2
        )
        out[r2 < 1] += e.value
    return out


def intensities(rays, white=40000.0, photons=None, seed=0):
    """16-bit camera images of line integrals."""
    expected = np.exp(-np.asarray(rays, dtype=np.float64))
    if photons:
        expected = np.random.default_rng(seed).poisson(photons * expected) / photons
    return np.clip(np.rint(white * expected), 0, 65535).astype(np.uint16)
