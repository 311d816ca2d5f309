"""What a person who looked at a segmentation has to say: the review file ``review.toml``.

One table for each scan, named as the scan is; all of its lines may be left out::

    ["871 week 0"]
    left = "high-x"                        # the animal's left leg lies at high x
    knee = { left = 412, right = 398 }     # slice of the scan where tibia and femur part
    pieces = [                             # which bone the piece at a voxel (z, y, x) is
        { at = [430, 210, 655], bone = "right femur" },
        { at = [120, 300, 310], bone = "other" },
    ]
    drop = ["spine"]                       # not a bone of that name after all
    accept = ["left tibia"]                # looked at: no longer marked for review
    note = "the scan was taken prone"

Voxels and slices count from 0 in the scan that was segmented.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bonemet.core.errors import MissingInputError, SettingsError
from bonemet.io.output import whole_file
from bonemet.segmentation.revision import Revision

NAME = "review.toml"
Bone = Literal["spine", "left tibia", "left femur", "right tibia", "right femur"]

_HEAD = """\
# Review of a segmentation. Take the '#' off the lines that you want, and run again with this file.
# Voxels (z, y, x) and slices count from 0 in the scan that was segmented.
"""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Knee(_Part):
    """Slices of the scan at which tibia and femur are parted."""

    left: float | None = None
    right: float | None = None


class Piece(_Part):
    """Which bone the piece at a voxel is."""

    at: tuple[int, int, int]
    bone: Bone | Literal["other", "holder"]


class Entry(_Part):
    """What a person says of one scan."""

    left: Literal["low-x", "high-x"] | None = None
    knee: Knee = Knee()
    pieces: tuple[Piece, ...] = ()
    drop: tuple[Bone, ...] = ()
    accept: tuple[Bone, ...] = ()
    note: str = ""

    def revision(self) -> Revision:
        """Return it as the numerics know it."""
        return Revision(
            tuple((p.at, p.bone) for p in self.pieces),
            {k: v for k, v in self.knee.model_dump().items() if v is not None},
            frozenset(self.drop),
            frozenset(self.accept),
        )

    def as_dict(self) -> dict[str, Any] | None:
        """Return what it says, JSON types only, or None where it says nothing."""
        said = self.model_dump(mode="json", exclude_defaults=True)
        return said or None


def read(path: Path, name: str) -> Entry:
    """Return what a review file says of a scan; nothing where it does not name it.

    Raises
    ------
    MissingInputError
        If there is no such file.
    SettingsError
        If it is no TOML, or says something else than an entry may.
    """
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist; give the review file (.toml) of a segmentation.")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from error
    entries = {}
    for title, value in tables.items():
        try:
            entries[_key(title)] = Entry.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "it"
            raise SettingsError(
                f"{path}: the entry {title!r} is not usable ({where}: {first['msg']})."
            ) from error
    return entries.get(_key(name), Entry())


def add_template(path: Path, name: str, bones: Sequence[dict[str, Any]], details: dict[str, Any]) -> bool:
    """Add to a review file what a person may say of a scan, all of it commented out.

    A file that speaks of the scan already, in whatever way, is left as it is.

    Parameters
    ----------
    path
        The review file; made if it is not there.
    name
        Title of the scan.
    bones
        The bones found: ``name``, ``confidence``, ``reasons``, ``review``.
    details
        What was found on the way: the knees' voxels, if known.

    Returns
    -------
    bool
        Whether anything was added.
    """
    before = path.read_text(encoding="utf-8-sig") if path.is_file() else _HEAD
    if _key(name) in _key(before):
        return False
    text = "\n".join([before.rstrip("\n"), "", *_lines(name, bones, details), ""])
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
    return True


def _lines(name: str, bones: Sequence[dict[str, Any]], details: dict[str, Any]) -> list[str]:
    marked = [b for b in bones if b["review"]]
    lines = [f'["{name}"]']
    for bone in marked:
        reasons = " ".join(bone["reasons"])
        lines.append(f"# The {bone['name']}, confidence {bone['confidence']:.2f}: {reasons}")
    accept = ", ".join(f'"{b["name"]}"' for b in marked)
    knees = {leg["tibia"].split()[0]: round(leg["knee_voxel"][0]) for leg in details.get("legs", [])}
    shown = knees or {"left": 0, "right": 0}
    return [
        *lines,
        f"# accept = [{accept}]",
        '# left = "high-x"',
        f"# knee = {{ {', '.join(f'{side} = {z}' for side, z in sorted(shown.items()))} }}",
        '# pieces = [{ at = [0, 0, 0], bone = "left femur" }]',
        '# drop = ["spine"]',
        '# note = ""',
    ]


def _key(name: str) -> str:
    """Return a name as it is compared: whatever its case, blanks and underscores."""
    return " ".join(name.lower().replace("_", " ").split())
