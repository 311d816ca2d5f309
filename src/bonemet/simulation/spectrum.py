"""The beam of a 50 kVp tungsten tube behind aluminium, and how it is attenuated.

The tube's bremsstrahlung and L lines are tabulated, per keV, as computed by SpekPy 2.5.4
(Poludniowski et al. 2021, doi:10.1002/mp.14945) for a tungsten target of 20 degrees at 50 kVp
behind the tube's window, 0.15 mm of beryllium: ``Spek(kvp=50, th=20, dk=1).filter("Be", 0.15)``.
Photons below 10 keV are left out: behind 0.5 mm of aluminium they carry 0.8 % of the energy, and
hardly any passes an animal. The detector is a scintillator that absorbs every photon and
answers with light in proportion to its energy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import SettingsError
from bonemet.simulation.materials import ALUMINIUM, FAT, HYDROXYAPATITE, MUSCLE, PLASTIC, Material

KILOVOLTS = 50
ALUMINIUM_MM = 0.5

_TUBE = (  # photons in the bins 10-11, 11-12 ... 49-50 keV, in thousandths of their sum
    *(65.09, 121.17, 47.23, 45.90, 45.00, 43.84, 42.27, 40.68, 38.97, 37.18),
    *(35.37, 33.55, 31.77, 30.03, 28.35, 26.71, 25.12, 23.43, 22.11, 20.78),
    *(19.47, 18.20, 17.00, 15.71, 14.75, 13.69, 12.67, 11.71, 10.78, 9.77),
    *(8.91, 8.14, 7.32, 6.50, 5.59, 4.81, 4.05, 3.16, 2.34, 0.88),
)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What a detector sees of a beam.

    Attributes
    ----------
    energies_kev
        (bins,) photon energies.
    photons
        (bins,) share of the photons that arrive in the open beam, of sum 1.
    """

    energies_kev: NDArray[np.float64]
    photons: NDArray[np.float64]

    @property
    def weights(self) -> NDArray[np.float64]:
        """Share of each bin in the detector's signal (photons times energy), of sum 1."""
        signal = self.photons * self.energies_kev
        return np.asarray(signal / signal.sum())

    @property
    def mean_kev(self) -> float:
        """Mean energy of the photons."""
        return float((self.photons * self.energies_kev).sum())

    def transmission(
        self, materials: tuple[Material, ...], areal_g_cm2: tuple[NDArray[np.float64] | float, ...]
    ) -> NDArray[np.float64]:
        """Return the signal behind layers of materials over that of the open beam.

        Parameters
        ----------
        materials
            The layers.
        areal_g_cm2
            Areal density of each, in g/cm2; arrays of one shape, or numbers.
        """
        exponent: NDArray[np.float64] = np.zeros(1)
        for material, areal in zip(materials, areal_g_cm2, strict=True):
            mass = material.mass_attenuation(self.energies_kev)
            exponent = exponent + np.asarray(areal, dtype=np.float64)[..., None] * mass
        # einsum without optimisation keeps one order of summation, whatever library numpy uses
        return np.asarray(np.einsum("...e,e->...", np.exp(-exponent), self.weights))


def tube_spectrum(aluminium_mm: float = ALUMINIUM_MM) -> Spectrum:
    """Return the spectrum of the 50 kVp tungsten tube behind a filter of aluminium.

    Parameters
    ----------
    aluminium_mm
        Thickness of the filter in mm.
    """
    if aluminium_mm < 0:
        raise SettingsError(f"A filter cannot be {aluminium_mm} mm thick.")
    energies = np.arange(10.5, KILOVOLTS)
    photons = np.asarray(_TUBE) * np.exp(-ALUMINIUM.attenuation(energies) * aluminium_mm / 10)
    return Spectrum(energies, photons / photons.sum())


def single_energy(energy_kev: float) -> Spectrum:
    """Return a beam of one energy, 10 to 50 keV."""
    return Spectrum(np.array([energy_kev]), np.ones(1))


def as_muscle_and_apatite(material: Material, spectrum: Spectrum) -> tuple[float, float]:
    """Return how much muscle and hydroxyapatite attenuate as 1 cm of a material does.

    Between 10 and 50 keV attenuation is photoelectric effect and scatter, two functions of the
    energy, so any light material is a sum of two others; an amount may be negative
    (Alvarez and Macovski 1976, doi:10.1088/0031-9155/21/5/002).

    Returns
    -------
    tuple[float, float]
        Muscle in cm and hydroxyapatite in g/cm2.
    """
    energies = spectrum.energies_kev
    basis = np.stack([MUSCLE.attenuation(energies), HYDROXYAPATITE.mass_attenuation(energies)], axis=1)
    root = np.sqrt(spectrum.weights)
    gram = (basis * root[:, None]).T @ (basis * root[:, None])
    wanted = (basis * root[:, None]).T @ (material.attenuation(energies) * root)
    muscle, apatite = np.linalg.solve(gram, wanted)
    return float(muscle), float(apatite)


def soft_materials(spectrum: Spectrum) -> NDArray[np.float64]:
    """Return muscle (cm) and hydroxyapatite (g/cm2) per cm of air, muscle, fat and plastic, (4, 2)."""
    rows = [(0.0, 0.0), (1.0, 0.0)]
    rows += [as_muscle_and_apatite(m, spectrum) for m in (FAT, PLASTIC)]
    return np.asarray(rows)


@dataclass(frozen=True, eq=False)
class AttenuationTable:
    """Minus the logarithm of the transmission, over hydroxyapatite and muscle.

    Attributes
    ----------
    values
        (apatite steps, muscle steps) float32.
    start
        Areal density of hydroxyapatite (g/cm2) and length of muscle (cm) of the first entry.
    step
        The same from entry to entry.
    """

    values: NDArray[np.float32]
    start: tuple[float, float]
    step: tuple[float, float]


def attenuation_table(
    spectrum: Spectrum, apatite_g_cm2: float = 2.0, muscle_cm: float = 8.0, steps: int = 256
) -> AttenuationTable:
    """Return the table with which projections turn amounts of material into attenuation.

    Parameters
    ----------
    spectrum
        The beam.
    apatite_g_cm2, muscle_cm
        Largest amounts in the table; it begins below zero, since stand-ins of fat and plastic may
        be negative.
    steps
        Entries along each side.
    """
    below = steps // 11  # so that zero is an entry, and open beam exact
    step = np.array([apatite_g_cm2, muscle_cm]) / (steps - 1 - below)
    start = -below * step
    apatite, muscle = (start[i] + step[i] * np.arange(steps) for i in range(2))
    layers = (apatite[:, None], MUSCLE.density * muscle[None, :])
    through = spectrum.transmission((HYDROXYAPATITE, MUSCLE), layers)
    values = -np.log(through).astype(np.float32)
    return AttenuationTable(values, (float(start[0]), float(start[1])), (float(step[0]), float(step[1])))
