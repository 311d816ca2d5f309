"""How long each step of a study took, kept beside the data (never in it: data are the same bytes)."""

from __future__ import annotations

import json
from pathlib import Path

from bonemet.dataset import derived
from bonemet.io.output import whole_file
from bonemet.stages.outcome import Outcome


class Ledger:
    """The run log of a study; steps that were found finished keep the time of the run that did them.

    Parameters
    ----------
    study
        The study's folder.
    """

    def __init__(self, study: Path) -> None:
        self._path = derived.run_log_path(study)
        self._rows: dict[str, dict[str, dict[str, float]]] = {}
        if self._path.is_file():
            self._rows = json.loads(self._path.read_text(encoding="utf-8"))
        self.nothing_done = True

    def add(self, step: str, subject: str, outcome: Outcome) -> None:
        """Note one step's time, unless it was done before."""
        if outcome.done_before:
            return
        self.nothing_done = False
        row = {"seconds": round(outcome.seconds, 2), "peak_mb": round(outcome.peak_mb, 1)}
        self._rows.setdefault(subject, {})[step] = row

    def write(self) -> None:
        """Write the log where anything was done."""
        if self.nothing_done:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self._path) as partial:
            partial.write_text(json.dumps(self._rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
