"""Make the pictures of docs/gallery.md: ``python docs/make_gallery.py [NAME ...]`` from the root.

Every picture is one function of ``PICTURES``; add a function to add a picture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pictures as p
from numpy.typing import NDArray

from bonemet.simulation import Animal, animal, bone_in_own_frame, landmarks, render, scan_pose

FOLDER = Path(__file__).parent / "images"
SOLID = 900.0
"""Density (mg HA/cm3) that counts as all bone when surfaces are drawn."""


def _share(density: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(density / SOLID, 0, 1)


def _sides(density: NDArray[np.float32]) -> p.Picture:
    """Return a right bone from the front, the lateral side, the back and the medial side."""
    s = _share(density)
    views = {
        "front": np.moveaxis(s[:, ::-1], 1, 0),
        "lateral": np.moveaxis(s, 2, 0)[:, :, ::-1],
        "back": np.moveaxis(s, 1, 0)[:, :, ::-1],
        "medial": np.moveaxis(s[:, :, ::-1], 2, 0),
    }
    return p.beside([p.named(p.surface(v), name) for name, v in views.items()])


def _sections(mouse: Animal, levels: tuple[float, ...], spacing_mm: float = 0.04) -> p.Picture:
    _, density, grid = bone_in_own_frame(mouse, 0, "right tibia", spacing_mm)
    length = landmarks(mouse, 0, "right tibia")["length"]
    out = []
    for level in levels:
        k = round((level * length - grid.origin_mm[2]) / spacing_mm)
        out.append(p.named(p.section(density[k, ::-1]), f"{100 * level:.0f} %"))
    return p.beside(out)


def whole_animal() -> p.Picture:
    """Return the skeleton from the belly, the back and the left."""
    mouse, h = animal(1, tumour_side=None), 0.1
    scan = render(mouse, 0, scan_pose(mouse, 0, 1), (640, 280, 340), h, (-17, -14, -32), supersample=1)
    s = _share(np.where(scan.labels == 6, 0, scan.bone))
    views = {
        "ventral": np.moveaxis(s, 1, 0),
        "dorsal": np.moveaxis(s, 1, 0)[::-1, :, ::-1],
        "left": np.moveaxis(s, 2, 0),
    }
    return p.beside([p.named(p.surface(v), name) for name, v in views.items()])


def tibia() -> p.Picture:
    """Return a right tibia from four sides."""
    return _sides(bone_in_own_frame(animal(1, tumour_side=None), 0, "right tibia", 0.04)[1])


def femur() -> p.Picture:
    """Return a right femur from four sides."""
    return _sides(bone_in_own_frame(animal(1, tumour_side=None), 0, "right femur", 0.04)[1])


def knee() -> p.Picture:
    """Return a right knee from four sides."""
    mouse = animal(1, tumour_side=None)
    pose, h = scan_pose(mouse, 0, 1), 0.03
    low = (pose.matrices["right tibia"] @ [0, 0, 0, 1])[:3] - [2.4, 2.4, 3.2]
    scan = render(mouse, 0, pose, (200, 160, 160), h, tuple(low.tolist()))
    s = _share(scan.bone)
    views = {
        "front": np.moveaxis(s, 1, 0),
        "medial": np.moveaxis(s, 2, 0),
        "back": np.moveaxis(s, 1, 0)[::-1, :, ::-1],
        "lateral": np.moveaxis(s, 2, 0)[::-1, :, ::-1],
    }
    return p.beside([p.named(p.surface(v), name) for name, v in views.items()])


def sections() -> p.Picture:
    """Return sections along a tibia of each strain."""
    levels = (0.03, 0.06, 0.10, 0.14, 0.20, 0.30, 0.37, 0.50, 0.65, 0.80, 0.95)
    mice = (animal(1, strain=name, tumour_side=None) for name in ("BALB/c", "C57BL/6"))
    return p.below([_sections(mouse, levels) for mouse in mice])


def trabeculae() -> p.Picture:
    """Return proximal tibiae cut open: both strains at 8 weeks, and an old mouse."""
    out = []
    for strain, age in (("BALB/c", 8), ("C57BL/6", 8), ("C57BL/6", 60)):
        mouse, h = animal(1, strain=strain, age_weeks=age, tumour_side=None), 0.02
        _, density, _ = bone_in_own_frame(mouse, 0, "right tibia", h)
        density = density[:260]
        middle = density.shape[1] // 2
        opened = np.moveaxis(_share(density)[:, : middle + 8][:, ::-1], 1, 0)
        seen = p.beside([p.surface(opened), p.section(density[:, middle - 8])])
        out.append(p.named(seen, f"{strain}, {age} weeks"))
    return p.beside(out)


def _week(mouse: Animal, week: int, name: str, spacing_mm: float = 0.03) -> p.Picture:
    """Return a left tibia's proximal half: medial side, frontal and sagittal section, four cross-sections."""
    _, density, grid = bone_in_own_frame(mouse, week, "left tibia", spacing_mm)
    origin = grid.origin_mm
    x, y = (round(-v / spacing_mm) for v in origin[:2])
    density = density[: round((6.3 - origin[2]) / spacing_mm)]
    cuts = [density[round((mm - origin[2]) / spacing_mm)] for mm in (0.9, 2.3, 3.4, 5.0)]
    side = np.moveaxis(_share(density)[:, :, ::-1], 2, 0)
    drawn = [p.section(cut[::-1]) for cut in cuts]
    across = p.below([p.beside(drawn[:2], gap=2), p.beside(drawn[2:], gap=2)], gap=2)
    seen = [p.surface(side), p.section(density[:, y]), p.section(density[:, :, x]), across]
    return p.named(p.beside(seen, gap=4), name)


def weeks() -> p.Picture:
    """Return an osteolytic tibia in weeks 0, 1, 3 and 5."""
    mouse = replace(animal(1, tumour_side="left", age_weeks=10), kind="osteolytic", fractured=False)
    shown = [_week(mouse, week, f"week {week}") for week in (0, 1, 3, 5)]
    return p.below([p.beside(shown[:2], gap=24), p.beside(shown[2:], gap=24)])


def injected() -> p.Picture:
    """Return a tibia after sham injection, an osteoblastic and a broken one."""
    mouse = animal(1, tumour_side="left", age_weeks=10)
    sham = replace(mouse, tumour_side=None, sham_side="left")
    blastic = replace(mouse, kind="osteoblastic", fractured=False)
    broken = replace(mouse, kind="osteolytic", fractured=True)
    shown = [
        _week(sham, 1, "sham, week 1"),
        _week(blastic, 5, "osteoblastic, week 5"),
        _week(broken, 5, "broken, week 5"),
    ]
    return p.beside(shown, gap=24)


PICTURES: dict[str, Callable[[], p.Picture]] = {
    f.__name__: f for f in (whole_animal, tibia, femur, knee, sections, trabeculae, weeks, injected)
}


def main() -> None:
    """Make all pictures, or those that are named."""
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        p.save(PICTURES[name](), FOLDER / f"gallery-{name.replace('_', '-')}.png")


if __name__ == "__main__":
    main()
