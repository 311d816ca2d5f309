"""One reconstruction on its way from projections to slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bonemet.core.context import Context
from bonemet.core.scan import ConeGeometry
from bonemet.io import skyscan
from bonemet.recon import quality
from bonemet.recon.view import field_of_view
from bonemet.stages import reconstruct_joined as joined
from bonemet.stages import reconstruct_log
from bonemet.stages.outcome import Product
from bonemet.stages.reconstruct_density import grey_values
from bonemet.stages.reconstruct_part import Part, turned
from bonemet.stages.reconstruct_range import Range, range_of
from bonemet.stages.reconstruct_settings import Settings
from bonemet.stages.reconstruct_slices import Writer
from bonemet.stages.reconstruct_source import SATURATED


@dataclass(eq=False)
class Job:
    """One reconstruction: what is read, what is asked for, what was noticed.

    Attributes
    ----------
    scans
        Path and log of the scan, or of each part of connected scans.
    name
        What the slices are called.
    out
        Folder that will be made.
    """

    scans: Sequence[tuple[Path, skyscan.SkyScanLog]]
    name: str
    out: Path
    settings: Settings
    context: Context
    warnings: list[str] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)

    def run(self, partial: Path) -> Product:
        """Write slices and log into a folder, going on where an earlier run of the same work stopped."""
        settings, context = self.settings, self.context
        parts = [Part.opened(path, log, settings, context) for path, log in self.scans]
        if len(parts) == 1:
            down, places = [0.0], [joined.Place(turn_deg=settings.rotate_deg)]
        else:
            parts, down = joined.in_order(parts)
        what = range_of(joined.whole_geometry(parts, down), settings)
        shares = joined.shares(parts, down, what)
        if len(parts) == 1:
            self._prepare_one(parts[0], what)
        else:
            for part in parts:
                part.prepare()
            places = joined.place(parts, down)
            note = joined.seam_note(parts, down)
            self.warnings += [note] if note else []
        writer = Writer(partial, self.name, settings, context, what)
        grades: list[quality.Quality] = []
        beside: list[Path] = []
        for part, share, where in zip(parts, shares, places, strict=True):
            mine = joined.own_range(what, share, where)
            if mine is not None:
                grades.append(self._write(part, mine, where, writer, what.whole))
                beside += part.preview(self.out, mine) if not beside else []
                part.rays.forget()
        self._say_saturated(writer.beyond(), what)
        self.results |= {"air_share": float(np.mean(writer.empty))} if writer.empty else {}
        self._tell(parts, shares, places, grades, what)
        return self._product(writer, parts, down, what, beside)

    def _prepare_one(self, part: Part, what: Range) -> None:
        """Make one scan ready, its counts in memory if they fit."""
        part.prepare(what if part.plan(what).cache else None)

    def _write(
        self, part: Part, mine: Range, where: joined.Place, writer: Writer, whole: bool
    ) -> quality.Quality:
        """Judge a part and write its slices."""
        plan = part.plan(mine)
        if plan.cache and len(self.scans) > 1:
            part.load(mine)
        if whole:  # a few slices are too few to tell
            part.check_axis_row()
        grade = part.grade(mine)
        writer.write(part.rays, part.read, turned(part.geometry, where.turn_deg), mine.columns, plan)
        return grade

    def _say_saturated(self, beyond: int, what: Range) -> None:
        share = beyond / float(np.prod(what.grid.shape))
        self.results["saturated_share"] = share
        window = self.settings.grey_window
        if share > SATURATED and window is not None:
            self.warnings.append(
                f"{share:.2%} of the voxels lie above the window's upper end, {window[1]:g} 1/mm, "
                "and are saturated; choose a wider window for the whole study."
            )

    def _tell(
        self,
        parts: Sequence[Part],
        shares: Sequence[tuple[int, int]],
        places: Sequence[joined.Place],
        grades: Sequence[quality.Quality],
        what: Range,
    ) -> None:
        """Gather what was found; of connected scans, the worst part's grade and each part's own results."""
        quantity = self.settings.quantity
        worst = max(grades, key=lambda g: quality.GRADES.index(g.grade))
        self.results |= {
            **parts[0].tell(),
            "shape": list(what.grid.shape),
            "spacing_mm": list(what.grid.spacing_mm),
            "slices": [what.first, what.stop],
            "window": None if quantity.window is None else list(quantity.window),
            "grey_step": quantity.step,
            **grey_values(self.settings, parts[0].log),
            "quality": worst.as_dict(),
        }
        for part in parts:
            name = f"{part.source.scan.name}: " if len(parts) > 1 else ""
            self.warnings += [name + w for w in part.warnings]
        if len(parts) > 1:
            told = zip(parts, shares, places, strict=True)
            self.results["parts"] = [
                {"name": p.source.scan.name, "slices": list(s), **p.tell(), **dict(where.report)}
                for p, s, where in told
            ]

    def _product(
        self,
        writer: Writer,
        parts: Sequence[Part],
        down: Sequence[float],
        what: Range,
        beside: Sequence[Path],
    ) -> Product:
        """Write the log and return what goes into the sidecar."""
        first = parts[0]
        shift = _binning_shift(first.source.native, self.settings.undersample)
        written = replace(what.grid, origin_mm=_moved(what.grid.origin_mm, shift))
        told = reconstruct_log.Done(
            self.name, first.log, first.native, what, self.settings, self.results.get("parts", ())
        )
        reconstruct_log.write(writer.folder, told)
        writer.finish(written, self.settings.quantity)
        view = field_of_view(first.geometry, what.grid, parts[-1].geometry, down[-1]).moved(shift)
        return Product(
            self.results,
            self.name,
            written,
            self.settings.quantity,
            list(dict.fromkeys(self.warnings)),
            beside=beside,
            view=view,
        )


def _binning_shift(native: ConeGeometry, n: int) -> tuple[float, float, float]:
    """Return where the first binned pixel's centre lies in the frame of the unbinned ones, in mm."""
    shift = (n - 1) / 2 * native.pixel_mm
    return shift, shift, shift


def _moved(point: tuple[float, float, float], by: tuple[float, float, float]) -> tuple[float, float, float]:
    return point[0] + by[0], point[1] + by[1], point[2] + by[2]
