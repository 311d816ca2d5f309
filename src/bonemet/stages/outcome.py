"""What a stage returns, and the one way in which stages write their output folders."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bonemet._version import __version__
from bonemet.core.calibration import Quantity
from bonemet.core.grid import Grid
from bonemet.core.step import Step
from bonemet.core.view import View
from bonemet.io import journal, output, sidecar

HERE = "<this folder>"


@dataclass(frozen=True)
class Outcome:
    """What a command did.

    Attributes
    ----------
    outputs
        Paths written; the first is the output folder.
    seconds
        Wall-clock time.
    peak_mb
        Largest resident memory of this process and its children so far.
    warnings
        What a person should know: one sentence each.
    results
        The command's own results, JSON types only.
    done_before
        Whether the work was found finished, and nothing was done.
    """

    outputs: list[str]
    seconds: float
    peak_mb: float
    warnings: list[str] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    done_before: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object that ``--json`` prints."""
        head = {
            "outputs": self.outputs,
            "seconds": round(self.seconds, 3),
            "peak_mb": round(self.peak_mb, 1),
            "warnings": self.warnings,
            "done_before": self.done_before,
        }
        return head | self.results


@dataclass(frozen=True)
class Product:
    """What the work inside a stage hands back for its sidecar.

    Attributes
    ----------
    results
        The command's own results, JSON types only.
    name
        Title of the data in the folder.
    grid, quantity
        Where the voxels of the folder's stack are and what they mean, if it holds one.
    warnings
        What a person should know: one sentence each.
    beside
        Files that belong next to the output folder; written to ``io.output.staged(path)`` so far.
    view
        What the scan saw, in the space of the folder's stack.
    """

    results: dict[str, Any]
    name: str = ""
    grid: Grid | None = None
    quantity: Quantity | None = None
    warnings: Sequence[str] = ()
    beside: Sequence[Path] = ()
    view: View | None = None


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process and its ended children, in MB."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(w).ru_maxrss for w in who) * unit / 1e6


def _moved(value: Any, here: str, there: str) -> Any:
    """Return results with the folder at the beginning of their paths replaced.

    Sidecars hold a mark in its place: folders may be moved, and the same work in two places gives the
    same bytes.
    """
    if isinstance(value, str) and value.startswith(here):
        rest = value[len(here) :]
        return there + rest if rest[:1] in ("", "/", "\\") else value
    if isinstance(value, Mapping):
        return {k: _moved(v, here, there) for k, v in value.items()}
    return [_moved(v, here, there) for v in value] if isinstance(value, list | tuple) else value


def produce(
    out: Path,
    name: str,
    parameters: Mapping[str, Any],
    inputs: Sequence[Path],
    work: Callable[[Path], Product],
    *,
    overwrite: bool = False,
    resumable: bool = False,
) -> Outcome:
    """Run the work of a stage so that ``out`` is whole or not there, and nothing is done twice.

    Parameters
    ----------
    out
        The output folder.
    name
        The command's name.
    parameters
        Every setting that changes the result, JSON types only.
    inputs
        Folders and files that are read; their sidecars' steps are carried on.
    work
        Is given the folder to write into and returns what goes into the sidecar.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    resumable
        Whether the work keeps a :mod:`bonemet.io.journal`, and goes on where an earlier run was stopped.

    Returns
    -------
    Outcome
        Of this run, or of the earlier one that did the same.
    """
    start = time.perf_counter()
    output.refuse_inputs(out, inputs)
    mark = output.fingerprint(name, __version__, parameters, inputs, out)
    known = output.finished(out, mark)
    if known is not None:
        seconds = time.perf_counter() - start
        results = _moved(known.results, HERE, str(out))
        outputs = [str(out), *(str(out.with_name(n)) for n in known.beside)]
        return Outcome(outputs, seconds, peak_memory_mb(), known.warnings, results, done_before=True)
    product: Product | None = None
    try:
        with output.whole_folder(out, overwrite, mark if resumable else None) as partial:
            product = work(partial)
            journal.end(partial)
            warnings = tuple(product.warnings)
            step = Step(name, __version__, dict(parameters), tuple(p.name for p in inputs), warnings)
            side = _sidecar(product, step, inputs, out)
            files = output.count_files(partial) + 1
            sidecar.write(partial, side.model_copy(update={"fingerprint": mark, "files": files}))
    except BaseException:
        for path in product.beside if product is not None else ():
            output.staged(path).unlink(missing_ok=True)
        raise
    for path in product.beside:
        output.staged(path).replace(path)
    outputs = [str(out), *(str(p) for p in product.beside)]
    seconds = time.perf_counter() - start
    return Outcome(outputs, seconds, peak_memory_mb(), list(product.warnings), product.results)


def _sidecar(product: Product, step: Step, inputs: Sequence[Path], out: Path) -> sidecar.Sidecar:
    """Return what the sidecar of a folder says, the steps of its inputs first."""
    steps = [s for p in inputs if p.is_dir() and (side := sidecar.read(p)) for s in side.steps]
    return sidecar.Sidecar(
        bonemet=__version__,
        name=product.name,
        grid=None if product.grid is None else sidecar.grid_model(product.grid),
        quantity=None if product.quantity is None else sidecar.quantity_model(product.quantity),
        view=sidecar.view_model(product.view),
        steps=[*steps, sidecar.step_model(step)],
        results=_moved(product.results, str(out), HERE),
        warnings=list(product.warnings),
        beside=[p.name for p in product.beside],
    )
