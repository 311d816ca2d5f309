"""Where things stand in a study: the six components of the published dataset.

::

    STUDY/Imagery_Dataset/Rotation-X-ray/871/week 0/
                          Recon-CT/871/week 0/
                          Seg-CT/871 left tibia/week 0/
                          Regist-CT/871 left tibia/week 0/
                          ROI-CT/871L proximal tibia/week 3/
    STUDY/MiceMediRec Dataset/record.csv

Writing has this one spelling. Reading takes what published and trial uploads hold: numbered
components (``4. Regist-CT``), any capitals, ``week_0``, underscores for blanks, and week and
subject in either order (``Recon-CT/week 0/871``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from bonemet.core.errors import MissingInputError, SettingsError
from bonemet.core.ids import ScanKey

IMAGERY = "Imagery_Dataset"
RECORDS = "MiceMediRec Dataset"
TRUTH = "truth"


class Component(StrEnum):
    """Components of the imagery dataset, in the order in which they are made."""

    ROTATION_XRAY = "Rotation-X-ray"
    RECON_CT = "Recon-CT"
    SEG_CT = "Seg-CT"
    REGIST_CT = "Regist-CT"
    ROI_CT = "ROI-CT"


_WHOLE = (Component.ROTATION_XRAY, Component.RECON_CT)
_BONE = re.compile(r"^(?P<animal>.+?)[ _-]+(?:(?P<side>left|right)[ _-]+)?(?P<bone>tibia|femur|spine)$", re.I)
_PROXIMAL = re.compile(
    r"^(?P<animal>.+?)[ _-]*(?P<side>[LR])[ _-]+proximal[ _-]+(?P<bone>tibia|femur)$", re.I
)
_WEEK = re.compile(r"^week[ _-]*(?P<week>\d+)$", re.I)
_NUMBER = re.compile(r"^\d+\s*[.)_-]\s*")
_NAME = re.compile(r"^[^\s./\\:][^/\\:]*$")


def folder(study: Path, component: Component, key: ScanKey) -> Path:
    """Return the folder of one scan or one bone in a study.

    Parameters
    ----------
    study
        The study's folder.
    component
        Which component. Rotation-X-ray and Recon-CT hold whole scans, the others single bones.
    key
        Animal and week, and for single bones bone and side.

    Raises
    ------
    SettingsError
        If a single bone is wanted and the key names none, or the animal's name cannot name a folder.
    """
    return study / IMAGERY / component / _subject(component, key) / f"week {key.week}"


def record_path(study: Path) -> Path:
    """Return where the table of the animals' records stands in a study."""
    return study / RECORDS / "record.csv"


def truth_folder(study: Path, key: ScanKey) -> Path:
    """Return where a simulated scan's planted truth stands in a study."""
    _check_animal(key.animal)
    return study / TRUTH / f"{key.animal} week {key.week}"


def find(study: Path, component: Component) -> list[tuple[ScanKey, Path]]:
    """Return the scans or bones of one component, sorted by animal (numbers as numbers), week, side, bone.

    Raises
    ------
    MissingInputError
        If the study's folder is not there. A study without that component gives an empty list.
    """
    if not study.is_dir():
        raise MissingInputError(f"{study} is not a folder; give the folder of a study.")
    found = {path: key for root in _components(study, component) for key, path in _scans(root, component)}
    return sorted(((key, path) for path, key in found.items()), key=_order)


def _subject(component: Component, key: ScanKey) -> str:
    """Return the name of the folder of a subject."""
    _check_animal(key.animal)
    if component in _WHOLE:
        return key.animal
    if key.bone is None or (key.side is None and (key.bone != "spine" or component is Component.ROI_CT)):
        raise SettingsError(f"{component} holds single bones; say which bone and side of {key!s} is meant.")
    if component is Component.ROI_CT and key.side is not None:
        return f"{key.animal}{key.side[0].upper()} proximal {key.bone}"
    return " ".join(part for part in (key.animal, key.side, key.bone) if part)


def _check_animal(animal: str) -> None:
    if not _NAME.match(animal) or animal != animal.strip():
        raise SettingsError(
            f"{animal!r} cannot name an animal's folder; use letters, digits, blanks, '-', '_'."
        )


def _components(study: Path, component: Component) -> Iterator[Path]:
    """Yield the folders that hold a component, however they are spelled."""
    roots = [study, *(p for p in _folders(study) if _plain(p.name) == _plain(IMAGERY))]
    for root in roots:
        yield from (p for p in _folders(root) if _plain(_NUMBER.sub("", p.name)) == _plain(component))


def _scans(root: Path, component: Component) -> Iterator[tuple[ScanKey, Path]]:
    """Yield the scans of a component's folder, which holds subject/week or week/subject."""
    for outer in _folders(root):
        for inner in _folders(outer):
            key = _key(component, outer.name, inner.name) or _key(component, inner.name, outer.name)
            if key is not None:
                yield key, inner


def _key(component: Component, subject: str, week: str) -> ScanKey | None:
    """Return what the names of two nested folders mean, or None where they mean nothing."""
    when = _WEEK.match(week)
    if when is None or _WEEK.match(subject):
        return None
    number = int(when["week"])
    subject = re.sub(rf"[ _-]+week[ _-]*{number}(?=[ _-]|$)", "", subject, flags=re.I)
    if component in _WHOLE:
        return ScanKey(subject, number)
    match = (_PROXIMAL if component is Component.ROI_CT else _BONE).match(subject)
    if match is None:
        return None
    side = match["side"]
    if side is not None:
        side = "left" if side[0].lower() == "l" else "right"
    return ScanKey(match["animal"], number, side, match["bone"].lower())


def _folders(root: Path) -> list[Path]:
    """Return the finished folders in a folder, in a fixed order."""
    return sorted(p for p in root.iterdir() if p.is_dir() and p.suffix != ".partial" and p.name[0] != ".")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _order(item: tuple[ScanKey, Path]) -> tuple[list[tuple[int, str]], int, str, str, str]:
    key, path = item
    animal = [(int(n or 0), text.lower()) for n, text in re.findall(r"(\d*)(\D*)", key.animal)]
    return animal, key.week, key.side or "", key.bone or "", str(path)
