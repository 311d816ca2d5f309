"""Tables that commands print for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from bonemet.stages.outcome import Outcome


def show_demo(console: Console, outcome: Outcome) -> None:
    """Print planted against measured values."""
    table = Table(title="Planted and measured", title_justify="left")
    for heading in ("", "what", "planted", "measured", "difference", "goal", ""):
        table.add_column(heading, justify="left" if heading in {"", "what"} else "right")
    for row in outcome.results["comparison"]:
        table.add_row(
            row["subject"],
            f"{row['name']} ({row['unit']})" if row["unit"] else row["name"],
            _number(row["planted"]),
            _number(row["measured"]),
            row["difference"],
            row["goal"],
            "[green]holds[/green]" if row["holds"] else "[red]fails[/red]",
        )
    console.print(table)
    console.print(f"Report: {outcome.results['report']}")


def show_run(console: Console, outcome: Outcome) -> None:
    """Print what became of a study's scans."""
    results = outcome.results
    console.print(f"{len(results['scans'])} scans; bone is grey >= {_number(results['threshold'])}")
    for heading, names in (("Failed", results["failed"]), ("To review", results["review"])):
        if names:
            console.print(f"{heading}: {'; '.join(names)}")
    console.print(f"Report: {results['report']}")


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
