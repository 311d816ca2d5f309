"""Where the ends of the long bones are in a week: growth and fractures move them, and the joints along."""

from __future__ import annotations

import numpy as np

from bonemet.simulation.anatomy import Animal
from bonemet.simulation.disease import fracture
from bonemet.simulation.growth import growth
from bonemet.simulation.shapes import Array


def _along(z_mm: float) -> Array:
    out = np.eye(4)
    out[2, 3] = z_mm
    return out


def proximal_end(animal: Animal, week: int, bone: str) -> Array:
    """Return the 4 x 4 that takes points of a long bone's proximal epiphysis from week 0 to a week.

    Both in the bone's frame, which stays with the diaphysis; the identity where nothing has moved.
    """
    out = _along(-growth(animal, week, bone).proximal)
    side, name = bone.split()
    broken = fracture(animal, side, week) if name == "tibia" else None
    return out if broken is None else np.asarray(broken.proximal @ out)


def distal_end(animal: Animal, week: int, bone: str) -> Array:
    """Return the 4 x 4 that takes points of a long bone's distal epiphysis from week 0 to a week."""
    return _along(growth(animal, week, bone).distal)
