"""Series: every week of one bone laid on week 0, and on the week before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bonemet.core.context import SILENT, Context
from bonemet.core.errors import SettingsError
from bonemet.io.volumes import open_volume
from bonemet.roi.guard import Guard
from bonemet.stages.checks import refuse_threshold
from bonemet.stages.composite import choose_threshold, composite, published_name
from bonemet.stages.outcome import Outcome, peak_memory_mb


def series(
    scans: Sequence[str | Path],
    out: str | Path,
    *,
    threshold: float | None = None,
    guard: Guard | None = None,
    regions: str | Path | None = None,
    voxel_um: float | None = None,
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Make the composites of a series: each week on week 0, and each week on the week before.

    All have week 0's threshold, landmarks and regions.

    Parameters
    ----------
    scans
        Registered scans on one grid, by rising week, at least two; the first is week 0.
    out
        Folder that gets one folder for each composite, named as published.
    threshold
        Bone is grey >= threshold; by default Otsu's threshold of week 0.
    guard, regions, voxel_um
        As `composite` takes them.
    overwrite
        Whether composites that stand in ``out`` may be replaced.
    context
        Workers and progress.

    Returns
    -------
    Outcome
        ``threshold`` and ``pairs``: for each composite ``folder``, ``baseline``, ``followup``, ``days``, the
        ``guarded`` volumes, number of ``lesions`` and ``perforations``.

    Raises
    ------
    SettingsError
        If there are fewer than two scans.
    InputError
        As `composite` raises it.
    """
    start = time.perf_counter()
    refuse_threshold(threshold)
    paths = [Path(s) for s in scans]
    if len(paths) < 2:
        raise SettingsError(f"A series needs at least two scans, week 0 first, and {len(paths)} was given.")
    if len({p.resolve() for p in paths}) < len(paths):
        raise SettingsError("A series names one scan twice; give every week once.")
    volumes = [open_volume(p, voxel_um) for p in paths]
    bar = choose_threshold(volumes[0], context) if threshold is None else float(threshold)
    pairs: list[dict[str, Any]] = []
    outputs, warnings, done = [str(out)], [], True
    for before, after in _pairs(len(paths)):
        folder = Path(out) / published_name(volumes[before], volumes[after], f"{before} on {after}")
        outcome = composite(
            paths[before],
            paths[after],
            folder,
            threshold=bar,
            guard=guard,
            regions=regions,
            landmarks=paths[0] if before > 0 else None,
            voxel_um=voxel_um,
            overwrite=overwrite,
            context=context,
        )
        done = done and outcome.done_before
        outputs += outcome.outputs
        warnings += [f"{folder.name}: {w}" for w in outcome.warnings]
        pairs.append(_row(folder, paths[before], paths[after], outcome))
    seconds = time.perf_counter() - start
    results = {"threshold": bar, "pairs": pairs}
    return Outcome(outputs, seconds, peak_memory_mb(), warnings, results, done_before=done)


def _pairs(count: int) -> list[tuple[int, int]]:
    """Return which scan is laid on which: all on the first, then each on the one before."""
    return [(0, k) for k in range(1, count)] + [(k - 1, k) for k in range(2, count)]


def _row(folder: Path, before: Path, after: Path, outcome: Outcome) -> dict[str, Any]:
    """Return what the series says about one composite."""
    return {
        "folder": str(folder),
        "baseline": str(before),
        "followup": str(after),
        "days": outcome.results["days"],
        "guarded": outcome.results["guarded"],
        "bone_volume": outcome.results["bone_volume"],
        "lesions": len(outcome.results["lesions"]),
        "perforations": outcome.results["perforations"],
    }
