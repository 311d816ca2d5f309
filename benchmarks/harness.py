"""What all benchmarks share: figures with goals, the machine, and how results are printed.

Every script prints a table, and with ``--json`` one object: ``machine``, ``versions``,
``repetitions`` and ``figures``, a list of ``name``, ``value``, ``unit``, ``goal`` and ``holds``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

LIBRARIES = ("bonemet", "numpy", "scipy", "numba", "scikit-image", "SimpleITK")


@dataclass(frozen=True)
class Figure:
    """One figure of a benchmark.

    ``goal`` says in words what is wanted; ``holds`` is None where nothing is.
    """

    name: str
    value: float | None
    unit: str
    goal: str = ""
    holds: bool | None = None


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller cases; marked as such")
    return parser


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine() -> dict[str, object]:
    """Return what the figures were measured on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": processor(),
        "cores": cores,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
    }


def versions(*more: str) -> dict[str, str]:
    """Return versions of Python and the libraries that count."""
    found = {"python": platform.python_version()}
    for name in (*LIBRARIES, *more):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def finite(value: float | None) -> float | None:
    """Return a value as JSON can hold it: None where a bone was not found at all, infinitely far off."""
    return value if value is None or math.isfinite(value) else None


def show(figures: list[Figure], options: argparse.Namespace, repetitions: int, *peers: str) -> None:
    """Print the figures as a table or as one JSON object."""
    result = {
        "machine": machine(),
        "versions": versions(*peers),
        "repetitions": repetitions,
        "quick": bool(options.quick),
        "figures": [asdict(f) | {"value": finite(f.value)} for f in figures],
    }
    if options.json:
        print(json.dumps(result, indent=1, allow_nan=False))
        return
    print(f"{result['machine']}{'  QUICK RUN, not for judging' if options.quick else ''}")
    width = max(len(f.name) for f in figures)
    for f in figures:
        value = "-" if f.value is None else f"{f.value:.4g}"
        verdict = {None: "", True: "holds", False: "FAILS"}[f.holds]
        print(f"{f.name:{width}}  {value:>10} {f.unit:8} {f.goal:16} {verdict}")
