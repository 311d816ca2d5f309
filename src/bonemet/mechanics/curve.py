"""Whole-bone mechanics from a load-displacement curve (Jepsen 2015, doi:10.1002/jbmr.2539)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError
from bonemet.core.measure import Measure

LINEAR_PART = (0.2, 0.6)  # of the maximum load: where the stiffness is fitted
SECANT_LOSS = 0.10  # yield: the secant stiffness has fallen by a tenth
FRACTURE_DROP = 0.5  # fracture: the load has fallen to half of the maximum
FEWEST_POINTS = 10


def curve_measures(
    displacement_mm: NDArray[Any], force_n: NDArray[Any], region: str = "whole bone"
) -> list[Measure]:
    """Return stiffness, yield load, maximum load, displacement at it, and work to fracture of a test.

    Stiffness is the slope of a line fitted between 20 % and 60 % of the maximum load; yield is where
    the secant through that line's foot has lost a tenth of the stiffness; fracture is where the load
    has fallen to half of the maximum, or the end of the record.

    Parameters
    ----------
    displacement_mm, force_n
        (samples,) displacement in mm and force in N, positive in the direction of loading.
    region
        What was tested.

    Raises
    ------
    InputError
        If the two differ in length, hold too few or non-finite samples, or no load was recorded.
    """
    x = np.asarray(displacement_mm, dtype=np.float64)
    f = np.asarray(force_n, dtype=np.float64)
    if x.shape != f.shape or x.ndim != 1 or len(x) < FEWEST_POINTS or not np.isfinite([x, f]).all():
        raise InputError(
            f"A mechanical test needs at least {FEWEST_POINTS} pairs of finite displacement and force, "
            f"not {x.shape} and {f.shape}."
        )
    peak = int(np.argmax(f))
    highest = float(f[peak])
    rising = np.flatnonzero((f[:peak] >= LINEAR_PART[0] * highest) & (f[:peak] <= LINEAR_PART[1] * highest))
    if highest <= 0 or len(rising) < 3:
        raise InputError(
            "The force never rises over enough samples; check its sign and the columns that were read."
        )
    slope, intercept = (float(v) for v in np.polyfit(x[rising], f[rising], 1))
    if slope <= 0:
        raise InputError("The force falls while the bone is loaded; check the sign of the displacement.")
    foot = -intercept / slope
    end = _fracture(f, peak)
    loaded = slice(int(np.searchsorted(np.maximum.accumulate(x[: peak + 1]), foot)), end + 1)
    work = float(np.trapezoid(f[loaded], x[loaded]))
    return [
        Measure("Stiffness", slope * 1000, "N/m", region),
        _yield_load(x, f, (foot, slope), (int(rising[-1]), end), region),
        Measure("Maximum load", highest, "N", region),
        Measure("Displacement", float(x[peak] - foot) * 1000, "um", region),
        Measure("Work to fracture", work / 1000, "N.m", region),
    ]


def _fracture(force: NDArray[np.float64], peak: int) -> int:
    """Return the sample at which the bone is broken."""
    fallen = np.flatnonzero(force[peak:] < FRACTURE_DROP * force[peak])
    return peak + int(fallen[0]) if len(fallen) else len(force) - 1


def _yield_load(
    x: NDArray[np.float64],
    f: NDArray[np.float64],
    line: tuple[float, float],
    samples: tuple[int, int],
    region: str,
) -> Measure:
    """Return the load at which the secant stiffness has lost a tenth, searched past the linear part."""
    foot, slope = line
    first, last = samples
    secant = f[first:last] / np.maximum(x[first:last] - foot, np.finfo(float).tiny)
    lost = np.flatnonzero(secant < (1 - SECANT_LOSS) * slope)
    if not len(lost):
        reason = "the bone broke before its stiffness fell by a tenth"
        return Measure("Yield load", None, "N", region, reason=reason)
    return Measure("Yield load", float(f[first + lost[0]]), "N", region)
