"""Mineral density: from values that are density, or from attenuation through a calibration that is stated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind, Quantity, to_attenuation
from bonemet.core.errors import SettingsError


@dataclass(frozen=True)
class Calibration:
    """The line through a hydroxyapatite phantom: density = slope x attenuation + intercept.

    Attributes
    ----------
    slope
        mg HA/cm3 for each 1/mm of attenuation.
    intercept
        mg HA/cm3 at no attenuation.
    """

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.slope, self.intercept]).all() and self.slope > 0):
            raise SettingsError("Mineral density must rise with attenuation; check the calibration's slope.")


def calibration_reason(quantity: Quantity, calibration: Calibration | None) -> str | None:
    """Return why values cannot be read as mineral density, or None where they can."""
    if quantity.kind is Kind.DENSITY:
        return None
    if quantity.kind not in (Kind.ATTENUATION, Kind.GREY):
        return f"not calibrated: {quantity.kind} values are no mineral density"
    if quantity.kind is Kind.GREY and quantity.window is None:
        return "not calibrated: the grey values have no known window"
    return "not calibrated: no hydroxyapatite phantom is known for this scan" if calibration is None else None


def mean_density(
    values: NDArray[Any],
    where: NDArray[Any] | None,
    quantity: Quantity,
    calibration: Calibration | None = None,
) -> float | None:
    """Return the mean mineral density in mg HA/cm3, or None where nothing is selected.

    Parameters
    ----------
    values
        (z, y, x) numbers of the kind that ``quantity`` says.
    where
        (z, y, x), non-zero where to take the mean; None for everywhere.
    quantity, calibration
        Such that :func:`calibration_reason` has nothing to say against them.
    """
    chosen = values if where is None else values[np.asarray(where) != 0]
    if chosen.size == 0:
        return None
    mean = float(chosen.mean(dtype=np.float64))
    if quantity.kind is Kind.DENSITY or calibration is None:
        return mean
    # Both conversions are linear, so that of the mean is the mean of the conversions.
    return calibration.slope * float(to_attenuation(mean, quantity)) + calibration.intercept
