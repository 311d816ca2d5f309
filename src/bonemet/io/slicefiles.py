"""One slice in one file: its header, its pixels as grey, and writing it."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bonemet.core.errors import InputError, MissingInputError, SettingsError

_KINDS = {".tif": "tiff", ".tiff": "tiff", ".png": "png", ".bmp": "bmp", ".jpg": "jpeg", ".jpeg": "jpeg"}
SUFFIXES = frozenset(_KINDS)

# Pillow's modes as number types; the coloured ones may still hold grey.
_MODES = {"1": "u1", "L": "u1", "LA": "u1", "P": "u1", "RGB": "u1", "RGBA": "u1", "I;16": "u2", "I;16B": "u2"}
_GREYS = np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()
_HOLDS = {
    ".png": (np.uint8, np.uint16),
    ".bmp": (np.uint8,),
    ".tif": (np.uint8, np.uint16, np.float32),
}
_COLOURED = {"LA", "P", "PA", "RGB", "RGBA"}
_READING = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    KeyError,
    IndexError,
    TypeError,
    tifffile.TiffFileError,
    UnidentifiedImageError,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Header:
    """What a slice file says before its pixels are read.

    Attributes
    ----------
    shape
        (rows, columns).
    dtype
        Type of the grey numbers.
    coloured
        Whether pixels are stored as RGB or palette.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    coloured: bool = False


def plain_name(suffix: str) -> str:
    """Return the format that a file's suffix stands for (``tiff`` for ``.TIF``)."""
    return _KINDS[suffix.lower()]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn every failure to read an image into one sentence that names it."""
    try:
        yield
    except (InputError, MissingInputError):
        raise
    except FileNotFoundError as error:
        raise MissingInputError(f"{path} is gone; check that nothing else moves the slices.") from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read; check its permissions.") from error
    except _READING as error:
        raise InputError(
            f"{path} is damaged or truncated and cannot be read; copy or write it anew."
        ) from error


def header(path: Path) -> Header:
    """Return the size and type of a slice without reading its pixels.

    Raises
    ------
    InputError
        If the file is empty, truncated, unreadable, or of a kind of pixel that is not grey.
    """
    with _readable(path):
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty; copy or write it anew.")
        if plain_name(path.suffix) == "tiff":
            return _tiff_header(path)
        with Image.open(path) as image:
            if image.mode not in _MODES:
                raise InputError(f"{path} holds {image.mode} pixels; slices must be 8-bit or 16-bit grey.")
            found = Header((image.height, image.width), np.dtype(_MODES[image.mode]), image.mode in _COLOURED)
        _refuse_cut(path)
        return found


def _refuse_cut(path: Path) -> None:
    """Refuse a PNG, JPEG or BMP that ends too soon, by its last bytes or stated length."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(34)
        file.seek(-min(size, 64), os.SEEK_END)
        tail = file.read()
    whole = {
        b"\x89P": b"IEND" in tail,
        b"\xff\xd8": b"\xff\xd9" in tail,
        b"BM": size >= _bmp_length(head),
    }.get(head[:2], True)
    if not whole:
        raise InputError(f"{path} is truncated: its end is missing; copy or write it anew.")


def _bmp_length(head: bytes) -> int:
    """Return the bytes that an uncompressed BMP needs, 0 where its header does not tell."""
    if len(head) < 34:
        return 34
    (offset,) = struct.unpack_from("<I", head, 10)
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", head, 18)
    return 0 if compression else int(offset + (width * bits + 31) // 32 * 4 * abs(height))


def _tiff_header(path: Path) -> Header:
    with tifffile.TiffFile(path) as tiff:
        if len(tiff.pages) > 1:
            raise InputError(
                f"{path} holds {len(tiff.pages)} pages; give that file itself rather than its folder."
            )
        page = tiff.pages.first
        ends = [a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > path.stat().st_size:
            raise InputError(f"{path} is truncated: its end is missing; copy or write it anew.")
        dtype = np.dtype(page.dtype)
        coloured = page.photometric == tifffile.PHOTOMETRIC.PALETTE or page.samplesperpixel > 1
        if dtype.kind not in "buif" or (coloured and dtype.kind != "u") or dtype.itemsize > 8:
            raise InputError(f"{path} holds {dtype} pixels; slices must be grey integers or floats.")
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE or dtype.kind == "b":
            dtype = np.dtype(np.uint8)
        return Header((page.imagelength, page.imagewidth), dtype.newbyteorder("="), coloured)


def read(path: Path) -> NDArray[Any]:
    """Return the pixels (y, x) of a slice as grey.

    Raises
    ------
    InputError
        If the file is unreadable or truncated, or holds real colour.
    """
    with _readable(path):
        return _read_tiff(path) if plain_name(path.suffix) == "tiff" else _read_image(path)


@dataclass(frozen=True)
class Layout:
    """Where the pixels of a plain grey TIFF lie: their first byte, number type as stored, and columns."""

    offset: int
    stored: np.dtype[Any]
    columns: int


def layout(path: Path) -> Layout | None:
    """Return where the pixels of a slice lie, or None where they do not stand in the file as they are.

    Raises
    ------
    InputError
        If the file is unreadable or truncated.
    """
    if plain_name(path.suffix) != "tiff":
        return None
    with _readable(path), tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        stored = np.dtype(page.dtype or "u1").newbyteorder(tiff.byteorder)
        grey = page.photometric == tifffile.PHOTOMETRIC.MINISBLACK and page.samplesperpixel == 1
        plain = page.compression == tifffile.COMPRESSION.NONE and page.fillorder == 1 and page.is_contiguous
        if not (grey and plain) or stored.kind not in "uif":
            return None
        return Layout(page.dataoffsets[0], stored, page.imagewidth)


def read_rows(path: Path, where: Layout, first: int, stop: int) -> NDArray[Any]:
    """Return the rows (first, stop) of a slice with a known layout, and read no more of it.

    Raises
    ------
    InputError
        As :func:`read`.
    """
    size, width = (stop - first) * where.columns, where.stored.itemsize
    with _readable(path), path.open("rb") as file:
        file.seek(where.offset + first * where.columns * width)
        data = np.frombuffer(file.read(size * width), where.stored, size)
    return np.ascontiguousarray(data.reshape(stop - first, -1), dtype=where.stored.newbyteorder("="))


def _read_tiff(path: Path) -> NDArray[Any]:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        data = np.asarray(page.asarray())
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
            data = grey_of((page.colormap[:, data] >> 8).astype(np.uint8).transpose(1, 2, 0), path)
        elif page.samplesperpixel > 1:
            planes_first = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
            data = grey_of(np.moveaxis(data, 0, -1) if planes_first else data, path)
        if data.dtype.kind == "b":
            data = data.astype(np.uint8) * np.uint8(255)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and data.dtype.kind == "u":
            data = np.iinfo(data.dtype).max - data
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))


def _read_image(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        if image.mode not in _MODES:
            raise InputError(f"{path} holds {image.mode} pixels; slices must be 8-bit or 16-bit grey.")
        if image.mode == "P" and (greys := _grey_palette(image)) is not None:
            return np.asarray(greys[np.asarray(image)])
        if image.mode in _COLOURED:
            return grey_of(np.asarray(image.convert("RGB")), path)
        data = np.asarray(image.convert("L") if image.mode == "1" else image)
        return np.array(data, dtype=data.dtype.newbyteorder("="))


def _grey_palette(image: Image.Image) -> NDArray[np.uint8] | None:
    """Return the greys (256,) of an image's colour table, None where one of its colours is no grey."""
    table = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    if (table != table[:, :1]).any():
        return None
    out = np.zeros(256, np.uint8)
    out[: len(table)] = table[:, 0]
    return out


def grey_of(data: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return grey (y, x) of colours (y, x, 3 or more) that are all grey.

    Raises
    ------
    InputError
        If the channels differ.
    """
    channels = 3 if data.shape[-1] >= 3 else 1
    grey = np.ascontiguousarray(data[..., 0])
    if any(not np.array_equal(grey, data[..., c]) for c in range(1, channels)):
        raise InputError(f"{path} is a colour image; convert the slices to grey first.")
    return grey


def write(path: Path, image: NDArray[Any], *, indexed: bool = False) -> None:
    """Write one slice as PNG, BMP or TIFF by the suffix; the same numbers give the same bytes.

    Parameters
    ----------
    path
        ``.png`` holds bool, uint8 and uint16, ``.bmp`` bool and uint8; ``.tif`` holds float32 besides.
    image
        (y, x).
    indexed
        Whether a PNG of 8 bits bears a table of 256 greys, so that its numbers are codes and are shown as
        the greys they are.

    Raises
    ------
    SettingsError
        If the image is not (y, x), or the format does not hold such numbers.
    """
    data = np.asarray(image)
    if data.dtype == bool:
        data = data.astype(np.uint8) * np.uint8(255)
    if data.ndim != 2 or data.dtype not in _HOLDS[path.suffix]:
        raise SettingsError(
            f"A {path.suffix[1:]} slice cannot hold {data.dtype} numbers of shape {data.shape}."
        )
    if path.suffix == ".png":
        picture = Image.fromarray(np.ascontiguousarray(data))
        if indexed and data.dtype == np.uint8:
            picture = Image.frombytes("P", picture.size, picture.tobytes())
            picture.putpalette(_GREYS)
        picture.save(path, "PNG", compress_level=1)
        return
    if path.suffix == ".bmp":
        Image.fromarray(np.ascontiguousarray(data)).save(path, "BMP")
        return
    flat = data.dtype == np.float32  # noise in float deflates badly, and reading it slowly costs more
    encoded = io.BytesIO()  # tifffile's own short write on a full disk would not say what it was
    tifffile.imwrite(
        encoded,
        np.ascontiguousarray(data),
        photometric="minisblack",
        compression=None if flat else "zlib",
        compressionargs=None if flat else {"level": 1},
        metadata=None,
        software=False,
        datetime=None,
        byteorder="<",
    )
    path.write_bytes(encoded.getbuffer())
