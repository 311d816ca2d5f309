"""Crude hind limbs from round cones and ellipsoids, with known labels: a truth that owes nothing to bonemet.

Each bone is a union of solids; its shell is cortex, its inside marrow with a few struts near the ends.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

FEMUR = [  # knee at the origin, hip towards +z; x lateral, y anterior; mm
    ("ball", (0.75, -0.25, 0.95), (0.8, 1.05, 0.95)),
    ("ball", (-0.75, -0.25, 0.95), (0.8, 1.05, 0.95)),
    ("cone", (0.0, 0.1, 1.1), (0.0, 0.2, 4.0), 1.15, 0.78),
    ("cone", (0.0, 0.2, 4.0), (0.1, 0.1, 12.5), 0.78, 0.82),
    ("cone", (0.1, 0.1, 12.5), (0.9, -0.2, 14.3), 0.8, 0.55),
    ("cone", (0.1, 0.0, 13.0), (-1.5, 0.1, 14.2), 0.6, 0.45),
    ("ball", (-1.9, 0.1, 14.6), (0.72, 0.72, 0.72)),
]
TIBIA = [  # knee at the origin, ankle towards -z
    ("ball", (0.72, -0.1, -0.62), (0.8, 1.15, 0.6)),
    ("ball", (-0.72, -0.1, -0.62), (0.8, 1.15, 0.6)),
    ("cone", (0.0, 0.0, -0.9), (0.0, 0.05, -4.5), 1.12, 0.68),
    ("cone", (0.0, 0.8, -2.0), (0.0, 0.5, -5.5), 0.4, 0.3),
    ("cone", (0.0, 0.05, -4.5), (0.15, 0.0, -10.5), 0.68, 0.47),
    ("cone", (0.15, 0.0, -10.5), (0.0, 0.0, -16.4), 0.47, 0.52),
    ("ball", (0.0, 0.0, -16.6), (0.95, 0.75, 0.6)),
]
FIBULA = [
    ("ball", (1.4, -0.6, -1.35), (0.35, 0.35, 0.35)),
    ("cone", (1.4, -0.6, -1.4), (1.25, -0.85, -5.5), 0.2, 0.16),
    ("cone", (1.25, -0.85, -5.5), (0.5, -0.25, -9.6), 0.16, 0.2),
]
FOOT = [
    ("ball", (0.0, 0.1, -17.95), (0.6, 0.7, 0.65)),
    ("cone", (0.0, -0.3, -18.4), (0.0, -1.6, -18.6), 0.45, 0.4),
    *[("cone", (0.5 * k, 0.6, -18.6), (0.8 * k, 3.0, -23.5), 0.24, 0.2) for k in (-1.0, 0.0, 1.0)],
]
PELVIS = [
    ("cone", (-2.9, 0.2, 15.2), (-3.6, -1.0, 22.0), 0.6, 0.8),
    ("cone", (-2.9, 0.2, 15.2), (-3.2, -2.0, 10.5), 0.6, 0.4),
]
NONE, SPINE, FEMORA, TIBIAE, HOLDER, OTHER = 0, 1, (2, 4), (3, 5), 6, 7


@dataclass
class Pose:
    """How one scan lies; x grows to the right of the table, hips at high z unless flipped."""

    flexion_deg: tuple[float, float] = (30.0, 30.0)
    splay_deg: tuple[float, float] = (8.0, 8.0)
    axial_deg: tuple[float, float] = (0.0, 0.0)
    height_mm: tuple[float, float] = (0.0, 0.0)
    gap_mm: float = 0.1
    hips_low: bool = False
    z_range_mm: tuple[float, float] = (-18.5, 9.0)  # around the knees
    lesion_mm: float = 0.0  # radius of a hole through the proximal left tibia's cortex
    legs: tuple[str, ...] = ("left", "right")
    bed: bool = True
    noise: float = 6.0
    seed: int = 0
    spread_mm: float = 6.0
    notes: dict = field(default_factory=dict)


def random_pose(seed: int) -> Pose:
    rng = np.random.default_rng(seed)
    pair = lambda low, high: tuple(float(v) for v in rng.uniform(low, high, 2))  # noqa: E731
    return Pose(
        flexion_deg=pair(0, 60),
        splay_deg=pair(0, 18),
        axial_deg=pair(-40, 40),
        height_mm=pair(-1.3, 1.3),
        gap_mm=float(rng.uniform(0.0, 0.15)),
        hips_low=bool(rng.integers(2)),
        z_range_mm=(float(rng.uniform(-21, -14)), float(rng.uniform(7, 15))),
        lesion_mm=float(rng.choice([0.0, 0.0, 0.6, 0.9])),
        seed=seed,
    )


def _turn(axis, degrees):
    a = np.radians(degrees)
    c, s = np.cos(a), np.sin(a)
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def _distance(points, solid):
    """Signed distance of points (..., 3) to a solid, negative inside (approximate for balls)."""
    if solid[0] == "ball":
        centre, axes = np.asarray(solid[1]), np.asarray(solid[2])
        return (np.sqrt((((points - centre) / axes) ** 2).sum(-1)) - 1) * axes.min()
    a, b, ra, rb = np.asarray(solid[1]), np.asarray(solid[2]), solid[3], solid[4]
    t = np.clip(((points - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
    return np.linalg.norm(points - a - t[..., None] * (b - a), axis=-1) - (ra + t * (rb - ra))


def _reach(solids):
    points = [(np.asarray(s[1]), max(s[2])) for s in solids if s[0] == "ball"]
    points += [(np.asarray(p), max(s[3:])) for s in solids if s[0] == "cone" for p in s[1:3]]
    return points


class Scene:
    """A scan in the making."""

    def __init__(self, pose, spacing):
        self.pose, self.h = pose, spacing
        self.x0, self.y0 = -12.0, -11.0
        low, high = pose.z_range_mm
        self.z0 = low
        self.shape = (round((high - low) / spacing), round(20 / spacing), round(24 / spacing))
        self.labels = np.zeros(self.shape, np.uint8)
        self.grey = np.full(self.shape, 4.0, np.float32)
        _, y, x = np.ogrid[: self.shape[0], : self.shape[1], : self.shape[2]]
        body = ((x * spacing - 12) / 11) ** 2 + ((y * spacing - 10) / 8) ** 2 < 1
        self.grey[np.broadcast_to(body, self.shape)] = 50.0
        self.bone = np.zeros(self.shape, np.uint8)
        self.rng = np.random.default_rng(pose.seed)

    def add(self, solids, rotation, shift, label, shell=0.22, growth_plate=None):
        """Draw a bone: world = rotation @ local + shift, both (x, y, z) in mm."""
        ends = np.array([rotation @ p + shift for p, _ in _reach(solids)])
        radius = max(r for _, r in _reach(solids)) + 2 * self.h
        origin = np.array([self.x0, self.y0, self.z0])
        low = np.floor((ends.min(0) - radius - origin) / self.h).astype(int)
        high = np.ceil((ends.max(0) + radius - origin) / self.h).astype(int) + 1
        top = np.array(self.shape[::-1])
        low, high = np.clip(low, 0, top), np.clip(high, 0, top)
        if (high <= low).any():
            return
        bounds = zip(low, high, origin, strict=True)
        x, y, z = (np.arange(a, b, dtype=np.float32) * self.h + o for a, b, o in bounds)
        world = np.stack(np.broadcast_arrays(x, y[:, None], z[:, None, None]), -1)
        local = (world - shift) @ rotation
        distance = np.min([_distance(local, s) for s in solids], axis=0)
        inside = distance < 0
        box = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))
        free = inside & (self.labels[box] == 0)
        self.labels[box][free] = label
        strut = np.abs(np.sin(local * 9).prod(-1)) < 0.05
        strut &= np.abs(local[..., 2]) < 4.5
        solid = free & ((distance > -shell) | strut)
        if growth_plate is not None:
            solid &= np.abs(local[..., 2] - growth_plate) > 0.05
        self.bone[box][free] = 1
        self.bone[box][solid] = 2

    def finish(self):
        """Return (grey uint8, labels uint8): blurred, noisy, with a bed."""
        pose, h = self.pose, self.h
        if pose.bed:
            y, x = np.ogrid[: self.shape[1], : self.shape[2]]
            r = np.hypot(x * h - 12, y * h - 8)
            arc = (np.abs(r - 11.2) < 0.5) & (y * h > 10)
            self.grey[:, arc] = 62.0
        self.grey[self.bone == 1] = 52.0
        self.grey[self.bone == 2] = 165.0
        ndimage.gaussian_filter(self.grey, 0.6 * max(1.0, 0.06 / h), output=self.grey)
        self.grey += self.rng.normal(0, pose.noise, self.shape).astype(np.float32)
        grey = np.clip(np.rint(self.grey), 0, 255).astype(np.uint8)
        if pose.hips_low:  # turned about the x axis: z and y both run the other way, left stays left
            return grey[::-1, ::-1].copy(), self.labels[::-1, ::-1].copy()
        return grey, self.labels


def limbs(pose: Pose, spacing: float):
    """Return (grey, labels) of both hind limbs, (z, y, x), labels as `segment_limbs` numbers them."""
    scene = Scene(pose, spacing)
    for k, (name, side) in enumerate((("left", -1.0), ("right", 1.0))):
        if name not in pose.legs:
            continue
        flip = np.diag([side, 1.0, 1.0])  # lateral points outwards
        knee = np.array([side * pose.spread_mm, 1.5, pose.height_mm[k]])
        leg = _turn("y", -side * pose.splay_deg[k]) @ _turn("z", pose.axial_deg[k])
        thigh = leg @ _turn("x", pose.flexion_deg[k])
        centre = np.array([0.0, -0.25, 0.95 + pose.gap_mm])  # of the condyles, about which the knee bends
        femur_shift = knee + leg @ centre - thigh @ np.array([0.0, -0.25, 0.95])
        scene.add(TIBIA, leg @ flip, knee, TIBIAE[k], growth_plate=-1.35)
        scene.add(FIBULA, leg @ flip, knee, TIBIAE[k], shell=0.1)
        scene.add(FEMUR, thigh @ flip, femur_shift, FEMORA[k], growth_plate=2.3)
        patella = [("ball", (0.0, 1.75, 2.0), (0.45, 0.35, 0.7))]
        scene.add(patella, thigh @ flip, femur_shift, OTHER)
        for x in (-0.7, 0.7):
            scene.add([("ball", (x, -1.65, 1.6), (0.3, 0.25, 0.35))], thigh @ flip, femur_shift, OTHER)
            scene.add([("ball", (x, 1.0, 0.12), (0.3, 0.2, 0.18))], leg @ flip, knee, OTHER)
        scene.add(FOOT, leg @ flip, knee, OTHER, shell=0.15)
        scene.add(PELVIS, thigh @ flip, femur_shift, SPINE)
        if pose.lesion_mm and name == "left":
            _lesion(scene, knee + leg @ flip @ np.array([0.6, 0.6, -2.8]), pose.lesion_mm)
    for z in np.arange(-24.0, 26.0, 2.4):
        vertebra = [("cone", (0.0, -3.0, z), (0.0, -3.0, z + 1.7), 0.9, 0.9)]
        scene.add(vertebra, np.eye(3), np.zeros(3), SPINE)
    return scene.finish()


def _lesion(scene, centre, radius):
    """Dissolve bone within a ball; the labels keep the outline."""
    h = scene.h
    z, y, x = np.ogrid[: scene.shape[0], : scene.shape[1], : scene.shape[2]]
    d2 = (x * h + scene.x0 - centre[0]) ** 2 + (y * h + scene.y0 - centre[1]) ** 2
    d2 = d2 + (z * h + scene.z0 - centre[2]) ** 2
    scene.bone[(d2 < radius**2) & (scene.bone == 2)] = 1
