"""Beam hardening: from what was measured to what a beam that never hardens would have measured.

Soft X-rays are absorbed first, so the deeper a beam goes the less it is attenuated by each further
millimetre; slices look darker in the middle (cupping). A curve that takes each ray's -log of the transmission
to a straight line mends that for one material.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import SettingsError
from bonemet.kernels.jit import kernel

STEPS = 4096  # of the table
LONGEST = 12.0  # the largest -log of a transmission that a 16-bit camera can tell is 11.1


@dataclass(frozen=True, eq=False)
class Linearisation:
    """A curve from measured -log of the transmission to straightened.

    Attributes
    ----------
    step
        Of the measured value, from entry to entry, the first being 0.
    values
        (entries,) straightened values.
    """

    step: float
    values: NDArray[np.float32]

    def __call__(self, rays: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return straightened line integrals, of the same shape; below 0 nothing is changed but the slope."""
        flat = np.ascontiguousarray(rays, dtype=np.float32).reshape(-1)
        out = np.empty_like(flat)
        _look_up(flat, self.values, np.float32(1 / self.step), out)
        return out.reshape(rays.shape)


@kernel
def _look_up(rays: Any, values: Any, per_step: Any, out: Any) -> None:
    last = values.size - 2
    for i in range(rays.size):
        place = rays[i] * per_step
        n = min(max(int(place), 0), last)  # beyond its ends the curve goes on straight
        out[i] = values[n] + (place - np.float32(n)) * (values[n + 1] - values[n])


def by_percent(percent: float) -> Linearisation:
    """Return the curve p + percent / 100 p^2: a ray that is attenuated to 1/e gains so many percent.

    A polynomial of second order without constant is the least that removes cupping (Herman 1979,
    doi:10.1088/0031-9155/24/1/008). What NRecon does at its percentages is not published, so its numbers
    need not mean the same.

    Raises
    ------
    SettingsError
        If the percentage is not within 0 to 100.
    """
    if not 0 <= percent <= 100:
        raise SettingsError(f"Beam hardening is corrected by 0 to 100 percent, not {percent:g}.")
    p = np.linspace(0, LONGEST, STEPS)
    return Linearisation(LONGEST / (STEPS - 1), (p + percent / 100 * p * p).astype(np.float32))


def for_material(
    weights: NDArray[np.float64], attenuation_per_mm: NDArray[np.float64]
) -> tuple[Linearisation, float]:
    """Return the curve that straightens one material under a known beam, and the material's attenuation.

    The straightened value is path x the mean attenuation of the beam before it hardens, so slices hold that
    attenuation in the material, whatever its thickness.

    Parameters
    ----------
    weights
        (energies,) share of each energy in the camera's signal of the open beam, of sum 1.
    attenuation_per_mm
        (energies,) of the material, in 1/mm.

    Returns
    -------
    tuple[Linearisation, float]
        The curve, and the attenuation in 1/mm to which the material comes.

    Raises
    ------
    SettingsError
        If weights and attenuation do not fit each other.
    """
    w, mu = np.asarray(weights, np.float64), np.asarray(attenuation_per_mm, np.float64)
    if w.shape != mu.shape or not (mu > 0).all() or not (w >= 0).all() or not w.sum() > 0:
        raise SettingsError("A beam needs a weight, and its material an attenuation, for each energy.")
    w = w / w.sum()
    mean = float(w @ mu)
    softest = float(mu[w > 0].min())
    path = np.concatenate([[0.0], np.geomspace(1e-4, 1.2 * (LONGEST + 1) / softest, 4 * STEPS)])
    measured = -np.log(np.exp(-np.outer(path, mu)) @ w)
    p = np.linspace(0, LONGEST, STEPS)
    values = np.interp(p, measured, path * mean)
    return Linearisation(LONGEST / (STEPS - 1), values.astype(np.float32)), mean
