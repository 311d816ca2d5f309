"""Composite: what stayed, what is new and what was lost between two registered scans of one bone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.context import SILENT, Context
from bonemet.core.errors import InputError
from bonemet.core.grid import Grid
from bonemet.core.ids import ScanKey
from bonemet.core.view import View, both
from bonemet.core.volume import Volume
from bonemet.io import stacks
from bonemet.io.volumes import open_volume
from bonemet.roi.composite import Change, Guard, count_change, guarded_change
from bonemet.roi.composite import composite as compose
from bonemet.segmentation.threshold import otsu
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
        ``guarded``: the same with noise guarded against, by the settings in ``guard``; ``threshold``.
        ``outside_view_mm3``: bone that one of the scans did not see, which is neither lost nor formed
        (only where it is known what they saw).

    Raises
    ------
    InputError
        If the two do not lie on one grid, are of different bones or hold no bone.
    """
    refuse_threshold(threshold)
    paths = [Path(baseline), Path(followup)]
    guard = Guard()
    parameters = {"threshold": threshold, "voxel_um": voxel_um, "guard": guard.as_dict()}

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
        change = _write(partial, prefix, digits, (before, after), bars, context)
        warnings += _doubts(change, bars[0], paths)
        with context.progress("guard", before.grid.shape[0]) as tick:
            guarded = guarded_change(before.data, after.data, bars, guard, mapper=context.map, tick=tick)
        voxel = before.grid.voxel_mm3
        results = {
            **change.as_mm3(voxel),
            "guarded": guarded.as_mm3(voxel),
            "guard": guard.as_dict(),
            "threshold": bars[0],
            "threshold_source": "Otsu" if threshold is None else "given",
            "followup_threshold": bars[1],
        }
        if view is not None:
            results["outside_view_mm3"] = hidden * voxel
        return Product(results, name, before.grid, Quantity(Kind.LABELS), warnings, view=view)

    return produce(Path(out), "composite", parameters, paths, work, overwrite=overwrite)


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


def _name(before: Volume, after: Volume) -> tuple[str, int]:
    """Return the published name where animal and weeks are known, else a plain one, and the digits."""
    first, second = _key(before), _key(after)
    if first is None or second is None:
        return "composite", 8
    return f"{second} w{first.week}w{second.week}composite", 4


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
) -> Change:
    """Write the composite slice by slice and return the counts."""
    before, after = volumes
    total = Change(0, 0, 0)

    def one(z: int) -> NDArray[np.uint8]:
        return compose(np.asarray(before.data[z]), np.asarray(after.data[z]), *bars)

    def slices() -> Iterator[NDArray[np.uint8]]:
        nonlocal total
        with context.progress("composite", before.grid.shape[0]) as tick:
            for codes in context.map(one, range(before.grid.shape[0])):
                total += count_change(codes)
                yield codes
                tick(1)

    stacks.write_slices(folder, prefix, slices(), format="png", digits=digits)
    return total


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
