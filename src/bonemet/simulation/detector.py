"""The camera: what it makes of the beam that reaches it, flat-field corrected as SkyScan saves it.

In this order: a soft light spread in the scintillator, Poisson noise of the photons (in numbers of
equal photons: the spread of energies is not resolved), electronic noise, sensitivity errors of
pixels that the flat field missed or that crept in since (rings in the reconstruction), flicker of
the tube, dead pixels, 16 bits.

Every view draws from a generator of its own, a counter-based one (Salmon 2011,
doi:10.1145/2063384.2063405), so the order in which views are made and the number of threads do
not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.errors import SettingsError

WHITE = 57000
"""Grey value of the open beam (``Reference Intensity`` in the logs)."""

DOSES = {"low": 4_000.0, "normal": 15_000.0, "high": 60_000.0}
"""Photons that a pixel detects in the open beam, per view."""


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
    """

    photons: float = DOSES["normal"]
    blur_px: float = 0.4
    electronic: float = 12.0
    gain_error: float = 0.003
    drift: float = 0.0015
    flicker: float = 0.001
    dead_share: float = 1e-5

    def __post_init__(self) -> None:
        if not self.photons > 0:
            raise SettingsError(f"A pixel needs photons to see, not {self.photons}.")


PERFECT = Detector(1e12, blur_px=0, electronic=0, gain_error=0, drift=0, flicker=0, dead_share=0)
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
    """

    gain: NDArray[np.float32]
    drift: NDArray[np.float32]
    dead: NDArray[np.int64]


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def panel(detector: Detector, rows: int, columns: int, seed: int) -> Panel:
    """Draw the faults of a camera's pixels."""
    rng = _generator(seed, 0)
    gain = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(detector.gain_error)
    drift = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(detector.drift)
    count = round(detector.dead_share * rows * columns)
    dead = np.stack([rng.integers(rows, size=count), rng.integers(columns, size=count)], axis=1)
    return Panel(gain, drift, dead)


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
    counts = rng.poisson(light * flux).astype(np.float32)
    if detector.electronic > 0:
        counts += np.float32(detector.electronic) * rng.standard_normal(light.shape, dtype=np.float32)
    aged = np.float32(view / max(views - 1, 1))
    counts *= 1 + faults.gain + aged * faults.drift
    counts[faults.dead[:, 0], faults.dead[:, 1]] = 0
    image = counts * np.float32(WHITE / detector.photons)
    return np.clip(np.rint(image, out=image), 0, 65535, out=image).astype(np.uint16)
