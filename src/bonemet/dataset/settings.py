"""Settings of a study: one choice for all its scans, in ``study.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bonemet.core.errors import SettingsError

NAME = "study.toml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Reconstruction(_Section):
    """How scans are reconstructed."""

    voxel_um: float | None = Field(default=None, gt=0)
    window: tuple[float, float] | None = None
    filter: Literal["ramp", "shepp-logan", "cosine", "hamming", "hann"] = "hamming"
    ring_level: int = Field(default=0, ge=0, le=20)

    @field_validator("window")
    @classmethod
    def _rises(cls, window: tuple[float, float] | None) -> tuple[float, float] | None:
        if window is not None and not window[1] > window[0]:
            raise ValueError("a grey window rises from its lower to its upper end")
        return window


class Segmentation(_Section):
    """How bones are found; without a threshold, the first scan's Otsu threshold serves all scans."""

    threshold: float | None = None
    left: Literal["low-x", "high-x"] = "low-x"
    method: Literal["default", "published"] = "default"


class Registration(_Section):
    """How bones are aligned."""

    method: Literal["default", "published"] = "default"


class Region(_Section):
    """The region of interest below the proximal tibia-fibula junction."""

    below_junction: int = 0
    length_mm: float = Field(default=3.0, gt=0)


class StudySettings(_Section):
    """Everything that ``study.toml`` may say; what it leaves out has the values shown here."""

    reconstruction: Reconstruction = Reconstruction()
    segmentation: Segmentation = Segmentation()
    registration: Registration = Registration()
    region: Region = Region()


def read(study: Path) -> StudySettings:
    """Read the settings of a study, or the defaults where it has none.

    Raises
    ------
    SettingsError
        If the file is no TOML, or names a setting that does not exist, or gives one a senseless value.
    """
    path = study / NAME
    if not path.is_file():
        return StudySettings()
    try:
        return StudySettings.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: the setting {where} is not usable ({first['msg']}).") from error
