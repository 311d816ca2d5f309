import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from roi_bones import greys, lesion, make
from scipy import ndimage

from bonemet.core.errors import InputError
from bonemet.roi.composite import composite
from bonemet.roi.contours import fill_holes, label_slice, slice_contours
from bonemet.roi.fibula import interpolate_contour, remove_fibula
from bonemet.roi.junction import find_junction, published_junction


@pytest.fixture(scope="module", params=[(0.06, 1.8), (0.08, 1.2), (0.1, 2.6)])
def bone(request):
    voxel, junction = request.param
    return make(voxel, junction)


@pytest.fixture(scope="module")
def fine():
    return make(0.06)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def found(mask, planted, **kwargs):
    junction = find_junction(mask, planted.spacing, **kwargs)
    return junction.slice, junction.direction


def test_planted_junction_is_found_exactly_in_a_mask(bone):
    junction = find_junction(bone.mask, bone.spacing)
    assert (junction.slice, junction.direction) == (bone.junction, 1)
    assert junction.confidence > 0.9
    assert len(junction.contours) == len(bone.mask)
    assert junction.contours[junction.slice] == 2
    assert junction.contours[junction.slice - 1] == 1
    assert junction.published == bone.junction
    assert not junction.notes


def test_either_end_first_and_any_turn(bone):
    last = len(bone.mask) - 1
    assert found(bone.mask[::-1], bone) == (last - bone.junction, -1)
    assert found(np.rot90(bone.mask, axes=(1, 2)), bone) == (bone.junction, 1)
    assert found(bone.mask[:, :, ::-1], bone) == (bone.junction, 1)


def test_slices_thinner_than_pixels():
    bone = make(0.08, z_step=0.04)
    assert found(bone.mask, bone) == (bone.junction, 1)


@pytest.mark.parametrize("seed", range(4))
def test_noisy_greys(bone, seed):
    image = greys(bone.mask, 0.6, 10, seed)
    place, way = found(image, bone, bone=lambda v: v >= 90)
    assert way == 1
    assert abs(place - bone.junction) <= 2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.15, 0.3])
def test_lesions_do_not_move_it(bone, seed, share):
    mask = lesion(bone, share, seed) | bone.fibula
    for stack, expected in ((mask, bone.junction), (mask[::-1], len(mask) - 1 - bone.junction)):
        place, _ = found(stack, bone)
        assert abs(place - expected) <= 2


@pytest.mark.parametrize("shift_mm", [0.0, 0.18])
@pytest.mark.parametrize("gap_mm", [0.2, 0.5])
@pytest.mark.parametrize("at_mm", [3.0, 5.5])
def test_a_broken_and_displaced_fibula(fine, gap_mm, shift_mm, at_mm):
    fibula = fine.fibula.copy()
    cut = round(at_mm / fine.spacing[0])
    fibula[cut : cut + round(gap_mm / fine.spacing[0])] = False
    fibula[:cut] = fine.fibula[:cut]
    step = round(shift_mm / fine.spacing[1])
    fibula[cut:] = np.roll(fibula[cut:], step, axis=1)
    assert found(fine.tibia | fibula, fine) == (fine.junction, 1)


@pytest.mark.parametrize("overlap", [-2, 0, 1, 4])
@pytest.mark.parametrize("turned", [False, True])
def test_pieces_of_a_fibula_that_stand_well_apart(fine, overlap, turned):
    at, aside = round(4.6 / 0.06), round(0.75 / 0.06)
    proximal, distal = np.zeros_like(fine.fibula), np.zeros_like(fine.fibula)
    distal[at:] = fine.fibula[at:]
    length = np.arange(fine.junction, at + overlap)
    lean = np.clip((length - fine.junction) / (at - fine.junction), 0, 1)  # about its fused head
    proximal[: fine.junction] = fine.fibula[: fine.junction]
    for z, share in zip(length, lean, strict=True):
        proximal[z] = np.roll(fine.fibula[z], round(share * aside), axis=1)
    for z, piece in ((at + overlap - 1, proximal), (at + overlap - 2, proximal), (at, distal)):
        piece[z] = ndimage.binary_erosion(piece[z])  # broken ends taper
    pieces = (proximal | distal) & ~fine.tibia
    mask = (fine.tibia | pieces)[:: -1 if turned else 1]
    place = len(mask) - 1 - fine.junction if turned else fine.junction
    assert found(mask, fine) == (place, -1 if turned else 1)
    cleaned, _, _ = remove_fibula(mask, fine.spacing)
    region = slice(fine.junction, fine.junction + 50)
    left = cleaned[:: -1 if turned else 1][region] > 0
    assert np.count_nonzero(left & pieces[region]) <= 0.02 * np.count_nonzero(pieces[region])
    assert dice(left, fine.tibia[region]) > 0.995


def test_slices_in_which_they_touch_again(fine):
    mask = fine.mask.copy()
    for k in (fine.junction + 3, fine.junction + 4, fine.junction + 40):
        near = ndimage.binary_dilation(fine.fibula[k], iterations=9)
        mask[k] |= near & ndimage.binary_dilation(fine.tibia[k], iterations=9)
    assert np.count_nonzero(mask) > np.count_nonzero(fine.mask)
    assert found(mask, fine) == (fine.junction, 1)
    assert published_junction(find_junction(mask, fine.spacing).contours, 1) == fine.junction


def test_specks_around_do_not_matter_to_the_default(fine):
    rng = np.random.default_rng(0)
    mask = fine.mask | (rng.random(fine.mask.shape) > 0.9995)
    junction = find_junction(mask, fine.spacing)
    assert junction.slice == fine.junction
    assert junction.published != fine.junction
    assert any("published rule" in note for note in junction.notes)


def test_the_distal_fusion_is_not_taken_when_the_top_is_missing(fine):
    with pytest.raises(InputError, match="outside the stack"):
        find_junction(fine.mask[fine.junction + 10 :], fine.spacing)
    with pytest.raises(InputError, match="outside the stack"):
        find_junction(fine.mask[fine.junction + 10 :][::-1], fine.spacing)


def test_a_stack_of_the_upper_half_is_enough(fine):
    half = len(fine.mask) // 2
    assert found(fine.mask[:half], fine) == (fine.junction, 1)
    assert found(fine.mask[:half][::-1], fine) == (half - 1 - fine.junction, -1)


def test_no_bone_and_no_fibula_are_refused(fine):
    with pytest.raises(InputError, match="no bone"):
        find_junction(np.zeros((20, 20, 20), bool), fine.spacing)
    with pytest.raises(InputError, match="No fibula"):
        find_junction(fine.tibia, fine.spacing)


def test_published_rule():
    counts = [0, 1, 3, 1, 1, 2, 2, 1, 1]
    assert published_junction(counts, 1) == 5
    assert published_junction(counts, -1) == 6
    assert published_junction([2, 2, 1], 1) is None


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)))
@settings(deadline=None, max_examples=80)
def test_contours_are_those_of_scipy(mask):
    filled = ndimage.binary_fill_holes(mask)
    np.testing.assert_array_equal(fill_holes(mask), filled)
    labels, count = label_slice(mask)
    assert count == ndimage.label(filled, np.ones((3, 3)))[1]
    np.testing.assert_array_equal(labels > 0, filled)


def test_a_crumb_inside_a_broken_ring_is_enclosed_and_a_neighbour_is_not():
    yy, xx = np.mgrid[:60, :90]
    ring = (np.hypot(yy - 30, xx - 30) < 25) & (np.hypot(yy - 30, xx - 30) > 20)
    ring[28:33, :15] = False
    ring[25:36, 25:36] = True
    ring[25:36, 70:78] = True
    found = slice_contours(ring[None], 0, (0.05, 0.05, 0.05), np.asarray, 0.003)
    assert found.count == 3
    _, inner, outer = found.contours
    assert inner.place_mm == pytest.approx((1.5, 1.5))
    assert inner.area_mm2 == pytest.approx(121 * 0.0025)
    assert inner.enclosed > 0.8
    assert outer.enclosed < 0.5


# The fibula


def test_the_fibula_goes_and_the_tibia_stays(bone):
    junction = find_junction(bone.mask, bone.spacing)
    span = slice(junction.track.first, junction.track.last + 1)
    cleaned, gone, notes = remove_fibula(bone.mask, bone.spacing)
    np.testing.assert_array_equal(cleaned[span], bone.tibia[span])
    assert gone == np.count_nonzero(bone.fibula[span])
    assert not notes
    np.testing.assert_array_equal(cleaned[: span.start], bone.mask[: span.start])


def test_it_is_cut_off_where_it_touches(fine):
    mask = fine.mask.copy()
    touching = range(fine.junction + 20, fine.junction + 24)
    for k in touching:
        near = ndimage.binary_dilation(fine.fibula[k], iterations=12)
        mask[k] |= near & ndimage.binary_dilation(fine.tibia[k], iterations=12) & ~fine.fibula[k]
    bridge = mask & ~fine.mask
    cleaned, _, notes = remove_fibula(mask, fine.spacing)
    assert "4 slices" in notes[0]
    span = slice(touching.start, touching.stop)
    assert np.count_nonzero(cleaned[span] & fine.fibula[span]) <= 0.1 * np.count_nonzero(fine.fibula[span])
    assert dice(cleaned[span] & ~bridge[span], fine.tibia[span]) > 0.995


def test_new_and_lost_bone_of_the_fibula_go_with_it(fine):
    followup = fine.tibia | ndimage.binary_dilation(fine.fibula, iterations=1) & ~fine.tibia
    followup &= ~np.roll(fine.fibula, 2, axis=1) | fine.tibia
    codes = composite(fine.mask, followup, 1)
    span = slice(fine.junction + 8, fine.junction + 100)
    cleaned, _, _ = remove_fibula(codes, fine.spacing, lambda v: (v == 180) | (v == 60))
    assert set(np.unique(codes[span])) == {0, 60, 180, 240}
    np.testing.assert_array_equal(cleaned[span] > 0, fine.tibia[span])
    assert cleaned.dtype == np.uint8


def test_greys_keep_the_tibia_and_lose_the_fibula(fine):
    image = greys(fine.mask, 0.6, 6, 1)
    cleaned, _, _ = remove_fibula(image, fine.spacing, lambda v: v >= 90)
    junction = find_junction(image, fine.spacing, lambda v: v >= 90)
    span = slice(junction.slice, junction.track.last + 1)
    alone = greys(fine.tibia, 0.6, 6, 1)
    assert dice(cleaned[span] >= 90, alone[span] >= 90) >= 0.995


def test_without_a_fibula_nothing_goes(fine):
    cleaned, gone, notes = remove_fibula(fine.tibia, fine.spacing)
    np.testing.assert_array_equal(cleaned, fine.tibia)
    assert gone == 0
    assert "No fibula" in notes[0]


def test_interpolated_outlines_pass_between_discs():
    yy, xx = np.mgrid[:60, :60]

    def disc(y, x, r):
        return np.hypot(yy - y, xx - x) <= r

    lower, upper = disc(15, 15, 5), disc(45, 40, 9)
    np.testing.assert_array_equal(interpolate_contour(lower, upper, 0.0), lower)
    np.testing.assert_array_equal(interpolate_contour(lower, upper, 1.0), upper)
    assert dice(interpolate_contour(lower, upper, 0.5), disc(30, 27.5, 7)) > 0.95
