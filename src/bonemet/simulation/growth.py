"""Growth between weeks: bones lengthen at their growth plates and thicken a little.

The bone frame stays with the diaphysis and the metaphysis of week 0. An epiphysis moves away from
them, and new metaphyseal bone fills what it leaves behind. Surfaces near a plate move along with
it, less and less with the distance: so the flare of a metaphysis is trimmed from without as the bone
lengthens, as happens in life: trabeculae made at the plate are later resorbed or merge into the cortical
shell (Tanck 2006, doi:10.1111/j.1469-7580.2006.00503.x). What lies within, trabeculae and foci, stays where
it is.

Lengths of mice follow a curve that levels off before six months (Somerville 2004,
doi:10.1007/s00223-003-0101-x; Brodt 1999, doi:10.1359/jbmr.1999.14.12.2159). Drawn is an exponential
approach: a tibia of 8 weeks gains about 0.13 mm a week, one of 12 weeks 0.05 mm, one of 20 weeks
less than 0.01 mm. That about two thirds of it come from the proximal plate, and how much the shaft
thickens, are design values.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.packed import GROWTH, smooth_step
from bonemet.simulation.shapes import Array

if TYPE_CHECKING:
    from bonemet.simulation.anatomy import Animal

_MISSING = 0.05
"""Part of its final length that a bone lacks at 6 weeks."""
_WEEKS = {"BALB/c": 4.0, "C57BL/6": 4.4}
"""Time (weeks) in which what is lacking falls to 1/e."""
PROXIMAL_SHARE = 0.65
"""Part of a tibia's growth that its proximal plate makes; the distal one makes the rest."""
FEMUR_SHARE = 0.75
"""Part of a femur's growth that its distal plate makes; the rest, at the head, is not drawn."""
_THICKENING_MM = 0.045
_ENDOSTEAL = 0.3
_REACH_MM = 2.5


class Growth(NamedTuple):
    """What a long bone has grown since week 0, in mm.

    Attributes
    ----------
    proximal, distal
        By which its proximal and its distal epiphysis have moved away from the diaphysis.
    thicker
        New bone on the outside of the shaft.
    """

    proximal: float = 0.0
    distal: float = 0.0
    thicker: float = 0.0


def stature(age_weeks: float, strain: str, sex: str) -> float:
    """Return the length of a mouse's bones at an age, as part of their final length."""
    missing = _MISSING * (1.15 if sex == "male" else 1.0)
    return 1.0 - missing * math.exp(-(age_weeks - 6.0) / _WEEKS[strain])


def growth(animal: Animal, week: int, bone: str) -> Growth:
    """Return what a bone (``left tibia``) has grown from week 0 to a week."""
    if week <= 0 or animal.growth <= 0:
        return Growth()
    age = animal.age_weeks
    now, then = (stature(a, animal.strain, animal.sex) for a in (age + week, age))
    slower = math.exp(-(age - 6.0) / 6.0) - math.exp(-(age + week - 6.0) / 6.0)
    thicker = _THICKENING_MM * slower * animal.growth
    if bone.endswith("femur"):
        return Growth(0.0, animal.sizes.femur_mm * (now / then - 1) * FEMUR_SHARE * animal.growth, thicker)
    gain = animal.sizes.tibia_mm * (now / then - 1) * animal.growth
    return Growth(gain * PROXIMAL_SHARE, gain * (1 - PROXIMAL_SHARE), thicker)


def growth_table(grown: Growth, proximal_mm: float, distal_mm: float) -> Array:
    """Return the table (rows, 6) of a packed shape; without growth it has no row.

    Columns: level of the proximal plate in week 0 and by how much it moved; the same of the distal plate;
    new bone on the outside and on the inside of the shaft.
    """
    if not any(grown):
        return np.zeros((0, 6))
    inner = _ENDOSTEAL * grown.thicker
    return np.array([[proximal_mm, grown.proximal, distal_mm, grown.distal, grown.thicker, inner]])


@fast_kernel
def surface_level(t: Array, z: float) -> float:
    """Return the level of week 0 whose outline a level has now."""
    if t[GROWTH + 1] == 0.0:
        return z
    o = int(t[GROWTH])
    up = t[o + 1] * (1.0 - smooth_step(t[o], t[o] + _REACH_MM, z))
    down: float = t[o + 3] * smooth_step(t[o + 2] - _REACH_MM, t[o + 2], z)
    level: float = z + up - down
    return level


@fast_kernel
def material_level(t: Array, z: float) -> float:
    """Return the level that what is at a level had in week 0; newly made bone counts as the plate's."""
    if t[GROWTH + 1] == 0.0:
        return z
    o = int(t[GROWTH])
    z = max(z, min(z + t[o + 1], t[o]))
    return float(min(z, max(z - t[o + 3], t[o + 2])))


@fast_kernel
def thickening(t: Array, z: float) -> tuple[float, float]:
    """Return the new bone on the outside and on the inside of the shaft at a level, in mm."""
    if t[GROWTH + 1] == 0.0:
        return 0.0, 0.0
    o = int(t[GROWTH])
    share = smooth_step(t[o] + 1.0, t[o] + 3.0, z) * (1.0 - smooth_step(t[o + 2] - 3.0, t[o + 2] - 1.0, z))
    return t[o + 4] * share, t[o + 5] * share
