"""One measured number with the field's standard name."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from bonemet.core.errors import SettingsError


@dataclass(frozen=True)
class Measure:
    """A number, its ASBMR name (Bouxsein 2010, doi:10.1002/jbmr.141), unit and region.

    A number that could not be had is None, and ``reason`` then says why.
    """

    name: str
    value: float | None
    unit: str
    region: str = "whole"
    sd: float | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            raise SettingsError(
                f"{self.name} of {self.region} is not a finite number; say None with a reason."
            )
        if self.value is None and not self.reason:
            raise SettingsError(f"{self.name} of {self.region} has no value and no reason.")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that say something (value always)."""
        return {k: v for k, v in asdict(self).items() if v is not None or k == "value"}
