"""Mass attenuation of the materials in a scan, 10 to 50 keV.

The numbers are those of Hubbell and Seltzer, NIST Standard Reference Database 126
(NISTIR 5632, doi:10.18434/T4D01F); muscle and adipose tissue are those of ICRU Report 44.
Hydroxyapatite is mixed from its elements. None has an absorption edge in this range, so the
logarithm of the attenuation is a smooth function of the logarithm of the energy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from bonemet.core.errors import SettingsError

ENERGIES_KEV = (10.0, 15.0, 20.0, 30.0, 40.0, 50.0)

_ELEMENTS = {  # cm2/g at ENERGIES_KEV
    "H": (0.3854, 0.3764, 0.3695, 0.3570, 0.3458, 0.3355),
    "O": (5.952, 1.836, 0.8651, 0.3779, 0.2585, 0.2132),
    "P": (40.35, 12.39, 5.352, 1.700, 0.8096, 0.4916),
    "Ca": (93.41, 29.79, 13.06, 4.080, 1.830, 1.019),
}
_APATITE = {"Ca": 10 * 40.078, "P": 6 * 30.974, "O": 26 * 15.999, "H": 2 * 1.008}  # Ca10(PO4)6(OH)2


@dataclass(frozen=True)
class Material:
    """A material: its density in g/cm3 and its mass attenuation in cm2/g at ENERGIES_KEV."""

    name: str
    density: float
    table: tuple[float, ...]

    def mass_attenuation(self, energies_kev: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mass attenuation in cm2/g at energies in keV.

        Raises
        ------
        SettingsError
            If an energy lies outside the table, 10 to 50 keV.
        """
        energies = np.asarray(energies_kev, dtype=np.float64)
        if energies.size and (energies.min() < ENERGIES_KEV[0] or energies.max() > ENERGIES_KEV[-1]):
            raise SettingsError(
                f"Attenuation of {self.name} is tabulated from 10 to 50 keV, not at "
                f"{energies.min():g} to {energies.max():g} keV."
            )
        curve = PchipInterpolator(np.log(ENERGIES_KEV), np.log(self.table))
        return np.asarray(np.exp(curve(np.log(energies))))

    def attenuation(self, energies_kev: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the linear attenuation in 1/cm at energies in keV."""
        return self.density * self.mass_attenuation(energies_kev)


def _apatite() -> tuple[float, ...]:
    """Return the mass attenuation of hydroxyapatite, mixed by weight."""
    total = sum(_APATITE.values())
    mixed = sum(np.asarray(_ELEMENTS[e]) * (mass / total) for e, mass in _APATITE.items())
    return tuple(float(v) for v in np.asarray(mixed))


WATER = Material("water", 1.000, (5.329, 1.673, 0.8096, 0.3756, 0.2683, 0.2269))
MUSCLE = Material("muscle", 1.050, (5.356, 1.693, 0.8205, 0.3783, 0.2685, 0.2262))
FAT = Material("fat", 0.950, (3.268, 1.083, 0.5677, 0.3063, 0.2396, 0.2123))
PLASTIC = Material("plastic", 1.190, (3.357, 1.101, 0.5714, 0.3032, 0.2350, 0.2074))  # PMMA
ALUMINIUM = Material("aluminium", 2.699, (26.23, 7.955, 3.441, 1.128, 0.5685, 0.3681))
HYDROXYAPATITE = Material("hydroxyapatite", 3.156, _apatite())
