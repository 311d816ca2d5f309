"""What is reconstructed: the full grid of a scan, and the part of it that is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.recon import fdk
from bonemet.stages.reconstruct_settings import Settings


@dataclass(frozen=True)
class Range:
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


def range_of(geometry: ConeGeometry, settings: Settings) -> Range:
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
    return Range(full, first, stop, full.crop((first, y0, x0), (stop, y1, x1)))
