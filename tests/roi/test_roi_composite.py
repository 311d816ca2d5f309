import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from roi_bones import greys, make
from scipy import ndimage

from bonemet.core.errors import InputError, SettingsError
from bonemet.roi.clusters import ClusterCollector
from bonemet.roi.composite import Change, composite, count_change
from bonemet.roi.guard import Guard, guarded_change, guarded_map

SPACING = (0.02, 0.02, 0.02)


def plain(baseline, followup, threshold):
    """Return the published definition, case by case."""
    out = np.zeros(baseline.shape, dtype=np.uint8)
    before, after = baseline >= threshold, followup >= threshold
    out[before & after] = 180
    out[~before & after] = 240
    out[before & ~after] = 60
    return out


@given(st.data(), st.integers(0, 256))
@settings(deadline=None, max_examples=60)
def test_composite_is_the_published_definition(data, threshold):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=6))
    images = [data.draw(hnp.arrays(np.uint8, shape)) for _ in range(2)]
    kept = [i.copy() for i in images]
    codes = composite(*images, threshold)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, plain(*images, threshold))
    assert all((a == b).all() for a, b in zip(images, kept, strict=True))


def test_above_75_is_76():
    codes = composite(np.array([[75, 76, 75, 76]]), np.array([[75, 75, 76, 76]]), 76)
    assert codes.tolist() == [[0, 60, 240, 180]]


def test_other_threshold_for_the_followup():
    codes = composite(np.array([[10.0, 10.0]]), np.array([[0.1, 0.3]]), 5, 0.2)
    assert codes.tolist() == [[60, 180]]


def test_unequal_shapes_are_refused():
    with pytest.raises(InputError, match="register"):
        composite(np.zeros((2, 3)), np.zeros((3, 2)), 1)


def test_counts_and_volumes():
    change = count_change(np.array([[0, 60, 60], [240, 180, 180]], np.uint8)) + Change(1, 2, 0)
    assert change == Change(3, 3, 2)
    volumes = change.as_mm3(0.5)
    assert volumes == {"unchanged_mm3": 1.5, "formed_mm3": 1.5, "resorbed_mm3": 1.0, "net_mm3": 0.5}


@given(hnp.arrays(bool, st.tuples(st.integers(2, 12), st.just(5), st.just(4))), st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_clusters_counted_in_slabs_are_those_of_the_whole(mask, step):
    counter = ClusterCollector(mask.shape[1:])
    for start in range(0, len(mask), step):
        slab = mask[start : start + step]
        counter.add(slab[:, 1:, :] if not slab[:, 0].any() else slab, (int(not slab[:, 0].any()), 0))
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    assert sorted(counter.sizes()) == sorted(np.bincount(labels.ravel())[1:])


def block_pair(noise, seed):
    """Return a block of bone from which a hole of 9 x 9 x 9 goes and onto which 8 x 8 x 8 comes."""
    before = np.zeros((40, 44, 48), dtype=bool)
    before[8:32, 8:30, 8:34] = True
    after = before.copy()
    after[14:23, 8:17, 15:24] = False
    after[14:22, 30:38, 15:23] = True
    rng = np.random.default_rng(seed)
    images = [
        np.clip(
            ndimage.gaussian_filter(np.where(m, 160.0, 40.0), 0.8) + noise * rng.standard_normal(m.shape),
            0,
            255,
        )
        for m in (before, after)
    ]
    return [i.astype(np.uint8) for i in images]


def test_guard_keeps_what_is_real_and_drops_noise():
    pair = block_pair(noise=25, seed=3)
    raw = count_change(composite(*pair, 100))
    guarded = guarded_change(*pair, (100, 100), Guard(), SPACING)
    assert raw.formed > 1.5 * 512  # noise alone would add half of it again
    assert raw.resorbed > 1.5 * 729
    assert guarded.formed == pytest.approx(512, rel=0.15)
    assert guarded.resorbed == pytest.approx(729, rel=0.15)


def test_an_unchanged_bone_shows_no_guarded_change():
    bone = make(0.1).mask
    pair = [greys(bone, 0.8, 12, s) for s in (1, 2)]
    raw = count_change(composite(*pair, 100))
    guarded = guarded_change(*pair, (100, 100), Guard(), SPACING)
    volume = raw.unchanged + raw.resorbed
    assert raw.formed + raw.resorbed > 0.03 * volume
    assert guarded.formed + guarded.resorbed <= 0.015 * volume


def test_no_guard_is_the_raw_count():
    pair = block_pair(noise=25, seed=4)
    raw = count_change(composite(*pair, 100))
    assert guarded_change(*pair, (100, 100), Guard(0, 0, 0, 1, noise_sds=0, local_mm=0), SPACING) == raw


def test_a_lost_thin_rod_is_no_film():
    before = np.zeros((30, 20, 20), dtype=np.uint8)
    before[2:28, 10, 10] = 200
    guarded = guarded_change(before, np.zeros_like(before), (100, 100), Guard(0, 0, 1, 20), SPACING)
    assert guarded.resorbed == 26


def test_a_film_of_one_voxel_is_dropped_and_a_layer_of_two_is_kept():
    bone = np.zeros((20, 20, 20), dtype=np.uint8)
    bone[5:15, 5:15, 5:15] = 200
    for layer, expected in ((1, 0), (2, 200)):
        after = bone.copy()
        after[5:15, 5:15, 15 : 15 + layer] = 200
        assert guarded_change(bone, after, (100, 100), Guard(0, 0, 1, 5), SPACING).formed == expected


@pytest.mark.parametrize("guard", [Guard(), Guard(0.7, 0.1, 2, 10)])
def test_slabs_equal_the_whole(monkeypatch, guard):
    pair = block_pair(noise=30, seed=5)
    whole = guarded_change(*pair, (100, 100), guard, SPACING)
    monkeypatch.setattr("bonemet.roi.guard._SLAB_VOXELS", 5 * 44 * 48)
    ticks = []
    assert guarded_change(*pair, (100, 100), guard, SPACING, tick=ticks.append) == whole
    assert sum(ticks) == 40
    assert len(ticks) > 5


def test_empty_scans_change_nothing():
    empty = np.zeros((6, 7, 8), np.uint8)
    assert guarded_change(empty, empty, (100, 100), Guard(), SPACING) == Change(0, 0, 0)


def test_a_guard_of_negative_size_is_refused():
    with pytest.raises(SettingsError):
        Guard(sigma_voxels=-1)


def test_a_difference_too_small_is_no_change():
    before = np.full((12, 12, 12), 101, np.uint8)
    after = np.full((12, 12, 12), 99, np.uint8)
    before[:6] = after[:6] = 200
    assert guarded_change(before, after, (100, 100), Guard(), SPACING).resorbed == 0
    assert (
        guarded_change(
            before, after, (100, 100), Guard(smallest_difference=0, noise_sds=0, local_mm=0), SPACING
        ).resorbed
        > 0
    )


def test_scans_of_other_scales_are_compared_by_contrast():
    before, after = block_pair(noise=10, seed=6)
    same = guarded_change(before, after, (100, 100), Guard(), SPACING)
    other = guarded_change(before, after / 50.0, (100, 2.0), Guard(), SPACING)
    assert other.formed == pytest.approx(same.formed, rel=0.02)
    assert other.resorbed == pytest.approx(same.resorbed, rel=0.02)


@pytest.mark.parametrize("local_mm", [0.0, 0.1])
def test_the_map_holds_what_the_figures_count(local_mm):
    pair = block_pair(noise=25, seed=3)
    guard = Guard(local_mm=local_mm)
    found = guarded_map(*pair, (100, 100), guard, SPACING)
    codes = np.stack([found.codes(z, *found.bone(z, plane)) for z, plane in enumerate(pair[0])])
    assert count_change(codes) == found.change == guarded_change(*pair, (100, 100), guard, SPACING)
    raw = composite(*pair, 100)
    assert local_mm or set(zip(raw[codes != raw], codes[codes != raw], strict=True)) <= {(240, 0), (60, 180)}
    np.testing.assert_array_equal(np.flatnonzero(codes == 240), found.formed)
    np.testing.assert_array_equal(np.flatnonzero(codes == 60), found.resorbed)


def test_the_effect_of_every_rule_is_told():
    pair = block_pair(noise=25, seed=3)
    raw = count_change(composite(*pair, 100))
    found = guarded_map(*pair, (100, 100), Guard(local_mm=0), SPACING)
    effect = found.effect(0.5)
    assert effect["formed"]["raw_mm3"] == 0.5 * raw.formed
    assert effect["resorbed"]["followed_mm3"] == 0.5 * found.change.resorbed
    for kind in effect.values():
        raw_mm3, *cores, followed = kind.values()
        assert raw_mm3 > cores[0]
        assert cores == sorted(cores, reverse=True)
        assert cores[0] > cores[-1]
        assert cores[-1] < followed < raw_mm3


def test_a_change_that_the_registration_error_explains_is_none():
    bone = np.zeros((30, 30, 30), dtype=bool)
    bone[8:22, 8:22, 8:22] = True
    before = ndimage.gaussian_filter(np.where(bone, 160.0, 40.0), 1.0)
    after = ndimage.shift(before, (0, 0, 0.8), order=1, mode="nearest")
    told = {
        e: guarded_change(before, after, (100, 100), Guard(0, 0.05, 0, 1, e), SPACING)
        for e in (0.0, 0.5, 1.0)
    }
    assert told[0.0].formed > 100
    assert told[0.5].formed <= told[0.0].formed
    assert told[1.0].formed == told[1.0].resorbed == 0
    hole = before.copy()
    hole[10:18, 10:18, 10:18] = 40.0
    assert guarded_change(before, hole, (100, 100), Guard(error_voxels=0.5), SPACING).resorbed >= 0.9 * 512
