"""Disease: grows in one tibia, from week 0 on, and nowhere else; needle and fracture go with it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bonemet.core.errors import SettingsError
from bonemet.simulation import (
    animal,
    bone_in_own_frame,
    change_masks,
    change_truth,
    landmark_points,
    landmarks,
    points_in_bone,
    scan_pose,
    sizes_of,
)
from bonemet.simulation.change import (
    healthy_twin,
    lost_share,
    marks_in_bone,
    proximal_third,
    tibia_change,
)
from bonemet.simulation.cohort import with_loss
from bonemet.simulation.disease import fracture, kind_of, needle_track

H = 0.07
RNG = np.random.default_rng(0)
METAPHYSIS = RNG.uniform((-1.3, -1.3, 1.5), (1.3, 1.5, 5.0), size=(60000, 3))


def sick(seed, kind="osteolytic", **rest):
    """A mouse whose left tibia is diseased and that neither grows nor remodels."""
    settings = {"kind": kind, "growth": 0.0, "remodelling": 0.0, "fractured": False} | rest
    return replace(animal(seed, tumour_side="left", age_weeks=10), **settings)


@pytest.mark.parametrize("seed", [1, 2, 3, 5])
def test_week_three_has_lost_and_formed_a_sizeable_part(seed):
    change = change_truth(sick(seed), "left", 0, 3, H)
    before = change["unchanged_mm3"] + change["resorbed_mm3"]
    assert 0.04 < change["resorbed_mm3"] / before < 0.18
    assert 0.5 < change["resorbed_mm3"] < 2.6
    # how much of the surface new bone covers is drawn and its edges taper: 0.33 to 1.04 mm3 in these four
    assert change["formed_mm3"] > 0.3


def test_lesions_only_grow():
    twin = proximal_third(healthy_twin(sick(2)), 0, "left tibia", H)
    lost = [lost_share(sick(2), week, H, twin=twin) for week in (0, 1, 2, 3, 5)]
    assert lost[0] == 0
    assert np.all(np.diff(lost) > 0)


def test_treated_lesions_grow_more_slowly():
    slow, fast = (
        change_truth(sick(2, treated=treated), "left", 0, 4, H)["resorbed_mm3"] for treated in (True, False)
    )
    assert 0 < slow < 0.6 * fast


@pytest.mark.parametrize("share", [0.3, 0.45])
def test_severity_reaches_the_losses_that_benchmarks_want(share):
    mouse = with_loss(sick(3, growth=1.0, remodelling=1.0), 5, share)
    assert lost_share(mouse, 5, H) == pytest.approx(share, abs=0.02)


def test_a_loss_that_cannot_be_had_is_refused():
    with pytest.raises(SettingsError, match="no tumour"):
        with_loss(animal(1, tumour_side=None), 5, 0.3)
    with pytest.raises(SettingsError, match="No severity"):
        with_loss(sick(1, kind="osteoblastic"), 1, 0.9)


def test_week_zero_carries_no_sign():
    mouse = replace(animal(4, tumour_side="left"), fractured=True)
    well = animal(4, tumour_side=None)
    for part in ("left tibia", "right tibia"):
        a, b = (bone_in_own_frame(m, 0, part, 0.1) for m in (mouse, well))
        assert np.array_equal(a[1], b[1])
    assert change_truth(mouse, "left", 0, 0, 0.1)["resorbed_mm3"] == 0


@pytest.mark.parametrize("bone", ["right tibia", "left femur", "right femur"])
def test_no_other_bone_ever_shows_disease(bone):
    mouse = animal(4, tumour_side="left")
    ours, twin = (bone_in_own_frame(m, 5, bone, 0.1)[1] for m in (mouse, healthy_twin(mouse)))
    assert np.array_equal(ours, twin)


def of_kind(found, mouse, name):
    """Return where tissue of the left tibia is of a kind, whose density rises and falls by some per cent."""
    sizes = sizes_of(mouse, "left")
    return np.abs(found[:, 2] / getattr(sizes, name) - 1) <= sizes.uneven + 1e-9


def test_trabeculae_go_before_cortex():
    mouse = sick(6)
    base = points_in_bone(mouse, 0, "left tibia", METAPHYSIS)
    tissue = base[:, 1] <= 0
    cortex = tissue & of_kind(base, mouse, "cortical_tmd")
    spongy = tissue & of_kind(base, mouse, "trabecular_tmd")

    def lost(week):
        now = points_in_bone(mouse, week, "left tibia", METAPHYSIS)[:, 1] > 0
        return (now & cortex).sum() / cortex.sum(), (now & spongy).sum() / spongy.sum()

    early, late = lost(1), lost(4)
    assert early[1] > 0.02
    assert early[0] < 0.3 * early[1]
    assert late[0] > 0.05


def test_late_lesions_perforate_the_cortex():
    mouse = sick(6)
    base, late = (points_in_bone(mouse, week, "left tibia", METAPHYSIS) for week in (0, 4))
    skin = np.abs(base[:, 0] + 0.02) < 0.02
    assert (late[skin, 1] > 0.1).any()


def test_new_bone_is_thick_enough_to_be_seen():
    change = tibia_change(sick(6), "left", 0, 3, H)
    formed = np.argwhere(change.causes == 6)
    height = points_in_bone(sick(6), 0, "left tibia", change.grid.index_to_mm(formed))[:, 0]
    assert height.min() > -0.05
    assert 0.15 < height.max() < 0.36


@pytest.mark.parametrize("kind", ["osteoblastic", "mixed"])
def test_osteoblastic_disease_fills_the_marrow(kind):
    mouse = sick(3, kind)
    now = points_in_bone(mouse, 4, "left tibia", METAPHYSIS)
    marks = marks_in_bone(mouse, 4, "left tibia", METAPHYSIS)
    deep = points_in_bone(mouse, 0, "left tibia", METAPHYSIS)[:, 0] < -0.3
    woven = (now[:, 1] <= 0) & of_kind(now, mouse, "woven_tmd") & deep
    assert woven.sum() > 200
    assert np.mean(marks[woven] == 2) > 0.9
    lytic, blastic = (change_truth(sick(3, k), "left", 0, 4, H) for k in ("osteolytic", kind))
    assert blastic["formed_mm3"] > 1.5 * lytic["formed_mm3"]
    assert blastic["resorbed_mm3"] < lytic["resorbed_mm3"]


def test_kinds_are_drawn_and_unknown_ones_refused():
    kinds = [kind_of(animal(seed, tumour_side="left")) for seed in range(60)]
    assert {"osteolytic", "mixed", "osteoblastic"} == set(kinds)
    assert kinds.count("osteolytic") > 25
    with pytest.raises(SettingsError, match="kind"):
        kind_of(sick(1, "viral"))


def test_composite_greys_are_complete():
    change, grid = change_masks(sick(6), "left", 0, 3, 0.1)
    assert set(np.unique(change)) == {0, 60, 180, 240}
    volumes = change_truth(sick(6), "left", 0, 3, 0.1)
    assert volumes["formed_mm3"] == pytest.approx((change == 240).sum() * grid.voxel_mm3)


def test_junction_stays_where_it_was():
    before, after = (landmarks(sick(6), week, "left tibia") for week in (0, 3))
    assert after["junction"] == pytest.approx(before["junction"], abs=0.05)


def test_weeks_beyond_the_study_are_refused():
    with pytest.raises(SettingsError):
        bone_in_own_frame(animal(1, tumour_side="left"), 99, "left tibia", 0.2)
    with pytest.raises(SettingsError):
        change_truth(animal(1, tumour_side="left"), "both", 0, 1, 0.2)


def test_sham_and_tumour_carry_the_same_needle_track_from_week_one_on():
    ill = sick(8)
    sham = replace(healthy_twin(ill), sham_side="left")
    for mouse in (ill, sham):
        assert len(needle_track(mouse, "left", 0)) == 0
        assert len(needle_track(mouse, "right", 3)) == 0
    assert np.array_equal(needle_track(ill, "left", 2), needle_track(sham, "left", 2))
    track = needle_track(sham, "left", 1)[0]
    along = np.linspace(0.2, 0.9, 30)[:, None]
    points = (1 - along) * track[:3] + along * track[3:6]
    assert (points_in_bone(sham, 1, "left tibia", points)[:, 1] > 0).all()
    assert (marks_in_bone(sham, 1, "left tibia", points) == 4).all()
    change = tibia_change(sham, "left", 0, 1, H).volumes()
    assert change["resorbed_by_needle_mm3"] == change["resorbed_mm3"] > 0.01
    assert change["resorbed_by_disease_mm3"] == change["formed_by_disease_mm3"] == 0


def test_the_needle_track_closes_partly():
    sham = replace(animal(8, tumour_side=None), sham_side="left")
    radii = [needle_track(sham, "left", week)[0, 6] for week in range(1, 13)]
    assert np.all(np.diff(radii) < 0)
    assert 0.3 * radii[0] < radii[-1] < 0.7 * radii[0]


def broken(seed=4):
    return sick(seed, fractured=True)


def test_fragments_are_rigid_and_meet_the_femur():
    mouse, week = broken(), 4
    whole = replace(mouse, fractured=False)
    piece = fracture(mouse, "left", week)
    assert piece is not None
    moved = piece.proximal
    assert moved[:3, :3] @ moved[:3, :3].T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.norm(moved[:3, :3] - np.eye(3)) > 0.02
    rng = np.random.default_rng(1)
    upper = rng.uniform((-1.4, -1.2, 0.0), (1.4, 1.2, 1.2), size=(5000, 3))
    lower = rng.uniform((-1.4, -1.2, 7.0), (1.4, 1.2, 16.0), size=(5000, 3))
    there = upper @ moved[:3, :3].T + moved[:3, 3]
    same = points_in_bone(whole, week, "left tibia", upper)
    assert points_in_bone(mouse, week, "left tibia", there) == pytest.approx(same, abs=1e-9)
    assert np.array_equal(
        points_in_bone(mouse, week, "left tibia", lower), points_in_bone(whole, week, "left tibia", lower)
    )
    pose, plain = (scan_pose(m, week, 3) for m in (mouse, whole))
    ours = np.linalg.inv(pose.matrices["left femur"]) @ pose.matrices["left tibia"] @ moved
    theirs = np.linalg.inv(plain.matrices["left femur"]) @ plain.matrices["left tibia"]
    assert ours == pytest.approx(theirs, abs=1e-9)
    a, b = (landmark_points(m, week, "left tibia") for m in (mouse, whole))
    assert a["junction"] == pytest.approx((moved @ [*b["junction"], 1.0])[:3])
    assert a["fusion"] == pytest.approx(b["fusion"])


def test_a_break_neither_makes_nor_eats_bone():
    with_break, without = (change_truth(m, "left", 0, 4, 0.1) for m in (broken(), sick(4)))
    assert with_break == without


def test_only_late_badly_eaten_tibiae_break_and_stay_broken():
    count = 0
    for seed in range(60):
        mouse = animal(seed, tumour_side="left")
        weeks = [fracture(mouse, "left", week) is not None for week in range(9)]
        assert not any(weeks[:3])
        assert weeks == sorted(weeks)
        assert fracture(mouse, "right", 5) is None
        count += weeks[5]
    assert 2 <= count <= 25


def test_a_broken_fibula_is_parted_and_the_tibia_is_not():
    mouse = replace(sick(2), tumour_side=None, fibula_broken="right")
    whole = replace(mouse, fibula_broken=None)
    pieces = []
    for m in (whole, mouse):
        filled, _, grid = bone_in_own_frame(m, 0, "right tibia", 0.08, supersample=1)
        counts = np.bincount(ndimage.label(filled, np.ones((3, 3, 3)))[0].ravel())[1:]
        pieces.append(len(counts))
        first = int((3.0 - grid.origin_mm[2]) / 0.08)
        last = int((8.0 - grid.origin_mm[2]) / 0.08)
        shaft = ndimage.label(filled[first:last], np.ones((3, 3, 3)))[0]
        pieces.append(int((np.bincount(shaft.ravel())[1:] > 20).sum()))
    assert pieces == [1, 2, 1, 3]
    left = (bone_in_own_frame(m, 0, "left tibia", 0.1)[1] for m in (whole, mouse))
    assert np.array_equal(*left)
    with pytest.raises(SettingsError, match="fibula"):
        bone_in_own_frame(replace(mouse, fibula_broken="both"), 0, "left tibia", 0.2)
