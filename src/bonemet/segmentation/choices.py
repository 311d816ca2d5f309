"""How a study chooses its threshold: one choice, as people write it, and what it is on a scan's numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.context import Mapper
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.volume import SlicedArray
from bonemet.segmentation.threshold import (
    PUBLISHED,
    bone_threshold,
    from_attenuation,
    half_height,
    otsu_bone,
    scan_histogram,
)

Way = Literal["grey", "attenuation", "density", "published", "otsu", "half-height", "local"]
WORDS: tuple[Way, ...] = ("published", "otsu", "half-height", "local")
_UNITS = {"/mm": "attenuation", "1/mm": "attenuation", "mgha": "density", "mgha/cm3": "density"}
_LOCAL = re.compile(r"local\s+(?P<high>[\d.e+-]+)\s*:\s*(?P<low>[\d.e+-]+)")
_WRITTEN = re.compile(r"(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(?P<unit>\S.*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Choice:
    """A way to a threshold.

    Attributes
    ----------
    way
        ``grey`` (a value of the scan itself), ``attenuation`` (1/mm), ``density`` (mg HA/cm3), ``published``
        (grey >= 76), ``otsu``, ``half-height``, or ``local``.
    amount
        The number, for the first three, and for ``local`` where it is given.
    low
        For ``local``, where it is given: below it nothing is bone.
    """

    way: Way
    amount: float | None = None
    low: float | None = None


@dataclass(frozen=True)
class Cut:
    """A threshold on a scan's numbers; ``text`` is how the same one is asked of another scan.

    Attributes
    ----------
    value
        Bone is grey >= value.
    source
        How it was had, in a word.
    low
        For a local threshold: nothing below it is bone anywhere.
    """

    value: float
    source: str
    low: float | None = None

    @property
    def text(self) -> float | str:
        """How the same threshold is written for another scan with the same grey window."""
        return self.value if self.low is None else f"local {self.value!r}:{self.low!r}"


def parse(text: float | str) -> Choice:
    """Return the choice that a number or a text stands for.

    Parameters
    ----------
    text
        A grey value (``76``), an attenuation (``0.12/mm``), a mineral density (``400mgHA``), or one of
        ``published``, ``otsu``, ``half-height`` and ``local`` (``local 96:70`` where both bounds are given).

    Raises
    ------
    SettingsError
        If it is none of these.
    """
    if isinstance(text, str):
        word = text.strip().lower().replace("_", "-")
        for known in WORDS:
            if word == known:
                return Choice(known)
        bounds = _LOCAL.fullmatch(word)
        if bounds is not None:
            return Choice("local", float(bounds["high"]), float(bounds["low"]))
        match = _WRITTEN.fullmatch(word)
        unit = re.sub(r"[\s^³]", "", (match["unit"] or "").replace("³", "3")) if match else ""
        if match is None or (unit and unit not in _UNITS):
            raise SettingsError(
                f"A threshold is a grey value (76), an attenuation (0.12/mm), a density (400mgHA), or one of "
                f"{', '.join(WORDS)}, not {text!r}."
            )
        if unit:
            return Choice(_UNITS[unit], float(match["number"]))  # type: ignore[arg-type]
        text = float(match["number"])
    if not np.isfinite(text):
        raise SettingsError(f"A threshold is a finite number, not {text}.")
    return Choice("grey", float(text))


def cut(
    choice: Choice | None,
    grey: SlicedArray,
    quantity: Quantity,
    calibration: tuple[float, float] | None = None,
    mapper: Mapper = map,
) -> Cut:
    """Return the threshold on a scan's numbers.

    Parameters
    ----------
    choice
        None for the default: :func:`bonemet.segmentation.threshold.bone_threshold`.
    grey
        (z, y, x), anything that slices along z.
    quantity
        What its numbers mean.
    calibration
        mg HA/cm3 for each 1/mm, and at 0 1/mm, where a phantom was scanned.
    mapper
        An ordered map over chunks of slices.

    Raises
    ------
    InputError
        If the scan's numbers do not allow the choice.
    """
    if choice is None:
        return Cut(bone_threshold(grey, mapper), "otsu")
    if choice.amount is not None:
        value = _number(choice, choice.amount, quantity, calibration)
        return Cut(value, _SOURCES.get(choice.way, choice.way), choice.low)
    if choice.way == "published":
        if grey.dtype != np.uint8:
            raise InputError(
                "The published threshold is one of 8-bit grey values; give one with --threshold."
            )
        return Cut(float(PUBLISHED), "published")
    counts, values = scan_histogram(grey, mapper)
    if choice.way == "otsu":
        return Cut(otsu_bone(counts, values), "otsu")
    found = half_height(counts, values)
    if choice.way == "half-height":
        return Cut(found.halfway, "half-height")
    return Cut(found.halfway, "local", found.above_soft)


_SOURCES = {"grey": "given", "attenuation": "attenuation", "density": "density"}


def _number(
    choice: Choice, amount: float, quantity: Quantity, calibration: tuple[float, float] | None
) -> float:
    if choice.way in ("grey", "local"):
        return amount
    if choice.way == "attenuation":
        return from_attenuation(amount, quantity)
    if quantity.kind is Kind.DENSITY:
        return amount
    if calibration is None:
        raise InputError(
            f"A threshold of {amount:g} mg HA/cm3 needs a calibration by a hydroxyapatite phantom, but none "
            "is known for this scan; reconstruct with --calibration, or give a grey value or an attenuation."
        )
    slope, intercept = calibration
    if not slope > 0:
        raise SettingsError("Mineral density must rise with attenuation; check the calibration's slope.")
    return from_attenuation((amount - intercept) / slope, quantity)


def recorded(found: Cut, quantity: Quantity, given: float | str | None) -> dict[str, Any]:
    """Return what a sidecar says of a threshold: the choice, the value, and what that means.

    ``threshold_for_others`` is how the same choice is made for the other scans of a study.
    """
    attenuation: float | None = None
    if quantity.kind is Kind.ATTENUATION:
        attenuation = found.value
    elif quantity.kind is Kind.GREY and quantity.window is not None and quantity.step is not None:
        attenuation = quantity.window[0] + found.value * quantity.step
    return {
        "threshold": found.value,
        "threshold_source": found.source,
        "threshold_choice": "default" if given is None else given,
        "threshold_for_others": given if found.source in ("attenuation", "density") else found.text,
        "threshold_attenuation_per_mm": attenuation,
        "threshold_low": found.low,
    }
