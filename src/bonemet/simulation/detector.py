"""The camera: what it makes of the beam that reaches it, flat-field corrected as SkyScan saves it.

In this order: a soft light spread in the scintillator, drift of the illumination since the flat field was
taken, flicker of the tube, Poisson noise of the photons (in numbers of equal photons: the spread of energies
is not resolved), electronic noise, sensitivity errors of pixels that the flat field missed or that crept in
since (rings in the reconstruction), dead pixels, 16 bits.

Noise is a function of seed, view and pixel (mixing of Steele, Lea and Flood 2014,
doi:10.1145/2660193.2660195), so the order in which views are made and the number of threads do not matter.
Above 40 photons a Poisson number is drawn as a normal one with mean, variance and skewness put right
(Cornish and Fisher 1938, doi:10.2307/1400905), below by multiplying uniform numbers (Knuth).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.errors import SettingsError
from bonemet.kernels.jit import inlined, kernel

WHITE = 57000
"""Grey value of the open beam (``Reference Intensity`` in the logs)."""

DOSES = {"low": 4_000.0, "normal": 15_000.0, "high": 60_000.0}
"""Photons that a pixel detects in the open beam, per view."""

_FEW, _MOST = 40.0, 200
"""Photons up to which numbers are drawn one photon at a time, and the most that come of it."""


@dataclass(frozen=True)
class Detector:
    """A camera and an exposure.

    Attributes
    ----------
    photons
        Photons that a pixel detects in the open beam, per view.
    blur_px
        Standard deviation of the spread of light, in pixels.
    electronic
        Standard deviation of the electronic noise, in photons.
    gain_error
        Relative standard deviation of the pixels' sensitivities that the flat field missed.
    drift
        The same of what comes on top from the first view to the last.
    flicker
        Relative standard deviation of the tube's output from view to view.
    dead_share
        Share of pixels that see nothing.
    flat_drift
        Relative standard deviation of the slopes and the curvature by which the open beam departs from its
        flat field, from nothing at the first view to the whole at the last, at the picture's edges.
    """

    photons: float = DOSES["normal"]
    blur_px: float = 0.4
    electronic: float = 12.0
    gain_error: float = 0.003
    drift: float = 0.0015
    flicker: float = 0.001
    dead_share: float = 1e-5
    flat_drift: float = 0.003

    def __post_init__(self) -> None:
        if not self.photons > 0:
            raise SettingsError(f"A pixel needs photons to see, not {self.photons}.")


PERFECT = Detector(
    1e12, blur_px=0, electronic=0, gain_error=0, drift=0, flicker=0, dead_share=0, flat_drift=0
)
"""A camera without faults, for tests of what lies before it."""


def dose(name: str) -> Detector:
    """Return the camera at one of the three doses, ``low``, ``normal`` or ``high``."""
    if name not in DOSES:
        raise SettingsError(f"The dose is one of {', '.join(DOSES)}, not {name!r}.")
    return Detector(photons=DOSES[name])


@dataclass(frozen=True, eq=False)
class Panel:
    """The faults of one camera's pixels during one scan.

    Attributes
    ----------
    gain, drift
        (rows, columns) relative error of the sensitivity at the first view, and what the last adds.
    dead
        (pixels, 2) rows and columns of pixels that see nothing.
    flat
        (3,) relative change of the open beam up to the last view: times x, times y, times x^2 + y^2,
        where x and y run from -1 to 1 across the columns and down the rows.
    """

    gain: NDArray[np.float32]
    drift: NDArray[np.float32]
    dead: NDArray[np.int64]
    flat: NDArray[np.float64]


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def panel(detector: Detector, rows: int, columns: int, seed: int) -> Panel:
    """Draw the faults of a camera's pixels."""
    rng = _generator(seed, 0)
    gain = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(detector.gain_error)
    drift = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(detector.drift)
    count = round(detector.dead_share * rows * columns)
    dead = np.stack([rng.integers(rows, size=count), rng.integers(columns, size=count)], axis=1)
    flat = detector.flat_drift * np.clip(rng.standard_normal(3), -2, 2)
    return Panel(gain, drift, dead, flat)


@inlined
def _mixed(key: np.uint64, count: int) -> np.uint64:
    """Return 64 random bits, a function of a key and a count."""
    z = key + np.uint64(count) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inlined
def _normal(bits: np.uint64) -> float:
    """Return a normal number from 64 random bits (Box and Muller 1958, doi:10.1214/aoms/1177706645)."""
    u = (float(bits >> np.uint64(32)) + 0.5) * 2.0**-32
    v = float(bits & np.uint64(0xFFFFFFFF)) * 2.0**-32
    return math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)


@inlined
def _few(key: np.uint64, count: int, mean: float) -> float:
    """Return a Poisson number of a small mean."""
    left, n = math.exp(-mean), 0
    product = 1.0
    while n < _MOST:
        product *= float(_mixed(key, count + n) >> np.uint64(11)) * 2.0**-53
        if product <= left:
            break
        n += 1
    return float(n)


@kernel
def expose(
    light: NDArray[np.float32],
    flux: float,
    electronic: float,
    flat: NDArray[np.float64],
    key: np.uint64,
    out: NDArray[np.float32],
) -> None:
    """Turn light (1 is the open beam) into photons with noise, ``flux`` of them in the open beam.

    Parameters
    ----------
    light
        (rows, columns), noise-free.
    flux, electronic
        Photons of the open beam, and standard deviation of the electronic noise in photons.
    flat
        (3,) change of the open beam, as in :class:`Panel`.
    key
        The view's own; every pixel's noise follows from it and the pixel's place.
    out
        (rows, columns) photons, filled in.
    """
    rows, columns = light.shape
    for r in range(rows):
        y = 2.0 * r / max(rows - 1, 1) - 1.0
        for c in range(columns):
            x = 2.0 * c / max(columns - 1, 1) - 1.0
            mean = light[r, c] * flux * (1.0 + flat[0] * x + flat[1] * y + flat[2] * (x * x + y * y))
            count = (r * columns + c + 1) * (_MOST + 1)
            z = _normal(_mixed(key, count))
            if mean > _FEW:
                # one number with the cumulants of both noises together
                spread = mean + electronic * electronic
                out[r, c] = mean + math.sqrt(spread) * z + (z * z - 1.0) * mean / (6.0 * spread)
            else:
                out[r, c] = _few(key, count + 1, max(mean, 0.0)) + electronic * z


def record(
    transmission: NDArray[np.float32], detector: Detector, faults: Panel, *, view: int, views: int, seed: int
) -> NDArray[np.uint16]:
    """Return the image that the scanner saves of one view.

    Parameters
    ----------
    transmission
        (rows, columns) signal over that of the open beam, noise-free.
    detector, faults
        The camera, and the faults of its pixels.
    view, views
        Number of the view, from 0, and how many there are.
    seed
        The scan's seed.

    Returns
    -------
    NDArray[np.uint16]
        (rows, columns); the open beam has grey value :data:`WHITE`.
    """
    rng = _generator(seed, 1, view)
    light = np.asarray(transmission, dtype=np.float32)
    if detector.blur_px > 0:
        light = ndimage.gaussian_filter(light, detector.blur_px, truncate=3, mode="nearest")
    flux = detector.photons * (1 + detector.flicker * float(rng.standard_normal()))
    aged = view / max(views - 1, 1)
    counts = np.empty_like(light)
    key = np.uint64(rng.integers(2**63))
    expose(light, flux, detector.electronic, aged * faults.flat, key, counts)
    counts *= 1 + faults.gain + np.float32(aged) * faults.drift
    counts[faults.dead[:, 0], faults.dead[:, 1]] = 0
    image = counts * np.float32(WHITE / detector.photons)
    return np.clip(np.rint(image, out=image), 0, 65535, out=image).astype(np.uint16)
