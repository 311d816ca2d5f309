"""Composite: what stayed, what is new and what was lost between two registered scans of one bone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.context import SILENT, Context
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.core.ids import ScanKey
from bonemet.core.view import View, both
from bonemet.core.volume import Volume
from bonemet.dataset import settings
from bonemet.io import sidecar, stacks
from bonemet.io.volumes import open_volume
from bonemet.roi.composite import KEPT, RESORBED, Change, count_change
from bonemet.roi.composite import composite as compose
from bonemet.roi.guard import Guard
from bonemet.roi.lesions import CoarseBone
from bonemet.roi.regions import DEFAULT
from bonemet.segmentation.threshold import otsu
from bonemet.stages._change import Pair, measure_change
from bonemet.stages._change_files import write_beside
from bonemet.stages._growth import known_growth
from bonemet.stages._seen import Seen
from bonemet.stages.checks import refuse_threshold
from bonemet.stages.outcome import Outcome, Product, produce

_LEAST_SHARED = 0.5  # two scans of one tibia share more than this part of the smaller one's bone
_FLOAT_BINS = 1024


def composite(
    baseline: str | Path,
    followup: str | Path,
    out: str | Path,
    *,
    threshold: float | None = None,
    days: float | None = None,
    error_um: float | None = None,
    guard: Guard | None = None,
    regions: str | Path | None = None,
    landmarks: str | Path | None = None,
    voxel_um: float | None = None,
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Make the composite of two registered scans, and measure what changed.

    Parameters
    ----------
    baseline, followup
        Volumes on one grid (folders of slices or files), the earlier and the later.
    out
        Folder for the composite, PNG slices: 180 bone in both, 240 new, 60 lost, 0 neither.
    threshold
        Bone is grey >= threshold in both (the published "above 75" is 76); by default Otsu's threshold of
        the baseline's greys other than 0.
    days
        Between the scans, for rates; by default seven for each week between the names.
    error_um
        Expected error of the registration, which the guard takes into account; by default what `register`
        expected of both scans.
    guard
        What counts as a change.
    regions
        TOML file that defines regions; the published ones by default.
    landmarks
        Registered scan of week 0, whose landmarks count, where the baseline is a later week.
    voxel_um
        Voxel size that overrides log and header.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    context
        Workers and progress.

    Returns
    -------
    Outcome
        ``unchanged_mm3``, ``formed_mm3``, ``resorbed_mm3``, ``net_mm3``: counted in the composite as it is;
        ``guarded``: the same with noise guarded against, by the settings in ``guard``, and ``guard_effect``,
        what each rule of the guard left; ``bone_volume``: of both scans and its net change, unguarded, each
        by the threshold at each place of that scan, without what lies beyond a plate that made bone;
        ``lesions``, a list, and ``perforations``, their holes through the cortex; ``scattered``: guarded
        change outside lesions;
        ``remodelling``: MV/BV, EV/BV, BFR, BRR, MS, ES, MAR, MRR; ``regions``: all of that by region;
        ``landmarks``; ``growth``: what lies beyond the growth plate of a growing bone, and is no formation;
        ``days``; ``threshold``.
        ``outside_view_mm3``: bone that one of the scans did not see, which is neither lost nor formed
        (only where it is known what they saw). Beside the folder stand ``OUT lesions.nii.gz`` (their
        numbers), ``OUT lesions.csv`` and ``OUT remodelling.csv``.

    Raises
    ------
    InputError
        If the two do not lie on one grid, are of different bones or hold no bone.
    """
    refuse_threshold(threshold)
    _refuse_numbers(days, error_um)
    paths = [Path(baseline), Path(followup)]
    inputs = [*paths, *([] if landmarks is None else [Path(landmarks)])]
    target = Path(out)
    definitions = DEFAULT if regions is None else settings.read_regions(Path(regions))
    parameters = {
        "threshold": threshold,
        "days": days,
        "error_um": error_um,
        "guard": None if guard is None else guard.as_dict(),
        "regions": [asdict(d) for d in definitions],
        "voxel_um": voxel_um,
    }

    def work(partial: Path) -> Product:
        before, after = (open_volume(p, voxel_um) for p in paths)
        _refuse_unlike(before, after, paths)
        bar = choose_threshold(before, context) if threshold is None else float(threshold)
        bars, warnings = _followup_threshold(bar, before.quantity, after.quantity)
        name, digits = _name(before, after)
        view = both(before.view, after.view)
        hidden = 0
        if view is not None:
            before, after, hidden = _only_seen(before, after, view, bars, context)
        prefix = f"{name} " if digits == 4 else name
        change, coarse = _write(partial, prefix, digits, (before, after), bars, context)
        warnings += _doubts(change, bars[0], paths)
        error = expected_error_um(paths) if error_um is None else error_um
        found = measure_change(
            Pair(before, after, bars, coarse, _week_0(inputs[2:], before, bars[0], voxel_um, context)),
            _with_error(guard or Guard(), error, before.grid),
            _days(before, after) if days is None else days,
            definitions,
            known_growth(paths),
            context,
        )
        voxel = before.grid.voxel_mm3
        results = {
            **change.as_mm3(voxel),
            **found.results,
            "error_um": error,
            "threshold": bars[0],
            "threshold_source": "Otsu" if threshold is None else "given",
            "followup_threshold": bars[1],
        }
        if view is not None:
            results["outside_view_mm3"] = hidden * voxel
        beside = write_beside(target, found, before.grid)
        notes = [*warnings, *found.notes]
        return Product(results, name, before.grid, Quantity(Kind.LABELS), notes, beside, view)

    return produce(target, "composite", parameters, inputs, work, overwrite=overwrite)


def _week_0(
    paths: Sequence[Path], before: Volume, bar: float, voxel_um: float | None, context: Context
) -> CoarseBone | None:
    """Return the bone of week 0 on the coarse grid, where a scan of it was given."""
    if not paths:
        return None
    first = open_volume(paths[0], voxel_um)
    if not first.grid.same_as(before.grid):
        raise InputError(f"{paths[0]} does not lie on the grid of the two scans; give the registered week 0.")
    bars, _ = _followup_threshold(bar, before.quantity, first.quantity)
    coarse = CoarseBone(first.grid.shape, first.grid.spacing_mm)
    slices = context.map(lambda z: np.asarray(first.data[z]), range(first.grid.shape[0]))
    for z, grey in enumerate(slices):
        coarse.add(z, grey >= bars[1], grey)
    return coarse


def _refuse_numbers(days: float | None, error_um: float | None) -> None:
    """Refuse days and errors without sense."""
    if days is not None and not (math.isfinite(days) and days > 0):
        raise SettingsError(f"The days between two scans must be positive, not {days:g}.")
    if error_um is not None and not (math.isfinite(error_um) and error_um >= 0):
        raise SettingsError(f"The expected error of a registration cannot be {error_um:g} um.")


def _with_error(guard: Guard, error_um: float | None, grid: Grid) -> Guard:
    """Return a guard that knows the registration's error."""
    if error_um is None:
        return guard
    return replace(guard, error_voxels=error_um / 1000 / min(grid.spacing_mm))


def expected_error_um(paths: Sequence[Path]) -> float | None:
    """Return the error that registration expected of scans together; None where it said nothing."""
    told = [_result(p, "expected_error_um") for p in paths]
    known = [t for t in told if t is not None]
    return math.hypot(*known) if known else None


def _result(path: Path, name: str) -> float | None:
    """Return a number from the results in a folder's sidecar."""
    side = sidecar.read(path) if path.is_dir() else None
    value = None if side is None else side.results.get(name)
    return float(value) if isinstance(value, int | float) else None


def _days(before: Volume, after: Volume) -> float | None:
    """Return the days between two scans by the weeks in their names."""
    first, second = _key(before), _key(after)
    if first is None or second is None or second.week <= first.week:
        return None
    return 7.0 * (second.week - first.week)


def _only_seen(
    before: Volume, after: Volume, view: View, bars: tuple[float, float], context: Context
) -> tuple[Volume, Volume, int]:
    """Blank what either scan did not see, so that it is no change; return the bone voxels blanked."""
    pairs = list(zip((Seen(before, view), Seen(after, view)), bars, strict=True))
    depth = range(before.grid.shape[0])
    hidden = sum(context.map(lambda z: max(seen.hidden(z, bar) for seen, bar in pairs), depth))
    return before.with_data(pairs[0][0]), after.with_data(pairs[1][0]), hidden


def choose_threshold(volume: Volume, context: Context = SILENT) -> float:
    """Return Otsu's threshold of a bone's values other than 0, which stands for what was cut away.

    A volume of two values is taken for a mask, and gets the value half-way.

    Raises
    ------
    InputError
        If all values are the same.
    """
    depth = range(volume.grid.shape[0])
    if volume.data.dtype.kind == "u" and volume.data.dtype.itemsize <= 2:
        levels = 256**volume.data.dtype.itemsize
        edges = np.arange(levels, dtype=np.float64)
        parts = context.map(lambda z: np.bincount(_row(volume, z), minlength=levels), depth)
    else:
        spans = list(context.map(lambda z: (_row(volume, z).min(), _row(volume, z).max()), depth))
        low, high = float(min(a for a, _ in spans)), float(max(b for _, b in spans))
        bins = np.linspace(low, high if high > low else low + 1, _FLOAT_BINS + 1)
        edges = bins[:-1]
        parts = context.map(lambda z: _float_counts(_row(volume, z), bins), depth)
    counts = np.zeros(len(edges), dtype=np.int64)
    for part in parts:
        counts += part
    found = edges[np.flatnonzero(counts)]
    if len(found) < 2:
        raise InputError(
            f"All values of {volume.name or 'the volume'} are the same, so none of them is bone."
        )
    if len(found) == 2:
        return float(found.mean())
    if volume.data.dtype.kind == "u":
        counts[0] = 0
    return otsu(counts, edges)


def _row(volume: Volume, z: int) -> NDArray[Any]:
    return np.asarray(volume.data[z]).ravel()


def _float_counts(values: NDArray[Any], bins: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the histogram of values other than 0."""
    return np.histogram(values[values != 0], bins)[0]


def _refuse_unlike(before: Volume, after: Volume, paths: list[Path]) -> None:
    """Refuse two volumes that are not two scans of one bone on one grid."""
    if Kind.LABELS in (before.quantity.kind, after.quantity.kind):
        raise InputError(
            f"{paths[0]} or {paths[1]} holds labels or a composite; give the two registered scans."
        )
    if not before.grid.same_as(after.grid):
        raise InputError(
            f"{paths[0]} ({_describe(before.grid)}) and {paths[1]} ({_describe(after.grid)}) do not lie "
            "on one grid; run `bonemet register` on the follow-up with the baseline as FIXED first."
        )
    keys = [_key(v) for v in (before, after)]
    if keys[0] is not None and keys[1] is not None:
        first, second = ((k.animal, k.side, k.bone) for k in keys if k is not None)
        if any(a and b and a != b for a, b in zip(first, second, strict=True)):
            raise InputError(
                f"{paths[0]} is of {keys[0]} and {paths[1]} of {keys[1]}, which are different bones; "
                "give two scans of one bone."
            )


def _describe(grid: Grid) -> str:
    """Return a grid in words."""
    shape = " x ".join(str(n) for n in grid.shape)
    voxel = " x ".join(f"{1000 * s:g}" for s in grid.spacing_mm)
    origin = ", ".join(f"{v:g}" for v in grid.origin_mm)
    return f"{shape} voxels of {voxel} um from ({origin}) mm"


def _key(volume: Volume) -> ScanKey | None:
    """Return animal, week and bone where the name says them."""
    try:
        return ScanKey.parse(volume.name)
    except InputError:
        return None


def published_name(before: Volume, after: Volume, otherwise: str) -> str:
    """Return the published name of a composite where animal and weeks are known, else another."""
    first, second = _key(before), _key(after)
    return otherwise if first is None or second is None else f"{second} w{first.week}w{second.week}composite"


def _name(before: Volume, after: Volume) -> tuple[str, int]:
    """Return the composite's name and the digits of its slices' numbers."""
    name = published_name(before, after, "composite")
    return name, 8 if name == "composite" else 4


def _followup_threshold(
    bar: float, before: Quantity, after: Quantity
) -> tuple[tuple[float, float], list[str]]:
    """Return the thresholds of both scans, which mean one attenuation where the windows are known."""
    if before.kind is not after.kind:
        raise InputError(
            f"The baseline holds {before.kind} and the follow-up {after.kind} values, which one threshold "
            "does not fit; reconstruct both alike."
        )
    if before == after or before.kind is not Kind.GREY:
        return (bar, bar), []
    if before.window is None or after.window is None or before.step is None or after.step is None:
        return (bar, bar), [
            "The grey window of one of the two scans is not known, so one threshold may mean two densities."
        ]
    attenuation = before.window[0] + bar * before.step
    other = (attenuation - after.window[0]) / after.step
    return (bar, other), [
        f"The two scans have different grey windows, so the follow-up's threshold is {other:g} for {bar:g}."
    ]


def _write(
    folder: Path,
    prefix: str,
    digits: int,
    volumes: tuple[Volume, Volume],
    bars: tuple[float, float],
    context: Context,
) -> tuple[Change, tuple[CoarseBone, CoarseBone]]:
    """Write the composite slice by slice; return the counts, and both scans' bone on a coarse grid."""
    before, after = volumes
    total = Change(0, 0, 0)
    grid = before.grid
    coarse = CoarseBone(grid.shape, grid.spacing_mm), CoarseBone(grid.shape, grid.spacing_mm)

    def one(z: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.uint8]]:
        pair = np.asarray(before.data[z]), np.asarray(after.data[z])
        return *pair, compose(*pair, *bars)

    def slices() -> Iterator[NDArray[np.uint8]]:
        nonlocal total
        with context.progress("composite", grid.shape[0]) as tick:
            for z, (old, new, codes) in enumerate(context.map(one, range(grid.shape[0]))):
                total += count_change(codes)
                coarse[0].add(z, (codes == KEPT) | (codes == RESORBED), old)
                coarse[1].add(z, codes >= KEPT, new)
                yield codes
                tick(1)

    stacks.write_slices(folder, prefix, slices(), format="indexed", digits=digits)
    return total, coarse


def _doubts(change: Change, bar: float, paths: list[Path]) -> list[str]:
    """Refuse two scans without bone; return what looks wrong with the pair."""
    first, second = change.unchanged + change.resorbed, change.unchanged + change.formed
    for count, path in zip((first, second), paths, strict=True):
        if count == 0:
            raise InputError(f"{path} holds no bone at or above the threshold of {bar:g}; give a lower one.")
    shared = change.unchanged / min(first, second)
    if shared >= _LEAST_SHARED:
        return []
    return [
        f"The two scans share only {shared:.0%} of their bone; "
        "check that they are of one leg and that the follow-up is registered."
    ]
