"""Crude mouse tibiae with a fibula whose junction is planted."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

LENGTH_MM = 17.0
FUSION_MM = 9.8  # 58 % of the length


@dataclass
class Bone:
    """A planted bone, slice 0 proximal: tibia and fibula masks (marrow empty), and the junction's slice."""

    tibia: np.ndarray
    fibula: np.ndarray
    junction: int
    spacing: tuple[float, float, float]

    @property
    def mask(self):
        return self.tibia | self.fibula


def _profile(z, points):
    at, value = zip(*points, strict=True)
    return np.interp(z, at, value)


def make(voxel=0.06, junction_mm=1.8, z_step=None, seed=0):
    """Return a bone: tapering tubular tibia, fibula fused above ``junction_mm`` and below ``FUSION_MM``."""
    step = z_step or voxel
    n = round(LENGTH_MM / step)
    size = round(5.4 / voxel)
    z = (np.arange(n) + 0.5) * step
    yy, xx = np.meshgrid(*[(np.arange(size) + 0.5) * voxel - 2.0] * 2, indexing="ij")
    outer = _profile(z, [(0, 1.3), (0.8, 1.5), (4, 0.75), (8, 0.55), (14, 0.5), (17, 0.7)])
    gap = _profile(
        z,
        [
            (0, -0.5),
            (junction_mm, 0.0),
            (junction_mm + 1, 0.5),
            (5, 0.7),
            (8, 0.5),
            (FUSION_MM, 0),
            (17, -0.3),
        ],
    )
    thin = _profile(z, [(0, 0.3), (junction_mm, 0.28), (4, 0.14), (17, 0.12)])
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.standard_normal((n, size, size)).astype(np.float32), 1.2)
    texture = texture > np.quantile(texture, 0.8)
    tibia = np.zeros((n, size, size), dtype=bool)
    fibula = np.zeros_like(tibia)
    for k in range(n):
        bow = 0.3 * np.sin(np.pi * z[k] / LENGTH_MM)
        r = np.hypot((yy - bow) / 0.85, xx)
        shell = (r <= outer[k]) & (r > outer[k] - 0.22)
        spongy = texture[k] & (r <= outer[k]) & (z[k] < 4)
        cap = (r <= outer[k]) & ((z[k] < 0.2) | (z[k] > LENGTH_MM - 0.2))
        tibia[k] = shell | spongy | cap
        centre = outer[k] + gap[k] + thin[k]
        along = 0.87 * centre, 0.5 * centre  # posterior-lateral
        if junction_mm - 0.9 < z[k] < FUSION_MM + 0.6:
            d = np.hypot(yy - bow - 0.85 * along[1], xx - along[0])
            fibula[k] = (d <= thin[k]) & ~tibia[k]
    bone = Bone(tibia, fibula, 0, (step, voxel, voxel))
    bone.junction = _truth(bone, round((junction_mm + FUSION_MM) / 2 / step))
    fibula[: max(0, bone.junction - round(0.8 / step))] = False
    return bone


def _truth(bone, start):
    """Return the lowest slice of the run through ``start`` in which the planted bones do not touch."""
    k = start
    while k > 0:
        near = ndimage.binary_dilation(bone.fibula[k - 1], np.ones((3, 3)))
        if not bone.fibula[k - 1].any() or (near & bone.tibia[k - 1]).any():
            return k
        k -= 1
    return 0


def greys(bone, sigma=0.8, noise=0.0, seed=0):
    """Return 8-bit greys as of a scan: bone 160, marrow and muscle 40."""
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(np.where(bone, 160.0, 40.0), sigma)
    return np.clip(image + noise * rng.standard_normal(image.shape), 1, 255).astype(np.uint8)


def lesion(bone, share=0.3, seed=0):
    """Return the tibia with round holes in the proximal third, until that share of it is gone.

    Bone beside the fibula stays: a fibula set free by a lesion really is a contour of its own farther up.
    """
    rng = np.random.default_rng(seed)
    third = bone.tibia.shape[0] // 3
    before = bone.tibia[:third]
    out = bone.tibia.copy()
    beside = ndimage.binary_dilation(bone.fibula[:third], iterations=3)
    places = np.argwhere(before)
    ball = np.indices(before.shape)
    while np.count_nonzero(before & ~out[:third]) < share * len(places):
        centre = places[rng.integers(len(places))]
        d = sum(((ball[i] - centre[i]) * bone.spacing[i]) ** 2 for i in range(3))
        out[:third][(d < 0.45**2) & ~beside] = False
    return out
