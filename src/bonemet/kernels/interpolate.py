"""Values between voxels: smoothed samples and gradients for alignment, weight tables for resampling."""

from __future__ import annotations

import math
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import SettingsError
from bonemet.kernels.jit import fast_kernel, inlined

Order = Literal["nearest", "linear", "cubic", "sinc"]
ORDERS: Final[tuple[Order, ...]] = ("nearest", "linear", "cubic", "sinc")
TABLE_STEPS: Final = 4096  # one weight is then at most 0.0003 off, far below half a grey level of 255
_SINC_RADIUS: Final = 5


def _keys(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Keys' cubic convolution kernel with a = -1/2 (1981, doi:10.1109/TASSP.1981.1163711)."""
    r = np.abs(x)
    near = (1.5 * r - 2.5) * r * r + 1
    far = ((-0.5 * r + 2.5) * r - 4) * r + 2
    return np.where(r < 1, near, np.where(r < 2, far, 0.0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sinc function under Lanczos' window (Meijering 2001, doi:10.1016/S1361-8415(00)00040-8)."""
    inside = np.abs(x) < _SINC_RADIUS
    return np.where(inside, np.sinc(x) * np.sinc(x / _SINC_RADIUS), 0.0)


def weight_table(order: Order) -> NDArray[np.float32]:
    """Return the weights of the neighbours of a point, for every fraction of a voxel.

    Parameters
    ----------
    order
        ``nearest`` (1 neighbour an axis), ``linear`` (2), ``cubic`` (4, Keys) or ``sinc`` (10, Lanczos).

    Returns
    -------
    ndarray
        (TABLE_STEPS + 1, neighbours); row t is for a point t / TABLE_STEPS beyond a voxel's centre, the
        neighbours running from ``1 - neighbours / 2`` to ``neighbours / 2`` after it. Rows sum to 1.

    Raises
    ------
    SettingsError
        If the order is not known.
    """
    fraction = np.linspace(0.0, 1.0, TABLE_STEPS + 1)[:, None]
    if order == "nearest":
        weights = np.hstack([fraction < 0.5, fraction >= 0.5]).astype(np.float64)
    elif order == "linear":
        weights = np.hstack([1 - fraction, fraction])
    elif order == "cubic":
        weights = _keys(fraction - np.arange(-1, 3))
    elif order == "sinc":
        weights = _lanczos(fraction - np.arange(1 - _SINC_RADIUS, _SINC_RADIUS + 1))
    else:
        raise SettingsError(f"Interpolation {order!r} is not known; choose one of {', '.join(ORDERS)}.")
    weights[np.abs(weights) < 1e-9] = 0.0  # sin(pi) is not quite 0 on computers
    return np.ascontiguousarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)


@inlined
def _bspline(t: Any, w: Any) -> None:  # pragma: no cover
    """Fill the four cubic B-spline weights of a point ``t`` beyond a voxel's centre."""
    u = 1 - t
    w[0] = u * u * u / 6
    w[1] = 2 / 3 - t * t * (1 - t / 2)
    w[2] = 2 / 3 - u * u * (1 - u / 2)
    w[3] = t * t * t / 6


@fast_kernel
def smooth_samples(
    image: NDArray[Any],
    points: NDArray[np.float64],
    matrix: NDArray[np.float64],
    low: float,
    scale: float,
    values: NDArray[np.float32],
    inside: NDArray[np.bool_],
) -> None:
    """Sample an image at points, each a cubic B-spline average of its 64 neighbours.

    The B-spline is used as a smoothing window, without prefilter, so that no float copy of the image
    is needed and noise is damped.

    Parameters
    ----------
    image
        (z, y, x), any numbers.
    points
        (n, 3) as (x, y, z) in mm.
    matrix
        4 x 4, from points to image index (x, y, z).
    low, scale
        Values returned are ``scale * (grey - low)``.
    values, inside
        (n,) filled: the samples, and whether the point lies in the image (0 is returned where not).
    """
    nz, ny, nx = image.shape
    wx = np.empty(4, np.float32)
    wy = np.empty(4, np.float32)
    wz = np.empty(4, np.float32)
    for n in range(points.shape[0]):
        px, py, pz = points[n, 0], points[n, 1], points[n, 2]
        x = matrix[0, 0] * px + matrix[0, 1] * py + matrix[0, 2] * pz + matrix[0, 3]
        y = matrix[1, 0] * px + matrix[1, 1] * py + matrix[1, 2] * pz + matrix[1, 3]
        z = matrix[2, 0] * px + matrix[2, 1] * py + matrix[2, 2] * pz + matrix[2, 3]
        inside[n] = -0.5 <= x < nx - 0.5 and -0.5 <= y < ny - 0.5 and -0.5 <= z < nz - 0.5
        if not inside[n]:
            values[n] = 0
            continue
        i, j, k = math.floor(x), math.floor(y), math.floor(z)
        _bspline(x - i, wx)
        _bspline(y - j, wy)
        _bspline(z - k, wz)
        total = np.float32(0)
        if 0 < i < nx - 2 and 0 < j < ny - 2 and 0 < k < nz - 2:
            for c in range(4):
                plane = np.float32(0)
                for b in range(4):
                    row = image[k - 1 + c, j - 1 + b]
                    plane += wy[b] * (
                        wx[0] * np.float32(row[i - 1])
                        + wx[1] * np.float32(row[i])
                        + wx[2] * np.float32(row[i + 1])
                        + wx[3] * np.float32(row[i + 2])
                    )
                total += wz[c] * plane
        else:
            for c in range(4):
                kk = min(max(k - 1 + c, 0), nz - 1)
                for b in range(4):
                    jj = min(max(j - 1 + b, 0), ny - 1)
                    for a in range(4):
                        ii = min(max(i - 1 + a, 0), nx - 1)
                        total += wz[c] * wy[b] * wx[a] * np.float32(image[kk, jj, ii])
        values[n] = scale * (total - low)


@fast_kernel
def smooth_gradients(
    image: NDArray[Any], index: NDArray[np.int64], low: float, scale: float, out: NDArray[np.float64]
) -> None:
    """Return value and gradient at voxels, as :func:`smooth_samples` would see them.

    Parameters
    ----------
    image
        (z, y, x), any numbers.
    index
        (n, 3) voxels (z, y, x).
    low, scale
        Values returned are ``scale * (grey - low)``.
    out
        (n, 4) filled: value, and its derivative by x, y and z index.
    """
    nz, ny, nx = image.shape
    smooth = np.array([1 / 6, 4 / 6, 1 / 6])
    slope = np.array([-0.5, 0.0, 0.5])
    for n in range(index.shape[0]):
        value = gx = gy = gz = 0.0
        for c in range(3):
            k = min(max(index[n, 0] + c - 1, 0), nz - 1)
            for b in range(3):
                j = min(max(index[n, 1] + b - 1, 0), ny - 1)
                for a in range(3):
                    i = min(max(index[n, 2] + a - 1, 0), nx - 1)
                    grey = float(image[k, j, i])
                    value += smooth[c] * smooth[b] * smooth[a] * grey
                    gx += smooth[c] * smooth[b] * slope[a] * grey
                    gy += smooth[c] * slope[b] * smooth[a] * grey
                    gz += slope[c] * smooth[b] * smooth[a] * grey
        out[n, 0] = scale * (value - low)
        out[n, 1] = scale * gx
        out[n, 2] = scale * gy
        out[n, 3] = scale * gz
