"""A scan's line integrals, read in parts, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper, Tick
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry, Scan
from bonemet.recon import fdk
from bonemet.recon.correct import line_integrals
from bonemet.recon.filtering import Recipe
from bonemet.recon.rings import remove_stripes
from bonemet.recon.views import rows_of

SLAB = 128  # slices at a time; more does not go faster
BASE_BYTES = 350e6  # the program itself, compiled kernels, slices on their way to disk


class Projections:
    """Line integrals of a scan by view and row.

    Parameters
    ----------
    scan
        Flat-field corrected, or with its flats and darks.
    white
        Intensity of the open beam, where the scan has no flats.
    ring_level
        See :func:`bonemet.recon.rings.remove_stripes`.
    mapper
        Spreads reading over threads.
    stuck
        Pixels (rows, columns) to be replaced, see :func:`bonemet.recon.correct.stuck_pixels`.
    """

    def __init__(
        self,
        scan: Scan,
        white: float,
        ring_level: int = 0,
        mapper: Mapper = map,
        stuck: NDArray[np.bool_] | None = None,
    ) -> None:
        self._scan = scan
        flats, darks = scan.flats, scan.darks
        size = (scan.geometry.rows, scan.geometry.columns)
        beam = white if flats is None else flats.reshape(-1, *size).mean(axis=0)
        self._white = np.broadcast_to(np.asarray(beam, np.float32), size)
        self._dark = None if darks is None else darks.reshape(-1, *size).mean(axis=0).astype(np.float32)
        self._stuck = stuck
        self._level = ring_level
        self._mapper = mapper
        self._counts: NDArray[np.generic] | None = None  # as read
        self._counts_row = 0
        self._clean: NDArray[np.float32] | None = None  # without rings
        self._clean_row = 0

    def load(self, first: int, stop: int, tick: Tick = lambda n: None) -> None:
        """Keep the counts of these rows in memory, so that each image is read once."""
        views = range(len(self._scan.geometry.angles_deg))

        def read(view: int) -> NDArray[np.generic]:
            return self._part(view, first, stop)

        counts = np.empty(
            (len(views), stop - first, self._scan.geometry.columns), self._scan.projections.dtype
        )
        for view, image in enumerate(self._mapper(read, views)):
            counts[view] = image
            tick(1)
        self._counts, self._counts_row = counts, first

    def forget(self) -> None:
        """Give the memory of what was kept back."""
        self._counts = self._clean = None

    def prepare(self, first: int, stop: int) -> None:
        """Clean these rows of rings, if that was asked for: stripes show in all views together only."""
        self._clean = None
        if self._level == 0:
            return
        rays = self.sinograms(first, stop)

        def clean(row: int) -> None:
            rays[:, row] = remove_stripes(rays[:, row], self._level)

        _run(self._mapper(clean, range(stop - first)))
        self._clean, self._clean_row = rays, first

    def rows(self, view: int, first: int, stop: int) -> NDArray[np.float32]:
        """Return line integrals (rows, columns) of part of a view."""
        if self._clean is not None:
            return self._clean[view, first - self._clean_row : stop - self._clean_row]
        return self._integrals(view, first, stop)

    def sinograms(self, first: int, stop: int) -> NDArray[np.float32]:
        """Return line integrals (views, rows, columns) of some rows of all views."""
        geometry = self._scan.geometry
        views = range(len(geometry.angles_deg))
        rays = np.empty((len(views), stop - first, geometry.columns), np.float32)

        def read(view: int) -> None:
            rays[view] = self._integrals(view, first, stop)

        _run(self._mapper(read, views))
        return rays

    def _integrals(self, view: int, first: int, stop: int) -> NDArray[np.float32]:
        counts = self._cached(view, first, stop)
        if counts is None:
            counts = self._part(view, first, stop)
        dark = None if self._dark is None else self._dark[first:stop]
        stuck = None if self._stuck is None else self._stuck[first:stop]
        return line_integrals(counts, self._white[first:stop], dark, stuck)

    def _cached(self, view: int, first: int, stop: int) -> NDArray[np.generic] | None:
        """Return the counts of some rows if they were loaded."""
        if self._counts is None or first < self._counts_row:
            return None
        counts = self._counts[view, first - self._counts_row : stop - self._counts_row]
        return counts if len(counts) == stop - first else None

    def _part(self, view: int, first: int, stop: int) -> NDArray[np.generic]:
        if hasattr(self._scan.projections, "rows"):  # looked at there
            return rows_of(self._scan.projections, view, first, stop)
        image = np.asarray(self._scan.projections[view])
        if not image.any():
            raise InputError(
                f"Projection {view} (counted from 0) of {self._scan.name or 'this scan'} is black; "
                "scan again, or replace it by a copy of its neighbour."
            )
        return image[first:stop]


def _run(results: Iterable[None]) -> None:
    for _ in results:
        pass


@dataclass(frozen=True)
class SlabPlan:
    """How a reconstruction fits into memory.

    Attributes
    ----------
    slabs
        Slices (first, stop) to compute together, in order.
    cache
        Whether the counts are kept in memory.
    """

    slabs: tuple[tuple[int, int], ...]
    cache: bool


def plan_slabs(
    geometry: ConeGeometry,
    grid: Grid,
    slices: tuple[int, int],
    memory_gb: float,
    rings: bool = False,
    recipe: Recipe = fdk.STANDARD,
) -> SlabPlan:
    """Return the slabs in which these slices are computed within a memory budget.

    The result does not depend on them, byte for byte.

    Raises
    ------
    SettingsError
        If not even the thinnest slab fits.
    """
    first, stop = slices
    a, b = fdk.rows_to_read(geometry, grid, first, stop)
    cached = 2.0 * len(geometry.angles_deg) * (b - a) * geometry.columns
    budget = memory_gb * 1e9 - BASE_BYTES

    def need(slab: tuple[int, int]) -> float:
        low, high = fdk.rows_to_read(geometry, grid, *slab)
        clean = 4.0 * len(geometry.angles_deg) * (high - low) * geometry.columns if rings else 0.0
        return fdk.slab_bytes(geometry, grid, slab, recipe) + clean

    for cache, thickness in ((True, SLAB), (True, 64), (False, SLAB), (False, 64), (False, 32), (False, 16)):
        slabs = _cut(first, stop, thickness)
        most = max(need(slab) for slab in slabs)  # far from the middle, slices spread over more rows
        if most + cached * cache <= budget:
            return SlabPlan(slabs, cache)
    raise SettingsError(
        f"This scan needs at least {(most + BASE_BYTES) / 1e9:.1f} GB to reconstruct, and "
        f"{memory_gb:g} GB are allowed; raise --memory-gb."
    )


def _cut(first: int, stop: int, thickness: int) -> tuple[tuple[int, int], ...]:
    """Return slabs whose ends are multiples of the thickness, as the kernels like them."""
    inner = range((first // thickness + 1) * thickness, stop, thickness)
    ends = [first, *inner, stop]
    return tuple(pairwise(ends))
