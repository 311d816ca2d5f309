"""Trabecular thickness, separation and number, by spheres or by the plate model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.morphometry.thickness import MINIMUM_VOXELS, local_thickness, mean_and_sd, mid_axes

NOT_RESOLVED = "not resolved"
NAMES = ("Tb.Th", "Tb.Sp", "Tb.N")

Found = tuple[float | None, float | None, str | None]
"""Value, standard deviation where there is one, reason where there is no value."""


@dataclass(frozen=True)
class Trabeculae:
    """Values by name (in mm, Tb.N in 1/mm), and what a person should know about them."""

    values: dict[str, Found]
    notes: tuple[str, ...] = ()


def by_spheres(
    bone: NDArray[np.bool_],
    spacing: Sequence[float],
    wanted: Collection[str] = NAMES,
    *,
    region: NDArray[np.bool_] | None = None,
    definition: str = "ctan",
    mapper: Mapper = map,
) -> Trabeculae:
    """Return trabecular measures by largest spheres in bone and in the space between.

    Parameters
    ----------
    bone
        (z, y, x) boolean: all bone of the volume; bone outside the region bounds the space inside it.
    spacing
        Voxel edges (z, y, x) in mm.
    wanted
        Which of ``NAMES`` to compute.
    region
        (z, y, x) boolean: where spheres are centred and voxels counted; everywhere by default.
    definition
        ``ctan``: Tb.N = (BV/TV) / Tb.Th. ``ipl``: Tb.N = 1 / mean distance of the mid-axes, by spheres
        between them (Hildebrand 1999, doi:10.1359/jbmr.1999.14.7.1167).
    mapper
        An ordered map over slabs; the numbers do not depend on it.

    Returns
    -------
    Trabeculae
        All values None with the reason ``not resolved`` where bone is thinner than three voxels on average.
    """
    inside = bone if region is None else bone & region
    if not inside.any():
        return _without(wanted, "the region holds no bone")
    if bone.all():
        return _without(wanted, "bone fills the whole volume")
    found = mean_and_sd(local_thickness(bone, spacing, region=region, mapper=mapper))
    if found is None:  # cannot be: bone of the region has a thickness
        return _without(wanted, "the region holds no bone")
    thickness, sd = found
    if (coarse := _coarse(thickness, spacing)) is not None:
        return _without(wanted, NOT_RESOLVED, coarse)
    values: dict[str, Found] = {"Tb.Th": (thickness, sd, None)}
    if "Tb.Sp" in wanted:
        space = mean_and_sd(local_thickness(~bone, spacing, region=region, mapper=mapper))
        values["Tb.Sp"] = (*space, None) if space else (None, None, "bone fills the region")
    if "Tb.N" in wanted and definition == "ipl":
        between = ~mid_axes(bone, spacing, mapper=mapper)
        apart = mean_and_sd(local_thickness(between, spacing, region=region, mapper=mapper))
        values["Tb.N"] = (1 / apart[0], None, None) if apart else (None, None, "bone fills the region")
    elif "Tb.N" in wanted:
        total = bone.size if region is None else int(np.count_nonzero(region))
        values["Tb.N"] = (int(np.count_nonzero(inside)) / total / thickness, None, None)
    return Trabeculae({name: values[name] for name in NAMES if name in wanted})


def by_plates(fraction: float, specific_surface: float | None, spacing: Sequence[float]) -> Trabeculae:
    """Return trabecular measures of parallel plates of the same volume and surface.

    Tb.Th = 2 / (BS/BV), Tb.N = (BV/TV) / Tb.Th and Tb.Sp = 1 / Tb.N - Tb.Th (Parfitt 1987,
    doi:10.1002/jbmr.5650020617).

    Parameters
    ----------
    fraction
        BV/TV.
    specific_surface
        BS/BV in 1/mm, or None where there is no bone.
    spacing
        Voxel edges (z, y, x) in mm.
    """
    if not specific_surface or not fraction:
        return _without(NAMES, "the region holds no bone surface")
    thickness = 2 / specific_surface
    if (coarse := _coarse(thickness, spacing)) is not None:
        return _without(NAMES, NOT_RESOLVED, coarse)
    number = fraction / thickness
    values = {"Tb.Th": thickness, "Tb.Sp": 1 / number - thickness, "Tb.N": number}
    return Trabeculae({name: (value, None, None) for name, value in values.items()})


def _coarse(thickness: float, spacing: Sequence[float]) -> str | None:
    """Return a note if a mean thickness spans too few voxels of the coarsest direction."""
    across = thickness / max(spacing)
    if across >= MINIMUM_VOXELS:
        return None
    return (
        f"Trabeculae are {across:.1f} voxels thick on average, fewer than {MINIMUM_VOXELS:g}, so their "
        "thickness, separation and number are not resolved; scan or reconstruct at a smaller voxel."
    )


def _without(wanted: Collection[str], reason: str, *notes: str) -> Trabeculae:
    return Trabeculae({name: (None, None, reason) for name in wanted}, notes)
