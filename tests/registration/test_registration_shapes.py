"""A crude tibia given by formulae, sampled directly in any pose: no interpolation is shared with the code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.grid import Grid
from bonemet.core.volume import Volume

LENGTH = 14.0  # mm; the bone's own frame: z from the knee to the ankle, anterior -y, lateral -x in a left leg


def _bump(z, middle, width):
    return np.exp(-(((z - middle) / width) ** 2))


def _radius(z, angle, animal):
    """Outer radius about the centre line; the crest points to -y, so to the angle -pi/2."""
    anterior = angle + np.pi / 2
    r = 0.62 + 0.85 * np.exp(-z / 1.1) + 0.30 * _bump(z, LENGTH, 1.4)
    crest = np.exp(6.0 * (np.cos(anterior) - 1))
    r = r + (0.9 + 0.08 * animal) * _bump(z, 3.6, 2.2) * crest
    r = r + 0.07 * np.cos(2 * (angle - 0.4)) + 0.05 * np.cos(3 * (angle - 0.2 * animal))
    return r + 0.12 * np.exp(-z / 2.0) * np.cos(angle - 0.3) + 0.05 * _bump(z, 11.0, 1.5) * np.sin(2 * angle)


def outline(p, side="left", animal=0.0):
    """About how far points (n, 3) lie outside the tibia's outer surface."""
    x, y, z = p[:, 0] * (1 if side == "left" else -1), p[:, 1], p[:, 2]
    cx, cy = 0.25 * np.sin(z / LENGTH * np.pi), -0.35 * np.sin(z / LENGTH * np.pi) + 0.1 * np.sin(z / 2)
    rho, angle = np.hypot(x - cx, y - cy), np.arctan2(y - cy, x - cx)
    return np.maximum(rho - _radius(z, angle, animal), np.maximum(-z, z - LENGTH))


def tibia(p, h, side="left", animal=0.0):
    """Density (0..1) of a tibia with fibula at points (n, 3), edges smeared over ``h`` mm."""
    x, y, z = p[:, 0] * (1 if side == "left" else -1), p[:, 1], p[:, 2]

    def soft(d):
        return np.clip(0.5 - d / h, 0, 1)

    outer = outline(p, side, animal)
    solid = soft(outer)
    marrow = soft(np.maximum(outer + 0.24, -0.1 - 0 * z))
    w = 2 * np.pi / 0.75
    gyroid = np.sin(w * x) * np.cos(w * y) + np.sin(w * y) * np.cos(w * z) + np.sin(w * z) * np.cos(w * x)
    spongy = np.clip(0.5 + (gyroid - 0.55) / (w * h), 0, 1) * np.clip((4.0 - z) / 0.5, 0, 1)
    bone = solid * (1 - marrow) + marrow * (0.15 + 0.7 * spongy)
    t = np.clip((z - 0.8) / 7.2, 0, 1)
    fx, fy = -1.55 * (1 - t) ** 0.8 - 0.35 * t, 0.55 * (1 - t) + 0.25 * t
    fibula = soft(np.maximum(np.hypot(x - fx, y - fy) - 0.22, np.maximum(0.8 - z, z - 8.2)))
    return np.maximum(bone, 0.9 * fibula)


def femur(p, h, side="left", animal=0.0):
    """Another long bone: a straight round shaft with a ball beside its top and two condyles below."""
    x, y, z = p[:, 0] * (1 if side == "left" else -1), p[:, 1], p[:, 2]
    shaft = np.maximum(np.hypot(x / 1.25, y) - 0.75, np.maximum(-z, z - LENGTH))
    ball = np.linalg.norm(p - [1.6 * (1 if side == "left" else -1), 0, 0.7], axis=1) - 0.85
    knobs = np.minimum(
        np.sqrt((x - 0.85) ** 2 + (y - 0.3) ** 2 + (z - LENGTH) ** 2),
        np.sqrt((x + 0.85) ** 2 + (y - 0.3) ** 2 + (z - LENGTH) ** 2),
    )
    d = np.minimum(np.minimum(shaft, ball), knobs - 1.0)
    return np.clip(0.5 - d / h, 0, 1) - 0.8 * np.clip(0.5 - (d + 0.3) / h, 0, 1)


@dataclass(frozen=True)
class Pose:
    """Where a bone lies: bone points to points of its image."""

    matrix: np.ndarray

    @classmethod
    def make(cls, axial_deg=0.0, tilt_deg=(0.0, 0.0), shift=(0.0, 0.0, 0.0), flip=False):
        a, b, c = np.radians([axial_deg, *tilt_deg])
        rz = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        rx = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        ry = np.array([[np.cos(c), 0, np.sin(c)], [0, 1, 0], [-np.sin(c), 0, np.cos(c)]])
        turn = np.diag([1.0, -1.0, -1.0]) if flip else np.eye(3)
        m = np.eye(4)
        m[:3, :3] = rx @ ry @ rz @ turn
        middle = np.array([0, 0, LENGTH / 2])
        m[:3, 3] = middle + shift - m[:3, :3] @ middle
        return cls(m)

    def __call__(self, p):
        return p @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    @property
    def inverse(self):
        return Pose(np.linalg.inv(self.matrix))


def image(
    pose,
    *,
    voxel=0.1,
    shape=tibia,
    side="left",
    animal=0.0,
    lesions=(),
    gain=130.0,
    offset=10.0,
    noise=0.0,
    seed=0,
    keep=(0.0, 1.0),
    dtype=np.uint8,
    margin=0.5,
    name="",
):
    """An image of a bone in a pose: cropped to it, or to the share ``keep`` of its height in the image.

    ``voxel`` may be one edge or three (z, y, x); ``lesions`` holds (x, y, z, radius) in the bone's frame.
    """
    rng = np.random.default_rng(seed)
    cloud = rng.uniform([-2.6, -2.6, -0.6], [2.6, 2.6, LENGTH + 0.6], (20000, 3))
    cloud = cloud[shape(cloud, 0.2, side, animal) > 0.3]
    seen = pose(cloud)
    low, high = seen.min(0) - margin, seen.max(0) + margin
    low[2], high[2] = low[2] + keep[0] * (high[2] - low[2]), low[2] + keep[1] * (high[2] - low[2])
    spacing = (voxel,) * 3 if np.isscalar(voxel) else tuple(voxel)
    count = tuple(int(n) for n in np.ceil((high - low) / spacing[::-1]).astype(int)[::-1])
    grid = Grid(count, spacing, tuple(low))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in count), indexing="ij"), -1).reshape(-1, 3)
    p = pose.inverse(grid.index_to_mm(index))
    near = (np.abs(p[:, :2]).max(1) < 2.8) & (p[:, 2] > -1.2) & (p[:, 2] < LENGTH + 1.2)
    h = float(np.mean(spacing))
    values = np.zeros(len(p))
    values[near] = shape(p[near], h, side, animal)
    for *centre, r in lesions:
        d = np.linalg.norm(p - centre, axis=1) - r
        values *= np.clip(0.5 + d / h, 0, 1)
    values = offset + gain * values + noise * rng.normal(size=len(p))
    if np.dtype(dtype).kind == "u":
        values = np.rint(np.clip(values, 0, np.iinfo(dtype).max))
    kind = Quantity(Kind.GREY) if np.dtype(dtype).kind == "u" else Quantity(Kind.ATTENUATION)
    return Volume(values.reshape(count).astype(dtype), grid, kind, name)


def shaft_points():
    """Surface points of the shaft and metaphysis, in the bone's frame."""
    z, a = np.meshgrid(np.linspace(1.5, 12.5, 23), np.linspace(0, 2 * np.pi, 24, endpoint=False))
    return np.stack([0.9 * np.cos(a), 0.9 * np.sin(a), z], -1).reshape(-1, 3)


def error_voxels(transform, pose_fixed, pose_moving, voxel=0.1):
    """Mean displacement over the shaft between a found and the true transform, in voxels."""
    p = shaft_points()
    gap = transform.apply(pose_fixed(p)) - pose_moving(p)
    return float(np.linalg.norm(gap, axis=1).mean() / voxel)


def test_the_two_legs_are_mirror_images_and_differ():
    p = np.random.default_rng(1).uniform([-2, -2, 0], [2, 2, LENGTH], (5000, 3))
    left, right = tibia(p, 0.1), tibia(p, 0.1, "right")
    assert np.array_equal(right, tibia(p * [-1, 1, 1], 0.1))
    assert np.abs(left - right).mean() > 0.01


def test_an_image_shows_the_bone_where_the_pose_puts_it():
    pose = Pose.make(40, (10, -5), (1, 2, 3))
    volume = image(pose, voxel=0.2)
    point = pose(np.array([[-1.55 * 0.5**0.8 - 0.175, 0.4, 4.4]]))  # on the fibula's axis
    k, j, i = np.rint(volume.grid.mm_to_index(point))[0].astype(int)
    assert volume.data[k, j, i] > 80
