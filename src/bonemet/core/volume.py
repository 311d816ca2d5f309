"""A volume: numbers, where they are, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Quantity
from bonemet.core.errors import InputError
from bonemet.core.grid import Grid
from bonemet.core.view import View


class SlicedArray(Protocol):
    """Anything that slices along z: an array, a memory map, a stack of files on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes, z first."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        ...

    def __getitem__(self, key: Any, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Volume:
    """A three-dimensional image.

    Attributes
    ----------
    data
        (z, y, x) numbers; need not be in memory.
    grid
        Where the voxels are.
    quantity
        What the numbers mean.
    name
        The title that files of this volume bear (``871 week 0 left tibia``).
    notes
        What a reader should know: one sentence each.
    view
        What the scan saw, where that is known.
    """

    data: SlicedArray
    grid: Grid
    quantity: Quantity
    name: str = ""
    notes: tuple[str, ...] = field(default=())
    view: View | None = None

    def __post_init__(self) -> None:
        if tuple(self.data.shape) != self.grid.shape:
            raise InputError(
                f"Data of shape {tuple(self.data.shape)} do not fit a grid of {self.grid.shape}."
            )

    def array(self) -> NDArray[Any]:
        """Return all numbers in memory."""
        return np.asarray(self.data[:])

    def with_data(self, data: SlicedArray, quantity: Quantity | None = None) -> Self:
        """Return a volume on the same grid with other numbers."""
        return replace(self, data=data, quantity=quantity or self.quantity)

    def crop(self, start: tuple[int, int, int], stop: tuple[int, int, int]) -> Self:
        """Return the block of voxels from ``start`` to ``stop`` (z, y, x; half-open)."""
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        block = self.data[box[0]]
        return replace(self, data=block[:, box[1], box[2]], grid=self.grid.crop(start, stop))
