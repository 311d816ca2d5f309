"""Settings of a study: one choice for all its scans, in ``study.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bonemet.core.errors import MissingInputError, SettingsError
from bonemet.roi.guard import Guard
from bonemet.roi.regions import DEFAULT, Definition
from bonemet.segmentation.choices import parse

NAME = "study.toml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Reconstruction(_Section):
    """How scans are reconstructed."""

    voxel_um: float | None = Field(default=None, gt=0)
    window: tuple[float, float] | None = None
    filter: Literal["ramp", "shepp-logan", "cosine", "hamming", "hann"] = "hamming"
    accuracy: Literal["standard", "sharp", "fine"] = "standard"
    extend: bool = False
    ring_level: int = Field(default=0, ge=0, le=20)
    hardening: float | Literal["water", "bone"] = Field(default=0.0)
    median: int = Field(default=0, ge=0, le=3)
    smooth: float = Field(default=0.0, ge=0)
    undersample: int = Field(default=1, ge=1)
    rotate_deg: float = 0.0
    thermal: Literal["auto", "off", "plus", "minus"] = "auto"
    tilt: float | Literal["auto", "log", "off"] = "auto"
    skip_bad: bool = False
    skip_air: bool = False
    calibration: tuple[float, float] | None = None

    @field_validator("hardening")
    @classmethod
    def _is_percent(cls, hardening: float | str) -> float | str:
        if not isinstance(hardening, str) and not 0 <= hardening <= 100:
            raise ValueError("beam hardening is a percentage from 0 to 100, water or bone")
        return hardening

    @field_validator("window")
    @classmethod
    def _rises(cls, window: tuple[float, float] | None) -> tuple[float, float] | None:
        if window is not None and not window[1] > window[0]:
            raise ValueError("a grey window rises from its lower to its upper end")
        return window


class Segmentation(_Section):
    """How bones are found; without a threshold, the first scan's Otsu threshold serves all scans.

    The threshold is a grey value, an attenuation (``"0.12/mm"``), a density (``"400mgHA"``), or one of
    ``"published"``, ``"otsu"``, ``"half-height"`` and ``"local"``, found on the first scan.
    """

    threshold: float | str | None = None
    left: Literal["low-x", "high-x"] = "low-x"
    method: Literal["default", "published"] = "default"

    @field_validator("threshold")
    @classmethod
    def _known(cls, threshold: float | str | None) -> float | str | None:
        if threshold is not None:
            parse(threshold)
        return threshold


class Registration(_Section):
    """How bones are aligned."""

    method: Literal["default", "published"] = "default"


class Region(_Section):
    """The region of interest below the proximal tibia-fibula junction."""

    below_junction: int = 0
    length_mm: float = Field(default=3.0, gt=0)


class Change(_Section):
    """What a change must be before it counts; see :class:`bonemet.roi.guard.Guard`."""

    sigma_voxels: float = Field(default=Guard.sigma_voxels, ge=0)
    smallest_difference: float = Field(default=Guard.smallest_difference, ge=0)
    noise_sds: float = Field(default=Guard.noise_sds, ge=0)
    film_voxels: int = Field(default=Guard.film_voxels, ge=0)
    smallest_cluster_voxels: int = Field(default=Guard.smallest_cluster_voxels, ge=1)
    local_mm: float = Field(default=Guard.local_mm, ge=0)

    def guard(self) -> Guard:
        """Return it as the numerics know it."""
        return Guard(**self.model_dump())


class RegionOfBone(_Section):
    """One region that changes are measured in; see :class:`bonemet.roi.regions.Definition`."""

    name: str = Field(min_length=1)
    anchor: Literal["junction", "growth plate", "length"]
    start_mm: float = 0.0
    percent: float = Field(default=50.0, ge=0, le=100)
    length_mm: float = Field(default=1.0, gt=0)
    part: Literal["whole", "trabecular", "cortical"] = "whole"

    def definition(self) -> Definition:
        """Return it as the numerics know it."""
        return Definition(**self.model_dump())


class StudySettings(_Section):
    """Everything that ``study.toml`` may say; what it leaves out has the values shown here."""

    reconstruction: Reconstruction = Reconstruction()
    segmentation: Segmentation = Segmentation()
    registration: Registration = Registration()
    region: Region = Region()
    change: Change | None = None
    regions: tuple[RegionOfBone, ...] | None = None

    def definitions(self) -> tuple[Definition, ...]:
        """Return the regions that changes are measured in; the published ones where none are named."""
        return DEFAULT if self.regions is None else tuple(r.definition() for r in self.regions)


def read(study: Path) -> StudySettings:
    """Read the settings of a study, or the defaults where it has none.

    Raises
    ------
    SettingsError
        If the file is no TOML, or names a setting that does not exist, or gives one a senseless value.
    """
    path = study / NAME
    return read_file(path) if path.is_file() else StudySettings()


def read_file(path: Path) -> StudySettings:
    """Read settings from a file; see :func:`read`."""
    try:
        return StudySettings.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: the setting {where} is not usable ({first['msg']}).") from error


def read_regions(path: Path) -> tuple[Definition, ...]:
    """Return the regions that a TOML file defines, in ``[[regions]]`` tables as in ``study.toml``.

    Raises
    ------
    MissingInputError
        If there is no such file.
    SettingsError
        If it is no TOML, names no region, or one twice, or a setting that does not exist.
    """
    if not path.is_file():
        raise MissingInputError(f"{path} is no file; give the TOML file that defines the regions.")
    found = read_file(path).regions
    if not found:
        raise SettingsError(f"{path} defines no region; add [[regions]] tables.")
    names = [r.name for r in found]
    if len(set(names)) < len(names):
        raise SettingsError(f"{path} gives two regions one name; names are {', '.join(names)}.")
    return tuple(r.definition() for r in found)
