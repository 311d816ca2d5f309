"""Pelvis, vertebrae, foot bones, patella, fabellae and menisci: joined from ellipsoids and round cones.

They are there because real scans hold them, and software must not take them for long bones; their
forms are plain. Frames: pelvis and vertebrae in the body's frame (x to the animal's right, y dorsal, z
caudal, origin midway between the hips); knee bones in the frame of femur or tibia; the foot in a frame
with its origin at the ankle, z along the metatarsals, y dorsal of the foot, x medial.
"""

from __future__ import annotations

import numpy as np

from bonemet.simulation.anatomy import Sizes
from bonemet.simulation.longbones import CONDYLE_MM, head_in_femur, knee_in_femur
from bonemet.simulation.shapes import Array, cone, ellipsoid, pieces

HIP_GAP_MM = 0.15


def _tilted(about_x_deg: float, about_z_deg: float = 0.0) -> Array:
    a, b = np.radians([about_x_deg, about_z_deg])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    rz = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return np.asarray(rx @ rz)


def half_pelvis(sizes: Sizes) -> Array:
    """Return the right half of the pelvis: ilium, ischium, pubis and the socket of the hip."""
    h, g = sizes.hip_mm, sizes.girth
    _, head = head_in_femur(sizes)
    socket = head + HIP_GAP_MM
    inner = h - 0.55 * g
    rows = [
        ellipsoid((h - 0.35 * g, 0, 0), (1.2 * g, 1.25 * g, 1.3 * g), blend=0.2),
        cone((inner, 0.2, -0.8), (inner - 0.6, 1.9, -7.5), (0.55 * g, 0.5 * g), blend=0.4),
        ellipsoid(
            (inner - 0.6, 2.0, -7.0), (0.45 * g, 1.15 * g, 3.0 * g), axes=_tilted(13.0, 20.0), blend=0.6
        ),
        cone((inner, 0.6, 0.8), (inner - 0.5, 2.0, 5.2), (0.6 * g, 0.45 * g), blend=0.4),
        cone((inner - 0.5, 2.0, 5.2), (1.0, -0.9, 5.6), (0.45 * g, 0.32 * g), blend=0.3),
        cone((inner, -0.5, 0.6), (0.45, -2.0, 3.4), (0.5 * g, 0.38 * g), blend=0.4),
        cone((0.45, -2.0, 3.4), (0.45, -1.3, 5.6), (0.38 * g, 0.34 * g), blend=0.3),
        ellipsoid((h, 0, 0), (socket, socket, socket), blend=0.05, cut=True),
        ellipsoid((h + 1.5, 0, 0), (1.75, 1.45, 1.45), blend=0.1, cut=True),
    ]
    return pieces(rows)


def vertebra(length: float, radius: float, processes: float) -> Array:
    """Return a vertebra about its own centre; ``processes`` scales arch, spine and transverse processes."""
    end, half = 1.15 * radius, 0.5 * length
    rows = [
        cone((0, 0, -half + 0.2), (0, 0, half - 0.2), (0.82 * radius, 0.82 * radius)),
        ellipsoid((0, 0, -half + 0.35), (end, end, 0.35), blend=0.3),
        ellipsoid((0, 0, half - 0.35), (end, end, 0.35), blend=0.3),
    ]
    if processes > 0:
        p = processes
        rows += [
            ellipsoid((0, 1.25 * radius, 0), (1.25 * radius, 1.25 * radius, 0.38 * length), blend=0.3),
            cone((0, 2.1 * radius, 0), (0, 2.1 * radius + 1.1 * p, -0.2), (0.3, 0.22), blend=0.3),
            cone((0.6 * radius, 0.2, 0), (radius + 1.5 * p, -0.3, -0.9 * p), (0.32, 0.2), blend=0.3),
            cone((-0.6 * radius, 0.2, 0), (-radius - 1.5 * p, -0.3, -0.9 * p), (0.32, 0.2), blend=0.3),
            cone((0, 1.45 * radius, -length), (0, 1.45 * radius, length), (0.68 * radius,) * 2, cut=True),
        ]
    return pieces(rows)


def spine(sizes: Sizes) -> list[tuple[str, Array, Array]]:
    """Return name, place (4 x 4 in the body's frame) and pieces of every vertebra, lumbar to caudal."""
    g = sizes.girth
    plan = [("lumbar", 3.3, 0.95, 1.0, 0.03)] * 4 + [("sacral", 2.7, 0.85, 0.9, 0.08)] * 4
    for i in range(14):
        size = max(4.0 - 0.06 * i, 2.8), max(0.8 - 0.03 * i, 0.4), max(0.5 - 0.25 * i, 0.0)
        plan.append(("caudal", *size, max(0.12 - 0.02 * i, 0.0)))
    out = []
    at = np.array([0.0, 1.7, -20.0 * g])
    for i, (kind, length, radius, processes, lean) in enumerate(plan):
        step = length * g * np.array([0.0, np.sin(lean), np.cos(lean)])
        place = np.eye(4)
        place[:3, :3] = _tilted(-np.degrees(lean))
        place[:3, 3] = at + 0.5 * step
        out.append((f"{kind} vertebra {i}", place, vertebra(length * g - 0.3, radius * g, processes * g)))
        at = at + step
    return out


def patella(sizes: Sizes, flexion_deg: float) -> Array:
    """Return the patella in the femur's frame: it glides along the groove as the knee bends."""
    g = sizes.girth
    at = np.radians(62.0 - 0.75 * flexion_deg)
    pivot = np.array([0.0, 0.28 * g, sizes.femur_mm - 1.35 * g])
    centre = pivot + (1.22 * g + 0.32) * np.array([0.0, np.cos(at - 0.6), -np.sin(at - 0.6)])
    axes = np.array([[1, 0, 0], [0, np.cos(at), np.sin(at)], [0, -np.sin(at), np.cos(at)]], dtype=np.float64)
    return pieces([ellipsoid(centre, (0.42 * g, 0.3 * g, 0.75 * g), axes=axes)])


def fabellae(sizes: Sizes) -> Array:
    """Return the two fabellae behind the condyles, in the femur's frame."""
    g = sizes.girth
    at = np.add(knee_in_femur(sizes), (0.0, -(CONDYLE_MM + 0.2) * g, -0.75 * g))
    return pieces([ellipsoid(np.add(at, (s * 0.75 * g, 0, 0)), (0.24, 0.2, 0.3)) for s in (-1, 1)])


def menisci(sizes: Sizes) -> Array:
    """Return the ossified front horns of the menisci, in the tibia's frame."""
    g = sizes.girth
    return pieces(
        [ellipsoid((s * 0.62 * g, 0.62 * g, -0.2), (0.3, 0.16, 0.12), axes=_tilted(25.0)) for s in (-1, 1)]
    )


def foot(sizes: Sizes) -> Array:
    """Return ankle bones, metatarsals and toes in the foot's frame."""
    g = sizes.girth
    rows = [
        ellipsoid((0.0, 0.1, 0.42), (0.42 * g, 0.5 * g, 0.42 * g)),
        cone((-0.1, -0.6, 0.75), (-0.25, -1.95, -1.2), (0.4 * g, 0.45 * g), blend=0.2),
        ellipsoid((0.2, 0.15, 1.5), (0.65 * g, 0.4 * g, 0.6 * g)),
        ellipsoid((-0.35, 0.0, 1.6), (0.4 * g, 0.35 * g, 0.6 * g)),
    ]
    for toe in range(5):
        fan = 2 - toe
        base, knuckle = (0.28 * fan, 0.1, 2.35), (0.62 * fan, 0.0, 7.6 - 0.45 * abs(fan - 0.2))
        short = np.add(base, 0.62 * np.subtract(knuckle, base)) if abs(fan) == 2 else np.array(knuckle)
        rows.append(cone(base, short, (0.24 * g, 0.22 * g), blend=0.02))
        joint = np.add(short, (0.04 * fan, 0.0, 0.42))
        rows.append(cone(joint, np.add(joint, (0.12 * fan, -0.15, 1.5)), (0.2, 0.15), blend=0.02))
        rows.append(
            cone(
                np.add(joint, (0.14 * fan, -0.2, 1.85)),
                np.add(joint, (0.16 * fan, -0.4, 2.6)),
                (0.15, 0.1),
                blend=0.02,
            )
        )
    return pieces(rows)
