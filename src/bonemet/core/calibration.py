"""What a grey value means: attenuation, windowed grey, Hounsfield units, mineral density.

A number without its meaning is a bug, so every volume carries a :class:`Quantity`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError


class Kind(StrEnum):
    """Kinds of numbers that a volume may hold."""

    ATTENUATION = "attenuation"  # linear attenuation coefficient, 1/mm
    GREY = "grey"  # integers that stand for attenuation through a window, or for nothing known
    HU = "HU"
    DENSITY = "density"  # mg HA/cm3
    LABELS = "labels"
    MASK = "mask"


UNITS = {Kind.ATTENUATION: "1/mm", Kind.HU: "HU", Kind.DENSITY: "mg HA/cm3"}
CHUNK = 1 << 16


@dataclass(frozen=True)
class Quantity:
    """The meaning of the numbers in a volume.

    Attributes
    ----------
    kind
        What the numbers are.
    window
        For grey values: the attenuations (1/mm) at grey 0 and at the largest grey, if known.
    grey_max
        For grey values: the largest grey of the file's type (255 or 65535).
    """

    kind: Kind
    window: tuple[float, float] | None = None
    grey_max: int = 255

    def __post_init__(self) -> None:
        if self.window is not None and not self.window[1] > self.window[0]:
            raise InputError(f"A grey window must rise from its lower to its upper end, not {self.window}.")

    @property
    def unit(self) -> str:
        """Unit of the numbers, empty where they have none."""
        return UNITS.get(self.kind, "")

    @property
    def step(self) -> float | None:
        """Attenuation in 1/mm of one grey step, or None where it is not known."""
        return None if self.window is None else (self.window[1] - self.window[0]) / self.grey_max


def to_attenuation(values: NDArray[Any] | float, quantity: Quantity) -> NDArray[np.float64]:
    """Return attenuation in 1/mm of values that are attenuation or windowed grey.

    Raises
    ------
    InputError
        If the values have no known window.
    """
    if quantity.kind is Kind.ATTENUATION:
        return np.asarray(values, dtype=np.float64)
    if quantity.kind is Kind.GREY and quantity.window is not None:
        low, high = quantity.window
        return low + np.asarray(values, dtype=np.float64) * ((high - low) / quantity.grey_max)
    raise InputError(
        f"These {quantity.kind} values have no grey window, so their attenuation is unknown; "
        "give the window with which they were written."
    )


def to_grey(attenuation: NDArray[Any], window: tuple[float, float], grey_max: int = 255) -> NDArray[Any]:
    """Return 8-bit or 16-bit grey values of attenuation in 1/mm: rounded, clipped to the window."""
    low, high = window
    exact = np.dtype(np.float32 if grey_max <= 255 else np.float64)
    values = np.asarray(attenuation)
    grey = np.empty(values.shape, np.uint8 if grey_max <= 255 else np.uint16)
    flat, out = values.reshape(-1), grey.reshape(-1)
    for first in range(0, flat.size, CHUNK):  # small pieces stay in cache
        scaled = (flat[first : first + CHUNK].astype(exact) - low) * (grey_max / (high - low))
        np.clip(np.rint(scaled, out=scaled), 0, grey_max, out=scaled)
        out[first : first + CHUNK] = scaled
    return grey
