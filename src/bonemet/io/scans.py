"""Raw acquisitions: a SkyScan log and the projections that belong to it."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from bonemet.core.errors import InputError, MissingInputError, UnknownFormatError
from bonemet.core.scan import Scan
from bonemet.io import stacks
from bonemet.io.skyscan import SkyScanLog, geometry_from_log, geometry_notes, read_log
from bonemet.io.stacks import Series
from bonemet.io.vendors import vendor_of


def open_scan(path: Path) -> Scan:
    """Return the scan in a folder, or of a log; projections are read when they are asked for.

    Parameters
    ----------
    path
        The folder of a log and its projections ``PREFIX0000.tif``, or the log.

    Returns
    -------
    Scan
        Projections (views, rows, columns), 16-bit as a rule. ``white`` is the log's Reference
        Intensity where the scanner corrected the flat field; flats and darks are None.

    Raises
    ------
    MissingInputError
        If nothing is there.
    UnknownFormatError
        If the log is another vendor's.
    InputError
        If projections are missing, unreadable, unequal, or do not fit the log.
    """
    path = Path(path)
    log, series = find_scan(path)
    series, extras = _views(log, series)
    projections = stacks.open_series(series)
    if projections.dtype.kind != "u":
        raise InputError(
            f"{series.paths[0]} holds {projections.dtype} numbers; projections are 16-bit intensities."
        )
    views, rows, columns = projections.shape
    geometry = geometry_from_log(log, rows, columns, views)
    white, note = _white(log)
    notes = [note, *geometry_notes(log), *_beside(log)]
    if extras:
        notes.append(f"{extras} images after the last view of the log are left out.")
    return Scan(
        geometry=geometry,
        projections=projections,
        white=white,
        log=log.entries,
        name=series.prefix.rstrip("_- "),
        notes=tuple(notes),
    )


def find_scan(path: Path) -> tuple[SkyScanLog, Series]:
    """Return the log and the projections of a scan, unchecked.

    Raises
    ------
    MissingInputError
        If nothing is there.
    InputError
        If there is no log, no projection, or more than one scan to choose from.
    """
    if path.is_file():
        log = read_log(path)
        return log, _required(log)
    if not path.is_dir():
        raise MissingInputError(f"{path} does not exist; give the folder of a scan, or its log.")
    logs = scan_logs(path)
    if not logs:
        raise _no_log(path)
    found = [(log, series) for log in logs if (series := projections_of(log)) is not None]
    if not found:
        raise InputError(
            f"{path} holds no projections {logs[0].prefix}0000.tif that fit {logs[0].path.name}; "
            "give the folder of both."
        )
    named = [(log, s) for log, s in found if log.path.stem.rstrip("_") == s.prefix.rstrip("_")]
    by_prefix = {s.prefix: (log, s) for log, s in [*found, *named]}  # a log named as its images wins
    if len(by_prefix) > 1:
        names = " and ".join(log.path.name for log, _ in by_prefix.values())
        raise InputError(f"{path} holds several scans; give one of their logs: {names}.")
    return next(iter(by_prefix.values()))


def scan_logs(folder: Path) -> list[SkyScanLog]:
    """Return the scan logs in a folder; ``_rec.log`` files and other vendors' are left out."""
    logs = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == ".log" and path.is_file():
            try:
                log = read_log(path)
            except UnknownFormatError:
                continue
            if not log.is_reconstruction_log:
                logs.append(log)
    return logs


def _no_log(folder: Path) -> InputError:
    """Return the error of a folder without a scan log; other vendors are named."""
    vendors = sorted({v for p in folder.iterdir() if (v := vendor_of(p))})
    if vendors:
        return UnknownFormatError(f"{folder} is a {vendors[0]} folder; bonemet reads SkyScan scans only.")
    return InputError(
        f"{folder} holds no scan log (PREFIX.log); give the folder of a SkyScan scan, or its log."
    )


def _required(log: SkyScanLog) -> Series:
    series = projections_of(log)
    if series is None:
        raise InputError(
            f"No projections {log.prefix or log.path.stem}0000.tif lie beside {log.path}; "
            "put the log and its images into one folder."
        )
    return series


def projections_of(log: SkyScanLog) -> Series | None:
    """Return the projections that lie beside a log, or None.

    They are PREFIX and nothing but digits: what ends with ``_arc``, ``_spr`` or ``_IR0001`` is no
    view. Where files of several widths fit (``mouse1`` and ``mouse10`` in one folder), the log's
    Filename Index Length decides, else the narrowest.

    Raises
    ------
    InputError
        If two files bear one number.
    """
    for prefix in dict.fromkeys(p for p in (log.prefix, log.path.stem) if p):
        pattern = re.compile(re.escape(prefix) + r"(\d+)\.tiff?", re.IGNORECASE)
        by_width: dict[int, list[tuple[int, Path]]] = defaultdict(list)
        for path in log.path.parent.iterdir():
            match = pattern.fullmatch(path.name)
            if match is not None:
                by_width[len(match[1])].append((int(match[1]), path))
        if by_width:
            said = log.find_number("Filename Index Length", "Acquisition")
            width = int(said) if said is not None and int(said) in by_width else min(by_width)
            return stacks.series_of(prefix, _with_overflow(by_width, width))
    return None


def _with_overflow(by_width: dict[int, list[tuple[int, Path]]], width: int) -> list[tuple[int, Path]]:
    """Return the files of a width, and where 9999 is full, those that go on with 10000."""
    members = list(by_width[width])
    while max(i for i, _ in members) == 10**width - 1 and width + 1 in by_width:
        width += 1
        members += [(i, p) for i, p in by_width[width] if i >= 10 ** (width - 1)]
    return members


def _views(log: SkyScanLog, series: Series) -> tuple[Series, int]:
    """Return the series of the log's views, and how many images follow that are none."""
    stacks.refuse_gaps(series)
    said = log.find_number("Number Of Files", "Acquisition")
    if said is None:
        return series, 0
    views, found = int(said), len(series.paths)
    if views < 1:
        raise InputError(
            f"{log.path} says that the scan has no projections; give the log of a finished scan."
        )
    if series.step != 1 or found < views:
        raise InputError(
            f"{log.path.parent} holds {found} projections where {log.path.name} says {views}: "
            f"{_first_missing(series)} is missing; copy it from the scanner."
        )
    return Series(series.prefix, series.paths[:views], series.indices[:views]), found - views


def _first_missing(series: Series) -> str:
    """Return the name of the first view that a series without gaps lacks."""
    if series.step > 1:
        return stacks.missing_name(series, 0)
    if series.indices[0] > 0:
        return stacks.missing_name(series, 0, -series.indices[0])
    return stacks.missing_name(series, len(series.paths) - 1)


def _white(log: SkyScanLog) -> tuple[float | None, str]:
    """Return the intensity of the open beam, and what is said about it."""
    if not log.flag("Flat Field Correction"):
        return None, "The projections are not flat-field corrected, and no flat or dark images are read."
    white = log.find_number("Reference Intensity", "Acquisition")
    if white is None or white <= 0:
        return None, "The log gives no Reference Intensity; the open beam must be found in the images."
    return white, f"The open beam is the log's Reference Intensity, {white:g}."


def _beside(log: SkyScanLog) -> list[str]:
    """Return notes about files beside a scan that are known but not used yet."""
    kinds = {
        "_TS.csv": "a table of thermal shifts",
        ".oog": "a reference scan of the original geometry",
    }
    stem = log.prefix or log.path.stem
    return [
        f"{stem}{ending}, {what}, is not used."
        for ending, what in kinds.items()
        if (log.path.parent / f"{stem}{ending}").is_file()
    ]
