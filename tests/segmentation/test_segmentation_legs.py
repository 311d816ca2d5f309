"""Two shafts, neither of them clear alone, vouch for each other."""

import numpy as np
import pytest

from bonemet.segmentation.legs import CLEAR, find_tibiae
from bonemet.segmentation.shafts import Shaft

MM = 0.1


def leg(mask: np.ndarray, x_mm: float, *, fibula_mm: float = 1.7) -> Shaft:
    """Draw a shaft 8.5 mm long, its knee at low z with more bone beyond it, and a short free fibula."""
    z, y, x = (MM * v for v in np.indices(mask.shape))
    r = np.hypot(y - 4, x - x_mm)
    taper = 0.72 - 0.012 * (z - 5)
    mask |= (r < taper) & (z > 4.5) & (z < 14)
    for level, radius in ((3.0, 1.5), (15.5, 1.2)):
        mask |= (z - level) ** 2 + r**2 < radius**2
    mask |= (np.hypot(y - 5.4, x - x_mm) < 0.22) & (z > 5) & (z < 5 + fibula_mm)
    own = np.argwhere((r < 0.5) & (z > 5) & (z < 13.5)).astype(np.int32)
    return Shaft(np.array([[5.0, 4, x_mm], [13.5, 4, x_mm]]), 1.35, own)


def test_two_half_clear_tibiae_are_found_together_and_neither_alone():
    mask = np.zeros((180, 80, 160), bool)
    shafts = [leg(mask, 4.0), leg(mask, 12.0)]
    found = find_tibiae(shafts, mask, (MM, MM, MM))
    assert [float(t.shaft.ends[0, 2]) for t in found] == [4.0, 12.0]
    assert all(t.near == 0 and not t.clear for t in found)
    assert sum(t.evidence for t in found) == pytest.approx(CLEAR, abs=0.4)
    assert find_tibiae(shafts[:1], mask, (MM, MM, MM)) == []


def test_shafts_without_a_fibula_do_not_vouch_for_each_other():
    mask = np.zeros((180, 80, 160), bool)
    shafts = [leg(mask, x, fibula_mm=0.0) for x in (4.0, 12.0)]
    assert find_tibiae(shafts, mask, (MM, MM, MM)) == []
