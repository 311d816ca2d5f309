"""A planted load-displacement curve gives its own stiffness, loads and work back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bonemet.core.errors import InputError
from bonemet.mechanics.curve import curve_measures

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "mechanical-tests"


def elastic_then_plastic(stiffness, yield_x, end_x, start=0.05):
    """Straight to yield, then a tenth of the slope, then broken."""
    x = np.linspace(0, end_x, 2001)
    f = stiffness * np.minimum(x, yield_x) + 0.1 * stiffness * np.maximum(x - yield_x, 0)
    return np.r_[x + start, end_x + start + 0.001], np.r_[f, 0.0]


@given(st.floats(20, 300), st.floats(0.05, 0.2), st.floats(1.4, 3), st.floats(0, 0.5))
def test_a_planted_curve_is_read_back(stiffness, yield_x, ratio, start):
    end = yield_x * ratio
    x, f = elastic_then_plastic(stiffness, yield_x, end, start)
    got = {m.name: m.value for m in curve_measures(x, f)}
    top = stiffness * (yield_x + 0.1 * (end - yield_x))
    assert got["Stiffness"] == pytest.approx(stiffness * 1000, rel=1e-6)
    assert got["Maximum load"] == pytest.approx(top, rel=1e-6)
    assert got["Displacement"] == pytest.approx(end * 1000, rel=1e-3)
    work = 0.5 * stiffness * yield_x**2 + (end - yield_x) * (stiffness * yield_x + top) / 2
    assert got["Work to fracture"] == pytest.approx((work + 0.0005 * top) / 1000, rel=5e-3)
    # the secant has lost a tenth where 0.9 x = yield + 0.1 (x - yield), at x = 1.125 times the yield
    assert got["Yield load"] == pytest.approx(stiffness * yield_x * 1.0125, rel=5e-3)


def test_a_brittle_bone_has_no_yield():
    x = np.linspace(0, 1, 200)
    yielded = {m.name: m for m in curve_measures(x, 50 * x)}["Yield load"]
    assert yielded.value is None
    assert "broke" in yielded.reason


@pytest.mark.parametrize(
    ("x", "f"),
    [
        (np.arange(5.0), np.arange(5.0)),
        (np.arange(20.0), np.arange(21.0)),
        (np.arange(20.0), -np.arange(20.0)),
        (-np.arange(20.0), np.arange(20.0)),
        (np.arange(20.0), np.full(20, np.nan)),
    ],
)
def test_curves_that_make_no_sense_are_refused(x, f):
    with pytest.raises(InputError):
        curve_measures(x, f)


@pytest.mark.skipif(not DATA.is_dir(), reason="shared data are not beside the checkout")
def test_a_real_human_tibia_is_stiff_and_strong():
    table = np.genfromtxt(DATA / "human-tibia-compression" / "432_L_77_F.csv", delimiter=",", names=True)
    columns = {name.lower(): table[name] for name in table.dtype.names}
    force = next(v for k, v in columns.items() if "force" in k or k.endswith("n"))
    displacement = next(v for k, v in columns.items() if "disp" in k or k.endswith("mm"))
    good = np.isfinite(force) & np.isfinite(displacement)
    got = {m.name: m.value for m in curve_measures(-displacement[good], -force[good])}
    assert got["Maximum load"] == pytest.approx(-np.nanmin(force))
    assert got["Stiffness"] > 1e5
