"""SkyScan and NRecon log files: read tolerantly, asked by name, and written.

Both programs write INI-like text. Keys change in case and wording between scanners and versions,
so they are compared without case, units' brackets or punctuation, and known rewordings stand in
one table, ``ALIASES``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bonemet.core.errors import InputError, MissingInputError
from bonemet.core.scan import ConeGeometry
from bonemet.io.vendors import refuse_foreign

Sections = dict[str, dict[str, str]]

# Keys as the newest software writes them, and what others write instead.
ALIASES: dict[str, tuple[str, ...]] = {
    "Software Version": ("Software",),
    "Camera Type": ("Camera",),
    "Camera X/Y Ratio": ("CameraXYRatio",),
    "Number Of Files": ("Number of projections", "Number of images"),
    "Type of Detector Motion": ("Type Of Motion",),
    "Image Pixel Size (um)": ("Scaled Image Pixel Size (um)", "Pixel Size at object (um)"),
    "Object to Source (mm)": ("Source to Object (mm)",),
    "Camera to Source (mm)": ("Source to Camera (mm)",),
    "Minimum for CS to Image Conversion": ("Mininum for CS to Image Conversion",),
    "Postalignment": ("Post alignment",),
    "Study Date and Time": ("Study Date",),
}

# Conventions that no log states; what is known about each stands in docs/skyscan-geometry.md.
LINE_FROM: Literal["top", "bottom"] = "bottom"  # the edge from which `Optical Axis (line)` is counted
PARTS_RISE: Literal["lines", "rows"] = "lines"  # what a larger `Scanning position` has more of
TURN = {"CC": 1, "CW": -1}  # our sense of rotation, see core.scan, for each `Rotation Direction`

_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?")


def plain(key: str) -> str:
    """Return a key without case and punctuation, as keys are compared."""
    return " ".join(re.findall(r"[a-z0-9]+", key.casefold()))


_SAME = {plain(k): tuple(plain(a) for a in others) for k, others in ALIASES.items()}


@dataclass(frozen=True, eq=False)
class SkyScanLog:
    """A log as read.

    Attributes
    ----------
    path
        The file.
    sections
        Entries by section, spelt as in the file.
    """

    path: Path
    sections: Sections

    @property
    def entries(self) -> dict[str, str]:
        """All entries without their sections; the first of a name stands."""
        flat: dict[str, str] = {}
        for section in self.sections.values():
            for key, value in section.items():
                flat.setdefault(key, value)
        return flat

    @property
    def scanner(self) -> str:
        """Name of the scanner, ``SkyScan1276``, empty where it is not said."""
        return self.text("Scanner", "System") or ""

    @property
    def prefix(self) -> str:
        """Prefix of the projections' file names, empty where it is not said."""
        return self.text("Filename Prefix", "Acquisition") or ""

    @property
    def slice_prefix(self) -> str:
        """Prefix of the reconstructed slices' file names, empty where it is not said."""
        return self.text("Filename Prefix", "File name convention") or ""

    @property
    def reconstructed(self) -> bool:
        """Whether the log tells of a finished reconstruction; NRecon adds that to scan logs too."""
        return self.text("Result File Type") is not None or self.window is not None

    @property
    def is_reconstruction_log(self) -> bool:
        """Whether this is a ``_rec.log``, that of slices, rather than that of a scan."""
        named = re.search(r"_rec\w*$", self.path.stem, re.IGNORECASE) is not None
        return self.reconstructed and (named or bool(self.slice_prefix))

    @property
    def window(self) -> tuple[float, float] | None:
        """NRecon's limits for the conversion of cross-sections to images, if the log has both."""
        low = self.find_number("Minimum for CS to Image Conversion")
        high = self.find_number("Maximum for CS to Image Conversion")
        return None if low is None or high is None else (low, high)

    def text(self, key: str, section: str | None = None) -> str | None:
        """Return the text of an entry, spelt in any known way, or None where there is none."""
        wanted = (plain(key), *_SAME.get(plain(key), ()))
        for name in wanted:
            for title, entries in self.sections.items():
                if section is not None and plain(title) != plain(section):
                    continue
                for spelt, value in entries.items():
                    if plain(spelt) == name:
                        return value
        return None

    def find_number(self, key: str, section: str | None = None) -> float | None:
        """Return the first number of an entry, or None where there is none."""
        match = _NUMBER.search(self.text(key, section) or "")
        found = math.inf if match is None else float(match[0].replace(",", "."))
        return found if math.isfinite(found) else None

    def number(self, key: str, section: str | None = None) -> float:
        """Return the first number of an entry.

        Raises
        ------
        InputError
            If the log has no such entry or no number in it.
        """
        found = self.find_number(key, section)
        if found is None:
            said = self.text(key, section)
            what = f"has no {key!r}" if said is None else f"says {said!r} for {key!r}, which is no number"
            raise InputError(f"{self.path} {what}; add the right line to the log.")
        return found

    def flag(self, key: str) -> bool | None:
        """Return whether an entry says on or yes; None where it is missing or says neither."""
        word = (self.text(key) or "").strip().casefold()
        if word.startswith(("on", "yes", "true")):
            return True
        return False if word.startswith(("off", "no", "false")) else None


def _decode(raw: bytes) -> str | None:
    """Return the text of a log in any of the encodings they come in, or None for binary data."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    if b"\0" in raw:
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def parse(text: str) -> Sections:
    """Return the entries of INI-like text by section; lines before the first section are left out."""
    sections: Sections = {}
    entries: dict[str, str] | None = None
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("[") and bare.endswith("]"):
            entries = sections.setdefault(bare[1:-1].strip(), {})
        elif "=" in bare and entries is not None:
            key, value = bare.split("=", 1)
            entries.setdefault(key.strip(), value.strip())
    return sections


def read_log(path: Path) -> SkyScanLog:
    """Read a scan log or a ``_rec.log``.

    Raises
    ------
    MissingInputError
        If there is no such file.
    UnknownFormatError
        If it is not a SkyScan log; the vendor is named where it is known.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(f"{path} is not a file; give a SkyScan log.")
    with path.open("rb") as file:
        raw = file.read(4_000_000)  # logs are kilobytes; do not swallow a volume by mistake
    text = _decode(raw)
    if text is None:
        raise refuse_foreign(path)
    log = SkyScanLog(path, parse(text))
    titles = {plain(t) for t in log.sections}
    of_scan = {"system", "acquisition"} <= titles and log.text("Scanner", "System") is not None
    of_slices = log.text("Pixel Size (um)", "Reconstruction") is not None
    if not (of_scan or of_slices):
        raise refuse_foreign(path, text)
    return log


def axis_row(line: float, rows: int, line_from: Literal["top", "bottom"] = LINE_FROM) -> float:
    """Return the row, 0-based from the top, of an ``Optical Axis (line)``; and the line of a row."""
    return line if line_from == "top" else rows - 1 - line


def pixel_mm(log: SkyScanLog) -> float:
    """Return the pixel size at the axis in mm, as printed with the most digits.

    The 1172's scan logs round it to 1.66 um, where NRecon says 1.65905.
    """
    image = log.text("Image Pixel Size (um)", "Acquisition")
    size = log.number("Image Pixel Size (um)", "Acquisition")
    finer = log.text("Pixel Size (um)", "Reconstruction")
    if finer is not None and len(re.findall(r"\d", finer)) > len(re.findall(r"\d", image or "")):
        value = log.number("Pixel Size (um)", "Reconstruction")
        if abs(value / size - 1) < 5e-3:  # not a reconstruction on another grid
            size = value
    if not size > 0:
        raise InputError(f"{log.path} gives an 'Image Pixel Size (um)' of {size}; correct the log.")
    return size / 1000


def stage_mm(log: SkyScanLog) -> float | None:
    """Return how far down the rows a part of connected scans lies, from an unknown zero, if the log tells."""
    place = log.find_number("Scanning position", "Acquisition")
    if place is None:
        return None
    upwards = (PARTS_RISE == "lines") == (LINE_FROM == "bottom")
    return -place if upwards else place


def _agreed(log: SkyScanLog, key: str, found: int | None) -> int:
    """Return a count from the log, or from the images where the log is silent."""
    said = log.find_number(key, "Acquisition")
    if said is None:
        said = log.number(key, "Acquisition") if found is None else float(found)
    if found is not None and int(said) != found:
        raise InputError(
            f"{log.path} says {key!r} = {int(said)}, but the images beside it say {found}; "
            "give the log that belongs to these images."
        )
    return int(said)


def _own_axis_offset(log: SkyScanLog) -> float | None:
    """Return the axis offset in a log that bonemet wrote; None in others', whose sign is not known."""
    ours = log.text("Reconstruction Program", "Reconstruction") == "bonemet"
    return log.find_number("Postalignment", "Reconstruction") if ours else None


def geometry_from_log(
    log: SkyScanLog,
    rows: int | None = None,
    columns: int | None = None,
    views: int | None = None,
    line_from: Literal["top", "bottom"] = LINE_FROM,
) -> ConeGeometry:
    """Return the geometry of the scan that a log describes.

    View i stands at i times the rotation step. The axis is taken to lie in the middle of the
    columns, but in bonemet's own ``_rec.log``: what NRecon calls postalignment has no sign that logs explain,
    see :func:`geometry_notes`.

    Parameters
    ----------
    log
        A scan log or a ``_rec.log``.
    rows, columns, views
        What the images say, checked against the log.
    line_from
        The edge of the image from which ``Optical Axis (line)`` is counted.

    Raises
    ------
    InputError
        If the log lacks a distance, the pixel size or the rotation step, has no projections, or
        contradicts the images.
    """
    files = _agreed(log, "Number Of Files", views)
    if files < 1:
        raise InputError(
            f"{log.path} says that the scan has no projections; give the log of a finished scan."
        )
    step = log.number("Rotation Step (deg)", "Acquisition")
    if not step > 0:
        raise InputError(
            f"{log.path} says 'Rotation Step (deg)' = {step}, so no view has its angle; correct it."
        )
    height = _agreed(log, "Number Of Rows", rows)
    line = log.find_number("Optical Axis (line)", "Acquisition")
    direction = (log.text("Rotation Direction", "Acquisition") or "CC").strip().upper()
    sod, sdd = (log.number(f"{what} to Source (mm)", "Acquisition") for what in ("Object", "Camera"))
    if not 0 < sod < sdd:
        raise InputError(
            f"{log.path} says that the source is not nearer to the object ({sod} mm) "
            f"than to the camera ({sdd} mm); correct the log."
        )
    return ConeGeometry(
        rows=height,
        columns=_agreed(log, "Number Of Columns", columns),
        pixel_mm=pixel_mm(log),
        sod_mm=sod,
        sdd_mm=sdd,
        angles_deg=np.arange(files, dtype=np.float64) * np.float64(step),
        axis_offset_px=_own_axis_offset(log) or 0.0,
        optical_axis_row=(height - 1) / 2 if line is None else axis_row(line, height, line_from),
        turn=TURN.get(direction[:2], 1),
    )


def geometry_notes(log: SkyScanLog) -> tuple[str, ...]:
    """Return what a reader of a log's geometry should know: one sentence each."""
    notes = []
    if log.find_number("Optical Axis (line)", "Acquisition") is None:
        notes.append("The log gives no optical axis; the middle row is taken.")
    else:
        notes.append(f"Optical Axis (line) is taken as counted from the {LINE_FROM}; logs do not say.")
    shift = log.find_number("Postalignment", "Reconstruction")
    if shift and _own_axis_offset(log) is None:
        notes.append(
            f"NRecon used a postalignment of {shift:g} pixels; its sign is not known, and it is not used."
        )
    direction = (log.text("Rotation Direction", "Acquisition") or "").strip().upper()
    if direction[:2] not in TURN:
        notes.append(f"The log's rotation direction is {direction or 'missing'}; CC is taken.")
    parts = log.find_number("Number of connected scans", "Acquisition") or 1
    if parts > 1:
        part = log.find_number("Current scan number", "Acquisition") or 1
        notes.append(
            f"This is part {part:g} of {parts:g} connected scans; give the folder of all to have them joined."
        )
    if (log.find_number("Number Of Horizontal Offset Positions", "Acquisition") or 1) > 1:
        notes.append("The log tells of several horizontal camera positions, which are not joined.")
    if (log.find_number("Image crop origin Y", "Acquisition") or 0) > 0:
        notes.append(
            "The camera's rows are cropped; the optical axis is taken as a line of the cropped image."
        )
    moved = log.find_number("Maximum vertical TS", "Acquisition")
    if moved:
        notes.append(f"The log tells of thermal shifts of up to {moved:g} pixels during the scan.")
    return tuple(notes)


def format_log(sections: Mapping[str, Mapping[str, object]]) -> str:
    """Return the text of a log in the scanners' layout: ``[Section]``, ``key=value``, CRLF."""
    lines: list[str] = []
    for title, entries in sections.items():
        lines.append(f"[{title}]")
        lines += [f"{key}={value}" for key, value in entries.items()]
    return "\r\n".join(lines) + "\r\n"


def write_rec_log(path: Path, scan_log: SkyScanLog | None, reconstruction: Mapping[str, object]) -> None:
    """Write a ``_rec.log``: the scan's sections, then ``[Reconstruction]`` and the names of the slices.

    Parameters
    ----------
    path
        The file, ``PREFIX_rec.log``.
    scan_log
        The log of the scan, whose own ``[Reconstruction]`` gives way; None where there is none.
    reconstruction
        NRecon's keys and values (``Pixel Size (um)``, ``Minimum for CS to Image Conversion``, ...);
        ``Filename Prefix`` and ``Filename Index Length`` go to ``[File name convention]``.
    """
    ours = ("reconstruction", "file name convention")
    scan = {} if scan_log is None else scan_log.sections
    sections: dict[str, Mapping[str, object]] = {t: e for t, e in scan.items() if plain(t) not in ours}
    naming = ("Filename Index Length", "Filename Prefix")
    sections["Reconstruction"] = {k: v for k, v in reconstruction.items() if k not in naming}
    convention = {k: reconstruction[k] for k in naming if k in reconstruction}
    if convention:
        sections["File name convention"] = convention
    path.write_bytes(format_log(sections).encode("utf-8"))
