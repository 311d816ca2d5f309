"""Raw acquisitions: a SkyScan log and the projections that belong to it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.errors import InputError, MissingInputError, UnknownFormatError
from bonemet.core.scan import Scan
from bonemet.io import frames, stacks, thermal
from bonemet.io.skyscan import SkyScanLog, geometry_from_log, geometry_notes, read_log
from bonemet.io.stacks import Series
from bonemet.io.vendors import vendor_of

_PART = re.compile(r"(?P<base>.*)~(?P<number>\d+)")  # how the parts of connected scans are named
SKIP = "or go on without it (--skip-bad)"


@dataclass(frozen=True, eq=False)
class Acquisition:
    """A scan and what its folder tells besides.

    Attributes
    ----------
    scan
        The scan, its views in order.
    files
        Names of the views' files.
    views
        (views,) numbers of the views; some are left out where files were bad.
    left_out
        Names of the files that were left out, and why.
    shift_table
        A table of thermal shifts beside the scan, see :mod:`bonemet.io.thermal`.
    """

    scan: Scan
    files: tuple[str, ...]
    views: NDArray[np.int64]
    left_out: tuple[str, ...] = ()
    shift_table: Path | None = None

    def shifts(self) -> NDArray[np.float64] | None:
        """Return the thermal shifts (views, 2) by rows and columns as the table has them, if there is one."""
        if self.shift_table is None:
            return None
        return thermal.read_shifts(self.shift_table, int(self.views[-1]) + 1)[self.views]


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
    return open_acquisition(path).scan


def open_acquisition(path: Path, *, skip_bad: bool = False, mapper: Mapper = map) -> Acquisition:
    """Return the scan in a folder, or of a log, and what its folder tells besides.

    Parameters
    ----------
    path
        The folder of a log and its projections, or the log.
    skip_bad
        Whether to look at every projection first, and to leave out those that are missing, damaged, black,
        saturated, of another size, or the image before them once more.
    mapper
        Spreads looking over threads.

    Raises
    ------
    MissingInputError, UnknownFormatError, InputError
        As :func:`open_scan`, and if too many views are bad.
    """
    path = Path(path)
    log, series = find_scan(path)
    bad: list[frames.Frame] = []
    if skip_bad:
        series, kept, bad, extras = _good_views(log, series, mapper)
    else:
        series, extras = _views(log, series)
        kept = np.arange(len(series.paths))
    projections = stacks.open_series(series)
    if projections.dtype.kind != "u":
        raise InputError(
            f"{series.paths[0]} holds {projections.dtype} numbers; projections are 16-bit intensities."
        )
    _, rows, columns = projections.shape
    views = len(kept) + len(bad)
    geometry = geometry_from_log(log, rows, columns, views)
    geometry = replace(geometry, angles_deg=geometry.angles_deg[kept])
    white, note = _white(log)
    notes = [note, *geometry_notes(log)]
    table, reference = _beside(log, "_TS.csv"), _beside(log, ".oog")
    if table is not None:
        notes.append(f"{table.name} is a table of thermal shifts; reconstruct tries it.")
    if reference is not None:
        notes.append(f"{reference.name}, a reference scan of the original geometry, is not used.")
    if extras:
        notes.append(f"{extras} images after the last view of the log are left out.")
    scan = Scan(
        geometry=geometry,
        projections=projections,
        white=white,
        log=log.entries,
        name=series.prefix.rstrip("_- "),
        notes=tuple(notes),
    )
    left_out = tuple(f"{f.path.name if f.path else f'view {f.index}'} ({f.fault})" for f in bad)
    return Acquisition(scan, tuple(p.name for p in series.paths), kept, left_out, table)


def _good_views(
    log: SkyScanLog, series: Series, mapper: Mapper
) -> tuple[Series, NDArray[np.int64], list[frames.Frame], int]:
    """Return the good views of a scan, their numbers, the bad ones, and how many images are no views."""
    said = log.find_number("Number Of Files", "Acquisition")
    views = series.indices[-1] + 1 if said is None else int(said)
    found = frames.look_at(series, views, mapper)
    bad = [f for f in found if f.fault is not None]
    if bad:
        frames.refuse_too_many(bad, views, log.path.parent)
    kept = [f for f in found if f.fault is None]
    paths = tuple(f.path for f in kept if f.path is not None)
    good = Series(series.prefix, paths, tuple(range(len(paths))))
    extras = sum(1 for i in series.indices if i >= views)
    return good, np.array([f.index for f in kept]), bad, extras


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


def find_parts(path: Path) -> tuple[tuple[SkyScanLog, Series], ...]:
    """Return log and projections of a scan, or of each part of connected scans (``~00``, ``~01``), in order.

    A folder that holds the parts of one scan and nothing else stands for all of them, and so does the log
    without a number; the log of a part stands for that part.

    Raises
    ------
    MissingInputError, InputError
        As :func:`find_scan`, and if a part between two others is missing.
    """
    parts = _parts_of(path)
    if len(parts) < 2:
        return (find_scan(path),)
    numbers = sorted(parts)
    for n in range(numbers[0], numbers[-1] + 1):
        if n not in parts:
            log = parts[numbers[0]][0].path
            name = _PART.sub(rf"\g<base>~{n:02d}.log", log.stem)
            raise InputError(
                f"{log.parent} lacks the part {name} or its projections; copy it from the scanner, or give "
                "the log of one part."
            )
    return tuple(parts[n] for n in numbers)


def name_of(parts: Sequence[tuple[SkyScanLog, Series]]) -> str:
    """Return what the slices of a scan, or of connected scans, are called."""
    if len(parts) > 1 and (match := _PART.fullmatch(parts[0][0].path.stem)):
        return match["base"]
    return parts[0][1].prefix.rstrip("_- ")


def _parts_of(path: Path) -> dict[int, tuple[SkyScanLog, Series]]:
    """Return the parts of connected scans by number, none where a path stands for one scan."""
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir() or _PART.fullmatch(path.stem if path.is_file() else ""):
        return {}
    parts: dict[int, tuple[SkyScanLog, Series]] = {}
    bases, others = set(), set()
    for log in scan_logs(folder):
        series = projections_of(log)
        match = _PART.fullmatch(log.path.stem)
        if match is not None and series is not None:
            bases.add(match["base"])
            if path.is_dir() or match["base"] == path.stem:
                parts[int(match["number"])] = (log, series)
        elif series is not None and _PART.fullmatch(series.prefix) is None:
            others.add(series.prefix)
    alone = path.is_file() or (len(bases) == 1 and not others)
    return parts if alone else {}


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
            f"{_first_missing(series)} is missing; copy it from the scanner, {SKIP}."
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


def _beside(log: SkyScanLog, ending: str) -> Path | None:
    """Return a file of a known kind that lies beside a scan, or None."""
    path = log.path.parent / f"{log.prefix or log.path.stem}{ending}"
    return path if path.is_file() else None
