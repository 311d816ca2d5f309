"""One reconstruction on its way from projections to slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import to_attenuation
from bonemet.core.context import Context
from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry, Scan
from bonemet.io import output, skyscan
from bonemet.recon import axisrow, center, fdk, motion, quality, smoothing, weights
from bonemet.recon.projections import Projections, SlabPlan, plan_slabs
from bonemet.recon.view import field_of_view
from bonemet.recon.views import at_even_angles
from bonemet.stages import reconstruct_log, reconstruct_preview
from bonemet.stages.outcome import Product
from bonemet.stages.reconstruct_hardening import straightening
from bonemet.stages.reconstruct_settings import Settings
from bonemet.stages.reconstruct_slices import Writer
from bonemet.stages.reconstruct_source import SATURATED, Beam, Source, find_beam, open_source

BAND = 33  # rows about the plane of the source that are looked at for motion
CUT_BONE = 0.01  # share of the bone beyond the window that is worth a warning


@dataclass(frozen=True)
class _Range:
    """What is reconstructed: the full grid, the slices (first, stop), and the grid that is written."""

    full: Grid
    first: int
    stop: int
    grid: Grid

    @property
    def whole(self) -> bool:
        """Whether all slices are made."""
        return (self.first, self.stop) == (0, self.full.shape[0])

    @property
    def columns(self) -> Grid:
        """All slices of the columns and rows that are written."""
        start = [0, *(round(v) for v in self.full.mm_to_index(self.grid.origin_mm)[1:])]
        size = (self.full.shape[0], *self.grid.shape[1:])
        return self.full.crop(start, [a + n for a, n in zip(start, size, strict=True)])


@dataclass(eq=False)
class Job:
    """One reconstruction: what is read, what is asked for, what was noticed."""

    path: Path
    out: Path
    log: skyscan.SkyScanLog
    settings: Settings
    context: Context
    warnings: list[str] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)

    def run(self, partial: Path) -> Product:
        """Write slices and log into a folder, going on where an earlier run of the same work stopped."""
        settings = self.settings
        source = open_source(self.path, settings, self.context)
        self.warnings += source.warnings
        scan = source.scan
        weights.range_note(scan.geometry)  # refuses what cannot be reconstructed, before any work
        what = _range(scan.geometry, settings)
        plan = self._plan(scan.geometry, what)
        beam = find_beam(scan)
        self.warnings += beam.warnings
        rays = Projections(scan, beam.white.value, settings.ring_level, self.context.map, beam.stuck)
        if plan.cache:
            with self.context.progress("read projections", len(scan.geometry.angles_deg)) as tick:
                rays.load(*fdk.rows_to_read(scan.geometry, what.full, what.first, what.stop), tick)
        geometry, axis_source = self._geometry(rays, scan.geometry, source)
        source.checked.refuse_copies()
        self._check_axis_row(rays, geometry, what)
        straight, hardening = straightening(settings.hardening, self.log)
        self.warnings += hardening.warnings
        read = _through(rays, straight)
        turned = _turned(geometry, settings.rotate_deg)
        self._grade(rays, read, geometry, what, beam)
        beside = self._preview(rays, read, geometry, what)
        writer = Writer(partial, scan.name, settings, self.context)
        writer.write(rays, read, turned, what.columns, plan)
        self._say_saturated(writer.beyond(), what)
        native = self._native(source, geometry)
        self._tell(scan, source, beam, native, what, axis_source)
        self.results |= {"thermal": source.thermal, "hardening": hardening.words}
        shift = _binning_shift(source.native, settings.undersample)
        written = replace(what.grid, origin_mm=_moved(what.grid.origin_mm, shift))
        reconstruct_log.write(partial, scan.name, self.log, native, what.full, what.grid, settings)
        view = field_of_view(geometry, what.grid).moved(shift)
        return Product(
            self.results,
            scan.name,
            written,
            settings.quantity,
            list(dict.fromkeys(self.warnings)),
            beside=beside,
            view=view,
        )

    def _plan(self, geometry: ConeGeometry, what: _Range) -> SlabPlan:
        """Return the slabs, with room for the filters of the volume."""
        settings, slices = self.settings, (what.first, what.stop)
        rings = settings.ring_level > 0
        plan = plan_slabs(geometry, what.columns, slices, settings.memory_gb, rings, settings.recipe)
        halo = smoothing.reach(settings.median, settings.smooth)
        if not halo:
            return plan
        thickest = max(b - a for a, b in plan.slabs) + 2 * halo
        extra = 8.0 * thickest * what.grid.shape[1] * what.grid.shape[2] / 1e9
        left = max(settings.memory_gb - extra, 1e-3)
        return plan_slabs(geometry, what.columns, slices, left, rings, settings.recipe)

    def _geometry(
        self, rays: Projections, geometry: ConeGeometry, source: Source
    ) -> tuple[ConeGeometry, str]:
        """Return the geometry with the rotation axis to use, and where that was taken from."""
        given = self.settings.axis_offset
        sinograms = rays.sinograms(*center.rows_near_axis(geometry))
        even, angles = at_even_angles(sinograms, geometry.angles_deg)
        estimate = center.find_axis_offset(even, replace(geometry, angles_deg=angles))
        if given is not None:
            offset, axis_source = (
                _binned_offset(source.native, float(given), self.settings.undersample),
                "given",
            )
        elif estimate.reliable:
            offset, axis_source = estimate.offset_px, "data"
        else:
            offset, axis_source = geometry.axis_offset_px, "log"
        if given is None or not estimate.turn_ok:  # a given axis does not tell the sense of rotation
            self.warnings += estimate.notes
        turn = estimate.turn if estimate.reliable else geometry.turn
        geometry = replace(geometry, axis_offset_px=offset, turn=turn)
        note = weights.range_note(geometry)
        self.warnings += [note] if note else []
        return geometry, axis_source

    def _check_axis_row(self, rays: Projections, geometry: ConeGeometry, what: _Range) -> None:
        if not what.whole:  # a few slices are too few to tell
            return
        with self.context.progress("check optical axis", len(geometry.angles_deg)) as tick:
            note = axisrow.row_note(rays.rows, geometry, mapper=self.context.map, tick=tick)
        self.warnings += [note] if note else []

    def _grade(
        self, rays: Projections, read: fdk.ReadRows, geometry: ConeGeometry, what: _Range, beam: Beam
    ) -> None:
        """Judge the scan by its projections about the plane of the source and the slices there."""
        a, b = center.rows_near_axis(geometry, BAND)
        band, angles = at_even_angles(rays.sinograms(a, b), geometry.angles_deg)
        moved = motion.find_motion(band, replace(geometry, angles_deg=angles), a)
        slab = _middle_slab(rays, read, geometry, what, self.settings, self.context)
        values = {
            "motion_px": moved.px,
            "motion_opposite_px": moved.opposite_px,
            "motion_path_px": moved.path_px,
            "motion_jump_px": moved.jump_px,
            "saturated_share": beam.saturated,
            "truncated_share": quality.truncated_share(band),
            **quality.of_slices(slab, geometry, what.full.spacing_mm[2]),
        }
        found = quality.judge(values)
        self.results["quality"] = found.as_dict()
        self.warnings += [f"Quality is {n}." for n in found.notes if not n.startswith("fair")]
        window, bone = self.settings.grey_window, values["bone_per_mm"]
        if window is None or not bone:
            return
        above = slab[slab > bone / 2]
        share = float(np.mean(above > window[1])) if above.size else 0.0
        if share > CUT_BONE:
            self.warnings.append(
                f"{share:.1%} of the bone in the middle slices lies above the window, which ends at "
                f"{window[1]:g} 1/mm, and is cut off; choose a wider window for the whole study."
            )

    def _preview(
        self, rays: Projections, read: fdk.ReadRows, geometry: ConeGeometry, what: _Range
    ) -> list[Path]:
        if not self.settings.preview:
            return []
        path = self.out.with_name(f"{self.out.name} axis.png")
        recipe = self.settings.recipe
        reconstruct_preview.write(output.staged(path), rays, read, geometry, what.full, recipe, self.context)
        return [path]

    def _say_saturated(self, beyond: int, what: _Range) -> None:
        share = beyond / float(np.prod(what.grid.shape))
        self.results["saturated_share"] = share
        window = self.settings.grey_window
        if share > SATURATED and window is not None:
            self.warnings.append(
                f"{share:.2%} of the voxels lie above the window's upper end, {window[1]:g} 1/mm, "
                "and are saturated; choose a wider window for the whole study."
            )

    def _native(self, source: Source, geometry: ConeGeometry) -> ConeGeometry:
        """Return the geometry of unbinned pixels, with the axis that was used."""
        n = self.settings.undersample
        axis = ((geometry.columns - 1) / 2 + geometry.axis_offset_px) * n + (n - 1) / 2
        offset = axis - (source.native.columns - 1) / 2 if n > 1 else geometry.axis_offset_px
        return replace(source.native, axis_offset_px=offset, turn=geometry.turn)

    def _tell(
        self,
        scan: Scan,
        source: Source,
        beam: Beam,
        native: ConeGeometry,
        what: _Range,
        axis_source: str,
    ) -> None:
        quantity = self.settings.quantity
        white = beam.white
        self.results |= {
            "axis_offset_px": native.axis_offset_px,
            "axis_source": axis_source,
            "turn": native.turn,
            "shape": list(what.grid.shape),
            "spacing_mm": list(what.grid.spacing_mm),
            "slices": [what.first, what.stop],
            "window": None if quantity.window is None else list(quantity.window),
            "grey_step": quantity.step,
            **_grey_75(self.settings),
            "white": white.value,
            "white_source": white.source,
            "air_level": white.air,
            "air": float(-np.log(white.air / white.value)),
            "stuck_pixels": int(np.count_nonzero(beam.stuck)),
            "projections": len(scan.geometry.angles_deg),
            "left_out": list(source.left_out),
            "notes": list(scan.notes),
        }


def _range(geometry: ConeGeometry, settings: Settings) -> _Range:
    """Return what is to be reconstructed; refuse what lies outside the scan."""
    voxel = settings.voxel_um
    full = fdk.default_grid(geometry) if voxel is None else fdk.resampled_grid(geometry, voxel / 1000)
    first, stop = settings.slices or (0, full.shape[0])
    if stop > full.shape[0]:
        raise SettingsError(
            f"Slices {first}:{stop} do not lie within the {full.shape[0]} slices of this scan."
        )
    x0, x1, y0, y1 = settings.region or (0, full.shape[2], 0, full.shape[1])
    if x1 > full.shape[2] or y1 > full.shape[1]:
        raise SettingsError(
            f"The region {x0}:{x1},{y0}:{y1} does not lie within the {full.shape[2]} x {full.shape[1]} "
            "voxels of a slice."
        )
    return _Range(full, first, stop, full.crop((first, y0, x0), (stop, y1, x1)))


def _through(
    rays: Projections, straight: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None
) -> fdk.ReadRows:
    """Return the reader of line integrals, straightened for beam hardening where that was asked for."""
    if straight is None:
        return rays.rows
    return lambda view, a, b: straight(rays.rows(view, a, b))


def _turned(geometry: ConeGeometry, degrees: float) -> ConeGeometry:
    """Return the geometry that makes slices turned clockwise, as they are shown with y down."""
    return (
        replace(geometry, angles_deg=geometry.angles_deg - geometry.turn * degrees) if degrees else geometry
    )


def _middle_slab(
    rays: Projections,
    read: fdk.ReadRows,
    geometry: ConeGeometry,
    what: _Range,
    settings: Settings,
    context: Context,
) -> NDArray[np.float32]:
    """Return the slices nearest to the plane of the source of those that are asked for, whole slices."""
    middle = round(
        (geometry.optical_axis_row * geometry.pixel_mm - what.full.origin_mm[2]) / what.full.spacing_mm[0]
    )
    middle = min(max(middle, what.first), what.stop - 1)
    first = min(max(middle // 16 * 16, 0), what.full.shape[0] - 1)
    stop = min(first + 16, what.full.shape[0])
    rays.prepare(*fdk.rows_to_read(geometry, what.full, first, stop))
    with context.progress("judge quality", len(fdk.tiles(what.full))) as tick:
        return fdk.reconstruct(
            read, geometry, what.full, (first, stop), recipe=settings.recipe, mapper=context.map, tick=tick
        )


def _binned_offset(native: ConeGeometry, offset: float, n: int) -> float:
    """Return a given axis offset in binned pixels."""
    axis = (native.columns - 1) / 2 + offset
    return (axis - (n - 1) / 2) / n - (max(1, native.columns // n) - 1) / 2 if n > 1 else offset


def _binning_shift(native: ConeGeometry, n: int) -> tuple[float, float, float]:
    """Return where the first binned pixel's centre lies in the frame of the unbinned ones, in mm."""
    shift = (n - 1) / 2 * native.pixel_mm
    return shift, shift, shift


def _moved(point: tuple[float, float, float], by: tuple[float, float, float]) -> tuple[float, float, float]:
    return point[0] + by[0], point[1] + by[1], point[2] + by[2]


def _grey_75(settings: Settings) -> dict[str, Any]:
    """Return what 8-bit grey 75 stands for, above which the published work finds bone."""
    quantity = settings.quantity
    known = quantity.window is not None and quantity.grey_max == 255
    attenuation = float(to_attenuation(75.0, quantity)) if known else None
    density = reason = None
    if attenuation is None:
        reason = "the slices are no 8-bit grey values"
    elif settings.calibration is None:
        reason = "no calibration by a hydroxyapatite phantom was given"
    else:
        density = settings.calibration[0] * attenuation + settings.calibration[1]
    return {
        "attenuation_at_grey_75": attenuation,
        "density_at_grey_75": density,
        **({} if reason is None else {"density_reason": reason}),
    }
