"""Slices on their way to disk, slab by slab, and the journal that lets a stopped run go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Quantity, to_grey
from bonemet.core.context import Context
from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.io import journal, omezarr, stacks
from bonemet.recon import air, fdk, smoothing
from bonemet.recon.backends import LANES
from bonemet.recon.projections import Projections, SlabPlan
from bonemet.stages.reconstruct_range import Range
from bonemet.stages.reconstruct_settings import GREY_MAX, Settings


class Writer:
    """Reconstructs slabs and writes their slices.

    Parameters
    ----------
    folder
        Where slices and journal lie.
    name
        What the scan is called.
    settings
        What was asked for.
    context
        Threads and progress.
    what
        All that will be written.
    """

    def __init__(self, folder: Path, name: str, settings: Settings, context: Context, what: Range) -> None:
        self.folder = folder
        self._first = what.first
        self._store = None
        if settings.format == "ome-zarr":
            path = folder / f"{name}_rec{omezarr.SUFFIX}"
            self._store = omezarr.Store(path, what.grid.shape, np.float32)
        self._name = name
        self._settings = settings
        self._context = context
        self.empty: list[float] = []  # share of the blocks that were left out, of each part
        self._beyond: dict[int, int] = {k: int(v) for k, v in journal.done(folder).items()}

    def beyond(self) -> int:
        """Return how many voxels lie beyond the window, in all slices so far."""
        return sum(self._beyond.values())

    def write(
        self, rays: Projections, read: fdk.ReadRows, geometry: ConeGeometry, grid: Grid, plan: SlabPlan
    ) -> None:
        """Reconstruct slab by slab, straight to disk; slabs that the journal holds are left as they are.

        Parameters
        ----------
        rays
            Told which rows are needed next.
        read
            Gives the line integrals.
        geometry
            Of the scan.
        grid
            All slices, of the columns and rows that are written.
        plan
            The slabs.
        """
        blocks = self._occupied(rays, geometry, grid, (plan.slabs[0][0], plan.slabs[-1][1]))
        left = [s for s in plan.slabs if not all(z in self._beyond for z in range(*s))]
        tiles = len(fdk.tiles(grid))
        with self._context.progress("reconstruct", tiles * len(plan.slabs)) as tick:
            tick(tiles * (len(plan.slabs) - len(left)))
            for first, stop in left:
                # no name for the slab: it must be gone before the next one is made
                counts = self._written(
                    first, self._slab(rays, (read, geometry, grid), (first, stop), blocks, tick)
                )
                journal.note(self.folder, counts)
                self._beyond |= counts

    def _occupied(
        self, rays: Projections, geometry: ConeGeometry, grid: Grid, slices: tuple[int, int]
    ) -> NDArray[np.bool_] | None:
        """Return the blocks that hold more than air, None where all are wanted."""
        if not self._settings.skip_air:
            return None
        halo = smoothing.reach(self._settings.median, self._settings.smooth)
        wide = max(0, slices[0] - halo), min(grid.shape[0], slices[1] + halo)
        blocks = air.occupied(rays.rows, geometry, grid, wide, self._context.map)
        self.empty.append(1 - float(blocks[slices[0] // LANES : -(-slices[1] // LANES)].mean()))
        return blocks

    def _slab(
        self,
        rays: Projections,
        how: tuple[fdk.ReadRows, ConeGeometry, Grid],
        slices: tuple[int, int],
        blocks: NDArray[np.bool_] | None,
        tick: Any,
    ) -> NDArray[np.float32]:
        """Return slices (z, y, x), filtered with those about them."""
        settings, (first, stop), (read, geometry, grid) = self._settings, slices, how
        halo = smoothing.reach(settings.median, settings.smooth)
        a, b = max(0, first - halo), min(grid.shape[0], stop + halo)
        rays.prepare(*fdk.rows_to_read(geometry, grid, a, b))
        work = {"recipe": settings.recipe, "mapper": self._context.map, "tick": tick, "blocks": blocks}
        slab = fdk.reconstruct(read, geometry, grid, (a, b), **work)
        if halo:
            slab = smoothing.smooth(slab, settings.median, settings.smooth, self._context.map)
        return slab[first - a : stop - a]

    def _written(self, first: int, slab: NDArray[np.float32]) -> dict[int, int]:
        """Write slices, and return how many voxels of each lie beyond the window."""
        if self._store is None:
            return dict(self._context.map(self._write, enumerate(slab, first)))
        self._store.put(first - self._first, numbers_of(slab, self._settings))
        return dict.fromkeys(range(first, first + len(slab)), 0)

    def finish(self, grid: Grid, quantity: Quantity) -> None:
        """Finish what is no slice for itself."""
        if self._store is not None:
            self._store.finish(grid, quantity, self._name)

    def _write(self, numbered: tuple[int, NDArray[np.float32]]) -> tuple[int, int]:
        """Write one slice, and return its number and how many of its voxels lie beyond the window."""
        index, image = numbered
        return index, write_slice(self.folder, self._name, index, image, self._settings)


def write_slice(folder: Path, name: str, index: int, image: NDArray[np.float32], settings: Settings) -> int:
    """Write one slice of attenuation, and return how many of its voxels lie beyond the window."""
    window = settings.grey_window
    data = numbers_of(image, settings)
    stacks.write_slices(folder, f"{name}_rec", [data], format=settings.format, start=index)  # type: ignore[arg-type]  # a store is none
    return 0 if window is None else int(np.count_nonzero(image > window[1]))


def numbers_of(attenuation: NDArray[np.float32], settings: Settings) -> NDArray[Any]:
    """Return the numbers that are written: greys, attenuation, or Hounsfield units as float32."""
    window = settings.grey_window
    if window is not None:
        return to_grey(attenuation, window, GREY_MAX[settings.format])
    if settings.hounsfield is None:
        return attenuation
    return np.asarray(settings.in_hounsfield(attenuation), np.float32)
