"""Tables that commands print for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from bonemet.stages.outcome import Outcome

WIDTH = 100


def show_demo(console: Console, outcome: Outcome) -> None:
    """Print planted against measured values; the bones of a scan in one line, by the lowest."""
    table = Table(title="Planted and measured", title_justify="left", box=None, width=WIDTH, pad_edge=False)
    for heading, justify in (
        ("", "left"),
        ("planted", "right"),
        ("measured", "right"),
        ("goal", "left"),
        ("", "left"),
    ):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in _lines(outcome.results["comparison"]):
        unit = f" ({row['unit']})" if row["unit"] else ""
        table.add_row(
            f"{row['subject']}, {row['name']}{unit}",
            _number(row["planted"]),
            _number(row["measured"]),
            row["goal"],
            "[green]holds[/green]" if row["holds"] else "[red]FAILS[/red]",
        )
    console.width = max(console.width, WIDTH)
    console.print(table)
    console.print(f"Report: {outcome.results['report']}")


def _lines(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows to show: of the bones of one scan only the lowest Dice."""
    lowest: dict[str, dict[str, Any]] = {}
    others = []
    for row in rows:
        if not row["name"].startswith("Dice"):
            others.append(row)
            continue
        scan = " ".join(row["subject"].split()[:3])
        shown = row | {"subject": scan, "name": "lowest Dice of four long bones"}
        if scan not in lowest or row["measured"] < lowest[scan]["measured"]:
            lowest[scan] = shown
    return [*lowest.values(), *others]


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
