"""What a growth plate made is left out of the change, also where the plate itself is not seen."""

import numpy as np
import pytest

from bonemet.core.grid import Grid
from bonemet.roi.difference import Scale
from bonemet.roi.growthplate import GrowthPlate
from bonemet.roi.guard import GuardedMap
from bonemet.roi.landmarks import Landmarks
from bonemet.roi.lesions import CoarseBone
from bonemet.stages._growth import Known, without_growth

SHAPE = (200, 4, 4)
GRID = Grid.isotropic(SHAPE, 0.05)
EVERY_SLICE = np.arange(200) * 16


def left(direction: int, known: Known, *plates: GrowthPlate) -> tuple[dict, list[int]]:
    """Return what is said, and in which slices change is left of one formed voxel in each slice."""
    coarse = CoarseBone(SHAPE, GRID.spacing_mm), CoarseBone(SHAPE, GRID.spacing_mm)
    found = GuardedMap(SHAPE, EVERY_SLICE, EVERY_SLICE[:0], 1000, *[(200, 0)] * 4, (Scale(100.0, 100.0),) * 2)
    marks = Landmarks((0, 199), direction, None, *(plates or (None,)))
    said, kept, _ = without_growth(found, GRID, coarse, marks, known)
    return said, (kept.formed // 16).tolist()


@pytest.mark.parametrize(
    ("direction", "known", "first", "last"),
    [
        (1, Known(0.1, 0.0), 16, 199),
        (1, Known(0.0, 0.1), 0, 183),
        (-1, Known(0.1, 0.0), 0, 183),
        (-1, Known(0.1, 0.1), 16, 183),
        (1, Known(0.01, 0.01), 0, 199),
        (1, Known(), 0, 199),
    ],
)
def test_ends_that_grew_are_left_out_by_their_usual_place(direction, known, first, last):
    said, slices = left(direction, known)
    assert slices == list(range(first, last + 1))
    assert said["growth_mm"] == known.proximal_mm
    assert said["distal_growth_mm"] == known.distal_mm
    if known.proximal_mm is not None and len(slices) < 200:
        assert said["formed_mm3"] == pytest.approx((200 - len(slices)) * GRID.voxel_mm3)


@pytest.mark.parametrize(("direction", "first", "last"), [(1, 31, 180), (-1, 180, 31)])
def test_ends_that_grew_are_left_out_beyond_their_plates(direction, first, last):
    plates = (GrowthPlate(float(at), (1.5, 1.5), (0.0, 0.0), 1.0) for at in (first, last))
    _, slices = left(direction, Known(0.1, 0.1), *plates)
    assert slices == list(range(31, 181))
