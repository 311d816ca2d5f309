"""Measures of one region by name: only what is asked for is computed, and each thing once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.context import Mapper, Tick
from bonemet.core.errors import InputError
from bonemet.core.grid import Grid
from bonemet.core.measure import Measure
from bonemet.morphometry.connectivity import connectivity
from bonemet.morphometry.cortical import Sections, sections
from bonemet.morphometry.density import Calibration, calibration_reason, mean_density
from bonemet.morphometry.nomenclature import CORTICAL, TERMS, check_definition, choose
from bonemet.morphometry.surface import surface_area
from bonemet.morphometry.thickness import local_thickness, mean_and_sd
from bonemet.morphometry.trabecular import NAMES, Found, Trabeculae, by_plates, by_spheres

_UNKNOWN = Quantity(Kind.GREY)


@dataclass(frozen=True, eq=False)
class Sample:
    """What is measured.

    Attributes
    ----------
    bone
        (z, y, x) boolean: the bone of the whole volume.
    grid
        Where the voxels are.
    region
        (z, y, x) boolean: the region of interest; None for the whole volume.
    name
        The region's name.
    grey, quantity
        (z, y, x) numbers and their meaning, for densities.
    calibration
        How attenuation becomes mineral density, where that is known.
    """

    bone: NDArray[np.bool_]
    grid: Grid
    region: NDArray[np.bool_] | None = None
    name: str = "whole"
    grey: NDArray[Any] | None = None
    quantity: Quantity = _UNKNOWN
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        for what, array in (("bone", self.bone), ("region", self.region), ("grey values", self.grey)):
            if array is not None and array.shape != self.grid.shape:
                raise InputError(f"The {what} of shape {array.shape} do not fit a grid of {self.grid.shape}.")


@dataclass(frozen=True)
class Measured:
    """Measures of one region, and what a person should know about them."""

    measures: list[Measure]
    notes: list[str]


def measure_region(
    sample: Sample,
    names: str | Iterable[str] | None = None,
    *,
    definition: str = "ctan",
    mapper: Mapper = map,
    tick: Tick = lambda n: None,
) -> Measured:
    """Return measures of a region.

    Parameters
    ----------
    sample
        Bone, region, grid and grey values.
    names
        Names of ``nomenclature.TERMS``; None for the volume and trabecular ones.
    definition
        A name of ``nomenclature.DEFINITIONS``.
    mapper
        An ordered map over slabs; the numbers do not depend on it.
    tick
        Is told after every measure.

    Raises
    ------
    SettingsError
        If a name or the definition is unknown.
    """
    wanted = choose(names)
    bench = _Bench(sample, wanted, check_definition(definition), mapper)
    measures = []
    for name in wanted:
        value, sd, reason = bench.take(name)
        measures.append(Measure(name, value, TERMS[name].unit, sample.name, sd, reason))
        tick(1)
    return Measured(measures, bench.notes)


def measure_arrays(
    bone: NDArray[Any],
    region: NDArray[Any] | None,
    grey: NDArray[Any] | None,
    grid: Grid,
    quantity: Quantity,
    names: str | Iterable[str] | None = None,
    region_name: str = "whole",
    definition: str = "ctan",
) -> list[Measure]:
    """Return measures of masks and grey values, as :func:`measure_region` does with threads and notes."""
    where = None if region is None else np.asarray(region) != 0
    sample = Sample(np.asarray(bone) != 0, grid, where, region_name, grey, quantity)
    return measure_region(sample, names, definition=definition).measures


class _Bench:
    """Works out one sample's measures, keeping what several of them need."""

    def __init__(self, sample: Sample, wanted: tuple[str, ...], definition: str, mapper: Mapper) -> None:
        self.sample = sample
        self.wanted = wanted
        self.definition = definition
        self.mapper = mapper
        self.notes: list[str] = []
        self.spacing = sample.grid.spacing_mm

    def take(self, name: str) -> Found:
        """Return value, standard deviation and reason of one measure."""
        if self.total == 0:
            return None, None, "the region is empty"
        if name in NAMES:
            return self.trabeculae.values[name]
        if name.endswith(("BMD", "TMD")):
            return self.density(name)
        if name == "Ct.Th":
            return self.cortical_thickness()
        value = self.cortical(name) if name in CORTICAL else _PLAIN[name](self)
        return (value, None, None) if value is not None else (None, None, "the region holds no bone")

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """Bone of the region."""
        region = self.sample.region
        return self.sample.bone if region is None else self.sample.bone & region

    @cached_property
    def count(self) -> int:
        """Bone voxels of the region."""
        return int(np.count_nonzero(self.inside))

    @cached_property
    def total(self) -> int:
        """Voxels of the region."""
        region = self.sample.region
        return self.sample.bone.size if region is None else int(np.count_nonzero(region))

    @property
    def bone_mm3(self) -> float:
        """Bone volume."""
        return self.count * self.sample.grid.voxel_mm3

    @property
    def total_mm3(self) -> float:
        """Total volume."""
        return self.total * self.sample.grid.voxel_mm3

    @cached_property
    def surface_mm2(self) -> float:
        """Bone surface."""
        return surface_area(self.sample.bone, self.spacing, region=self.sample.region, mapper=self.mapper)

    @property
    def specific_surface(self) -> float | None:
        """Bone surface per bone volume."""
        return self.surface_mm2 / self.bone_mm3 if self.count else None

    @property
    def connectivity_density(self) -> float | None:
        """Connectivity per total volume."""
        return connectivity(self.boxed) / self.total_mm3 if self.count else None

    @property
    def boxed(self) -> NDArray[np.bool_]:
        """Bone of the region, cut to the box of the region."""
        region = self.sample.region
        if region is None:
            return self.inside
        hits = [np.flatnonzero(region.any(axis=a)) for a in ((1, 2), (0, 2), (0, 1))]
        return self.inside[tuple(slice(int(h[0]), int(h[-1]) + 1) for h in hits)]

    @cached_property
    def trabeculae(self) -> Trabeculae:
        """Trabecular thickness, separation and number, as far as wanted."""
        if self.definition == "plate":
            found = by_plates(self.count / self.total, self.specific_surface, self.spacing)
        else:
            found = by_spheres(
                self.sample.bone,
                self.spacing,
                self.wanted,
                region=self.sample.region,
                definition=self.definition,
                mapper=self.mapper,
            )
        self.notes.extend(found.notes)
        return found

    @cached_property
    def sections(self) -> Sections | None:
        """Mean cross-section."""
        found = sections(self.inside, self.spacing, mapper=self.mapper)
        if found is not None and found.open_slices:
            self.notes.append(
                f"In {found.open_slices} of {found.slices} slices of {self.sample.name} the cortex encloses "
                "no marrow (closed bone, or a ring with a gap), so Tt.Ar there is the area of bone."
            )
        return found

    def cortical(self, name: str) -> float | None:
        """Return an area or the polar moment, or None where there is no bone."""
        s = self.sections
        if s is None:
            return None
        return {
            "Tt.Ar": s.total_mm2,
            "Ct.Ar": s.bone_mm2,
            "Ma.Ar": s.total_mm2 - s.bone_mm2,
            "Ct.Ar/Tt.Ar": s.bone_mm2 / s.total_mm2,
            "Ct.pMOI": s.polar_mm4,
        }[name]

    def cortical_thickness(self) -> Found:
        """Return the thickness of the region's bone, which bone outside the region does not add to."""
        boxed = self.boxed
        if not self.count:
            return None, None, "the region holds no bone"
        if boxed.all():
            return None, None, "bone fills the region"
        found = mean_and_sd(local_thickness(boxed, self.spacing, mapper=self.mapper))
        return (*found, None) if found else (None, None, "the region holds no bone")

    def density(self, name: str) -> Found:
        """Return the mean density of the region (BMD) or of its bone (TMD)."""
        sample = self.sample
        if sample.grey is None:
            return None, None, "not calibrated: there are no grey values"
        reason = calibration_reason(sample.quantity, sample.calibration)
        if reason is not None:
            return None, None, reason
        where = self.inside if name.endswith("TMD") else sample.region
        value = mean_density(sample.grey, where, sample.quantity, sample.calibration)
        return (value, None, None) if value is not None else (None, None, "the region holds no bone")


_PLAIN: dict[str, Callable[[_Bench], float | None]] = {
    "BV": lambda b: b.bone_mm3,
    "TV": lambda b: b.total_mm3,
    "BV/TV": lambda b: b.count / b.total,
    "BS": lambda b: b.surface_mm2,
    "BS/BV": lambda b: b.specific_surface,
    "BS/TV": lambda b: b.surface_mm2 / b.total_mm3,
    "Conn.D": lambda b: b.connectivity_density,
}
