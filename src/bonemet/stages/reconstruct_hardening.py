"""Which curve straightens the rays of a scan against beam hardening."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError
from bonemet.io.skyscan import SkyScanLog
from bonemet.recon import beam_hardening
from bonemet.simulation.materials import HYDROXYAPATITE, MUSCLE, WATER
from bonemet.simulation.spectrum import ALUMINIUM_MM, KILOVOLTS, tube_spectrum

Curve = Callable[[NDArray[np.float32]], NDArray[np.float32]]
BONE_APATITE = 1.1  # g/cm3 of hydroxyapatite in murine cortical bone, the rest counted as muscle


@dataclass(frozen=True)
class Hardening:
    """What was done about beam hardening, in words, and what a person should know."""

    words: str
    warnings: tuple[str, ...] = ()


def straightening(asked: float | str, log: SkyScanLog) -> tuple[Curve | None, Hardening]:
    """Return the curve for the rays of a scan, None for none, and what it does.

    Raises
    ------
    InputError
        If a material is asked for, and the tube's voltage in the log is not that of the known spectrum.
    """
    if not isinstance(asked, str):
        if asked == 0:
            return None, Hardening("none")
        return beam_hardening.by_percent(asked), Hardening(f"{asked:g} percent")
    volts = log.find_number("Source Voltage (kV)", "Acquisition")
    if volts is not None and abs(volts - KILOVOLTS) > 1:
        raise InputError(
            f"{log.path} tells of {volts:g} kV, and the spectrum for straightening {asked} is known at "
            f"{KILOVOLTS} kV only; give --hardening as a percentage."
        )
    aluminium, warnings = aluminium_mm(log)
    spectrum = tube_spectrum(aluminium)
    per_mm = _attenuation(asked, spectrum.energies_kev) / 10
    curve, mean = beam_hardening.for_material(spectrum.weights, per_mm)
    words = (
        f"{asked} straightened for {KILOVOLTS} kV behind {aluminium:g} mm Al; values are those of the beam "
        f"before it hardens, {mean:.4f} 1/mm in {asked}"
    )
    return curve, Hardening(words, warnings)


def _attenuation(material: str, energies_kev: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the attenuation of water or bone in 1/cm."""
    if material == "water":
        return WATER.attenuation(energies_kev)
    share = BONE_APATITE / HYDROXYAPATITE.density
    soft = (1 - share) * MUSCLE.attenuation(energies_kev)
    return np.asarray(BONE_APATITE * HYDROXYAPATITE.mass_attenuation(energies_kev) + soft)


def aluminium_mm(log: SkyScanLog) -> tuple[float, tuple[str, ...]]:
    """Return the thickness of the log's filter of aluminium in mm, and a note where it says none."""
    words = (log.text("Filter", "Acquisition") or "").strip()
    found = log.find_number("Filter", "Acquisition")
    plain = words.casefold()
    if plain.startswith("al") and "cu" not in plain and found is not None:
        return found, ()
    if plain.startswith("no"):
        return 0.0, ()
    said = repr(words) if words else "no filter"
    return ALUMINIUM_MM, (
        f"The log says {said}; the beam is taken to be that behind {ALUMINIUM_MM:g} mm of aluminium.",
    )
