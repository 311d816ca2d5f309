"""One scan, or one part of connected scans, on its way from projections to slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Context
from bonemet.core.scan import ConeGeometry
from bonemet.io import output, skyscan
from bonemet.recon import axisrow, center, fdk, motion, quality, smoothing, tilt, weights
from bonemet.recon.projections import Projections, SlabPlan, plan_slabs
from bonemet.recon.views import TurnedViews, at_even_angles
from bonemet.stages import reconstruct_preview
from bonemet.stages.reconstruct_hardening import straightening
from bonemet.stages.reconstruct_range import Range
from bonemet.stages.reconstruct_settings import Settings
from bonemet.stages.reconstruct_source import Beam, Source, find_beam, open_source

BAND = 33  # rows about the plane of the source that are looked at for motion
CUT_BONE = 0.01  # share of the bone beyond the window that is worth a warning
ROTATION_SIGN = 1  # of the log's `Image Rotation` in terms of our tilt; no document says it


@dataclass(eq=False)
class Part:
    """A scan that is being reconstructed: what is read, what is asked for, what was noticed.

    Attributes
    ----------
    log, settings, context
        As given.
    source
        The scan's views, made ready.
    beam, rays, read, geometry
        The open beam, the line integrals, their reader (straightened for beam hardening) and the geometry
        with its axis; known once :meth:`prepare` was called.
    warnings
        What a person should know: one sentence each.
    results
        What was found, JSON types only.
    """

    log: skyscan.SkyScanLog
    settings: Settings
    context: Context
    source: Source
    beam: Beam = field(init=False)
    rays: Projections = field(init=False)
    read: fdk.ReadRows = field(init=False)
    geometry: ConeGeometry = field(init=False)
    warnings: list[str] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def opened(cls, path: Path, log: skyscan.SkyScanLog, settings: Settings, context: Context) -> Part:
        """Open a scan; refuse what cannot be reconstructed, before any work."""
        source = open_source(path, settings, context)
        weights.range_note(source.scan.geometry)
        part = cls(log, settings, context, source)
        part.geometry = source.scan.geometry
        part.warnings += source.warnings
        return part

    def plan(self, what: Range) -> SlabPlan:
        """Return the slabs, with room for the filters of the volume."""
        settings, slices = self.settings, (what.first, what.stop)
        rings = settings.ring_level > 0
        plan = plan_slabs(self.geometry, what.columns, slices, settings.memory_gb, rings, settings.recipe)
        halo = smoothing.reach(settings.median, settings.smooth)
        if not halo:
            return plan
        thickest = max(b - a for a, b in plan.slabs) + 2 * halo
        extra = 8.0 * thickest * what.grid.shape[1] * what.grid.shape[2] / 1e9
        left = max(settings.memory_gb - extra, 1e-3)
        return plan_slabs(self.geometry, what.columns, slices, left, rings, settings.recipe)

    def load(self, what: Range) -> None:
        """Keep the counts that some slices need in memory."""
        with self.context.progress("read projections", len(self.geometry.angles_deg)) as tick:
            self.rays.load(*fdk.rows_to_read(self.geometry, what.full, what.first, what.stop), tick)

    def prepare(self, what: Range | None = None) -> None:
        """Find the open beam, the axis and its tilt; first load counts for a range of slices, if given."""
        self.beam = find_beam(self.source.scan)
        self.warnings += self.beam.warnings
        self._lay_rays(0.0, what)
        self._find_axis()
        self._stand_up(what)
        self.source.checked.refuse_copies()
        note = weights.range_note(self.geometry)
        self.warnings += [note] if note else []
        straight, hardening = straightening(self.settings.hardening, self.log)
        self.warnings += hardening.warnings
        self.read = _through(self.rays, straight)
        self.results |= {"thermal": self.source.thermal, "hardening": hardening.words}

    def _lay_rays(self, lean_deg: float, what: Range | None) -> None:
        """Make the reader of line integrals, from views turned upright where the axis leans."""
        scan = self.source.scan
        if lean_deg:
            centre = (self.geometry.optical_axis_row, weights.axis_column(self.geometry))
            scan = replace(scan, projections=TurnedViews(scan.projections, lean_deg, centre))
        level, mapper = self.settings.ring_level, self.context.map
        self.rays = Projections(scan, self.beam.white.value, level, mapper, self.beam.stuck)
        if what is not None:
            self.load(what)

    def _find_axis(self) -> None:
        """Set the rotation axis and the sense of rotation, and tell where they were taken from."""
        geometry, given = self.geometry, self.settings.axis_offset
        sinograms = self.rays.sinograms(*center.rows_near_axis(geometry))
        even, angles = at_even_angles(sinograms, geometry.angles_deg)
        estimate = center.find_axis_offset(even, replace(geometry, angles_deg=angles))
        if given is not None:
            offset = _binned_offset(self.source.native, float(given), self.settings.undersample)
            origin = "given"
        elif estimate.reliable:
            offset, origin = estimate.offset_px, "data"
        else:
            offset, origin = geometry.axis_offset_px, "log"
        if given is None or not estimate.turn_ok:  # a given axis does not tell the sense of rotation
            self.warnings += [n for n in estimate.notes if n not in self.warnings]
        turn = estimate.turn if estimate.reliable else geometry.turn
        self.geometry = replace(geometry, axis_offset_px=offset, turn=turn)
        self.results |= {"axis_source": origin}

    def _stand_up(self, what: Range | None) -> None:
        """Turn views upright by the tilt that was asked for, or that they show."""
        asked = self.settings.tilt
        logged = self.log.find_number("Image Rotation", "Acquisition")
        lean, source = 0.0, "off"
        if asked == "auto":
            lean, source = self._tilt_of_data(), "data"
        elif asked == "log":
            lean, source = ROTATION_SIGN * (logged or 0.0), "log"
        elif asked != "off":
            lean, source = float(asked), "given"
        if lean:
            self._turn(lean, what)
        if lean and source == "data":  # noise draws what is found towards none, so look again
            lean = round(lean + self._tilt_of_data(all_of_it=True), 6)
            self._turn(lean, what)
            self.warnings.append(
                f"The axis is tilted against the camera by {lean:.3f} degrees; views were turned upright."
            )
        source = source if lean or asked != "auto" else "too small to tell"
        self.results |= {"axis_tilt_deg": lean, "tilt_source": source, "image_rotation_deg": logged}

    def _turn(self, lean_deg: float, what: Range | None) -> None:
        self._lay_rays(lean_deg, what)
        self._find_axis()

    def _tilt_of_data(self, all_of_it: bool = False) -> float:
        """Return the tilt that the views show, 0 where it is not clear and only a clear one is wanted."""
        geometry = self.geometry
        if self.results["axis_source"] == "log":
            return 0.0
        band, angles = at_even_angles(self.rays.sinograms(*tilt.rows_needed(geometry)), geometry.angles_deg)
        found = tilt.find_tilt(band, replace(geometry, angles_deg=angles))
        return found.tilt_deg if found.certain or all_of_it else 0.0

    def check_axis_row(self) -> None:
        """Warn where the row of the optical axis counted from the other edge fits better."""
        with self.context.progress("check optical axis", len(self.geometry.angles_deg)) as tick:
            note = axisrow.row_note(self.rays.rows, self.geometry, mapper=self.context.map, tick=tick)
        self.warnings += [note] if note else []

    def grade(self, what: Range) -> quality.Quality:
        """Judge the scan by its projections about the plane of the source and the slices there."""
        geometry = self.geometry
        a, b = center.rows_near_axis(geometry, BAND)
        band, angles = at_even_angles(self.rays.sinograms(a, b), geometry.angles_deg)
        moved = motion.find_motion(band, replace(geometry, angles_deg=angles), a)
        slab = self._middle_slab(what)
        values = {
            "motion_px": moved.px,
            "motion_opposite_px": moved.opposite_px,
            "motion_path_px": moved.path_px,
            "motion_jump_px": moved.jump_px,
            "saturated_share": self.beam.saturated,
            "truncated_share": quality.truncated_share(band),
            **quality.of_slices(slab, geometry, what.full.spacing_mm[2]),
        }
        found = quality.judge(values)
        self.warnings += [f"Quality is {n}." for n in found.notes if not n.startswith("fair")]
        self._say_cut_bone(slab, values["bone_per_mm"])
        return found

    def _say_cut_bone(self, slab: NDArray[np.float32], bone: float | None) -> None:
        window = self.settings.grey_window
        if window is None or not bone:
            return
        above = slab[slab > bone / 2]
        share = float(np.mean(above > window[1])) if above.size else 0.0
        if share > CUT_BONE:
            self.warnings.append(
                f"{share:.1%} of the bone in the middle slices lies above the window, which ends at "
                f"{window[1]:g} 1/mm, and is cut off; choose a wider window for the whole study."
            )

    def _middle_slab(self, what: Range) -> NDArray[np.float32]:
        """Return the slices nearest to the plane of the source of those asked for, whole slices."""
        geometry, full, context = self.geometry, what.full, self.context
        depth = geometry.optical_axis_row * geometry.pixel_mm - full.origin_mm[2]
        middle = min(max(round(depth / full.spacing_mm[0]), what.first), what.stop - 1)
        first = min(max(middle // 16 * 16, 0), full.shape[0] - 1)
        slices = (first, min(first + 16, full.shape[0]))
        self.rays.prepare(*fdk.rows_to_read(geometry, full, *slices))
        recipe = self.settings.recipe
        with context.progress("judge quality", len(fdk.tiles(full))) as tick:
            return fdk.reconstruct(
                self.read, geometry, full, slices, recipe=recipe, mapper=context.map, tick=tick
            )

    def preview(self, out: Path, what: Range) -> list[Path]:
        """Write one slice at several offsets of the axis beside the output, if that was asked for."""
        if not self.settings.preview:
            return []
        path = out.with_name(f"{out.name} axis.png")
        reconstruct_preview.write(
            output.staged(path),
            self.rays,
            self.read,
            self.geometry,
            what.full,
            self.settings.recipe,
            self.context,
        )
        return [path]

    @property
    def native(self) -> ConeGeometry:
        """The geometry of unbinned pixels, with the axis that was used."""
        n, geometry, native = self.settings.undersample, self.geometry, self.source.native
        axis = ((geometry.columns - 1) / 2 + geometry.axis_offset_px) * n + (n - 1) / 2
        offset = axis - (native.columns - 1) / 2 if n > 1 else geometry.axis_offset_px
        return replace(native, axis_offset_px=offset, turn=geometry.turn)

    def tell(self) -> dict[str, Any]:
        """Return what was found about this scan."""
        white, native, scan = self.beam.white, self.native, self.source.scan
        return self.results | {
            "axis_offset_px": native.axis_offset_px,
            "turn": native.turn,
            "white": white.value,
            "white_source": white.source,
            "air_level": white.air,
            "air": float(-np.log(white.air / white.value)),
            "stuck_pixels": int(np.count_nonzero(self.beam.stuck)),
            "projections": len(scan.geometry.angles_deg),
            "left_out": list(self.source.left_out),
            "notes": list(scan.notes),
        }


def turned(geometry: ConeGeometry, degrees: float) -> ConeGeometry:
    """Return the geometry that makes slices turned clockwise by so many degrees."""
    angles = geometry.angles_deg - geometry.turn * degrees
    return replace(geometry, angles_deg=angles) if degrees else geometry


def _through(
    rays: Projections, straight: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None
) -> fdk.ReadRows:
    """Return the reader of line integrals, straightened for beam hardening where that was asked for."""
    if straight is None:
        return rays.rows
    return lambda view, a, b: straight(rays.rows(view, a, b))


def _binned_offset(native: ConeGeometry, offset: float, n: int) -> float:
    """Return a given axis offset in binned pixels."""
    axis = (native.columns - 1) / 2 + offset
    return (axis - (n - 1) / 2) / n - (max(1, native.columns // n) - 1) / 2 if n > 1 else offset
