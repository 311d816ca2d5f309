"""Normal remodelling: bone surfaces that move to and fro, in every bone of every animal.

By how much a surface has moved since week 0 is a random field in space and time: at every place it
drifts outwards (formation) or inwards (resorption) for some weeks and then turns, so that nothing
runs away. It is zero in week 0 and continuous in the week. About 1 % of the trabecular bone of a
young animal is formed a day, and as much resorbed; half of that in old animals. That is the order
that time-lapsed micro-CT of mice finds (for the method see Schulte 2011, doi:10.1016/j.bone.2010.10.007);
the halving, and that endosteal surfaces move by a third of it, are design values. On top of it trabeculae
thin with age as the anatomy's volume fractions do (:mod:`bonemet.simulation.anatomy`).
"""

from __future__ import annotations

import math

import numpy as np

from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.anatomy import Animal, generator
from bonemet.simulation.packed import TURNOVER
from bonemet.simulation.shapes import Array
from bonemet.simulation.trabeculae import WAVE, field, waves

_COUNT = 12
_PATCH_MM = 0.32
"""Wavelength of the patches that are formed or resorbed together."""
_CYCLE_WEEKS = 10.0
_DEPTH_MM = 0.007
_THINNING_WEEKS = 60.0
NEAR_MM = 0.06
"""No surface moves farther."""


def vigour(animal: Animal) -> float:
    """Return the strength of an animal's remodelling over that of one of 8 weeks."""
    return animal.remodelling * (0.5 + 0.5 * math.exp(-max(animal.age_weeks - 8.0, 0.0) / 20.0))


def turnover(animal: Animal, week: int, name: str) -> Array:
    """Return the waves (5, n) of what has moved since week 0; none where nothing has.

    The difference of a running wave between two weeks is itself a wave, which is why one sum of them
    serves: cos(a + 2b) - cos(a) = -2 sin(b) sin(a + b).
    """
    depth = _DEPTH_MM * vigour(animal)
    if week <= 0 or depth <= 0:
        return np.zeros((WAVE, 0))
    rng = generator(animal.seed, "turnover", name)
    table = waves(rng, _PATCH_MM, _COUNT)
    turns = rng.normal(1.0, 0.25, size=_COUNT).clip(0.5, 1.6) * rng.choice((-1, 1), size=_COUNT)
    half = 0.5 * turns * week / _CYCLE_WEEKS
    table[3] += half + 0.25
    table[4] *= depth * 2.0 * np.sin(2 * np.pi * half)
    return table


def thinning(animal: Animal, week: int) -> float:
    """Return the thickness of trabeculae over that of week 0."""
    older = max(animal.age_weeks + week - 8.0, 0.0) - max(animal.age_weeks - 8.0, 0.0)
    return math.exp(-older * animal.remodelling / _THINNING_WEEKS)


@fast_kernel
def moved(t: Array, x: float, y: float, z: float) -> float:
    """Return by how much a bone surface has moved outwards since week 0, in mm."""
    if t[TURNOVER + 1] == 0.0:
        return 0.0
    value, _ = field(t, int(t[TURNOVER]), int(t[TURNOVER + 1]), x, y, z)
    return min(max(value, -NEAR_MM), NEAR_MM)
