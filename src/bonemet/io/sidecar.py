"""The sidecar ``bonemet.json``: what a folder holds, where its voxels are, what was done to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError
from bonemet.core.grid import IDENTITY, Grid, Triple
from bonemet.core.step import Step
from bonemet.core.view import Plane, View

NAME = "bonemet.json"


class GridModel(BaseModel):
    """A grid as written; see :class:`bonemet.core.grid.Grid`."""

    shape: tuple[int, int, int]
    spacing_mm: Triple
    origin_mm: Triple = (0.0, 0.0, 0.0)
    direction: tuple[Triple, Triple, Triple] = IDENTITY


class QuantityModel(BaseModel):
    """A quantity as written; see :class:`bonemet.core.calibration.Quantity`."""

    kind: Kind
    window: tuple[float, float] | None = None
    grey_max: int = 255


class StepModel(BaseModel):
    """A step as written; see :class:`bonemet.core.step.Step`."""

    name: str
    version: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Sidecar(BaseModel):
    """Everything the sidecar says."""

    model_config = ConfigDict(extra="ignore")

    bonemet: str
    name: str = ""
    grid: GridModel | None = None
    quantity: QuantityModel | None = None
    view: list[Plane] | None = None
    steps: list[StepModel] = Field(default_factory=list)
    results: dict[str, Any] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    beside: list[str] = Field(default_factory=list)
    files: int = 0
    fingerprint: str = ""

    def core_grid(self) -> Grid | None:
        """Return the grid as a core type."""
        return None if self.grid is None else Grid(**self.grid.model_dump())

    def core_view(self) -> View | None:
        """Return what the scan saw as a core type."""
        return None if self.view is None else View(tuple(self.view))

    def core_quantity(self) -> Quantity | None:
        """Return the quantity as a core type."""
        return None if self.quantity is None else Quantity(**self.quantity.model_dump())


def grid_model(grid: Grid) -> GridModel:
    """Return a grid as it is written."""
    return GridModel(
        shape=grid.shape, spacing_mm=grid.spacing_mm, origin_mm=grid.origin_mm, direction=grid.direction
    )


def quantity_model(quantity: Quantity) -> QuantityModel:
    """Return a quantity as it is written."""
    return QuantityModel(kind=quantity.kind, window=quantity.window, grey_max=quantity.grey_max)


def view_model(view: View | None) -> list[Plane] | None:
    """Return a view as it is written: planes, rounded to a nanometre."""
    if view is None:
        return None
    return [(round(a, 9), round(b, 9), round(c, 9), round(d, 6)) for a, b, c, d in view.planes]


def step_model(step: Step) -> StepModel:
    """Return a step as it is written."""
    return StepModel(
        name=step.name,
        version=step.version,
        parameters=dict(step.parameters),
        inputs=step.inputs,
        notes=step.notes,
    )


def read(folder: Path) -> Sidecar | None:
    """Return the sidecar of a folder, or None where it has none.

    Raises
    ------
    InputError
        If the file is there but is not a sidecar.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        return Sidecar.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a bonemet sidecar; delete it or make the folder anew.") from error


def write(folder: Path, sidecar: Sidecar) -> None:
    """Write the sidecar of a folder."""
    text = sidecar.model_dump_json(indent=1, exclude_none=True)
    (folder / NAME).write_text(text + "\n", encoding="utf-8", newline="\n")
