"""A change is found by a core that noise cannot make, and followed from there to its end."""

import numpy as np
import pytest
from scipy import ndimage

from bonemet.roi import difference
from bonemet.roi.guard import Guard, guarded_change, guarded_map

BAR = 100.0
SPACING = (0.02, 0.02, 0.02)


def slab_of_bone(layer: float, noise: float, seed: int = 1) -> list[np.ndarray]:
    """Return a plate of bone twice, thicker by so many voxels the second time, blurred, with noise."""
    rng = np.random.default_rng(seed)
    z = np.arange(60.0)
    out = []
    for top in (30.0, 30.0 + layer):
        share = np.clip(top - z + 0.5, 0, 1)  # of each voxel that is bone
        image = np.broadcast_to((40 + 120 * share)[:, None, None], (60, 50, 50)).astype(float)
        out.append(ndimage.gaussian_filter(image, 1.0) + noise * rng.standard_normal(image.shape))
    return out


@pytest.mark.parametrize("layer", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("noise", [3.0, 12.0])
def test_a_thin_layer_of_new_bone_has_its_volume(layer, noise):
    pair = slab_of_bone(layer, noise)
    found = guarded_change(*pair, (BAR, BAR), Guard(), SPACING)
    assert found.formed == pytest.approx(layer * 50 * 50, rel=0.15)
    assert found.resorbed <= 0.02 * found.formed


def test_a_change_is_followed_beyond_its_core():
    before = np.full((20, 30, 60), 80.0)
    before[:, :, 50:] = 160.0
    after = before.copy()
    after[5:15, 5:25, 10:20] += 60.0
    after[5:15, 5:25, 20:40] += 14.0  # a tenth of the contrast: no core of its own
    guard = Guard(sigma_voxels=0, smallest_difference=0.2, local_mm=0)
    found = guarded_map(before, after, (90, 90), guard, SPACING)
    assert found.by_cluster == (10 * 20 * 10, 0)
    assert len(found.formed) == found.raw[0] == 10 * 20 * 30
    after[:, :, 20] = 80.0  # what no longer hangs together with a core is not followed
    assert len(guarded_map(before, after, (90, 90), guard, SPACING).formed) == 10 * 20 * 10


def test_a_change_does_not_spread_over_the_noise_of_the_rest():
    rng = np.random.default_rng(5)
    bone = np.zeros((60, 60, 60), bool)
    bone[10:50, 10:50, 10:50] = True
    later = bone.copy()
    later[20:30, 20:30, 38:50] = False
    pair = [
        ndimage.gaussian_filter(np.where(m, 160.0, 40.0), 1.0) + 15 * rng.standard_normal(m.shape)
        for m in (bone, later)
    ]
    found = guarded_map(*pair, (BAR, BAR), Guard(), SPACING)
    far = ~ndimage.binary_dilation(bone & ~later, iterations=3).ravel()
    assert found.raw[1] > len(found.resorbed) + 1000  # noise changes much
    assert far[found.resorbed].sum() + far[found.formed].sum() <= 0.002 * bone.sum()
    assert len(found.resorbed) == pytest.approx((bone & ~later).sum(), rel=0.1)


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_noise_is_measured_where_nothing_changed(sigma):
    rng = np.random.default_rng(2)
    clean = np.full((50, 60, 60), 160.0)
    clean[:, :, 40:] = 40.0
    before, after = (clean + 10 * rng.standard_normal(clean.shape) for _ in range(2))
    after[:, :20, :20] -= 100.0  # lost bone says nothing of noise
    scales = difference.scales((before, after), (BAR, BAR), [(0, 50)])
    expected = difference.smoothed(
        ((after - before) / scales[0].contrast)[:, 25:, 5:35].astype(np.float32), sigma
    )[5:-5, 5:-5, 5:-5].std()
    assert difference.noise((before, after), scales, sigma) == pytest.approx(expected, rel=0.05)


def test_without_thick_bone_noise_is_not_told():
    thin = np.zeros((20, 30, 30))
    thin[:, 15, 15] = 200.0
    assert difference.noise((thin, thin), (difference.Scale(BAR, 100.0),) * 2, 1.0) == 0.0
