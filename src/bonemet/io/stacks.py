"""Folders of slices: found, checked by their headers, read one slice at a time, and written.

Reads PNG, TIFF, BMP and JPEG, grey or grey stored as RGB or palette, from any start index.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError, MissingInputError, SettingsError
from bonemet.io import slicefiles
from bonemet.io.slicefiles import Header, plain_name

Format = Literal["png", "tiff", "float"]

# What NRecon and the scanners put beside the slices: shadow projection, alignment views, thumbnails.
_EXTRA = re.compile(r"(_spr|_arc|_thumb(nail)?s?)\d*$", re.IGNORECASE)
_NUMBERED = re.compile(r"^(?P<prefix>.*?)(?P<index>\d+)(?P<tail>\D*)$", re.DOTALL)


@dataclass(frozen=True)
class Series:
    """Image files that share a prefix and are told apart by a number.

    Attributes
    ----------
    prefix
        The part of the names before the number.
    paths
        The files, by rising number.
    indices
        The numbers.
    """

    prefix: str
    paths: tuple[Path, ...]
    indices: tuple[int, ...]

    @property
    def step(self) -> int:
        """Distance between neighbouring numbers."""
        return self.indices[1] - self.indices[0] if len(self.indices) > 1 else 1


class SliceStack:
    """A stack of slice files that reads only what is asked for; any number of threads may read.

    Slices along z with integers and slices, ``stack[10]``, ``stack[10:20, :, 5]``, as an array does.
    """

    def __init__(self, series: Series, header: Header) -> None:
        self.paths = series.paths
        self.prefix = series.prefix
        self.indices = series.indices
        self._header = header
        self._layouts: dict[int, slicefiles.Layout | None] = {}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sizes (z, y, x)."""
        rows, columns = self._header.shape
        return len(self.paths), rows, columns

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return self._header.dtype

    @property
    def ndim(self) -> int:
        """Three."""
        return 3

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self._slice(i) for i in range(len(self)))

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        z, rest = _split_key(key)
        if isinstance(z, slice):
            numbers = range(*z.indices(len(self)))
            if not numbers:
                return np.empty((0, *np.empty(self._header.shape, np.uint8)[rest].shape), self.dtype)
            first = self._slice(numbers[0])[rest]
            out = np.empty((len(numbers), *first.shape), self.dtype)
            out[0] = first
            for place, number in enumerate(numbers[1:], start=1):
                out[place] = self._slice(number)[rest]
            return out
        number = int(z) + (len(self) if z < 0 else 0)
        if not 0 <= number < len(self):
            raise IndexError(f"Slice {z} of a stack of {len(self)}.")
        return np.asarray(self._slice(number)[rest])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all numbers in memory."""
        return np.asarray(self[:], dtype=dtype)

    def rows(self, number: int, first: int, stop: int) -> NDArray[Any]:
        """Return the rows (first, stop) of a slice; more is read only where its file is compressed."""
        if number not in self._layouts:
            self._layouts[number] = slicefiles.layout(self.paths[number])
        where = self._layouts[number]
        if where is None or where.columns != self._header.shape[1]:
            return self._slice(number)[first:stop]
        return slicefiles.read_rows(self.paths[number], where, first, stop)

    def _slice(self, number: int) -> NDArray[Any]:
        path = self.paths[number]
        data = slicefiles.read(path)
        _refuse_unlike(Header((data.shape[0], data.shape[1]), data.dtype), path, self._header, self.paths[0])
        return data


def _split_key(key: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the part of an index that picks slices, and the part that picks within them."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if any(p is Ellipsis for p in parts):
        place = next(i for i, p in enumerate(parts) if p is Ellipsis)
        parts[place : place + 1] = [slice(None)] * (4 - len(parts))
    if not parts:
        parts = [slice(None)]
    if not isinstance(parts[0], slice | int | np.integer):
        raise IndexError("A stack is sliced along z with an integer or a slice.")
    return parts[0], tuple(parts[1:])


def find_series(folder: Path) -> list[Series]:
    """Return the image series of a folder by prefix, extras of the scanner left out.

    Raises
    ------
    MissingInputError
        If there is no such folder.
    InputError
        If two files of a series bear the same number.
    """
    if not folder.is_dir():
        raise MissingInputError(f"{folder} is not a folder; give the folder that holds the slices.")
    groups: dict[tuple[str, str, str], list[tuple[int, Path]]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in slicefiles.SUFFIXES or path.name.startswith((".", "~$")):
            continue
        match = _NUMBERED.match(path.stem)
        if match is None or _EXTRA.search(path.stem):
            continue
        kind = plain_name(path.suffix)
        groups[match["prefix"], match["tail"], kind].append((int(match["index"]), path))
    return [series_of(prefix, members) for (prefix, _, _), members in sorted(groups.items())]


def series_of(prefix: str, members: Iterable[tuple[int, Path]]) -> Series:
    """Return numbered files as a series by rising number.

    Raises
    ------
    InputError
        If two of them bear the same number.
    """
    members = sorted(members)
    for (a, first), (b, second) in pairwise(members):
        if a == b:
            raise InputError(
                f"{first.name} and {second.name} in {first.parent} bear the same number; remove one of them."
            )
    return Series(prefix, tuple(p for _, p in members), tuple(i for i, _ in members))


def choose_series(folder: Path, wanted: Sequence[str] = ()) -> Series:
    """Return the one series of slices in a folder.

    Parameters
    ----------
    folder
        Folder of slices.
    wanted
        Prefixes that logs or a sidecar name; they decide where a folder holds several series.

    Raises
    ------
    MissingInputError
        If the folder is missing.
    InputError
        If it holds no slices, or several series of which no single one is wanted.
    """
    found = find_series(folder)
    if not found:
        raise InputError(
            f"{folder} holds no numbered slices (PNG, TIFF, BMP, JPEG); give the folder that holds them."
        )
    if len(found) == 1:
        return found[0]
    names = {_bare(w) for w in wanted}
    fitting = [s for s in found if _bare(s.prefix) in names]
    if len(fitting) == 1:
        return fitting[0]
    several = sorted({repr(s.prefix) for s in found})
    shown = " and ".join(several[:2]) if len(several) > 1 else f"{several[0]} in several formats"
    more = f" and {len(several) - 2} more" if len(several) > 2 else ""
    raise InputError(
        f"{folder} holds more than one series of slices ({shown}{more}); put each in a folder of its own."
    )


def _bare(prefix: str) -> str:
    return prefix.strip().rstrip("_-. ").casefold()


def refuse_gaps(series: Series) -> None:
    """Refuse a series in which a number is missing, naming the file.

    Raises
    ------
    InputError
        If the numbers do not rise by one and the same step.
    """
    gaps = np.diff(series.indices)
    if len(gaps) == 0 or (gaps == gaps.min()).all():
        return
    place = int(np.argmax(gaps != gaps.min()))
    raise InputError(
        f"{series.paths[0].parent} lacks {missing_name(series, place, int(gaps.min()))}, the slice after "
        f"{series.paths[place].name}; put it back, or renumber the slices."
    )


def missing_name(series: Series, place: int, step: int = 1) -> str:
    """Return the name that the file after number ``place`` of a series should bear."""
    path = series.paths[place]
    match = _NUMBERED.match(path.stem)
    assert match is not None  # every path of a series matched when it was found
    index = str(series.indices[place] + step).zfill(len(match["index"]))
    return f"{match['prefix']}{index}{match['tail']}{path.suffix}"


def _refuse_unlike(header: Header, path: Path, first: Header, first_path: Path) -> None:
    """Refuse a file whose size or type is not that of the first."""
    if header.shape != first.shape:
        (rows, columns), (rows0, columns0) = header.shape, first.shape
        raise InputError(
            f"{path} is {columns} x {rows} pixels but {first_path.name} is {columns0} x {rows0}; "
            "all slices of a stack must be of one size."
        )
    if header.dtype != first.dtype:
        raise InputError(
            f"{path} holds {header.dtype} numbers but {first_path.name} {first.dtype}; "
            "all slices of a stack must be of one bit depth."
        )


def open_series(series: Series) -> SliceStack:
    """Return a series as a lazily read stack, its headers checked.

    Raises
    ------
    InputError
        If a file is missing, unreadable or truncated, or sizes or bit depths are mixed.
    """
    refuse_gaps(series)
    with ThreadPoolExecutor(4) as pool:  # headers come from the disk, whose waits overlap
        headers = pool.map(slicefiles.header, series.paths)
        first = next(headers)
        for path, header in zip(series.paths[1:], headers, strict=True):
            _refuse_unlike(header, path, first, series.paths[0])
    stack = SliceStack(series, first)
    if first.coloured:
        stack[0]  # a real colour image is refused here rather than later
    return stack


def open_stack(folder: Path, wanted: Sequence[str] = ()) -> SliceStack:
    """Return the slices of a folder as a lazily read array (z, y, x).

    Only headers are read here: sizes, types and completeness of all files are checked at once,
    pixels when they are asked for.

    Parameters
    ----------
    folder
        Folder of PNG, TIFF, BMP or JPEG slices, numbered from anywhere.
    wanted
        Prefixes that logs name, see :func:`choose_series`.

    Raises
    ------
    MissingInputError
        If the folder is missing.
    InputError
        If it holds no slices or several series, a slice is missing, unreadable or truncated, or
        sizes or bit depths are mixed.
    """
    return open_series(choose_series(folder, wanted))


def write_slices(
    folder: Path,
    prefix: str,
    slices: Iterable[NDArray[Any]],
    *,
    format: Literal["png", "indexed", "tiff", "bmp", "float"],
    start: int = 0,
    digits: int = 8,
) -> int:
    """Write slices as ``prefix`` + number files; the same numbers give the same bytes.

    Parameters
    ----------
    folder
        Existing folder.
    prefix
        What the names begin with (``871 week 0 left tibia_``).
    slices
        (y, x) arrays, taken one at a time: uint8 or uint16 (``bool`` becomes 0 and 255).
    format
        ``png``, ``indexed`` (PNG of codes with a table of greys), ``tiff`` (lossless), ``bmp`` (8 bits)
        or ``float`` (float32 TIFF).
    start
        Number of the first slice.
    digits
        Width of the number, zeros in front.

    Returns
    -------
    int
        Number of slices written.

    Raises
    ------
    SettingsError
        If the format does not exist or does not hold such numbers.
    """
    suffixes = {"png": "png", "indexed": "png", "tiff": "tif", "bmp": "bmp", "float": "tif"}
    if format not in suffixes:
        raise SettingsError(f"Slices are written as {', '.join(suffixes)}, not {format!r}.")
    count = 0
    for index, image in enumerate(slices, start=start):
        path = folder / f"{prefix}{index:0{digits}d}.{suffixes[format]}"
        data = np.asarray(image, np.float32) if format == "float" else image
        slicefiles.write(path, data, indexed=format == "indexed")
        count += 1
    return count
