"""What a terminal user sees: progress with time left, results, one sentence for an error."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from bonemet.cli.entry import STOPPED
from bonemet.core.context import Tick
from bonemet.core.errors import BonemetError
from bonemet.engine.context import ThreadContext
from bonemet.stages.outcome import Outcome, peak_memory_mb

ERROR_EXIT = 2
BUG_EXIT = 1


class ConsoleContext(ThreadContext):
    """Runs on threads and shows progress on the standard error stream."""

    def __init__(self, workers: int | None, memory_gb: float, quiet: bool) -> None:
        super().__init__(workers, memory_gb)
        self._console = Console(stderr=True, quiet=quiet)
        self._progress: Progress | None = None

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Tick]:
        """Show a bar with the time left; bars inside bars stand below each other."""
        if self._progress is not None:
            yield from self._bar(self._progress, title, total)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console) as bars:
            self._progress = bars
            try:
                yield from self._bar(bars, title, total)
            finally:
                self._progress = None

    @staticmethod
    def _bar(bars: Progress, title: str, total: int) -> Iterator[Tick]:
        task = bars.add_task(title, total=total)
        yield lambda n: bars.advance(task, n)
        bars.update(task, completed=total)


def execute(
    work: Callable[[ConsoleContext], Outcome],
    *,
    as_json: bool,
    debug: bool,
    workers: int | None = None,
    memory_gb: float = 4.0,
    show: Callable[[Console, Outcome], None] | None = None,
) -> None:
    """Run a command, print what it did, and turn errors into one sentence and an exit code.

    Raises
    ------
    typer.Exit
        With code 2 for bad input or an interrupt, 1 for a fault of bonemet itself.
    """
    start = time.perf_counter()
    try:
        outcome = work(ConsoleContext(workers, memory_gb, quiet=not sys.stderr.isatty()))
        _show(outcome, as_json, show)
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        code, text = _explain(error)
        raise typer.Exit(refuse(text, as_json, code, time.perf_counter() - start)) from None


def _explain(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the sentence that an error stands for."""
    if isinstance(error, BonemetError):
        return ERROR_EXIT, str(error)
    if isinstance(error, KeyboardInterrupt):
        return ERROR_EXIT, STOPPED
    if isinstance(error, MemoryError):
        return ERROR_EXIT, "Memory ran out; lower --memory-gb or --workers, or close other programs."
    if isinstance(error, OSError):
        return ERROR_EXIT, f"The system refused: {error}; check the path, its permissions and the disk."
    cause = f"{type(error).__name__}: {error}"
    return BUG_EXIT, f"bonemet failed unexpectedly ({cause}); run again with --debug and report it."


def refuse(text: str, as_json: bool, code: int = ERROR_EXIT, seconds: float = 0.0) -> int:
    """Print an error in one line, as JSON too where asked for, and return the exit code."""
    line = " ".join(text.split())
    if as_json:
        head = Outcome([], seconds, peak_memory_mb()).as_dict()
        print_json({"error": line} | head)
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]Error:[/red] {_plain(line)}")
    return code


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on the standard output, and nothing else."""
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False) + "\n")
    sys.stdout.flush()


def _show(outcome: Outcome, as_json: bool, show: Callable[[Console, Outcome], None] | None) -> None:
    if as_json:
        print_json(outcome.as_dict())
        return
    console = Console(highlight=False, soft_wrap=True)
    if outcome.done_before:
        console.print("Nothing to do: this work is finished, with the same inputs and settings.")
    (show or _show_results)(console, outcome)
    for warning in outcome.warnings:
        console.print(f"[yellow]Note:[/yellow] {_plain(warning)}")
    for path in outcome.outputs:
        console.print(f"Wrote {_plain(path)}" if not outcome.done_before else f"Found {_plain(path)}")
    console.print(f"{outcome.seconds:.1f} s, {outcome.peak_mb:.0f} MB at most")


def _show_results(console: Console, outcome: Outcome) -> None:
    table = Table(show_header=False, box=None)
    for key, value in _flat("", outcome.results):
        table.add_row(_plain(key), _plain(value))
    console.print(table)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield results as lines: mappings are opened, long lists are counted."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for row in value:
            yield prefix, "  ".join(_word(v) for v in row.values() if not isinstance(v, list | Mapping))
    elif isinstance(value, list) and len(value) > 12:
        yield prefix, f"({len(value)} values)"
    else:
        yield prefix, _word(value)


def _word(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
