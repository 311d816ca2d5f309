"""What was done to data: one record per stage, carried in every output folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One processing step.

    Times of day and durations are left out on purpose: the same inputs and settings give the
    same bytes.

    Attributes
    ----------
    name
        The command's name (``reconstruct``).
    version
        The version of bonemet that did it.
    parameters
        Every parameter as used, JSON types only.
    inputs
        Names of the inputs.
    notes
        What a reader should know: one sentence each.
    """

    name: str
    version: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
