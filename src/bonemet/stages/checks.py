"""Checks of settings that several commands share."""

from __future__ import annotations

import math

from bonemet.core.errors import SettingsError


def refuse_threshold(threshold: float | None) -> None:
    """Refuse a threshold with which no grey value can be compared.

    Raises
    ------
    SettingsError
        If it is given and is not a finite number.
    """
    if threshold is not None and not math.isfinite(threshold):
        raise SettingsError(f"A threshold is a finite number, not {threshold}.")
