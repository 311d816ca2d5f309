"""Three-dimensional image files: multi-page TIFF by tifffile, NIfTI, NRRD, MHA and MHD by SimpleITK."""

from __future__ import annotations

import gzip
import json
import logging
import re
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import SimpleITK as sitk
import tifffile
from numpy.typing import NDArray

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, OutputWriteError, SettingsError
from bonemet.core.grid import Grid, Triple
from bonemet.core.volume import SlicedArray, Volume
from bonemet.io import slicefiles

_READ = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_WRITTEN = (".nii", ".nii.gz", ".nrrd", ".mha")
_MICRONS = {"um", "µm", "μm", "micron", "microns", "micrometer", "micrometre", "\\u00b5m"}
_MILLIMETRES = {"mm", "millimeter", "millimetre", "millimeters", "millimetres"}
_TAG = "bonemet"

# What these libraries print beside their errors would stand between our own sentences.
sitk.ProcessObject.SetGlobalWarningDisplay(False)
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_FAILURES = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    zlib.error,
    tifffile.TiffFileError,
)


def is_image_file(path: Path) -> bool:
    """Tell by its name whether a file is of a kind that SimpleITK reads for us."""
    return path.name.lower().endswith(_READ)


def stem(path: Path) -> str:
    """Return a file's name without ``.nii.gz`` or whatever it ends with."""
    return path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn every failure to read a file into one sentence that names it."""
    try:
        yield
    except InputError:
        raise
    except _FAILURES as error:
        raise InputError(
            f"{path} is damaged or truncated and cannot be read; copy or write it anew."
        ) from error


class LateArray:
    """An array that is read from its file when its first numbers are asked for, once, by any thread."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path = path
        self.shape = shape
        self.dtype = dtype
        self._data: NDArray[Any] | None = None
        self._lock = threading.Lock()

    def __getitem__(self, key: Any, /) -> Any:
        return self._array()[key]

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all numbers."""
        return np.asarray(self._array(), dtype=dtype)

    def _array(self) -> NDArray[Any]:
        with self._lock:
            if self._data is None:
                with _readable(self.path):
                    image = sitk.ReadImage(str(self.path))
                self._data = sitk.GetArrayFromImage(image).reshape(self.shape)
            return self._data


class PagedTiff:
    """The pages of a TIFF file as an array (z, y, x) that reads only what is asked for."""

    def __init__(self, path: Path, pages: SlicedArray) -> None:
        self.path = path
        self.shape = tuple(pages.shape)
        self.dtype = pages.dtype.newbyteorder("=")
        self._pages = pages

    def __getitem__(self, key: Any, /) -> Any:
        return np.array(self._pages[key], dtype=self.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all numbers."""
        return np.asarray(self[:], dtype=dtype)


def open_tiff(path: Path) -> SlicedArray:
    """Return the pages of a TIFF file as (z, y, x); a file of one page is a volume of one slice.

    Uncompressed files are mapped, not read; compressed ones are read whole.

    Raises
    ------
    InputError
        If the file is damaged, in colour, or has more than three dimensions.
    """
    with _readable(path), tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        page = tiff.pages.first
        _refuse_cut_chain(tiff)
        if len(tiff.series) > 1:
            raise InputError(f"{path} holds pages of several sizes; a volume needs pages of one size.")
        if page.samplesperpixel == 1 and series.dataoffset is not None:
            flat: NDArray[Any] = tifffile.memmap(path, mode="r")
        else:
            flat = np.asarray(series.asarray())
        if page.samplesperpixel > 1:
            flat = slicefiles.grey_of(flat, path)
    shape = tuple(n for n in flat.shape[:-2] if n > 1)
    if len(shape) > 1 or flat.ndim < 2 or flat.dtype.kind not in "uif":
        raise InputError(f"{path} holds {flat.dtype} numbers of shape {flat.shape}, which is no grey volume.")
    return PagedTiff(path, flat.reshape((shape or (1,)) + flat.shape[-2:]))


def _refuse_cut_chain(tiff: tifffile.TiffFile) -> None:
    """Refuse a TIFF whose last page points to one that is not there: tifffile reads on without it."""
    form = tiff.tiff
    handle = tiff.filehandle
    handle.seek(tiff.pages[-1].offset)
    count = int.from_bytes(handle.read(form.tagnosize), "little" if form.byteorder == "<" else "big")
    handle.seek(count * form.tagsize, 1)
    following = handle.read(form.offsetsize)
    if len(following) < form.offsetsize or any(following):
        raise EOFError("The chain of pages is cut.")


def tiff_spacing_mm(path: Path) -> Triple | None:
    """Return the spacing (z, y, x) that ImageJ wrote into a TIFF, or None where it is not plain.

    Plain means a unit of um or mm and a distance between slices; a resolution in dots per inch is
    mostly a printer's.
    """
    with _readable(path), tifffile.TiffFile(path) as tiff:
        said = tiff.imagej_metadata or {}
        unit = str(said.get("unit", "")).strip().casefold()
        factor = 1e-3 if unit in _MICRONS else 1.0 if unit in _MILLIMETRES else None
        tags = tiff.pages.first.tags
        if factor is None or "spacing" not in said or "XResolution" not in tags:
            return None
        per_x, per_y = (_ratio(tags[t].value) for t in ("XResolution", "YResolution"))
        if not (per_x > 0 and per_y > 0 and float(said["spacing"]) > 0):
            return None
        return float(said["spacing"]) * factor, factor / per_y, factor / per_x


def _ratio(value: tuple[int, int]) -> float:
    return value[0] / value[1] if value[1] else 0.0


def open_image(path: Path) -> tuple[SlicedArray, Grid, bool, Quantity | None]:
    """Return a file's numbers (read later), its grid, whether its voxel size was said, and its quantity.

    Raises
    ------
    InputError
        If the file is damaged or is no three-dimensional grey image.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with _readable(path):
        reader.ReadImageInformation()
        sizes = reader.GetSize()
        dtype = _number_type(reader.GetPixelID())
        if reader.GetNumberOfComponents() != 1 or dtype is None or len(sizes) not in (3, 4):
            raise InputError(f"{path} is no three-dimensional grey image (its size is {sizes}).")
        if len(sizes) == 4 and sizes[3] != 1:
            raise InputError(f"{path} holds {sizes[3]} volumes; give a file with one.")
        size = int(np.prod(sizes)) * dtype.itemsize
        _refuse_cut(path, size)
    axes = len(sizes)
    direction = np.asarray(reader.GetDirection()).reshape(axes, axes)[:3, :3]
    factor = _unit_factor(path)
    sx, sy, sz = (_spelt(float(s), path) * factor for s in reader.GetSpacing()[:3])
    ox, oy, oz = (float(o) * factor for o in reader.GetOrigin()[:3])
    rows = cast("tuple[Triple, Triple, Triple]", tuple(tuple(float(v) for v in row) for row in direction))
    grid = Grid((sizes[2], sizes[1], sizes[0]), (sz, sy, sx), (ox, oy, oz), rows)
    said = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    known = (sx, sy, sz) != (1.0, 1.0, 1.0) or _unit_said(path, said)
    return LateArray(path, grid.shape, dtype), grid, known, _quantity(said)


def _refuse_cut(path: Path, size: int) -> None:
    """Refuse a file that lacks its end, which ITK would fill with zeros or tell in lines of its own."""
    if path.name.lower().endswith(".gz"):
        _refuse_cut_gzip(path, size)
    elif path.stat().st_size < _least_size(path, size):
        raise EOFError("The file ends too soon.")


def _least_size(path: Path, size: int) -> int:
    """Return the bytes that an uncompressed file of one piece has at least, 0 for other files."""
    if path.name.lower().endswith(".nii"):
        return size + 348
    if path.name.lower().endswith(".mha"):
        packed = re.search(r"^CompressedData\s*=\s*True", _text_header(path), re.MULTILINE | re.IGNORECASE)
        return 0 if packed else size
    return 0


def _refuse_cut_gzip(path: Path, size: int) -> None:
    """Refuse a gzip file that lacks its end, which ITK would fill with zeros.

    The last four bytes hold the unpacked length. Where they do not look like it (a file of several
    members may be whole nevertheless), the file is unpacked to see.
    """
    with path.open("rb") as file:
        file.seek(-4, 2)
        length = int.from_bytes(file.read(4), "little")
    if 0 <= (length - size) % 2**32 < 2**20:  # the header and its extensions come on top
        return
    with gzip.open(path) as unpacked:
        while unpacked.read(2**22):
            pass


def _spelt(value: float, path: Path) -> float:
    """Return a spacing as it was meant: NIfTI keeps 0.0195 as the nearest float32."""
    return float(str(np.float32(value))) if ".nii" in path.name.lower() else value


def _number_type(pixel: int) -> np.dtype[Any] | None:
    """Return the numpy type of a SimpleITK pixel, None for pixels that are no plain numbers."""
    types = {
        sitk.sitkUInt8: "u1",
        sitk.sitkInt8: "i1",
        sitk.sitkUInt16: "u2",
        sitk.sitkInt16: "i2",
        sitk.sitkUInt32: "u4",
        sitk.sitkInt32: "i4",
        sitk.sitkUInt64: "u8",
        sitk.sitkInt64: "i8",
        sitk.sitkFloat32: "f4",
        sitk.sitkFloat64: "f8",
    }
    return np.dtype(types[pixel]) if pixel in types else None


def _text_header(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(8192).split(b"\n\n")[0].decode("latin-1")


def _unit_factor(path: Path) -> float:
    """Return the millimetres in one unit of a file's lengths; NRRD alone may say others than mm."""
    if path.suffix.lower() not in (".nrrd", ".nhdr"):
        return 1.0
    match = re.search(r'^space units:\s*"([^"]*)"', _text_header(path), re.MULTILINE)
    return 1e-3 if match is not None and match[1].strip().casefold() in _MICRONS else 1.0


def _unit_said(path: Path, said: dict[str, str]) -> bool:
    """Tell whether a file with voxels of 1 x 1 x 1 says so, or says nothing."""
    if path.suffix.lower() in (".nrrd", ".nhdr", ".mha", ".mhd"):
        text = _text_header(path).casefold()
        return any(k in text for k in ("spacings:", "space directions:", "elementspacing", "elementsize"))
    return said.get("xyzt_units", "0") not in ("0", "")


def _tag_of(quantity: Quantity) -> str:
    return json.dumps([str(quantity.kind), quantity.window, quantity.grey_max], separators=(",", ":"))


def _quantity(said: dict[str, str]) -> Quantity | None:
    """Return the quantity that :func:`write` put into a header, None where there is none."""
    text = said.get(_TAG) or said.get("ITK_FileNotes", "").removeprefix(_TAG) or said.get("descrip", "")
    try:
        kind, window, grey_max = json.loads(text.removeprefix(_TAG))
        return Quantity(Kind(kind), None if window is None else (window[0], window[1]), grey_max)
    except (ValueError, TypeError):
        return None


def write(path: Path, volume: Volume) -> None:
    """Write a volume by the suffix; see :func:`bonemet.io.volumes.write_volume`."""
    if not path.name.lower().endswith(_WRITTEN):
        raise SettingsError(f"Volumes are written as {', '.join(_WRITTEN)}, not {path.name}.")
    data = volume.array()
    data = data.astype(np.uint8) if data.dtype == bool else data
    image = sitk.GetImageFromArray(data)
    image.SetSpacing(volume.grid.spacing_mm[::-1])
    image.SetOrigin(volume.grid.origin_mm)
    image.SetDirection([v for row in volume.grid.direction for v in row])
    tag = _tag_of(volume.quantity)
    if path.name.lower().endswith((".nii", ".nii.gz")):
        image.SetMetaData("ITK_FileNotes", _TAG + tag)  # becomes the header's descrip
    else:
        image.SetMetaData(_TAG, tag)
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
        _refuse_cut(path, data.nbytes)  # ITK does not notice that the disk is full while it deflates NIfTI
    except _FAILURES as error:
        raise OutputWriteError(
            f"{path} could not be written whole; check the disk's space and permissions, and run again."
        ) from error


def write_slabs(path: Path, slabs: Iterable[NDArray[Any]], grid: Grid, quantity: Quantity) -> None:
    """Write a ``.nii.gz`` slab by slab; see :func:`bonemet.io.volumes.write_slabs`."""
    pack = zlib.compressobj(1, zlib.DEFLATED, 31)  # 31: a gzip file, without a date
    try:
        with path.open("wb") as file:
            dtype = np.dtype(np.uint8)
            for number, slab in enumerate(slabs):
                if number == 0:
                    dtype = slab.dtype
                    file.write(pack.compress(_nifti_header(grid, dtype, quantity)))
                file.write(pack.compress(np.ascontiguousarray(slab, dtype=dtype.newbyteorder("<")).data))
            file.write(pack.flush())
    except OSError as error:
        raise OutputWriteError(
            f"{path} could not be written whole; check the disk's space and permissions, and run again."
        ) from error


_NIFTI_TYPES = {"uint8": 2, "int16": 4, "float32": 16, "uint16": 512}


def _nifti_header(grid: Grid, dtype: np.dtype[Any], quantity: Quantity) -> bytes:
    """Return the 352 bytes before the voxels of a NIfTI-1 file; NIfTI's x and y are minus ITK's."""
    if dtype.name not in _NIFTI_TYPES or not np.array_equal(grid.direction, np.eye(3)):
        raise SettingsError(f"A NIfTI file in slabs holds {', '.join(_NIFTI_TYPES)} along the axes only.")
    z, y, x = grid.shape
    sz, sy, sx = grid.spacing_mm
    ox, oy, oz = grid.origin_mm
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, x, y, z, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, _NIFTI_TYPES[dtype.name], 8 * dtype.itemsize)
    struct.pack_into("<8f", head, 76, 1.0, sx, sy, sz, 1.0, 1.0, 1.0, 1.0)
    struct.pack_into("<3f", head, 108, 352.0, 1.0, 0.0)
    head[123] = 2  # millimetres
    struct.pack_into("<79s", head, 148, (_TAG + _tag_of(quantity)).encode())
    struct.pack_into("<2h", head, 252, 1, 1)
    struct.pack_into("<6f", head, 256, 0.0, 0.0, 1.0, -ox, -oy, oz)  # half a turn about z
    struct.pack_into("<12f", head, 280, -sx, 0, 0, -ox, 0, -sy, 0, -oy, 0, 0, sz, oz)
    struct.pack_into("<4s", head, 344, b"n+1")
    return bytes(head)
