"""Morphometry of the digital mouse's tibiae, measured on truth volumes as a laboratory would.

    python benchmarks/mouse_morphometry.py [--json] [--quick] [--table] [--strain BALB/c] [--first-seed 1010]

Trabeculae: from 0.25 mm below the last slice that shows the growth plate, 1 mm long, 0.2 mm inside the outer
contour. Cortex: slabs of 0.5 mm at 37 and 50 % of the length. Voxels of 10 um; bone is what holds at
least half the density of solid tissue. Sources of the goals: docs/digital-mouse.md. ``--table`` also prints
the rows of the table there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from harness import Figure, arguments, show
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.grid import Grid
from bonemet.morphometry.measuring import measure_arrays
from bonemet.simulation import Animal, animal, landmarks, sizes_of
from bonemet.simulation.render import paint_parts
from bonemet.simulation.skeleton import long_bone

PLATE_MM = 0.3
"""By how much the wavy, slanting growth plate reaches below its level on the long axis."""
TRABECULAR = ("BV/TV", "Tb.Th", "Tb.N", "Tb.Sp", "Conn.D", "Tb.TMD")
CORTICAL = ("Tt.Ar", "Ct.Ar", "Ma.Ar", "Ct.Th", "Ct.pMOI", "Ct.TMD")


@dataclass(frozen=True)
class Goal:
    """A measure, where it is taken, and its range in published healthy young adult females."""

    site: str
    name: str
    unit: str
    balb: tuple[float, float] | None
    black: tuple[float, float] | None


GOALS = (
    Goal("tibia", "length", "mm", (17.0, 18.0), (17.0, 18.0)),
    Goal("metaphysis", "BV/TV", "1", (0.15, 0.22), (0.08, 0.15)),
    Goal("metaphysis", "Tb.Th", "mm", (0.048, 0.062), (0.048, 0.057)),
    # means of groups, one standard deviation of their animals added on both sides
    Goal("metaphysis", "Tb.N", "1/mm", (3.9, 5.7), (3.4, 4.7)),
    Goal("metaphysis", "Tb.Sp", "mm", None, None),
    Goal("metaphysis", "Conn.D", "1/mm3", None, None),
    Goal("metaphysis", "Tb.TMD", "mg HA/cm3", None, None),
    *(
        Goal(site, name, unit, balb, black)
        for site in ("37 %", "50 %")
        for name, unit, balb, black in (
            ("Tt.Ar", "mm2", None, None),
            ("Ct.Ar", "mm2", None, None),
            ("Ct.Th", "mm", (0.16, 0.24), (0.15, 0.22)),
            ("Ct.pMOI", "mm4", None, None),
            ("Ct.TMD", "mg HA/cm3", (1000, 1200), (1000, 1200)),
        )
    ),
)


def slab(
    mouse: Animal, bone: str, first_mm: float, last_mm: float, spacing_mm: float
) -> tuple[NDArray[np.bool_], NDArray[np.float32], Grid]:
    """Return outer contour and density of a bone between two levels of its own frame."""
    part = long_bone(mouse, 0, bone)
    low, high = part.low.copy(), part.high.copy()
    low[2], high[2] = first_mm, last_mm - spacing_mm
    size = np.ceil((high - low) / spacing_mm).astype(int) + 1
    grid = Grid.isotropic(size[::-1].tolist(), spacing_mm, tuple(low.tolist()))
    labels, density = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.float32)
    paint_parts([part], grid, labels, density, 2)
    names, count = ndimage.label(labels > 0)
    sizes = np.bincount(names.ravel(), minlength=count + 1)
    filled = names == 1 + int(np.argmax(sizes[1:]))
    density[(labels > 0) & ~filled] = 0
    return filled, density, grid


def trabecular(mouse: Animal, bone: str, spacing_mm: float) -> dict[str, float | None]:
    """Return the measures of the metaphysis."""
    first = landmarks(mouse, 0, bone)["proximal_growth_plate"] + PLATE_MM + 0.25
    filled, density, grid = slab(mouse, bone, first, first + 1.0, spacing_mm)
    inside = np.stack([ndimage.distance_transform_edt(plane) * spacing_mm >= 0.2 for plane in filled])
    solid = sizes_of(mouse, bone.split(maxsplit=1)[0]).trabecular_tmd
    return _measured(density >= 0.5 * solid, inside, density, grid, TRABECULAR)


def cortical(mouse: Animal, bone: str, at: float, spacing_mm: float) -> dict[str, float | None]:
    """Return the measures of a slab of the shaft at a fraction of the length."""
    level = at * landmarks(mouse, 0, bone)["length"]
    _, density, grid = slab(mouse, bone, level - 0.25, level + 0.25, spacing_mm)
    bone_here = density >= 0.5 * sizes_of(mouse, bone.split(maxsplit=1)[0]).cortical_tmd
    # the density of solid tissue, without the voxels that a surface shares
    core = ndimage.binary_erosion(bone_here)
    found = _measured(bone_here, None, density, grid, CORTICAL)
    return found | {"Ct.TMD": float(density[core].mean())}


def _measured(
    bone: NDArray[np.bool_],
    region: NDArray[np.bool_] | None,
    density: NDArray[np.float32],
    grid: Grid,
    names: tuple[str, ...],
) -> dict[str, float | None]:
    found = measure_arrays(bone, region, density, grid, Quantity(Kind.DENSITY), names, definition="ipl")
    return {m.name: m.value for m in found}


def tibia(mouse: Animal, spacing_mm: float, bone: str = "right tibia") -> dict[tuple[str, str], float | None]:
    """Return all measures of a tibia by site and name."""
    out = {("tibia", "length"): landmarks(mouse, 0, bone)["length"]}
    sites = {"metaphysis": trabecular(mouse, bone, spacing_mm)}
    for site, at in (("37 %", 0.37), ("50 %", 0.5)):
        sites[site] = cortical(mouse, bone, at, spacing_mm)
    return out | {(site, name): v for site, found in sites.items() for name, v in found.items()}


def figures(strain: str, rows: list[dict[tuple[str, str], float | None]]) -> list[Figure]:
    """Return mean, lowest and highest of every measure, judged by the animal farthest off."""
    out = []
    for goal in GOALS:
        values = np.array([row[goal.site, goal.name] for row in rows], dtype=float)
        bounds = goal.balb if strain == "BALB/c" else goal.black
        name = f"{strain} {goal.site} {goal.name}"
        words = "" if bounds is None else f"{bounds[0]:g}-{bounds[1]:g}"
        holds = None if bounds is None else bool(bounds[0] <= values.min() and values.max() <= bounds[1])
        out.append(Figure(name, float(values.mean()), goal.unit, words, holds))
        out += [
            Figure(f"{name} {which}", float(v), goal.unit)
            for which, v in (("lowest", values.min()), ("highest", values.max()))
        ]
    return out


def table(found: dict[str, list[dict[tuple[str, str], float | None]]]) -> None:
    """Print the rows of the table in the documentation."""
    for goal in GOALS:
        cells = []
        for rows in found.values():
            v = np.array([row[goal.site, goal.name] for row in rows], dtype=float)
            cells.append(f"{v.mean():.3g} ({v.min():.3g}-{v.max():.3g})")
        print(f"| {goal.site} {goal.name}, {goal.unit} | {' | '.join(cells)} |")


def main() -> None:
    """Measure seven animals of each strain."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--strain", action="append", choices=("BALB/c", "C57BL/6"))
    parser.add_argument("--first-seed", type=int, default=1010)
    parser.add_argument("--animals", type=int, default=7)
    parser.add_argument("--age-weeks", type=float, default=8.0)
    parser.add_argument("--table", action="store_true", help="print rows for the documentation")
    options = parser.parse_args()
    count, spacing = (1, 0.015) if options.quick else (options.animals, 0.01)
    found = {}
    for strain in options.strain or ("BALB/c", "C57BL/6"):
        seeds = range(options.first_seed, options.first_seed + count)
        mice = (animal(s, strain=strain, age_weeks=options.age_weeks, tumour_side=None) for s in seeds)
        found[strain] = [tibia(mouse, spacing) for mouse in mice]
    show([f for strain, rows in found.items() for f in figures(strain, rows)], options, count)
    if options.table:
        table(found)


if __name__ == "__main__":
    main()
