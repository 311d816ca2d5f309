"""How sharp and how noisy a reconstruction is: the formulae behind volumes made without X-rays.

Everything follows from the scanner: pixels of a size (at the axis), light that spreads in the
scintillator, photons, views, and filtered backprojection with a Hamming window.

Sharpness is a product of transfer functions over the frequency f (1/mm), with the pixel p and the voxel of
the body that was projected, b:

====================  =======================================================  =========
light                 the camera's sampled Gaussian, as wide as it is in pixels  all axes
rays of a pixel       sin(pi p f) / (n sin(pi p f / n)), n rays a side         all axes
voxels of the body    sinc(b f), and sinc(b f)^2 between them                  all axes
window                0.54 + 0.46 cos(pi f / f_c), 0 beyond f_c                x, y
backprojection        sinc(p f)^2, linear interpolation between pixels         all axes
====================  =======================================================  =========

``f_c`` is the pixels' Nyquist frequency, or that of the voxels where these are larger. Across the slices
the product is a function of the radius; it is near enough to a Gaussian that the product of one for x and
one for y stands for it (within 0.01 at half the contrast).

Noise is white from pixel to pixel and becomes, by ramp, window and interpolation, in the plane
``NPS(f) ~ |f| window(f)^2 sinc(p f)^4`` and along z ``sinc(p f)^4``, folded into the voxels' own frequencies
(Kijewski and Judy 1987, doi:10.1088/0031-9155/32/5/003). Its variance is that of a pixel's line integral
times the angle between views times the integral of this spectrum; see :func:`variance_factor`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import SettingsError
from bonemet.simulation import detector
from bonemet.simulation.presets import SOD_MM, Preset

Array = NDArray[Any]

_ALPHA = 0.54
_ACROSS = math.sqrt(0.5 + 1 / math.pi)
"""Joseph's interpolation works along a grid axis; seen across the ray, over all angles, it is this much
narrower (mean of the squared cosine between -45 and 45 degrees, square root)."""
_FOLDS = 1
_RADIUS_MM = 9.0
"""Where the legs lie, from the axis."""
_NEARNESS = tuple(float(1 / (1 - _RADIUS_MM / SOD_MM * math.cos(math.pi * (i + 0.5) / 8))) for i in range(8))
"""Magnification of a place there over that of the axis, over the views."""


@dataclass(frozen=True)
class Scanner:
    """What decides sharpness and noise of a reconstruction.

    Attributes
    ----------
    pixel_mm
        Pixel as scaled to the axis.
    camera
        Photons, spread of light, electronic noise and errors of the pixels.
    body_mm
        Voxel of the body that the X-ray model projects; 0 for a body without voxels.
    rays
        Rays a pixel's light is averaged from, along each side.
    soft_mm
        The same for soft tissue.
    views, step_deg
        Number of views and the angle between them.
    """

    pixel_mm: float
    camera: detector.Detector = detector.Detector()  # noqa: RUF009
    body_mm: float = 0.0
    rays: int = 1
    soft_mm: float = 0.0
    views: int = 260
    step_deg: float = 0.8

    def __post_init__(self) -> None:
        if not self.pixel_mm > 0:
            raise SettingsError(f"A pixel must have a positive size, not {self.pixel_mm} mm.")


def scanner(voxel_mm: float, dose: str = "normal") -> Scanner:
    """Return a scanner whose pixels are as large as the voxels, with as large a body voxel.

    So are those of the presets ``small`` and ``full``.

    Parameters
    ----------
    voxel_mm
        Voxel of the reconstruction.
    dose
        ``low``, ``normal`` or ``high``: photons a pixel, whatever its size.
    """
    return Scanner(voxel_mm, detector.dose(dose), body_mm=voxel_mm, soft_mm=4 * voxel_mm)


def scanner_of(preset: Preset, camera: detector.Detector) -> Scanner:
    """Return the scanner that the X-ray model of a preset amounts to."""
    rays = max(1, round(preset.pixel_mm / preset.bone_mm))
    return Scanner(
        preset.pixel_mm, camera, preset.bone_mm, rays, preset.soft_mm, preset.views, preset.step_deg
    )


def _window(f: Array, cutoff: float) -> Array:
    inside = _ALPHA + (1 - _ALPHA) * np.cos(np.pi * np.minimum(f / cutoff, 1.0))
    return np.where(f <= cutoff * (1 + 1e-12), inside, 0.0)


def _light(f_px: Array, blur_px: float) -> Array:
    """Return the transfer of the camera's spread of light, a Gaussian sampled at the pixels."""
    if blur_px <= 0:
        return np.ones_like(f_px)
    n = np.arange(-math.floor(3 * blur_px + 0.5), math.floor(3 * blur_px + 0.5) + 1)
    weights = np.exp(-0.5 * (n / blur_px) ** 2)
    waves = np.cos(2 * np.pi * np.multiply.outer(f_px, n))
    return np.asarray((waves * weights).sum(axis=-1) / weights.sum())


def _rays(f: Array, pixel_mm: float, count: int) -> Array:
    """Return the transfer of the mean over a pixel's rays."""
    if count == 1:
        return np.ones_like(f)
    offsets = (np.arange(count) - (count - 1) / 2) * (pixel_mm / count)
    return np.asarray(np.cos(2 * np.pi * np.multiply.outer(f, offsets)).mean(axis=-1))


def transfer(scanner: Scanner, voxel_mm: float, f: Array, *, across: bool) -> Array:
    """Return the contrast that is left of a wave of frequency ``f`` (1/mm).

    Parameters
    ----------
    scanner
        The scanner.
    voxel_mm
        Voxel of the reconstruction.
    f
        Frequencies from 0 up.
    across
        In the plane of the slices, or along z.
    """
    p, b = scanner.pixel_mm, scanner.body_mm
    light = _light(f * p, scanner.camera.blur_px)
    between = b * _ACROSS if across else b
    made = light * _rays(f, p, scanner.rays) * np.sinc(b * f) * np.sinc(between * f) ** 2
    made = made * np.sinc(p * f) ** 2
    if across:
        made = made * _window(f, cutoff(scanner, voxel_mm))
    return np.asarray(made)


def cutoff(scanner: Scanner, voxel_mm: float) -> float:
    """Return the frequency (1/mm) at which the reconstruction's window ends."""
    return 0.5 / max(scanner.pixel_mm, voxel_mm)


def taps(scanner: Scanner, voxel_mm: float, fine_mm: float, soft_edge: Array, *, across: bool) -> Array:
    """Return the weights with which samples ``fine_mm`` apart make a voxel's value; odd, symmetric, of sum 1.

    Parameters
    ----------
    scanner, voxel_mm, across
        As in :func:`transfer`.
    fine_mm
        Distance of the samples.
    soft_edge
        Transfer that the samples already have, at the frequencies :func:`frequencies` of ``fine_mm``.
    """
    f = frequencies(fine_mm)
    wanted = transfer(scanner, voxel_mm, f, across=across) / soft_edge
    reach = math.ceil(4 * max(scanner.pixel_mm, voxel_mm if across else 0.0) / fine_mm)
    n = np.arange(-reach, reach + 1)
    waves = np.cos(2 * np.pi * fine_mm * np.multiply.outer(n, f))
    weights = np.trapezoid(waves * wanted, f, axis=1)
    return np.asarray(weights / weights.sum())


def frequencies(fine_mm: float) -> Array:
    """Return frequencies (1/mm) from 0 to the Nyquist frequency of samples ``fine_mm`` apart."""
    return np.linspace(0.0, 0.5 / fine_mm, 1025)


def noise_across(scanner: Scanner, voxel_mm: float, f: Array) -> Array:
    """Return the noise power (mm2) in the plane at radial frequencies ``f``, before it is folded.

    For line integrals of variance 1 and one view per radian, the mean over the sides from which a place
    off the axis is seen: nearer to the source pixels are finer there, and count more.
    """
    p = scanner.pixel_mm
    out = np.zeros_like(f)
    for u in _NEARNESS:
        row = f / u
        turn = np.abs(row * p - np.rint(row * p)) / p  # a sampled row repeats its spectrum
        ramp = turn * _window(turn, cutoff(scanner, voxel_mm))
        out += u**3 * p * ramp**2 * np.sinc(p * row) ** 4
    return np.asarray(out / (len(_NEARNESS) * np.maximum(f, 1e-9)))


def folded_across(scanner: Scanner, voxel_mm: float, fy: Array, fx: Array) -> Array:
    """Return the noise power (y, x) in mm2 at the frequencies of voxels, whatever lies beyond folded in."""
    radii = np.linspace(0.0, 1.5 * (_FOLDS + 0.5) / voxel_mm, 4097)
    power = noise_across(scanner, voxel_mm, radii)
    out = np.zeros((len(fy), len(fx)))
    for i in range(-_FOLDS, _FOLDS + 1):
        for j in range(-_FOLDS, _FOLDS + 1):
            f = np.hypot(fy[:, None] + i / voxel_mm, fx[None, :] + j / voxel_mm)
            out += np.interp(f, radii, power)
    return out


def folded_along(scanner: Scanner, voxel_mm: float, f: Array) -> Array:
    """Return the noise power (mm) along z at frequencies of voxels, for a variance of 1 a pixel."""
    shifted = f[:, None] + np.arange(-40, 41) / voxel_mm
    sizes = [scanner.pixel_mm / u for u in _NEARNESS]
    return np.asarray(sum(p * (np.sinc(p * shifted) ** 4).sum(axis=1) for p in sizes) / len(sizes))


def overlap(scanner: Scanner) -> float:
    """Return how much less noise there is because a short scan sees part of the lines twice.

    The mean over the lines through the axis of the sum of squares of Parker's weights.
    """
    covered = math.radians(scanner.views * scanner.step_deg)
    if covered >= 2 * math.pi - 1e-9:
        return 0.5
    return 1 - max(covered - math.pi, 0.0) / (4 * math.pi)


def variance_factor(scanner: Scanner, voxel_mm: float) -> float:
    """Return the variance (1/mm2) of voxels at the axis for a variance of 1 of a pixel's line integral."""
    n = 256
    f = np.fft.fftfreq(n, voxel_mm)
    plane = folded_across(scanner, voxel_mm, f, f).mean() / voxel_mm**2
    along = folded_along(scanner, voxel_mm, f).mean() / voxel_mm
    return float(plane * along * math.radians(scanner.step_deg) * overlap(scanner))


def pixel_variance(scanner: Scanner, integrals: Array) -> Array:
    """Return the variance of a pixel's line integral: Poisson and electronic noise, by line integral."""
    through = np.exp(-integrals)
    n = scanner.camera.photons
    return np.asarray(1 / (n * through) + (scanner.camera.electronic / (n * through)) ** 2)


def ring_transfer(f: Array, cutoff: float) -> Array:
    """Return ramp times window at frequencies ``f`` (1/mm) of a sampled row."""
    return np.asarray(f * _window(f, cutoff))
