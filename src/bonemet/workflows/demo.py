"""The demonstration: simulate a small study, run everything on its files, compare planted with measured."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from bonemet.core.context import SILENT, Context
from bonemet.dataset import derived
from bonemet.io.output import whole_file
from bonemet.stages.outcome import Outcome, peak_memory_mb
from bonemet.stages.simulate import simulate
from bonemet.workflows.compare import compare
from bonemet.workflows.run import run

ANIMALS = 2
WEEKS = (0, 3)


def demo(
    directory: str | Path,
    *,
    seed: int = 1,
    preset: str = "small",
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Simulate a small longitudinal study as raw scans, run everything on it, and compare.

    Two animals (871 and 872), one with a tumour in one tibia, are scanned in weeks 0 and 3. The
    study is then run exactly as a laboratory's would be; the planted truth is read only afterwards.

    Parameters
    ----------
    directory
        Folder to make; holds the published layout and ``report.html``.
    seed
        Of the simulated animals and scans.
    preset
        Size of the scans: ``small`` has four voxels across a cortex; ``tiny`` only tries the way through.
    overwrite
        Whether ``directory`` may be replaced if it holds something else.
    context
        Threads, memory and progress.

    Returns
    -------
    Outcome
        ``comparison``: a list of planted and measured values with their goals; ``holds``: whether
        all goals are met; ``report``: path of the page.
    """
    start = time.perf_counter()
    root = Path(directory)
    made = simulate(
        root, preset=preset, animals=ANIMALS, weeks=WEEKS, seed=seed, overwrite=overwrite, context=context
    )
    done = run(root, context=context)
    rows = _comparison(root, fresh=not (made.done_before and done.done_before))
    results: dict[str, Any] = {
        "report": done.results["report"],
        "comparison": rows,
        "holds": all(row["holds"] for row in rows),
        "failed": done.results["failed"],
        "review": done.results["review"],
    }
    return Outcome(
        [str(root), *done.outputs[1:]],
        time.perf_counter() - start,
        peak_memory_mb(),
        [*made.warnings, *done.warnings],
        results,
        done_before=made.done_before and done.done_before,
    )


def _comparison(study: Path, *, fresh: bool) -> list[dict[str, Any]]:
    """Return planted beside measured values; those of finished work are read from where they were kept."""
    path = derived.comparison_path(study)
    if not fresh and path.is_file():
        kept: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    rows = compare(study)
    with whole_file(path) as partial:
        partial.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8", newline="\n")
    return rows
