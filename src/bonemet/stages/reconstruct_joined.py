"""Connected scans (``~00``, ``~01``): where each part lies, and which slices it makes.

The stage moves the animal along the axis between the parts of a long scan; the parts overlap. The log's
`Scanning position` tells how far the parts lie apart; what both saw tells the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError
from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.io import skyscan
from bonemet.recon import fdk, joining, weights
from bonemet.stages.reconstruct_part import Part
from bonemet.stages.reconstruct_range import Range

COLUMNS = 320  # of the small copies by which parts are matched, at most
DEPTH = 32  # slices of these
THIN = 4  # slices of these that are the least to match
FARTHEST = 0.05  # share of the field by which a match may differ from the stage

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Place:
    """Where a part lies: what is at p in the frame of the whole lies at p - at in the part's, turned.

    Attributes
    ----------
    at_mm
        (x, y, z).
    turn_deg
        By how much the part's slices are turned clockwise to fit the first part.
    report
        What was found, JSON types only.
    """

    at_mm: Point = (0.0, 0.0, 0.0)
    turn_deg: float = 0.0
    report: tuple[tuple[str, Any], ...] = ()


def in_order(parts: Sequence[Part]) -> tuple[list[Part], list[float]]:
    """Return parts from the first rows down, and how far below the first each lies by the stage, in mm.

    Raises
    ------
    InputError
        If a log tells no position, or parts do not fit or do not overlap.
    """
    down = [skyscan.stage_mm(p.log) for p in parts]
    for part, place in zip(parts, down, strict=True):
        if place is None:
            raise InputError(
                f"{part.log.path} gives no 'Scanning position', so its place among the connected scans "
                "is not known; add it to the log, or reconstruct the parts one by one."
            )
    known = [(float(place or 0.0), n) for n, place in enumerate(down)]
    order = [n for _, n in sorted(known)]
    placed = [known[n][0] - known[order[0]][0] for n in order]
    sorted_parts = [parts[n] for n in order]
    for (a, above), (b, below) in pairwise(zip(sorted_parts, placed, strict=True)):
        _refuse_unlike(a, b, below - above)
    return sorted_parts, placed


def _refuse_unlike(a: Part, b: Part, apart_mm: float) -> None:
    g, h = a.geometry, b.geometry
    names = f"{a.log.path.name} and {b.log.path.name}"
    if (g.rows, g.columns) != (h.rows, h.columns) or not math.isclose(g.pixel_mm, h.pixel_mm, rel_tol=1e-4):
        raise InputError(
            f"{names} differ in size or pixel, so they are no parts of one scan; reconstruct them one by one."
        )
    if not 0 < apart_mm < g.rows * g.pixel_mm:
        raise InputError(
            f"{names} lie {apart_mm:g} mm apart, and a part covers {g.rows * g.pixel_mm:.3f} mm, so they do "
            "not overlap; check 'Scanning position' in the logs, or reconstruct them one by one."
        )


def whole_geometry(parts: Sequence[Part], down: Sequence[float]) -> ConeGeometry:
    """Return the geometry of a camera tall enough to see all parts at once, for its grid."""
    first = parts[0].geometry
    return replace(first, rows=round(down[-1] / first.pixel_mm) + first.rows)


def shares(parts: Sequence[Part], down: Sequence[float], what: Range) -> list[tuple[int, int]]:
    """Return the slices (first, stop) of each part: seams lie midway between the planes of the source."""
    levels = [d + p.geometry.optical_axis_row * p.geometry.pixel_mm for p, d in zip(parts, down, strict=True)]
    seams = [(a + b) / 2 for a, b in pairwise(levels)]
    origin, step = what.full.origin_mm[2], what.full.spacing_mm[0]
    cuts = [what.first, *(math.ceil((s - origin) / step) for s in seams), what.stop]
    ends = [min(max(c, what.first), what.stop) for c in cuts]
    return list(pairwise(ends))


def place(parts: Sequence[Part], down: Sequence[float]) -> list[Place]:
    """Return where each part lies, matched with the one before it; the first is where it is.

    Where a match cannot be believed, the stage's position stands, and the part warns.
    """
    places = [Place(turn_deg=parts[0].settings.rotate_deg)]
    for k, (upper, lower) in enumerate(pairwise(parts), start=1):
        apart = down[k] - down[k - 1]
        found, size = _matched(upper, lower, apart)
        x, y, z = (s * size for s in found.shift) if found is not None else (0.0, 0.0, 0.0)
        field = lower.geometry.columns * lower.geometry.pixel_mm
        good = found is not None and found.good and math.hypot(x, y, z) < FARTHEST * field
        if not good:
            x = y = z = 0.0
            lower.warnings.append(
                f"What {lower.log.path.stem} and the part above it saw of the same place does not agree "
                "well, so they are joined by the stage's position alone; look at the seam."
            )
        places.append(_next(places[-1], (x, y, z), found.turn_deg if good and found else 0.0, apart, found))
    return places


def _next(before: Place, shift: Point, turn_deg: float, apart: float, found: joining.Match | None) -> Place:
    """Return the place of a part below another one, whose content it shows at R p + shift."""
    angle = math.radians(turn_deg)
    c, s = math.cos(angle), math.sin(angle)
    back = (c * shift[0] + s * shift[1], c * shift[1] - s * shift[0], shift[2])  # as if it were not turned
    angle = math.radians(before.turn_deg)
    c, s = math.cos(angle), math.sin(angle)
    x, y, z = before.at_mm
    at = (x - (c * back[0] - s * back[1]), y - (s * back[0] + c * back[1]), z + apart - back[2])
    report = {
        "stage_mm": apart,
        "shift_um": [round(1000 * v, 3) for v in shift],
        "turn_deg": round(turn_deg, 4),
        "agreement": None if found is None else round(found.correlation, 4),
    }
    return Place(at, before.turn_deg - turn_deg, tuple(report.items()))


def _matched(upper: Part, lower: Part, apart: float) -> tuple[joining.Match | None, float]:
    """Match two parts in the middle of what both saw; return the match and the voxel in mm."""
    g = upper.geometry
    size = g.pixel_mm * max(1, -(-g.columns // COLUMNS))
    last = (g.rows - 1) * g.pixel_mm
    depth = min(DEPTH, int((last - apart) / size))
    if depth < THIN:
        return None, size
    side = max(1, round(g.columns * g.pixel_mm / size))
    edge = (g.columns - 1) / 2 * g.pixel_mm - (side - 1) / 2 * size
    top = (apart + last) / 2 - (depth - 1) / 2 * size
    slabs = []
    for part, down in ((upper, 0.0), (lower, apart)):
        grid = Grid.isotropic((depth, side, side), size, (edge, edge, top - down))
        slabs.append(_slab(part, grid))
    return joining.match(*slabs), size


def _slab(part: Part, grid: Grid) -> NDArray[np.float32]:
    slices = (0, grid.shape[0])
    part.rays.prepare(*fdk.rows_to_read(part.geometry, grid, *slices))
    return fdk.reconstruct(part.read, part.geometry, grid, slices, mapper=part.context.map)


def own_range(what: Range, share: tuple[int, int], place: Place) -> Range | None:
    """Return a part's share of the slices, in its own frame; None where it has none."""
    x, y, z = what.full.origin_mm
    dx, dy, dz = place.at_mm
    full = replace(what.full, origin_mm=(x - dx, y - dy, z - dz))
    first, stop = share
    if first == stop:
        return None
    start = [round(v) for v in what.full.mm_to_index(what.grid.origin_mm)]
    size = what.grid.shape
    grid = full.crop((first, *start[1:]), (stop, start[1] + size[1], start[2] + size[2]))
    return Range(full, first, stop, grid)


def seam_note(parts: Sequence[Part], down: Sequence[float]) -> str | None:
    """Return what should be known about seams that cones do not cover, if anything."""
    for k, (upper, lower) in enumerate(pairwise(parts), start=1):
        g = lower.geometry
        half = (down[k] - down[k - 1]) / 2
        seen = min(g.optical_axis_row, upper.geometry.rows - 1 - upper.geometry.optical_axis_row) * g.pixel_mm
        radius = g.sod_mm * (1 - half / seen) if seen > 0 else 0.0
        if radius < weights.field_radius_mm(g):
            return (
                f"Parts {half * 2:.3f} mm apart leave rays unseen near their seams beyond "
                f"{max(radius, 0):.2f} mm from the axis; values there are less exact."
            )
    return None
