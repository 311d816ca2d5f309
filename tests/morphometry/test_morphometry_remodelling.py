import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bonemet.core.errors import SettingsError
from bonemet.engine.context import ThreadContext
from bonemet.morphometry import remodelling
from bonemet.morphometry.surface import surface_area

SPACING = (0.03, 0.02, 0.02)


def codes(before, after):
    """Return 0 space, 1 kept, 2 formed, 3 resorbed."""
    return np.where(before & after, 1, np.where(after, 2, np.where(before, 3, 0))).astype(np.uint8)


def values(measures):
    return {m.name: m.value for m in measures}


@given(st.data())
@settings(deadline=None, max_examples=30)
def test_tally_counts_volumes_and_the_baseline_surface(data):
    shape = data.draw(hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=6))
    before, after = (data.draw(hnp.arrays(bool, shape)) for _ in range(2))
    found = remodelling.tally(iter(codes(before, after)), SPACING).within(0, shape[0] - 1)
    plain = remodelling.change(before, after, float(np.prod(SPACING)))
    assert found.unchanged_mm3 == pytest.approx(plain.unchanged_mm3)
    assert found.formed_mm3 == pytest.approx(plain.formed_mm3)
    assert found.resorbed_mm3 == pytest.approx(plain.resorbed_mm3)
    assert found.surface_mm2 == pytest.approx(surface_area(before, SPACING))
    assert 0 <= found.formed_surface_mm2 <= found.surface_mm2 + 1e-12
    assert 0 <= found.eroded_surface_mm2 <= found.surface_mm2 + 1e-12


def test_part_of_the_surface_that_changed():
    z, y, x = np.indices((60, 60, 60))
    r = np.sqrt((z - 29.5) ** 2 + (y - 29.5) ** 2 + (x - 29.5) ** 2)
    before = r <= 18
    after = (before & ~((r > 14) & (z > 29))) | ((r <= 22) & (z <= 29))
    found = remodelling.tally(codes(before, after), (0.02,) * 3).within(0, 59)
    sphere = 4 * np.pi * (18.2 * 0.02) ** 2
    assert found.surface_mm2 == pytest.approx(sphere, rel=0.03)
    assert found.formed_surface_mm2 == pytest.approx(sphere / 2, rel=0.04)
    assert found.eroded_surface_mm2 == pytest.approx(sphere / 2, rel=0.04)
    rates = values(remodelling.remodelling_measures(found, 7.0))
    assert rates["MS"] == pytest.approx(0.5, rel=0.03)
    assert rates["ES"] == pytest.approx(0.5, rel=0.03)
    # layers of 4 voxels on the outside and the inside of a sphere of 18: volume over surface
    assert rates["MAR"] * 7 / 0.02 == pytest.approx((22**3 - 18**3) / (3 * 18**2), rel=0.05)
    assert rates["MRR"] * 7 / 0.02 == pytest.approx((18**3 - 14**3) / (3 * 18**2), rel=0.05)


def test_slices_add_up_and_threads_change_nothing():
    rng = np.random.default_rng(0)
    before, after = rng.random((2, 9, 8, 7)) > 0.5
    whole = remodelling.tally(codes(before, after), SPACING)
    spread = remodelling.tally(codes(before, after), SPACING, mapper=ThreadContext(2).map)
    np.testing.assert_array_equal(whole.crossings, spread.crossings)
    parts = [whole.within(0, 3), whole.within(4, 8)]
    both = whole.within(0, 8)
    assert sum(p.formed_mm3 for p in parts) == pytest.approx(both.formed_mm3)
    assert sum(p.surface_mm2 for p in parts) == pytest.approx(both.surface_mm2)
    assert remodelling.tally([], SPACING).within(0, 0).baseline_mm3 == 0


def test_rates_are_per_day_and_null_with_a_reason():
    found = remodelling.Change(8.0, 1.0, 2.0, 100.0, 10.0, 40.0)
    rates = values(remodelling.remodelling_measures(found, 10.0, "tibia"))
    assert rates == pytest.approx(
        {
            "MV/BV": 0.1,
            "EV/BV": 0.2,
            "BFR": 0.01,
            "BRR": 0.02,
            "MS": 0.1,
            "ES": 0.4,
            "MAR": 0.01,
            "MRR": 0.005,
        }
    )
    undated = remodelling.remodelling_measures(found, None)
    assert {m.name for m in undated if m.value is None} == {"BFR", "BRR", "MAR", "MRR"}
    assert all("days" in m.reason for m in undated if m.value is None)
    still = values(remodelling.remodelling_measures(remodelling.Change(8.0, 0.0, 0.0, 9.0, 0.0, 0.0), 7.0))
    assert (still["BFR"], still["MS"], still["MAR"], still["MRR"]) == (0.0, 0.0, None, None)
    none = remodelling.remodelling_measures(remodelling.Change(0.0, 0.0, 0.0), 7.0)
    assert all(m.value is None and "no bone" in m.reason for m in none)
    for days in (0.0, -1.0, float("nan")):
        with pytest.raises(SettingsError, match="positive"):
            remodelling.remodelling_measures(found, days)


def test_intervals_over_two_weeks_are_flagged():
    assert remodelling.interval_note(None) is None
    assert remodelling.interval_note(14.0) is None
    assert "21 days" in remodelling.interval_note(21.0)
