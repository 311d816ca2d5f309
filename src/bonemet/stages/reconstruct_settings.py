"""What a reconstruction is asked for, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import SettingsError
from bonemet.io import omezarr
from bonemet.recon import beam_hardening, rings, smoothing, weights
from bonemet.recon.filtering import FINER, Accuracy, Recipe

Format = Literal["png", "tiff", "bmp", "float", "ome-zarr"]
Thermal = Literal["auto", "off", "plus", "minus"]

DEFAULT_WINDOW = (0.0, 0.30)  # 1/mm; one for all scans, so that one grey means one density in a whole study
GREY_MAX = {"png": 255, "tiff": 65535, "bmp": 255}
MATERIALS = ("water", "bone")
TILTS = ("auto", "log", "off")
MAX_TILT_DEG = 10
NOT_IN_RESULT = ("memory_gb",)
MAX_UNDERSAMPLE = 16


@dataclass(frozen=True)
class Settings:
    """What the user asked for; see :func:`bonemet.stages.reconstruct.reconstruct`."""

    voxel_um: float | None = None
    window: tuple[float, float] | None = None
    format: Format = "png"
    axis_offset: float | None = None
    slices: tuple[int, int] | None = None
    region: tuple[int, int, int, int] | None = None
    filter: str = "hamming"
    accuracy: Accuracy = "standard"
    extend: bool = False
    ring_level: int = 0
    hardening: float | str = 0.0
    median: int = 0
    smooth: float = 0.0
    undersample: int = 1
    rotate_deg: float = 0.0
    thermal: Thermal = "auto"
    skip_bad: bool = False
    skip_air: bool = False
    calibration: tuple[float, float] | None = None
    hounsfield: tuple[float, float] | None = None
    tilt: float | str = "auto"
    preview: bool = False
    memory_gb: float = 4.0

    def parameters(self) -> dict[str, Any]:
        """Return the settings that change the result."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NOT_IN_RESULT}
        return named | {"window": self.grey_window}

    @property
    def grey_window(self) -> tuple[float, float] | None:
        """The window of the grey values, None for attenuation itself."""
        return self.window or DEFAULT_WINDOW if self.format in GREY_MAX else None

    def in_hounsfield(self, attenuation: Any) -> Any:
        """Return Hounsfield units of attenuation in 1/mm; only where water and air are known."""
        assert self.hounsfield is not None
        water, air = self.hounsfield
        return (attenuation - water) * (1000 / (water - air))

    @property
    def recipe(self) -> Recipe:
        """How projections are filtered."""
        return Recipe(self.filter, self.accuracy, self.extend)

    @property
    def quantity(self) -> Quantity:
        """What the written numbers mean."""
        if self.grey_window is None:
            return Quantity(Kind.ATTENUATION if self.hounsfield is None else Kind.HU)
        return Quantity(Kind.GREY, self.grey_window, GREY_MAX[self.format])


def settings_of(asked: Mapping[str, Any]) -> Settings:
    """Return checked settings of a function's arguments.

    Raises
    ------
    SettingsError
        If one makes no sense.
    """
    known = dict(asked)
    known["slices"] = parse_slices(known.get("slices"))
    known["region"] = parse_region(known.get("region"))
    known["hardening"] = parse_hardening(known.get("hardening"))
    window = known.get("window")
    known["tilt"] = parse_tilt(known.get("tilt", "auto"))
    known["hounsfield"] = _pair("pair of attenuations of water and air", known.get("hounsfield"))
    known["calibration"] = _pair("calibration", known.get("calibration"))
    settings = Settings(**known | {"window": _pair("grey window", window)})
    _check_choices(settings)
    if settings.format == "ome-zarr":
        omezarr.require()  # said before the work and not after it
    _check_numbers(settings)
    if settings.window is not None and not settings.window[1] > settings.window[0]:
        raise SettingsError(f"A grey window must rise from its lower to its upper end, not {window}.")
    if settings.hounsfield is not None and not settings.hounsfield[0] > settings.hounsfield[1]:
        raise SettingsError(
            f"Water attenuates more than air, so Hounsfield units cannot come from {settings.hounsfield}."
        )
    rings.check_level(settings.ring_level)
    smoothing.check(settings.median, settings.smooth)
    return settings


def _pair(what: str, pair: Any) -> tuple[float, float] | None:
    if pair is None:
        return None
    values = tuple(float(v) for v in pair)
    if len(values) != 2 or not np.isfinite(values).all():
        raise SettingsError(f"A {what} is two numbers, not {pair}.")
    return values[0], values[1]


def _check_choices(settings: Settings) -> None:
    for what, value, choices in (
        ("format", settings.format, ("png", "tiff", "bmp", "float", "ome-zarr")),
        ("filter", settings.filter, weights.FILTERS),
        ("accuracy", settings.accuracy, tuple(FINER)),
        ("thermal", settings.thermal, ("auto", "off", "plus", "minus")),
    ):
        if value not in choices:
            raise SettingsError(f"There is no {what} {value!r}; choose one of {', '.join(choices)}.")


def _check_numbers(settings: Settings) -> None:
    voxel, axis, turned = settings.voxel_um, settings.axis_offset, settings.rotate_deg
    if voxel is not None and not (voxel > 0 and np.isfinite(voxel)):
        raise SettingsError(f"A voxel must have a positive size, not {voxel} um.")
    if axis is not None and not np.isfinite(axis):
        raise SettingsError(f"An axis offset is a finite number of pixels, not {axis}.")
    if not np.isfinite(turned):
        raise SettingsError(f"Slices are turned by a finite number of degrees, not {turned}.")
    if not settings.memory_gb > 0:
        raise SettingsError(f"The memory budget must be positive, not {settings.memory_gb} GB.")
    if not 1 <= settings.undersample <= MAX_UNDERSAMPLE:
        raise SettingsError(
            f"Undersampling makes 1 to {MAX_UNDERSAMPLE} pixels one, not {settings.undersample}."
        )
    if settings.undersample > 1 and settings.voxel_um is not None:
        raise SettingsError("Give either an undersampling or a voxel size, not both.")


def parse_slices(text: str | tuple[int, int] | None) -> tuple[int, int] | None:
    """Return a half-open range of slices from ``"A:B"`` or a pair.

    Raises
    ------
    SettingsError
        If it is neither.
    """
    if text is None:
        return None
    try:
        first, stop = (int(v) for v in (text.split(":") if isinstance(text, str) else text))
    except ValueError as error:
        raise SettingsError(f"Slices are given as A:B, for example 100:200, not {text!r}.") from error
    if not 0 <= first < stop:
        raise SettingsError(f"Slices {first}:{stop} hold nothing; give A:B with 0 <= A < B.")
    return first, stop


def parse_region(text: str | tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
    """Return columns and rows (x0, x1, y0, y1), half-open, from ``"X0:X1,Y0:Y1"`` or four numbers.

    Raises
    ------
    SettingsError
        If it is neither.
    """
    if text is None:
        return None
    try:
        parts = text.replace(",", ":").split(":") if isinstance(text, str) else text
        x0, x1, y0, y1 = (int(v) for v in parts)
    except ValueError as error:
        raise SettingsError(
            f"A region is given as X0:X1,Y0:Y1, for example 100:400,50:300, not {text!r}."
        ) from error
    if not (0 <= x0 < x1 and 0 <= y0 < y1):
        raise SettingsError(f"The region {x0}:{x1},{y0}:{y1} holds nothing; numbers rise from 0 up.")
    return x0, x1, y0, y1


def parse_tilt(value: float | str) -> float | str:
    """Return an angle in degrees, or one of ``TILTS``.

    Raises
    ------
    SettingsError
        If it is neither, or too large to be a camera's.
    """
    if value in TILTS:
        return str(value)
    try:
        angle = float(value)
    except ValueError as error:
        raise SettingsError(
            f"A tilt is an angle in degrees, or {', '.join(TILTS)}, not {value!r}."
        ) from error
    if not abs(angle) <= MAX_TILT_DEG:
        raise SettingsError(f"A tilt lies within {MAX_TILT_DEG} degrees, not at {value}.")
    return angle


def parse_hardening(value: float | str | None) -> float | str:
    """Return a percentage, or the name of a material.

    Raises
    ------
    SettingsError
        If it is neither.
    """
    if value is None:
        return 0.0
    if value in MATERIALS:
        return str(value)
    try:
        percent = float(value)
    except ValueError as error:
        raise SettingsError(
            f"Beam hardening is corrected by a percentage, or for {' or '.join(MATERIALS)}, not {value!r}."
        ) from error
    beam_hardening.by_percent(percent)
    return percent
