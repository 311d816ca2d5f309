"""The threshold at every place: half-way between bone and what lies around it."""

import numpy as np
import pytest
from scipy import ndimage

from bonemet.engine.context import ThreadContext
from bonemet.roi.bars import HIGHEST, LOWEST, LocalBars, local_bars
from bonemet.roi.difference import Scale
from bonemet.roi.guard import Guard, guarded_change, guarded_map
from bonemet.roi.volume import bone_voxels

SPACING = (0.02, 0.02, 0.02)
BOTH = (Scale(125.0, 130.0),) * 2


def plates(pale: float, thickness: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return cortex (220) and two pale plates in marrow (40), blurred; and without the upper plate."""
    with_plate = np.full((70, 40, 40), 40.0)
    with_plate[:20] = 220.0
    with_plate[26 : 26 + thickness] = pale
    without = with_plate.copy()
    with_plate[44 : 44 + thickness] = pale
    return tuple(ndimage.gaussian_filter(v, 1.2) for v in (with_plate, without))


@pytest.mark.parametrize("pale", [150.0, 180.0, 210.0])
def test_a_lost_plate_has_its_volume_however_pale(pale):
    before, after = plates(pale)
    planted = 5 * 40 * 40
    found = guarded_change(before, after, (125, 125), Guard(), SPACING).resorbed
    assert found == pytest.approx(planted, rel=0.08)
    if pale < 160:
        alone = guarded_change(before, after, (125, 125), Guard(local_mm=0), SPACING).resorbed
        assert alone < 0.75 * planted


def test_thresholds_lie_half_way_and_within_limits():
    before, after = plates(180.0)
    whole = (slice(0, 40), slice(0, 40))
    bars = local_bars((before, after), BOTH, 0.1, SPACING).planes(0, 70, whole)
    half = ((40 + 220) / 2 - 125) / 130, ((40 + 180) / 2 - 125) / 130
    assert bars[20, 20, 20] == pytest.approx(half[0], abs=0.05)
    assert bars[46, 20, 20] == pytest.approx(half[1], abs=0.05)
    assert bars.min() >= LOWEST - 1e-6
    assert bars.max() <= HIGHEST + 1e-6


def test_what_was_cut_away_is_no_marrow():
    stack = np.zeros((40, 40, 40))
    stack[:, 8:32, 8:32] = 60.0
    stack[:, 14:26, 14:26] = 200.0
    bars = local_bars((stack, stack), BOTH, 0.1, SPACING).planes(20, 21, (slice(0, 40), slice(0, 40)))[0]
    assert bars[20, 14] == pytest.approx(((60 + 200) / 2 - 125) / 130, abs=0.02)
    assert local_bars((0 * stack, 0 * stack), BOTH, 0.1, SPACING).nodes.max() == 0


def test_threads_and_windows_change_nothing():
    pair = plates(170.0)
    one = local_bars(pair, BOTH, 0.1, SPACING)
    two = local_bars(pair, BOTH, 0.1, SPACING, ThreadContext(workers=3).map)
    np.testing.assert_array_equal(one.nodes, two.nodes)
    whole = one.planes(0, 70, (slice(0, 40), slice(0, 40)))
    part = one.planes(30, 50, (slice(3, 17), slice(10, 31)))
    np.testing.assert_allclose(part, whole[30:50, 3:17, 10:31], atol=1e-6)


def test_between_nodes_thresholds_are_linear():
    nodes = np.arange(3, dtype=np.float32)[:, None, None] * np.ones((3, 2, 2), np.float32)
    bars = LocalBars(nodes, (2, 2, 2), (6, 4, 4))
    np.testing.assert_allclose(
        bars.planes(0, 6, (slice(0, 4), slice(0, 4)))[:, 1, 2], [0, 0.25, 0.75, 1.25, 1.75, 2], atol=1e-6
    )


def test_bone_of_a_slice_is_told_by_the_same_thresholds_in_both_scans():
    before, after = plates(150.0)
    found = guarded_map(before, after, (125, 125), Guard(), SPACING)
    masks = [np.stack(m) for m in zip(*(found.bone(z, before[z], after[z]) for z in range(70)), strict=True)]
    assert np.count_nonzero(masks[0]) == found.baseline_bone
    assert np.count_nonzero(masks[1]) == found.baseline_bone + len(found.formed) - len(found.resorbed)


@pytest.mark.parametrize("pale", [150.0, 180.0, 210.0])
def test_pale_bone_has_its_volume_in_each_scan(pale):
    before, after = plates(pale)
    counts = [bone_voxels(scan, BOTH[0], 0.04, SPACING) for scan in (before, after)]
    assert counts[0] == pytest.approx(30 * 40 * 40, rel=0.02)
    assert counts[0] - counts[1] == pytest.approx(5 * 40 * 40, rel=0.08)
    if pale < 160:
        assert bone_voxels(before, BOTH[0], 0, SPACING) < 0.97 * 30 * 40 * 40


def test_a_volume_is_counted_by_a_plain_rule():
    scan = np.rint(plates(170.0)[0] + np.random.default_rng(1).normal(0, 6, (70, 40, 40))).astype(np.uint8)
    scan[:, :6] = 0
    whole = (slice(0, 40), slice(0, 40))
    bars = local_bars((scan,), BOTH[:1], 0.04, SPACING).planes(0, 70, whole)
    bone = BOTH[0].normal(scan) >= bars
    assert bone_voxels(scan, BOTH[0], 0.04, SPACING) == np.count_nonzero(bone)
    assert bone_voxels(scan, BOTH[0], 0, SPACING) == np.count_nonzero(scan >= 125)
    left = bone_voxels(
        scan, BOTH[0], 0.04, SPACING, without=lambda at: at @ (1, 2, -1) > 50, mapper=ThreadContext(3).map
    )
    z, y, x = np.indices(scan.shape)
    assert left == np.count_nonzero(bone & (z + 2 * y - x <= 50))
    assert bone_voxels(np.zeros((9, 8, 7)), BOTH[0], 0.04, SPACING) == 0
