"""Trabecular networks: curved plates with holes, and rods where plates meet, from seeded random waves.

The plates are the zero surfaces of two Gaussian random fields made of plane waves (spinodoid
architectures: Kumar et al. 2020, doi:10.1038/s41524-020-0341-6), given an even thickness by dividing a
field by its own slope. A third field cuts holes; the rods along the curves in which the two families
cross remain, so that the network hangs together. All are continuous functions of bone-frame coordinates.

For isotropic fields of wavenumber k the zero surface has the area 2 k / (pi sqrt 3) per volume, and the
curves in which two of them cross the length k^2 / (3 pi) (the formulae of Rice for fields: Adler and
Taylor 2007, doi:10.1007/978-0-387-48116-6); from them follows how many plates to keep.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bonemet.kernels.jit import fast_kernel

Array = NDArray[np.float64]
WAVE = 5
"""Numbers that make a wave."""
STRETCH = 1.6
"""Trabeculae of the metaphysis are this much longer along the bone than across."""


def waves(rng: np.random.Generator, wavelength_mm: float, count: int, stretch: float = STRETCH) -> Array:
    """Return random plane waves (5, count): three wavenumbers in turns/mm, a phase in turns, an amplitude.

    Their sum has unit variance. Wavenumbers scatter by 18 % about one length, so that nothing repeats;
    along z they are shorter by the factor ``stretch``.
    """
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = rng.normal(1.0, 0.18, size=(count, 1)).clip(0.6, 1.4) / wavelength_mm
    out = np.empty((count, 5))
    out[:, :3] = direction * length * [1.0, 1.0, 1.0 / stretch]
    out[:, 3] = rng.uniform(size=count)
    out[:, 4] = np.sqrt(2.0 / count)
    return np.ascontiguousarray(out.T)


def kept_for(bone_fraction: float, thickness_mm: float, wavelength_mm: float, rod_mm: float) -> float:
    """Return the part of two families of plates that, with rods of a radius, fills a volume fraction."""
    k = 2 * np.pi / wavelength_mm
    # stretching lengthens the waves along one axis, which lessens area and length
    less = (2.0 + 1.0 / STRETCH) / 3.0
    plates = 2 * thickness_mm * 2 * k / (np.pi * np.sqrt(3.0)) * less
    rods = np.pi * rod_mm**2 * k**2 / (3 * np.pi) * less
    return float(np.clip((bone_fraction - rods) / (plates - rods), 0.03, 0.9))


@fast_kernel
def _sine(t: float) -> float:
    """Return sin(2 pi t) for t within half a turn, good to 1e-3 (a parabola mended by its square)."""
    p = 8.0 * t - 16.0 * t * abs(t)
    return 0.775 * p + 0.225 * p * abs(p)


@fast_kernel
def field(t: Array, first: int, count: int, x: float, y: float, z: float) -> tuple[float, float]:
    """Return the sum of ``count`` waves, packed from ``t[first]`` on, and the size of its gradient (1/mm)."""
    kx, ky, kz, phase, size = first, first + count, first + 2 * count, first + 3 * count, first + 4 * count
    value = gx = gy = gz = 0.0
    for i in range(count):
        turn = t[kx + i] * x + t[ky + i] * y + t[kz + i] * z + t[phase + i]
        turn -= np.floor(turn + 0.5)
        # sine and cosine from one polynomial each, good to 1e-3, so that the loop vectorises
        s = t[size + i] * _sine(turn)
        value += t[size + i] * _sine(0.25 - abs(turn))
        gx += s * t[kx + i]
        gy += s * t[ky + i]
        gz += s * t[kz + i]
    return value, 2 * math.pi * math.sqrt(gx * gx + gy * gy + gz * gz)


@fast_kernel
def plate_distance(t: Array, first: int, count: int, x: float, y: float, z: float, thickness: float) -> float:
    """Return the signed distance from plates of a thickness (mm) along the zero surface of a field."""
    value, slope = field(t, first, count, x, y, z)
    return abs(value) / (slope + 1e-6) - 0.5 * thickness


@fast_kernel
def hole_distance(t: Array, first: int, count: int, x: float, y: float, z: float, kept: float) -> float:
    """Return the signed distance from the part ``kept`` of space in which a field leaves plates standing."""
    # logistic stand-in for the quantile of a Gaussian
    level = math.log((1.0 - kept) / kept) / 1.702
    value, slope = field(t, first, count, x, y, z)
    return (level - value) / (slope + 1e-6)


@fast_kernel
def _quantile(part: float) -> float:
    """Return the level that a Gaussian field stays below in a part of space (a logistic stand-in)."""
    part = min(max(part, 1e-4), 1.0 - 1e-4)
    return math.log(part / (1.0 - part)) / 1.702


@fast_kernel
def strip_distance(
    t: Array, waves_at: tuple[int, int], x: float, y: float, z: float, kept: float, isles: float
) -> float:
    """Return the signed distance to the part ``kept`` of space where trabecular plates stay.

    Where much is kept, it is where a field is high, so that plates have holes. Where little is kept, it is
    where the field is near its mean: places about a surface hang together however few they are, while high
    places are islands, and would leave flakes. From the part ``isles`` on only high places count.
    ``waves_at``: where the field's waves begin, and how many they are.
    """
    high = 0.5 + 0.5 * kept + (0.5 - 0.5 * kept) * min(kept / isles, 1.0)
    value, slope = field(t, waves_at[0], waves_at[1], x, y, z)
    gap = _quantile(high - kept) - value
    if high < 1.0 - 1e-3:
        gap = max(gap, value - _quantile(high))
    return gap / (slope + 1e-6)
