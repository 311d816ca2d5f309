"""Measure: bone's standard measures of a stack or volume, by their ASBMR names."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind
from bonemet.core.context import SILENT, Context
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.volume import Volume
from bonemet.io.volumes import open_volume
from bonemet.morphometry.measuring import Sample, measure_region
from bonemet.morphometry.nomenclature import check_definition, choose
from bonemet.segmentation.threshold import otsu
from bonemet.stages.checks import refuse_threshold
from bonemet.stages.outcome import Outcome, peak_memory_mb

_FLOAT_BINS = 4096
_BYTES_SPHERES, _BYTES_COUNTS = 32, 4  # memory for each voxel beside its own number


@dataclass(frozen=True)
class Cut:
    """A threshold, where it came from, and what a person should know about it."""

    value: float
    source: str
    note: str | None = None


def measure(
    volume: str | Path,
    *,
    mask: str | Path | None = None,
    threshold: float | None = None,
    definition: str = "ctan",
    only: str | Iterable[str] | None = None,
    voxel_um: float | None = None,
    context: Context = SILENT,
) -> Outcome:
    """Measure bone volume, trabeculae and cortex of a stack or volume.

    Nothing is written.

    Parameters
    ----------
    volume
        Folder of slices or volume file, of grey values or two-valued.
    mask
        Volume on the same grid whose non-zero voxels are the region; the whole volume without it.
    threshold
        T: bone is value >= T. Without it: the only cut of a two-valued volume, else Otsu's.
    definition
        Whose Tb.N: ``ctan``, ``ipl`` or ``plate``.
    only
        Names of measures, or one text with commas (``"Tb.Th,Tb.Sp"``); volumes and trabeculae by default.
    voxel_um
        Edge of the voxels in micrometres; overrides log and header.
    context
        Threads and progress.

    Returns
    -------
    Outcome
        Its results: ``measures``, ``threshold``, ``threshold_source``, ``definition``, ``region``, ``shape``,
        ``spacing_mm``, ``voxel_um``.

    Raises
    ------
    SettingsError
        If a name, the definition or the threshold makes no sense.
    InputError
        If the volume or the mask cannot be used.

    Examples
    --------
    >>> measure("trabecular-cube", voxel_um=19.5, threshold=63, only="BV/TV")  # doctest: +SKIP
    """
    start = time.perf_counter()
    names, chosen = choose(only), check_definition(definition)
    refuse_threshold(threshold)
    opened = open_volume(Path(volume), voxel_um)
    _check_memory(opened, names, context.memory_gb)
    grey = opened.array()
    if grey.dtype.kind == "f" and not np.isfinite(grey).all():
        raise InputError(f"{volume} holds values that are not finite numbers, so it cannot be measured.")
    region, place = (None, None) if mask is None else _region(Path(mask), opened, voxel_um)
    cut = find_threshold(grey, region) if threshold is None else Cut(float(threshold), "given")
    sample = Sample(
        np.asarray(grey >= cut.value),
        opened.grid,
        region,
        "whole" if mask is None else "mask",
        None if opened.quantity.kind in (Kind.MASK, Kind.LABELS) else grey,
        opened.quantity,
    )
    with context.progress("Measuring", len(names)) as tick:
        measured = measure_region(sample, names, definition=chosen, mapper=context.map, tick=tick)
    spacing = opened.grid.spacing_mm
    results: dict[str, Any] = {
        "measures": [m.as_dict() for m in measured.measures],
        "threshold": cut.value,
        "threshold_source": cut.source,
        "definition": chosen,
        "region": sample.name,
        "shape": list(opened.grid.shape),
        "spacing_mm": list(spacing),
        "voxel_um": round(min(spacing) * 1000, 4) if np.allclose(spacing, min(spacing), rtol=1e-4) else None,
    }
    if results["voxel_um"] is None:
        results["voxel_um_reason"] = "the voxels are not cubes; see spacing_mm"
    inside = sample.bone if region is None else sample.bone & region
    empty = None if inside.any() else f"No voxel is bone: none is at or above {cut.value:g}."
    notes = [*opened.notes, *(n for n in (place, cut.note, empty) if n), *measured.notes]
    return Outcome([], time.perf_counter() - start, peak_memory_mb(), notes, results)


def find_threshold(grey: NDArray[Any], region: NDArray[np.bool_] | None = None) -> Cut:
    """Return the threshold that a volume itself suggests: the cut of two values, else Otsu's.

    Parameters
    ----------
    grey
        (z, y, x) numbers.
    region
        (z, y, x): the voxels whose values count; all by default.

    Raises
    ------
    InputError
        If all values are the same, so there is nothing to part.
    """
    values, counts = _histogram(grey if region is None else grey[region])
    if values.size < 2:
        what = f"only the value {values[0]:g}" if values.size else "no voxel"
        raise InputError(f"There is {what} in the region, so no threshold can be found; give --threshold.")
    if values.size == 2:
        middle = float(values[0] + values[1]) / 2
        note = (
            f"The volume holds two values, {values[0]:g} and {values[1]:g}; the upper one is taken as bone."
        )
        return Cut(middle, "two-valued volume", note)
    return Cut(otsu(counts, values), "otsu")


def _check_memory(volume: Volume, names: tuple[str, ...], memory_gb: float) -> None:
    """Refuse volumes that need more memory than the budget, rather than be killed half-way."""
    spheres = not {"Tb.Th", "Tb.Sp", "Tb.N", "Ct.Th", "Conn.D"}.isdisjoint(names)
    per_voxel = volume.data.dtype.itemsize + (_BYTES_SPHERES if spheres else _BYTES_COUNTS)
    need = per_voxel * int(np.prod(volume.grid.shape)) / 1e9
    if need > memory_gb:
        raise SettingsError(
            f"Measuring {' x '.join(map(str, volume.grid.shape))} voxels takes about {need:.1f} GB, and "
            f"{memory_gb:g} GB are allowed; crop the volume, raise --memory-gb, or ask for fewer measures."
        )


def _histogram(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the values that occur, in rising order, and how often; many floats share bins."""
    if values.size == 0:
        return np.empty(0), np.empty(0, dtype=np.int64)
    low, high = float(values.min()), float(values.max())
    where: NDArray[np.float64]
    if values.dtype.kind in "uib" and high - low < 2**16:
        counts = np.bincount((values.astype(np.int64) - int(low)).ravel())
        found, where = counts.astype(np.int64), np.arange(counts.size, dtype=np.float64) + low
    elif np.all((values == low) | (values == high)):
        upper = int(np.count_nonzero(values == high))
        found, where = np.array([values.size - upper, upper]), np.array([low, high])
    else:
        counts, edges = np.histogram(values, bins=_FLOAT_BINS, range=(low, high))
        found, where = counts.astype(np.int64), edges[:-1].astype(np.float64)
    present = found > 0
    return np.asarray(where[present], dtype=np.float64), np.asarray(found[present], dtype=np.int64)


def _region(path: Path, volume: Volume, voxel_um: float | None) -> tuple[NDArray[np.bool_], str | None]:
    """Return the non-zero voxels of a mask, and a note if its header puts them at another place."""
    edge = volume.grid.spacing_mm
    opened = open_volume(path, voxel_um) if voxel_um else _open_like(path, edge)
    if opened.grid.shape != volume.grid.shape:
        raise InputError(
            f"The mask {path} of shape {opened.grid.shape} does not fit the volume of {volume.grid.shape}; "
            "make the mask on the volume's own grid."
        )
    if not np.allclose(opened.grid.spacing_mm, edge, rtol=1e-3):
        raise InputError(
            f"The mask {path} has voxels of {opened.grid.spacing_mm} mm and the volume of {edge} mm; "
            "make the mask on the volume's own grid."
        )
    region = np.asarray(opened.array() != 0)
    if not region.any():
        raise InputError(f"The mask {path} is zero everywhere, so there is no region to measure.")
    if opened.grid.same_as(volume.grid, tolerance=0.5):
        return region, None
    return region, (
        f"The headers of {path.name} and of the volume give different places, of "
        f"{opened.grid.origin_mm} and {volume.grid.origin_mm} mm; they were laid on each other as arrays."
    )


def _open_like(path: Path, spacing: tuple[float, float, float]) -> Volume:
    """Open a mask; where it does not say its voxel size, it is taken to have the volume's."""
    try:
        return open_volume(path)
    except InputError:
        return open_volume(path, spacing[0] * 1000)
