"""Disease over the weeks: lesions that eat the proximal tibia from within, and new bone on its surface.

Everything is a field in the tibia's own frame that depends on the week alone, so a later scan is the
earlier one changed, never a new bone. Trabeculae go first; the cortex follows when the focus has grown
to it, from its inner surface outwards, until it is perforated. Week 0 carries no sign, the other
leg and controls never change. Normal remodelling, growth, needle tracks and fractures are not
rendered yet.
"""

from __future__ import annotations

import numpy as np

from bonemet.core.errors import SettingsError
from bonemet.simulation.anatomy import Animal, generator
from bonemet.simulation.shapes import Array

FULL_WEEKS = 5.0
"""Weeks after which the drawn sizes are reached."""
TREATED = 0.4
"""Speed of a treated lesion over that of an untreated one."""


def _checked(week: int) -> int:
    if not 0 <= week <= 12:
        raise SettingsError(f"The week of a scan lies between 0 and 12, not at {week}.")
    return week


def is_diseased(animal: Animal, side: str, week: int) -> bool:
    """Tell whether a tibia carries signs of disease in a week."""
    return animal.tumour_side == side and _checked(week) > 0


def _progress(animal: Animal, week: float) -> float:
    speed = TREATED if animal.treated else 1.0
    return float(max(week, 0.0) * speed / FULL_WEEKS)


def lesion(animal: Animal, side: str, week: int) -> Array:
    """Return the foci (foci, 5): centre (x, y, z), and the radii (mm) that have lost trabeculae and cortex.

    The first focus lies in the marrow below the growth plate; up to two more arise beside it, later.
    """
    if not is_diseased(animal, side, week):
        return np.zeros((0, 5))
    rng = generator(animal.seed, "lesion")
    rows = []
    for i in range(3):
        centre = rng.uniform((-0.45, -0.6, 2.4 + 0.9 * i), (0.45, 0.35, 3.2 + 0.9 * i))
        final, start = rng.uniform(1.45, 1.8) - 0.3 * i, 0.7 * i
        if animal.treated and i > 0:
            continue
        trabecular = final * _progress(animal, week - start) ** 0.7
        cortical = 0.9 * final * _progress(animal, week - start - 1.2) ** 0.7
        rows.append([*centre, trabecular, cortical])
    return np.array(rows)


def new_bone(animal: Animal, side: str, week: int) -> Array:
    """Return the periosteal new bone (6,) of a tibia; see :class:`bonemet.simulation.tissue.Shape`.

    It lies on the front and the medial side, away from the fibula, about 0.3 mm thick when full
    grown, so that the junction stays where it was.
    """
    rng = generator(animal.seed, "new bone")
    thickness, angle = rng.uniform(0.26, 0.32), rng.uniform(0.2, 0.8)
    last = rng.uniform(5.4, 6.8)
    if not is_diseased(animal, side, week):
        return np.zeros(6)
    now = min(1.0, _progress(animal, week) / 0.6)
    return np.array([thickness * now, 2.4, last, angle, 1.0, -0.5])
