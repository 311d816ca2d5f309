"""Poses made by hand, and what a person who looked has to say: the review file ``poses.toml``.

One table for each scan, named as the scan is::

    ["871 week 3 left tibia"]
    start = "hand/871 week 3 left tibia.tfm"   # .tfm or .json, points of FIXED to points of MOVING
    refine = true                              # false: take the pose as it is
    accepted = true                            # a person has looked, so the pair is not marked
    note = "turned by hand in 3D Slicer"

In place of ``start`` there may be ``matrix``, four rows of four numbers.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from bonemet.core.errors import BonemetError, MissingInputError, SettingsError
from bonemet.core.transform import Transform, TransformKind
from bonemet.io.transforms import read_transform

NAME = "poses.toml"
Row = tuple[float, float, float, float]


class Entry(BaseModel):
    """What a person says of one scan."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    start: str | None = None
    matrix: tuple[Row, Row, Row, Row] | None = None
    refine: bool = True
    accepted: bool = False
    note: str = ""

    @model_validator(mode="after")
    def _one_pose(self) -> Entry:
        if self.start is not None and self.matrix is not None:
            raise ValueError("give start or matrix, not both")
        if not self.refine and self.start is None and self.matrix is None:
            raise ValueError("refine = false takes a pose, by start or matrix")
        return self

    def pose(self, folder: Path) -> Transform | None:
        """Return the pose; files are looked for from the folder of the review file."""
        if self.matrix is not None:
            return Transform(self.matrix, TransformKind.AFFINE)  # type: ignore[arg-type]
        return None if self.start is None else read_transform(folder / self.start)


def read(path: Path, name: str) -> tuple[Entry, Transform | None]:
    """Return what a review file says of a scan, and the pose it gives.

    A .tfm or .json file in its place is a pose for whatever scan. A scan that the file does not name has
    nothing said of it.

    Raises
    ------
    MissingInputError
        If the file, or one that it names, is not there.
    SettingsError
        If it is no TOML, or says something else than an entry may.
    InputError
        If a pose is not usable.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist; give a review file (.toml) or a pose (.tfm, .json).")
    if path.suffix.lower() != ".toml":
        return Entry(start=path.name), read_transform(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        entries = {_key(key): Entry.model_validate(value) for key, value in tables.items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: an entry is not usable ({where}: {first['msg']}).") from error
    entry = entries.get(_key(name), Entry())
    try:
        return entry, entry.pose(path.parent)
    except BonemetError as error:
        raise type(error)(f"{path}, {name}: {error}") from error


def _key(name: str) -> str:
    """Return a name as it is compared: whatever its case, blanks and underscores."""
    return " ".join(name.lower().replace("_", " ").split())
