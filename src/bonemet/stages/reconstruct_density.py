"""What grey values and attenuation stand for: mineral density, Hounsfield units."""

from __future__ import annotations

from typing import Any

import numpy as np

from bonemet.core.calibration import to_attenuation
from bonemet.io.skyscan import SkyScanLog
from bonemet.simulation.materials import HYDROXYAPATITE, MUSCLE
from bonemet.simulation.spectrum import KILOVOLTS, tube_spectrum
from bonemet.stages.reconstruct_hardening import aluminium_mm
from bonemet.stages.reconstruct_settings import Settings

FLESH_MM, BONE_MM, BONE_DENSITY = 10.0, 1.0, 1.1  # what a beam has passed in the middle of its way (g/cm3)
PUBLISHED = 75.0  # the grey from which on the published work finds bone


def grey_values(settings: Settings, log: SkyScanLog) -> dict[str, Any]:
    """Return what 8-bit grey 75 stands for, and greys in Hounsfield units where water and air are known."""
    quantity = settings.quantity
    known = quantity.window is not None and quantity.grey_max == 255
    attenuation = float(to_attenuation(PUBLISHED, quantity)) if known else None
    found: dict[str, Any] = {"attenuation_at_grey_75": attenuation, "density_at_grey_75": None}
    if attenuation is None:
        found["density_reason"] = "the slices are no 8-bit grey values"
    elif settings.calibration is not None:
        slope, intercept = settings.calibration
        found |= {"density_at_grey_75": slope * attenuation + intercept, "density_source": "calibration"}
    else:
        found |= _assumed(attenuation, settings, log)
    if settings.hounsfield is not None and quantity.window is not None:
        low, high = (settings.in_hounsfield(v) for v in quantity.window)
        found |= {"hu_at_grey_0": low, "hu_per_grey": (high - low) / quantity.grey_max}
    return found


def _assumed(attenuation: float, settings: Settings, log: SkyScanLog) -> dict[str, Any]:
    """Return the mineral density by what is known of the tube, and what was assumed."""
    volts = log.find_number("Source Voltage (kV)", "Acquisition")
    if volts is None or abs(volts - KILOVOLTS) > 1:
        said = "tells no voltage" if volts is None else f"tells of {volts:g} kV"
        reason = f"no calibration was given, and the log {said}, where only {KILOVOLTS} kV are known"
        return {"density_reason": reason}
    straightened = isinstance(settings.hardening, str)
    slope, intercept, aluminium = assumed_line(log, straightened)
    beam = (
        "before it hardens"
        if straightened
        else f"hardened by {FLESH_MM:g} mm of flesh and {BONE_MM:g} mm of bone"
    )
    return {
        "density_at_grey_75": slope * attenuation + intercept,
        "density_source": f"assumed: hydroxyapatite in muscle, a tungsten tube at {KILOVOLTS} kV behind "
        f"{aluminium:g} mm of aluminium, its beam {beam}; no phantom was measured",
    }


def assumed_line(log: SkyScanLog, straightened: bool) -> tuple[float, float, float]:
    """Return slope (mg HA/cm3 for each 1/mm), intercept (mg HA/cm3) and the aluminium in mm."""
    aluminium = aluminium_mm(log)[0]
    spectrum = tube_spectrum(aluminium)
    e, weights = spectrum.energies_kev, spectrum.weights
    muscle, apatite = MUSCLE.attenuation(e), HYDROXYAPATITE.mass_attenuation(e)
    mineral = apatite - muscle / HYDROXYAPATITE.density  # each g/cm3 takes the place of some muscle
    if not straightened:
        passed = FLESH_MM * muscle + BONE_MM * (muscle + BONE_DENSITY * mineral)
        weights = weights * np.exp(-passed / 10)
    weights = weights / weights.sum()
    flesh, per_density = float(weights @ muscle) / 10, float(weights @ mineral) / 10
    return 1000 / per_density, -1000 * flesh / per_density, aluminium
