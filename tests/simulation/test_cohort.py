"""A study's animals: arms dealt evenly, confounders drawn and recorded."""

from collections import Counter

import numpy as np
import pytest

from bonemet.core.errors import SettingsError
from bonemet.simulation.cohort import ARMS, BATCH, diagnosis, member, radiant_efficiency, weight_g
from bonemet.simulation.disease import kind_of


@pytest.fixture(scope="module")
def members():
    return [member(i, 7) for i in range(64)]


def test_arms_are_balanced_in_the_study_and_in_every_batch(members):
    assert Counter(m.arm for m in members) == dict.fromkeys(ARMS, 16)
    for batch in range(8):
        assert Counter(m.arm for m in members if m.batch == batch) == dict.fromkeys(ARMS, BATCH // 4)


def test_arms_are_what_they_are_called(members):
    for m in members:
        mouse = m.animal
        assert (mouse.tumour_side is not None) == (m.arm in ("tumour", "treated"))
        assert mouse.treated == (m.arm == "treated")
        assert (mouse.sham_side is not None) == (m.arm == "sham")
    kinds = {
        arm: Counter(kind_of(m.animal) for m in members if m.arm == arm) for arm in ("tumour", "treated")
    }
    assert kinds["tumour"] == kinds["treated"]
    sides = Counter(m.animal.tumour_side for m in members)
    assert min(sides["left"], sides["right"]) > 6


def test_batches_share_age_and_drift(members):
    for batch in range(8):
        of_batch = [m for m in members if m.batch == batch]
        assert len({m.animal.age_weeks for m in of_batch}) == 1
        assert len({m.density_drift for m in of_batch}) == 1
    drifts = {m.density_drift for m in members}
    assert len(drifts) == 8
    assert all(0.97 < d < 1.03 for d in drifts)
    assert len({m.animal.age_weeks for m in members}) > 1


def test_weight_follows_the_disease(members):
    gain = {arm: np.mean([weight_g(m, 5) - m.weight_g for m in members if m.arm == arm]) for arm in ARMS}
    assert gain["tumour"] < gain["treated"] < gain["sham"]
    assert gain["sham"] == pytest.approx(gain["untouched"], abs=0.4)


def test_light_and_diagnosis_follow_the_disease(members):
    for m in members[:16]:
        for side in ("left", "right"):
            assert diagnosis(m, side, 0) == "no lesion"
            assert radiant_efficiency(m, side, 0) < 2e7
            if m.animal.tumour_side != side:
                assert diagnosis(m, side, 5) == "no lesion"
    ill = next(m for m in members if m.arm == "tumour")
    side = ill.animal.tumour_side
    assert diagnosis(ill, side, 5).startswith("bone lesion")
    assert radiant_efficiency(ill, side, 5) > 5 * radiant_efficiency(ill, side, 0)


def test_the_first_two_are_a_tumour_and_a_sham():
    assert [member(i, 1).arm for i in range(2)] == ["tumour", "sham"]
    assert [member(i, 1).animal.name for i in range(2)] == ["871", "872"]
    assert member(0, 1).animal == member(0, 1).animal


def test_unknown_arms_are_refused():
    for arms in (("cured",), ()):
        with pytest.raises(SettingsError, match="arms"):
            member(0, 1, arms=arms)
