"""What changed between two registered scans: guarded volumes, lesions, remodelling, by region of the bone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Context
from bonemet.core.errors import InputError
from bonemet.core.grid import Grid
from bonemet.core.volume import Volume
from bonemet.morphometry.remodelling import (
    Change,
    Tally,
    interval_note,
    remodelling_measures,
    tally,
)
from bonemet.morphometry.surface import surface_area
from bonemet.roi import lesions as shapes
from bonemet.roi.guard import Guard, GuardedMap, guarded_map
from bonemet.roi.landmarks import Landmarks, find_landmarks
from bonemet.roi.lesions import Box, CoarseBone, Lesion, box_of
from bonemet.roi.regions import Definition, spans
from bonemet.roi.volume import bone_voxels
from bonemet.segmentation.bone import Compartments, compartments
from bonemet.stages._growth import Beyond, Known, without_growth

_CODE_OF = {180: 1, 240: 2, 60: 3}  # of the tally, by published grey
_TALLY = np.zeros(256, dtype=np.uint8)
for _grey, _code in _CODE_OF.items():
    _TALLY[_grey] = _code


@dataclass(frozen=True, eq=False)
class Pair:
    """Two scans on one grid.

    Attributes
    ----------
    before, after
        The scans.
    bars
        Their thresholds.
    coarse
        Their bone on the coarse grid.
    first
        The bone of week 0 there, whose landmarks count; the baseline's by default.
    """

    before: Volume
    after: Volume
    bars: tuple[float, float]
    coarse: tuple[CoarseBone, CoarseBone]
    first: CoarseBone | None = None

    @property
    def grid(self) -> Grid:
        """Where the voxels are."""
        return self.before.grid

    def bone(self, z: int | slice) -> NDArray[np.bool_]:
        """Return the baseline's bone in a slice or in some."""
        return np.asarray(np.asarray(self.before.data[z]) >= self.bars[0])


@dataclass(frozen=True, eq=False)
class Found:
    """What was found.

    Attributes
    ----------
    results
        For the sidecar.
    lesions
        Lesions and their flat voxels.
    notes
        What a reader should know.
    """

    results: dict[str, Any]
    lesions: list[tuple[Lesion, NDArray[np.int64]]]
    notes: list[str]


def measure_change(
    pair: Pair,
    guard: Guard,
    days: float | None,
    definitions: tuple[Definition, ...],
    known: Known,
    context: Context,
) -> Found:
    """Measure what changed between two scans.

    Parameters
    ----------
    pair
        The scans.
    guard
        What counts as a change.
    days
        Between the scans, where known.
    definitions
        Regions to measure beside the whole bone.
    known
        Growth that the registration measured.
    context
        Workers and progress.
    """
    before, after = pair.before, pair.after
    with context.progress("guard", pair.grid.shape[0]) as tick:
        found = guarded_map(
            before.data, after.data, pair.bars, guard, pair.grid.spacing_mm, mapper=context.map, tick=tick
        )
    effect = found.effect(pair.grid.voxel_mm3)
    marks = find_landmarks(pair.first or pair.coarse[0])
    growth, found, grown = without_growth(found, pair.grid, pair.coarse, marks, known)
    counted = _tally(pair, found, grown, context)
    total = counted.within(0, pair.grid.shape[0] - 1)
    described = _lesions(pair, found, marks, context)
    in_lesions = {
        kind: sum(x.volume_mm3 for x, _ in described if x.kind == kind)
        for kind in ("osteolytic", "osteoblastic")
    }
    regions, notes = _regions(counted, marks, definitions, pair.grid, days)
    results = {
        "guarded": _volumes(total),
        "bone_volume": _bone_volume(pair, found, guard, grown, context),
        "guard": guard.as_dict(),
        "guard_effect": effect,
        "days": days,
        "landmarks": _landmarks(marks),
        "growth": growth,
        "lesions": [x.as_dict() for x, _ in described],
        "perforations": sum(x.perforations or 0 for x, _ in described),
        "scattered": {
            "formed_mm3": total.formed_mm3 - in_lesions["osteoblastic"],
            "resorbed_mm3": total.resorbed_mm3 - in_lesions["osteolytic"],
        },
        "remodelling": [m.as_dict() for m in remodelling_measures(total, days)],
        "regions": regions,
    }
    late = interval_note(days)
    return Found(results, described, [*notes, *([late] if late else [])])


def _bone_volume(
    pair: Pair, found: GuardedMap, guard: Guard, grown: Beyond | None, context: Context
) -> dict[str, float]:
    """Return the bone of either scan by itself (mm3) and its net change, without what grew beyond plates."""
    first, last = (
        pair.grid.voxel_mm3
        * bone_voxels(
            scan.data, scale, guard.local_mm, pair.grid.spacing_mm, without=grown, mapper=context.map
        )
        for scan, scale in zip((pair.before, pair.after), found.scales, strict=True)
    )
    return {"before_mm3": first, "after_mm3": last, "net_mm3": last - first}


def _volumes(change: Change) -> dict[str, float]:
    return {
        "unchanged_mm3": change.unchanged_mm3,
        "formed_mm3": change.formed_mm3,
        "resorbed_mm3": change.resorbed_mm3,
        "net_mm3": change.net_mm3,
    }


def _landmarks(marks: Landmarks | None) -> dict[str, Any]:
    """Return the landmarks for the sidecar; null with a reason where there are none."""
    if marks is None:
        reason = "no tibia with its fibula was found in the baseline"
        return {"direction": None, "junction_slice": None, "growth_plate_slice": None, "reason": reason}
    plate, ankle = marks.plate, marks.distal_plate
    out: dict[str, Any] = {
        "direction": marks.direction,
        "junction_slice": marks.junction,
        "growth_plate_slice": None if plate is None else round(plate.slice, 2),
        "growth_plate_confidence": 0.0 if plate is None else plate.confidence,
        "distal_growth_plate_slice": None if ankle is None else round(ankle.slice, 2),
        "bone_slices": list(marks.bone_slices),
    }
    return out if plate is not None else out | {"reason": "no growth plate was found in the baseline"}


def _tally(pair: Pair, found: GuardedMap, grown: Beyond | None, context: Context) -> Tally:
    """Count the guarded change and its surfaces; bone beyond the plate of a growing bone is left out."""
    shape = pair.grid.shape
    window = _window(pair.coarse)

    def one(z: int) -> NDArray[np.uint8]:
        (before,) = found.bone(z, np.asarray(pair.before.data[z]))
        codes = _TALLY[found.codes(z, before)][window]
        if grown is not None and codes.any():
            at = np.argwhere(codes)
            corner = np.array([window[0].start, window[1].start])
            index = np.column_stack([np.full(len(at), z), at + corner])
            codes[tuple(at[grown(index)].T)] = 0
        return codes

    def slices() -> Iterator[NDArray[np.uint8]]:
        with context.progress("count", shape[0]) as tick:
            for z in range(shape[0]):
                yield one(z)
                tick(1)

    return tally(slices(), pair.grid.spacing_mm, mapper=context.map)


def _window(coarse: tuple[CoarseBone, CoarseBone]) -> tuple[slice, slice]:
    """Return the rows and columns that hold bone in either scan, with a margin."""
    flat = np.asarray((coarse[0].counts + coarse[1].counts > 0).any(axis=0))
    out = []
    for axis in (1, 0):
        at = np.flatnonzero(flat.any(axis=axis))
        factor, size = coarse[0].factors[2 - axis], coarse[0].shape[2 - axis]
        low, high = (int(at[0]), int(at[-1]) + 1) if len(at) else (0, 1)
        out.append(slice(max(0, low * factor - 2), min(size, high * factor + 2)))
    return out[0], out[1]


def _regions(
    counted: Tally,
    marks: Landmarks | None,
    definitions: tuple[Definition, ...],
    grid: Grid,
    days: float | None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return change and remodelling of every region."""
    out: list[dict[str, Any]] = []
    notes: list[str] = []
    for definition in definitions:
        try:
            span = spans(definition, marks, grid.spacing_mm[0], grid.shape[0])
        except InputError as error:
            out.append({"name": definition.name, "net_mm3": None, "reason": str(error)})
            continue
        change = counted.within(span.first_slice, span.last_slice)
        notes += span.notes
        out.append(
            {
                "name": definition.name,
                "first_slice": span.first_slice,
                "last_slice": span.last_slice,
                **_volumes(change),
                "net_share": change.net_mm3 / change.baseline_mm3 if change.baseline_mm3 else None,
                "remodelling": [m.as_dict() for m in remodelling_measures(change, days, definition.name)],
            }
        )
    return out, notes


def _lesions(
    pair: Pair, found: GuardedMap, marks: Landmarks | None, context: Context
) -> list[tuple[Lesion, NDArray[np.int64]]]:
    """Return the lesions, osteolytic ones first."""
    spacing = pair.grid.spacing_mm
    groups = [
        ("osteolytic", shapes.group(found.resorbed, pair.coarse[0], spacing)),
        ("osteoblastic", shapes.group(found.formed, pair.coarse[1], spacing)),
    ]
    around = _Surroundings(pair, [v for _, part in groups for v in part], context)
    out: list[tuple[Lesion, NDArray[np.int64]]] = []
    with context.progress("lesions", sum(len(part) for _, part in groups)) as tick:
        for kind, part in groups:
            for voxels in part:
                lesion = shapes.describe(
                    voxels,
                    pair.grid,
                    len(out) + 1,
                    kind,  # type: ignore[arg-type]  # the two kinds stand above
                    plate=None if marks is None else marks.plate,
                    direction=1 if marks is None else marks.direction,
                    surface_mm2=lambda mask: surface_area(mask, spacing, mapper=context.map),
                    around=around,
                )
                out.append((lesion, voxels))
                tick(1)
    return out


class _Surroundings:
    """The baseline's compartments around lesions, found once for all slices that hold one."""

    def __init__(self, pair: Pair, groups: list[NDArray[np.int64]], context: Context) -> None:
        self._pair = pair
        self._context = context
        size = pair.grid.shape[1] * pair.grid.shape[2]
        ends = [(int(v[0] // size), int(v[-1] // size)) for v in groups]
        self._first = max(0, min((a for a, _ in ends), default=0) - 2)
        self._last = min(pair.grid.shape[0], max((b for _, b in ends), default=0) + 3)
        self._window = _window(pair.coarse)
        self._found: tuple[Compartments, NDArray[np.bool_]] | None = None

    def __call__(self, box: Box) -> tuple[Compartments, NDArray[np.bool_]]:
        if self._found is None:
            rows, columns = self._window
            bone = np.stack([self._pair.bone(z)[rows, columns] for z in range(self._first, self._last)])
            parts = compartments(bone, self._pair.grid.spacing_mm, mapper=self._context.map)
            self._found = parts, bone
        parts, bone = self._found
        where = self._where(box)
        cut = Compartments(*(_padded(m, where) for m in (parts.outline, parts.cortical, parts.trabecular)))
        return cut, _padded(bone, where)

    def _where(self, box: Box) -> list[tuple[int, int]]:
        """Return the box's first and last voxels within the window of what was found."""
        starts = (self._first, self._window[0].start, self._window[1].start)
        return [(s.start - a, s.stop - a) for s, a in zip(box.slices, starts, strict=True)]


def _padded(mask: NDArray[np.bool_], where: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """Return a box of a mask; what lies beyond the mask is False."""
    out = np.zeros([b - a for a, b in where], dtype=bool)
    inner = tuple(slice(max(a, 0), min(b, n)) for (a, b), n in zip(where, mask.shape, strict=True))
    place = tuple(slice(i.start - a, i.stop - a) for i, (a, _) in zip(inner, where, strict=True))
    out[place] = mask[inner]
    return out


def label_volume(found: Found, grid: Grid) -> tuple[NDArray[np.uint16], Grid] | None:
    """Return the lesions' numbers in the box that holds them all, and its grid; None without a lesion."""
    if not found.lesions:
        return None
    everything = np.sort(np.concatenate([v for _, v in found.lesions]))
    box = box_of(everything, grid.shape)
    labels = np.zeros(box.mask.shape, dtype=np.uint16)
    for lesion, voxels in found.lesions:
        index = np.stack(np.unravel_index(voxels, grid.shape), axis=1) - np.asarray(box.start)
        labels[tuple(index.T)] = lesion.number
    stop = [a + n for a, n in zip(box.start, box.mask.shape, strict=True)]
    return labels, grid.crop(box.start, stop)
