"""Names of scans and bones, in the published spelling: ``871 week 0 left tibia``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from bonemet.core.errors import InputError

SIDES = ("left", "right")
BONES = ("tibia", "femur", "spine")

_PATTERN = re.compile(
    r"^\s*(?P<animal>.+?)[\s_-]+week[\s_-]*(?P<week>\d+)"
    r"(?:[\s_-]+(?:(?P<side>left|right|l|r)[\s_-]+)?(?P<bone>tibiae?|femur|femora|spine))?\b.*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, order=True)
class ScanKey:
    """Which animal, which week, and where it is one bone, which side and bone."""

    animal: str
    week: int
    side: str | None = None
    bone: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name, tolerant of case, underscores and ``L``/``R``.

        Raises
        ------
        InputError
            If no animal and week can be read from the text.
        """
        match = _PATTERN.match(text)
        if match is None:
            raise InputError(
                f"Cannot read an animal and a week from {text!r}; a name looks like '871 week 0 left tibia'."
            )
        side, bone = match["side"], match["bone"]
        if side:
            side = "left" if side.lower().startswith("l") else "right"
        if bone:
            bone = {"tibiae": "tibia", "femora": "femur"}.get(bone.lower(), bone.lower())
        return cls(match["animal"].strip(), int(match["week"]), side, bone)

    def __str__(self) -> str:
        parts = [self.animal, f"week {self.week}", self.side, self.bone]
        return " ".join(p for p in parts if p)
