"""The calibration phantom: rods of hydroxyapatite in a water-like holder, with water and air beside them.

It is scanned through the same beam and camera as the animals, so that grey values of both can be
compared with known densities. Everything is a cylinder along z, which makes every slice the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.kernels.jit import kernel
from bonemet.simulation.fields import upright
from bonemet.simulation.materials import HYDROXYAPATITE, WATER
from bonemet.simulation.presets import Preset
from bonemet.simulation.scene import seen_z_mm
from bonemet.simulation.spectrum import Spectrum, as_muscle_and_apatite
from bonemet.simulation.xray import Body

HOLDER_MM = 14.0
"""Diameter of the holder, of material that attenuates as water does."""


@dataclass(frozen=True)
class Insert:
    """A cylinder along z in the holder.

    Attributes
    ----------
    name
        What it is.
    centre_mm
        Place of its axis (x, y) in the scan frame.
    diameter_mm
        Its diameter.
    density_g_cm3
        Hydroxyapatite in it.
    water
        Whether water fills what is left; else it is air.
    """

    name: str
    centre_mm: tuple[float, float]
    diameter_mm: float
    density_g_cm3: float
    water: bool = True


INSERTS = (
    Insert("hydroxyapatite 0.25", (-3.4, 0.6), 4.0, 0.25),
    Insert("hydroxyapatite 0.75", (3.4, 0.6), 4.0, 0.75),
    Insert("water", (0.3, -4.2), 3.0, 0.0),
    Insert("air", (-0.3, 4.6), 3.0, 0.0, water=False),
)
"""The rods of 0.25 and 0.75 g/cm3, and regions of water (all holder) and air."""

_FINER, _FINEST_MM = 5, 0.04


def shares(grid: Grid, centre_mm: tuple[float, float], diameter_mm: float) -> NDArray[np.float32]:
    """Return how much of each voxel (y, x) of a slice lies in a cylinder along z."""
    _, rows, columns = grid.shape
    out = np.zeros((rows, columns), dtype=np.float32)
    x, y, _ = grid.index_to_mm([0, 0, 0]) - np.array([*centre_mm, 0.0])
    _fill(out, float(x), float(y), grid.spacing_mm[0], diameter_mm / 2)
    return out


@kernel
def _fill(out: NDArray[np.float32], x0: float, y0: float, step: float, radius: float) -> None:
    """Count how many of the points within each pixel lie in a circle about the origin."""
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            inside = 0
            for n in range(_FINER * _FINER):
                y = y0 + (j + (n // _FINER + 0.5) / _FINER - 0.5) * step
                x = x0 + (i + (n % _FINER + 0.5) / _FINER - 0.5) * step
                inside += x * x + y * y <= radius * radius
            out[j, i] = inside / (_FINER * _FINER)


def phantom_in_beam(preset: Preset, geometry: ConeGeometry, spectrum: Spectrum) -> Body:
    """Return the phantom for projection.

    Parameters
    ----------
    preset
        Sizes of the voxels; rods are drawn in voxels of at least 0.04 mm, their edges as shares of them.
    geometry
        The scan; the phantom is longer than what it sees.
    spectrum
        The beam, which decides how water is made of muscle and hydroxyapatite.
    """
    low, high = seen_z_mm(geometry, HOLDER_MM / 2 + 1)
    radius = HOLDER_MM / 2 + 0.5

    def grid_of(step: float) -> Grid:
        side = 2 * round(radius / step) + 1
        corner = -(side - 1) / 2 * step
        return Grid.isotropic((math.ceil((high - low) / step) + 1, side, side), step, (corner, corner, low))

    fine, coarse = grid_of(max(preset.bone_mm, _FINEST_MM)), grid_of(preset.soft_mm)
    mineral = np.zeros(fine.shape[1:], dtype=np.float32)
    solid = shares(coarse, (0.0, 0.0), HOLDER_MM)
    room = np.zeros_like(solid)  # that rods' mineral takes; projecting subtracts it as muscle
    for insert in INSERTS:
        density, part = insert.density_g_cm3, shares(coarse, insert.centre_mm, insert.diameter_mm)
        mineral += np.float32(1000 * density) * shares(fine, insert.centre_mm, insert.diameter_mm)
        room += np.float32(density / HYDROXYAPATITE.density) * part
        if not insert.water:
            solid -= part
    muscle, apatite = (np.float32(v) for v in as_muscle_and_apatite(WATER, spectrum))
    soft = muscle * (solid - room) + room, np.float32(1000) * apatite * (solid - room)
    return Body(upright(mineral, fine), upright(soft[0], coarse), upright(soft[1], coarse))


def truth(spectrum: Spectrum) -> list[dict[str, Any]]:
    """Return what is true of the holder and every insert: places from the axis, sizes, densities.

    ``attenuation_per_mm`` is that of the unhardened beam: the slope of the signal behind nothing.
    """
    energies = spectrum.energies_kev
    water = float((spectrum.weights * WATER.attenuation(energies)).sum()) / 10
    apatite = float((spectrum.weights * HYDROXYAPATITE.mass_attenuation(energies)).sum()) / 10
    rows: list[dict[str, Any]] = [
        {
            "name": "holder",
            "centre_mm": [0.0, 0.0],
            "diameter_mm": HOLDER_MM,
            "density_g_cm3": 0.0,
            "attenuation_per_mm": round(water, 6),
        }
    ]
    for insert in INSERTS:
        left = 1 - insert.density_g_cm3 / HYDROXYAPATITE.density if insert.water else 0.0
        rows.append(
            {
                "name": insert.name,
                "centre_mm": list(insert.centre_mm),
                "diameter_mm": insert.diameter_mm,
                "density_g_cm3": insert.density_g_cm3,
                "attenuation_per_mm": round(left * water + insert.density_g_cm3 * apatite, 6),
            }
        )
    return rows
