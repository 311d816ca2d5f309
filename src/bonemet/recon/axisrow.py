"""The row of the optical axis: whether the other reading of a log makes the sharper volume.

Logs do not say from which edge ``Optical Axis (line)`` is counted. With the wrong row, rays are laid at the
wrong slope, and what changes from slice to slice is blurred. A small copy of the scan, reconstructed with
both rows, shows it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.context import Mapper, Tick
from bonemet.core.scan import ConeGeometry
from bonemet.recon import fdk
from bonemet.recon.binning import binned, binned_geometry

COLUMNS = 128  # of the small copy, at most
NEAR = 0.05  # share of the rows: readings nearer to each other make volumes that cannot be told apart
SHARPER = 1.015  # by which factor the other must be sharper to be believed; noise alone makes 1.01
SLOW = 2.0  # slices of the small copy; what changes more slowly does not count
INNER = 0.9  # share of the field's radius that is looked at; beyond it reconstructions end


def row_note(
    read_rows: fdk.ReadRows, geometry: ConeGeometry, *, mapper: Mapper = map, tick: Tick = lambda n: None
) -> str | None:
    """Return a sentence where the row counted from the other edge fits the data better, else None.

    Parameters
    ----------
    read_rows
        Gives the line integrals of part of a view; called once per view, for all rows.
    geometry
        Of the scan, with its axis offset and sense of rotation.
    mapper
        Spreads views and tiles over threads.
    tick
        Told the number of views read.
    """
    other = geometry.rows - 1 - geometry.optical_axis_row
    if abs(other - geometry.optical_axis_row) <= NEAR * geometry.rows:
        return None
    ratio = sharpness_ratio(read_rows, geometry, other, mapper=mapper, tick=tick)
    if ratio < SHARPER:
        return None
    return (
        f"The slices are sharper ({100 * ratio - 100:.1f} %) with the optical axis at row {other:g} than at "
        f"row {geometry.optical_axis_row:g}, as the log was read: its Optical Axis (line) seems to be "
        "counted from the other edge; give it as rows - 1 - line in the log and reconstruct again."
    )


def sharpness_ratio(
    read_rows: fdk.ReadRows,
    geometry: ConeGeometry,
    other_row: float,
    *,
    mapper: Mapper = map,
    tick: Tick = lambda n: None,
) -> float:
    """Return the sharpness along z with another row of the optical axis over that with the geometry's."""
    n = max(1, -(-geometry.columns // COLUMNS))
    small = binned_geometry(geometry, n)
    views = len(geometry.angles_deg)

    def one(view: int) -> NDArray[np.float32]:
        return binned(read_rows(view, 0, geometry.rows), n)

    rays = np.empty((views, small.rows, small.columns), np.float32)
    for view, image in enumerate(mapper(one, range(views))):
        rays[view] = image
        tick(1)

    def sharpness(row: float) -> float:
        placed = replace(small, optical_axis_row=(row - (n - 1) / 2) / n)
        return _sharpness(fdk.reconstruct(lambda view, a, b: rays[view, a:b], placed, mapper=mapper))

    return sharpness(other_row) / max(sharpness(geometry.optical_axis_row), 1e-30)


def _sharpness(volume: NDArray[np.float32]) -> float:
    """Return the power, within the field, of what changes within a few slices.

    Slower change is left out: a wrong slope makes upright walls brighten from one end to the other.
    """
    smooth = ndimage.gaussian_filter(volume, 1.0)
    detail = smooth - ndimage.gaussian_filter1d(smooth, SLOW, axis=0)
    y, x = np.indices(volume.shape[1:]) - (volume.shape[2] - 1) / 2
    inner = x**2 + y**2 < (INNER * volume.shape[2] / 2) ** 2
    ends = min(math.ceil(2 * SLOW), (len(detail) - 1) // 2)  # where the filter has only one side
    return float(np.square(detail[ends : len(detail) - ends, inner], dtype=np.float64).sum())
