"""Pelvis, vertebrae, foot bones, patella, fabellae and menisci: joined from ellipsoids and round cones.

They are there because real scans hold them, and software must not take them for long bones; their
forms are simple. Frames: pelvis and vertebrae in the body's frame (x to the animal's right, y dorsal, z
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
    inner, joint = h - 0.55 * g, 2.75 * g
    rows = [
        ellipsoid((h - 0.35 * g, 0, 0), (1.2 * g, 1.25 * g, 1.3 * g), blend=0.2),
        # ilium: a rod that turns to the sacrum, with a blade and a crest
        cone((inner, 0.2, -0.8), (joint + 0.2, 1.7, -5.6), (0.58 * g, 0.46 * g), blend=0.4),
        ellipsoid((joint, 2.0, -7.4), (0.36 * g, 1.0 * g, 3.1 * g), axes=_tilted(10.0, 0.0), blend=0.6),
        cone((joint + 0.15, 2.2, -5.4), (joint + 0.25, 2.6, -9.6), (0.34 * g, 0.3 * g), blend=0.4),
        # ischium with its flat tuberosity, its ramus, pubis, and the symphysis: round an open foramen
        cone((inner, 0.7, 0.8), (inner - 0.3, 1.9, 4.4), (0.62 * g, 0.42 * g), blend=0.4),
        ellipsoid((inner - 0.55, 1.6, 5.2), (0.4 * g, 0.95 * g, 1.3 * g), axes=_tilted(-20.0), blend=0.5),
        cone((inner - 0.7, 1.0, 6.0), (0.9, -1.3, 5.9), (0.5 * g, 0.34 * g), blend=0.3),
        cone((inner, -0.6, 0.5), (0.5, -2.1, 3.3), (0.46 * g, 0.33 * g), blend=0.4),
        cone((0.45, -2.1, 3.2), (0.45, -1.5, 5.9), (0.36 * g, 0.32 * g), blend=0.3),
        ellipsoid((h, 0, 0), (socket, socket, socket), blend=0.05, cut=True),
        ellipsoid((h + 1.5, 0, 0), (1.75, 1.45, 1.45), blend=0.1, cut=True),
    ]
    return pieces(rows)


def vertebra(length: float, radius: float, processes: float, wings: float = 0.0) -> Array:
    """Return a vertebra about its own centre.

    Parameters
    ----------
    length, radius
        Of its body, in mm.
    processes
        Scales arch, spine, transverse and articular processes; 0 leaves them out.
    wings
        Breadth in mm of the wings by which a sacral vertebra meets the ilium.
    """
    end, half, p = 1.15 * radius, 0.5 * length, processes
    rows = [
        cone((0, 0, -half + 0.2), (0, 0, half - 0.2), (0.82 * radius, 0.82 * radius)),
        ellipsoid((0, 0, -half + 0.35), (end, end, 0.35), blend=0.3),
        ellipsoid((0, 0, half - 0.35), (end, end, 0.35), blend=0.3),
    ]
    if p > 0:
        rows += [
            ellipsoid((0, 1.25 * radius, 0), (1.25 * radius, 1.25 * radius, 0.38 * length), blend=0.3),
            cone((0, 2.1 * radius, 0.3), (0, 2.1 * radius + 0.9 * p, -0.5), (0.34, 0.2), blend=0.3),
        ]
        for s in (-1, 1):
            # transverse processes point to the head and the belly; articular ones reach over the next bone
            tip = (s * (radius + 1.5 * p), -0.65 * p, -1.5 * p)
            rows.append(cone((s * 0.6 * radius, 0.1, -0.1), tip, (0.42, 0.17), blend=0.3))
            over = (s * 0.85 * radius, 1.75 * radius, -half - 0.15)
            rows.append(cone((s * 0.8 * radius, 1.5 * radius, -0.2 * length), over, (0.34, 0.22), blend=0.2))
            if wings > 0:
                wing = ellipsoid(
                    (s * (0.6 * radius + 0.5 * wings), 0.25, 0),
                    (0.5 * wings + 0.3, 0.55, 0.42 * length),
                    blend=0.3,
                )
                rows.append(wing)
        rows.append(
            cone((0, 1.45 * radius, -length), (0, 1.45 * radius, length), (0.68 * radius,) * 2, cut=True)
        )
    return pieces(rows)


def spine(sizes: Sizes) -> list[tuple[str, Array, Array]]:
    """Return name, place (4 x 4 in the body's frame) and pieces of every vertebra, lumbar to caudal."""
    g = sizes.girth
    # kind, length, radius, processes, lean (radians), wings
    plan = [("lumbar", 3.4, 0.95, 1.15, 0.03, 0.0)] * 4
    plan += [("sacral", 2.7, 0.85, 0.7, 0.08, wings) for wings in (2.0, 1.9, 1.0, 0.8)]
    for i in range(14):
        size = max(3.9 - 0.05 * i, 2.8), max(0.8 - 0.035 * i, 0.36), max(0.6 - 0.2 * i, 0.0)
        plan.append(("caudal", *size, max(0.12 - 0.02 * i, 0.0), 0.0))
    out = []
    at = np.array([0.0, 1.7, -20.4 * g])
    for i, (kind, length, radius, processes, lean, wings) in enumerate(plan):
        step = length * g * np.array([0.0, np.sin(lean), np.cos(lean)])
        place = np.eye(4)
        place[:3, :3] = _tilted(-np.degrees(lean))
        place[:3, 3] = at + 0.5 * step
        disc = 0.12 if kind == "sacral" else 0.3
        rows = vertebra(length * g - disc, radius * g, processes * g, wings * g)
        out.append((f"{kind} vertebra {i}", place, rows))
        at = at + step
    return out


def patella(sizes: Sizes, flexion_deg: float) -> Array:
    """Return the patella in the femur's frame: it glides along the groove as the knee bends."""
    g = sizes.girth
    # up and down a straight groove first, then round the end of the femur
    at = np.radians(np.clip(0.8 * flexion_deg - 18.0, -18.0, 60.0))
    pivot = np.array([0.0, 0.05 * g, sizes.femur_mm - 1.5 * g])
    out, along = np.array([0.0, np.cos(at), np.sin(at)]), np.array([0.0, -np.sin(at), np.cos(at)])
    centre = pivot + (1.06 * g + 0.24) * out - 0.25 * g * along
    axes = np.stack([[1.0, 0.0, 0.0], out, along], axis=1)
    return pieces([ellipsoid(centre, (0.44 * g, 0.3 * g, 0.72 * g), axes=axes)])


def fabellae(sizes: Sizes) -> Array:
    """Return the two fabellae behind the condyles, in the femur's frame."""
    g = sizes.girth
    at = np.add(knee_in_femur(sizes), (0.0, -(CONDYLE_MM + 0.12) * g, -0.72 * g))
    return pieces([ellipsoid(np.add(at, (s * 0.72 * g, 0, 0)), (0.24, 0.2, 0.32)) for s in (-1, 1)])


def menisci(sizes: Sizes) -> Array:
    """Return the ossified front and back horns of the menisci, in the tibia's frame."""
    g = sizes.girth
    front = [
        ellipsoid((s * 0.62 * g, 0.66 * g, -0.24), (0.32, 0.17, 0.15), axes=_tilted(28.0)) for s in (-1, 1)
    ]
    back = [
        ellipsoid((s * 0.74 * g, -1.32 * g, 0.02), (0.22, 0.12, 0.11), axes=_tilted(-35.0)) for s in (-1, 1)
    ]
    return pieces([*front, *back])


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
