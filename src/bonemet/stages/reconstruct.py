"""``bonemet reconstruct``: from a raw scan to slices of attenuation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind, Quantity, to_attenuation
from bonemet.core.context import SILENT, Context
from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry, Scan
from bonemet.io import scans, skyscan
from bonemet.recon import axisrow, center, correct, fdk, filtering, rings, weights
from bonemet.recon.projections import Projections, SlabPlan, plan_slabs
from bonemet.recon.view import field_of_view
from bonemet.stages.outcome import Outcome, Product, produce
from bonemet.stages.reconstructed import DEFAULT_WINDOW, GREY_MAX, Format, Recipe, write_log, write_slice

SATURATED = 1e-3  # share of voxels beyond the window that is worth a warning
SAMPLES = 12  # views that are looked at for air, spread over the scan


@dataclass(frozen=True)
class _Settings:
    """What the user asked for."""

    voxel_um: float | None
    window: tuple[float, float] | None
    format: Format
    axis_offset: float | None
    slices: tuple[int, int] | None
    filter: str
    ring_level: int
    memory_gb: float

    def parameters(self) -> dict[str, Any]:
        """Return the settings that change the result."""
        named = {k: v for k, v in vars(self).items() if k != "memory_gb"}
        return named | {"window": self.grey_window}

    @property
    def grey_window(self) -> tuple[float, float] | None:
        """The window of the grey values, None for floats."""
        return None if self.format == "float" else self.window or DEFAULT_WINDOW


def reconstruct(
    scan: str | Path,
    out: str | Path,
    *,
    voxel_um: float | None = None,
    window: tuple[float, float] | None = None,
    format: Format = "png",
    axis_offset: float | None = None,
    slices: str | tuple[int, int] | None = None,
    memory_gb: float = 4.0,
    filter: str = "hamming",
    ring_level: int = 0,
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Reconstruct a SkyScan acquisition by cone-beam filtered backprojection.

    Parameters
    ----------
    scan
        Folder or log of a raw acquisition.
    out
        Folder for the slices ``NAME_rec00000000.png``, numbered as the slices of the full grid.
    voxel_um
        Voxel size over the same field; the log's Image Pixel Size by default.
    window
        Attenuations (1/mm) at grey 0 and at the largest grey; ``DEFAULT_WINDOW`` by default.
    format
        ``png`` (8-bit), ``tiff`` (16-bit) or ``float`` (float32 TIFF in 1/mm).
    axis_offset
        Column of the rotation axis minus (columns - 1) / 2; found from the data by default.
    slices
        Half-open range of slices of the full grid, ``"A:B"`` or (A, B), 0-based.
    memory_gb
        Memory that may be taken; it does not change the result.
    filter
        ``ramp``, ``shepp-logan``, ``cosine``, ``hamming`` or ``hann``.
    ring_level
        Strength of the ring correction, 0 (off) to 20.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    context
        Threads and progress.

    Returns
    -------
    Outcome
        Results: ``axis_offset_px``, ``axis_source``, ``turn``, ``shape``, ``spacing_mm``, ``slices``,
        ``window``, ``grey_step`` (1/mm per grey), ``attenuation_at_grey_75`` (1/mm, what the published
        bone threshold on 8-bit grey stands for), ``white``, ``white_source``, ``air_level``, ``air``
        (line integral beside the object, ideally 0), ``stuck_pixels`` (replaced), ``saturated_share``,
        ``projections``.
    """
    settings = _checked(voxel_um, window, format, axis_offset, slices, filter, ring_level, memory_gb)
    path, target = Path(scan), Path(out)
    log, series = scans.find_scan(path)
    folder = log.path.parent
    inside = target.resolve().is_relative_to(folder.resolve())  # our own slices are no input
    inputs = [log.path, *series.paths] if inside else [folder]

    def work(partial: Path) -> Product:
        return _Job(scans.open_scan(path), log, settings, context).run(partial)

    return produce(target, "reconstruct", settings.parameters(), inputs, work, overwrite=overwrite)


def parse_slices(text: str | tuple[int, int] | None) -> tuple[int, int] | None:
    """Return a half-open range of slices from ``"A:B"`` or a pair.

    Raises
    ------
    SettingsError
        If it is neither.
    """
    if text is None:
        return None
    try:
        first, stop = (int(v) for v in (text.split(":") if isinstance(text, str) else text))
    except ValueError as error:
        raise SettingsError(f"Slices are given as A:B, for example 100:200, not {text!r}.") from error
    if not 0 <= first < stop:
        raise SettingsError(f"Slices {first}:{stop} hold nothing; give A:B with 0 <= A < B.")
    return first, stop


def _checked(
    voxel_um: float | None,
    window: tuple[float, float] | None,
    format: Format,
    axis_offset: float | None,
    slices: str | tuple[int, int] | None,
    filter: str,
    ring_level: int,
    memory_gb: float,
) -> _Settings:
    """Return the settings, or say which one makes no sense."""
    if format not in ("png", "tiff", "float"):
        raise SettingsError(f"Slices are written as png, tiff or float, not {format!r}.")
    if filter not in weights.FILTERS:
        raise SettingsError(f"There is no filter {filter!r}; choose one of {', '.join(weights.FILTERS)}.")
    if voxel_um is not None and not (voxel_um > 0 and np.isfinite(voxel_um)):
        raise SettingsError(f"A voxel must have a positive size, not {voxel_um} um.")
    if axis_offset is not None and not np.isfinite(axis_offset):
        raise SettingsError(f"An axis offset is a finite number of pixels, not {axis_offset}.")
    if window is not None and not (len(window) == 2 and np.isfinite(window).all() and window[1] > window[0]):
        raise SettingsError(f"A grey window must rise from its lower to its upper end, not {window}.")
    if not memory_gb > 0:
        raise SettingsError(f"The memory budget must be positive, not {memory_gb} GB.")
    rings.check_level(ring_level)
    pair = None if window is None else (float(window[0]), float(window[1]))
    return _Settings(voxel_um, pair, format, axis_offset, parse_slices(slices), filter, ring_level, memory_gb)


@dataclass(eq=False)
class _Job:
    """One reconstruction on its way from projections to slices."""

    scan: Scan
    log: skyscan.SkyScanLog
    settings: _Settings
    context: Context
    warnings: list[str] = field(default_factory=list)
    beyond: int = 0  # voxels beyond the window

    def run(self, partial: Path) -> Product:
        """Write slices and log into a folder."""
        settings, scan = self.settings, self.scan
        weights.range_note(scan.geometry)  # refuses what cannot be reconstructed, before any work
        full = _grid(scan.geometry, settings.voxel_um)
        first, stop = settings.slices or (0, full.shape[0])
        if stop > full.shape[0]:
            raise SettingsError(
                f"Slices {first}:{stop} do not lie within the {full.shape[0]} slices of this scan."
            )
        plan = plan_slabs(scan.geometry, full, (first, stop), settings.memory_gb, settings.ring_level > 0)
        white, stuck = self._beam()
        source = Projections(scan, white.value, settings.ring_level, self.context.map, stuck)
        if plan.cache:
            with self.context.progress("read projections", len(scan.geometry.angles_deg)) as tick:
                source.load(*fdk.rows_to_read(scan.geometry, full, first, stop), tick)
        geometry, axis_source = self._geometry(source)
        if (first, stop) == (0, full.shape[0]):  # a few slices are too few to tell
            with self.context.progress("check optical axis", len(geometry.angles_deg)) as tick:
                note = axisrow.row_note(source.rows, geometry, mapper=self.context.map, tick=tick)
            self.warnings += [note] if note else []
        self._write(partial, source, geometry, full, plan)
        shape = (stop - first, *full.shape[1:])
        share = self.beyond / float(np.prod(shape))
        if share > SATURATED:
            self.warnings.append(
                f"{share:.2%} of the voxels lie above the window's upper end, {self._window()[1]:g} 1/mm, "
                "and are saturated; choose a wider window for the whole study."
            )
        grid = full.crop((first, 0, 0), (stop, *full.shape[1:]))
        quantity = _quantity(settings)
        results = {
            "axis_offset_px": geometry.axis_offset_px,
            "axis_source": axis_source,
            "turn": geometry.turn,
            "shape": list(grid.shape),
            "spacing_mm": list(grid.spacing_mm),
            "slices": [first, stop],
            "window": None if quantity.window is None else list(quantity.window),
            "grey_step": quantity.step,
            "attenuation_at_grey_75": _grey_75(quantity),
            "white": white.value,
            "white_source": white.source,
            "air_level": white.air,
            "air": float(-np.log(white.air / white.value)),
            "stuck_pixels": int(np.count_nonzero(stuck)),
            "saturated_share": share,
            "projections": len(geometry.angles_deg),
            "notes": list(scan.notes),
        }
        recipe = Recipe(settings.filter, settings.ring_level, settings.format, settings.grey_window)
        write_log(partial, scan.name, self.log, geometry, grid, first, recipe)
        view = field_of_view(geometry, grid)
        return Product(results, scan.name, grid, quantity, self.warnings, view=view)

    def _beam(self) -> tuple[correct.White, NDArray[np.bool_]]:
        """Find the open beam and the camera's stuck pixels, and say what is wrong with the images."""
        views = len(self.scan.geometry.angles_deg)
        chosen = sorted({round(v) for v in np.linspace(0, views - 1, min(SAMPLES, views))})
        images = [np.asarray(self.scan.projections[v]) for v in chosen]
        flats = self.scan.flats
        logged, kind = (self.scan.white, "log") if flats is None else (float(np.mean(flats)), "flats")
        white = correct.find_white(images, logged, kind)
        if white.source != "air":
            self.warnings += white.notes
        stuck = correct.stuck_pixels(images)
        full = np.mean([np.mean((i == np.iinfo(i.dtype).max) & ~stuck) for i in images])
        if full > SATURATED:
            self.warnings.append(
                f"{full:.1%} of the pixels are saturated, so attenuation is wrong there; "
                "scan again with a shorter exposure."
            )
        return white, stuck

    def _geometry(self, source: Projections) -> tuple[ConeGeometry, str]:
        """Return the geometry with the rotation axis to use, and where that was taken from."""
        geometry, given = self.scan.geometry, self.settings.axis_offset
        a, b = center.rows_near_axis(geometry)
        estimate = center.find_axis_offset(source.sinograms(a, b), geometry)
        if given is not None:
            offset, axis_source = float(given), "given"
        elif estimate.reliable:
            offset, axis_source = estimate.offset_px, "data"
        else:
            offset, axis_source = geometry.axis_offset_px, "log"
        if given is None or not estimate.turn_ok:  # a given axis does not tell the sense of rotation
            self.warnings += estimate.notes
        turn = estimate.turn if estimate.reliable else geometry.turn
        geometry = replace(geometry, axis_offset_px=offset, turn=turn)
        note = weights.range_note(geometry)
        if note:
            self.warnings.append(note)
        return geometry, axis_source

    def _window(self) -> tuple[float, float]:
        return self.settings.grey_window or (-np.inf, np.inf)

    def _write(
        self, partial: Path, source: Projections, geometry: ConeGeometry, grid: Grid, plan: SlabPlan
    ) -> None:
        """Reconstruct slab by slab, straight to disk."""
        tiles = len(fdk.tiles(grid))
        with self.context.progress("reconstruct", tiles * len(plan.slabs)) as tick:
            for first, stop in plan.slabs:
                source.prepare(*fdk.rows_to_read(geometry, grid, first, stop))
                # no name for the slab: it must be gone before the next one is made
                slices = enumerate(
                    fdk.reconstruct(
                        source.rows,
                        geometry,
                        grid,
                        (first, stop),
                        recipe=filtering.Recipe(self.settings.filter),
                        mapper=self.context.map,
                        tick=tick,
                    ),
                    first,
                )
                self.beyond += sum(self.context.map(lambda z: self._write_slice(partial, z), slices))
                del slices

    def _write_slice(self, partial: Path, numbered: tuple[int, NDArray[np.float32]]) -> int:
        """Write one slice, and return how many of its voxels lie beyond the window."""
        index, image = numbered
        settings = self.settings
        return write_slice(partial, self.scan.name, index, image, settings.format, settings.grey_window)


def _grid(geometry: ConeGeometry, voxel_um: float | None) -> Grid:
    """Return the whole grid of a scan."""
    return fdk.default_grid(geometry) if voxel_um is None else fdk.resampled_grid(geometry, voxel_um / 1000)


def _quantity(settings: _Settings) -> Quantity:
    """Return what the written numbers mean."""
    if settings.grey_window is None:
        return Quantity(Kind.ATTENUATION)
    return Quantity(Kind.GREY, settings.grey_window, GREY_MAX[settings.format])


def _grey_75(quantity: Quantity) -> float | None:
    """Return the attenuation (1/mm) at 8-bit grey 75, above which the published work finds bone."""
    if quantity.window is None or quantity.grey_max != 255:
        return None
    return float(to_attenuation(75.0, quantity))
