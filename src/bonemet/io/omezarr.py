"""Volumes as OME-Zarr 0.5 (https://ngff.openmicroscopy.org/0.5/): chunks, and coarser copies for viewers.

Needs the extra ``bonemet[zarr]``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, MissingExtraError, SettingsError
from bonemet.core.grid import IDENTITY, Grid

SUFFIX = ".ome.zarr"
VERSION = "0.5"
DEPTH, SIDE = 8, 256  # of a chunk: one slice is read at the price of eight
SMALLEST = 128  # voxels along the longest edge of the coarsest copy
MILLIMETRES = {"millimeter": 1.0, "micrometer": 1e-3, "meter": 1e3, "centimeter": 10.0, "nanometer": 1e-6}
_OWN = "bonemet"


class Store:
    """A volume on its way to disk, slab by slab; a store that is there already is gone on with.

    Parameters
    ----------
    path
        The folder, ending in ``.ome.zarr``.
    shape, dtype
        Of the volume (z, y, x).
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: Any) -> None:
        zarr = require()
        self._path = Path(path)
        if (self._path / "0" / "zarr.json").exists():
            self._root = zarr.open_group(self._path, mode="r+")
            self._full = self._root["0"]
        else:
            self._root = zarr.create_group(self._path, zarr_format=3, overwrite=True)
            self._full = _level(self._root, 0, shape, dtype)

    def put(self, first: int, slab: NDArray[Any]) -> None:
        """Write slices from number ``first`` on."""
        self._full[first : first + len(slab)] = slab

    def finish(self, grid: Grid, quantity: Quantity, name: str) -> None:
        """Write the coarser copies, each the mean of 2 x 2 x 2 voxels, and what all means.

        Raises
        ------
        SettingsError
            If the grid is turned, which the format cannot say.
        """
        if not np.allclose(grid.direction, IDENTITY):
            raise SettingsError("OME-Zarr holds volumes along the axes only; write NIfTI or NRRD.")
        levels, level = [self._full], self._full
        while max(level.shape) > SMALLEST:
            level = _halved(self._root, len(levels), level)
            levels.append(level)
        told: dict[str, Any] = {"kind": str(quantity.kind), "unit": quantity.unit}
        if quantity.kind is Kind.GREY:
            window = None if quantity.window is None else list(quantity.window)
            told |= {"window": window, "grey_max": quantity.grey_max}
        self._root.attrs.update({"ome": _multiscales(grid, len(levels), name), _OWN: {"quantity": told}})


def write(path: Path, slabs: Iterable[NDArray[Any]], grid: Grid, quantity: Quantity, name: str = "") -> None:
    """Write a volume of any size in little memory; the same numbers give the same bytes.

    Parameters
    ----------
    path
        The folder to make, ending in ``.ome.zarr``.
    slabs
        (z, y, x) arrays of one type, which together make the volume.
    grid, quantity, name
        Where its voxels are, what they mean, and what it is called.

    Raises
    ------
    MissingExtraError
        If the package zarr is not installed.
    """
    store, first = None, 0
    for slab in slabs:
        store = store or Store(path, grid.shape, slab.dtype)
        store.put(first, slab)
        first += len(slab)
    if store is None or first != grid.shape[0]:
        raise InputError(f"{first} slices came for {path}, not {grid.shape[0]}.")
    store.finish(grid, quantity, name)


class Stack:
    """The full size of a store, read chunk by chunk, sliced along z as an array; threads may share it."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self._lock = threading.Lock()
        self._block = (0, np.empty((0, *array.shape[1:]), array.dtype))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sizes (z, y, x)."""
        z, y, x = self._array.shape
        return z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        kind: np.dtype[Any] = np.dtype(self._array.dtype)
        return kind

    @property
    def ndim(self) -> int:
        """Three."""
        return 3

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        z, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        if isinstance(z, slice) or z is Ellipsis:
            return np.asarray(self._array[key])
        number = int(z) + (len(self) if z < 0 else 0)
        if not 0 <= number < len(self):
            raise IndexError(f"Slice {z} of a stack of {len(self)}.")
        depth = self._array.chunks[0]
        with self._lock:  # a chunk holds several slices: the last ones read are kept
            first, block = self._block
            if not first <= number < first + len(block):
                first = number // depth * depth
                block = np.asarray(self._array[first : first + depth])
                self._block = (first, block)
        return np.asarray(block[number - first][rest])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all numbers in memory."""
        return np.asarray(self._array[:], dtype=dtype)


def is_store(folder: Path) -> bool:
    """Tell whether a folder is a Zarr store itself."""
    return any((folder / name).is_file() for name in ("zarr.json", ".zgroup"))


def inside(folder: Path) -> Path | None:
    """Return the one store in a folder, None where there is none or more than one."""
    found = [p for p in folder.iterdir() if p.name.endswith(SUFFIX)]
    return found[0] if len(found) == 1 else None


def read(path: Path) -> tuple[Stack, Grid | None, Quantity | None, str]:
    """Return a store's numbers, grid (None where its axes bear no length), meaning if known, and name.

    Raises
    ------
    InputError
        If it is no OME-Zarr, damaged, or not of three dimensions.
    MissingExtraError
        If the package zarr is not installed.
    """
    zarr = require()
    try:
        root = zarr.open_group(path, mode="r")
        attributes = dict(root.attrs)
        scales = (attributes.get("ome") or attributes)["multiscales"][0]  # 0.5 and 0.4
        data = scales["datasets"][0]
        array = root[data["path"]]
        axes = [(a["name"], a.get("unit", "")) for a in scales["axes"]]
    except (FileNotFoundError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no OME-Zarr volume, or damaged: {error}") from error
    if [name for name, _ in axes] != ["z", "y", "x"] or array.ndim != 3:
        raise InputError(f"{path} has the axes {[n for n, _ in axes]}; volumes of z, y and x are read.")
    grid = _grid(array.shape, data.get("coordinateTransformations", ()), [unit for _, unit in axes])
    return Stack(array), grid, _quantity(attributes.get(_OWN, {})), str(scales.get("name", ""))


def require() -> Any:
    """Return the package zarr.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise MissingExtraError('OME-Zarr needs the package zarr: pip install "bonemet[zarr]".') from error
    return zarr


def _level(root: Any, number: int, shape: tuple[int, ...], dtype: Any) -> Any:
    chunks = (min(DEPTH, shape[0]), min(SIDE, shape[1]), min(SIDE, shape[2]))
    return root.create_array(
        str(number), shape=shape, chunks=chunks, dtype=dtype, dimension_names=("z", "y", "x"), overwrite=True
    )


def _halved(root: Any, number: int, level: Any) -> Any:
    """Write a level of half the size; a last odd slice, row or column is left out."""
    z, y, x = (max(1, n // 2) for n in level.shape)
    fz, fy, fx = (2 if n > 1 else 1 for n in level.shape)
    out = _level(root, number, (z, y, x), level.dtype)
    for first in range(0, z, DEPTH):
        last = min(z, first + DEPTH)
        block = np.asarray(level[fz * first : fz * last])[:, : fy * y, : fx * x]
        mean = block.reshape(last - first, fz, y, fy, x, fx).mean(axis=(1, 3, 5), dtype=np.float64)
        whole = np.issubdtype(level.dtype, np.integer)
        out[first:last] = (np.rint(mean) if whole else mean).astype(level.dtype)
    return out


def _multiscales(grid: Grid, levels: int, name: str) -> dict[str, Any]:
    """Return the description of all levels, in millimetres."""
    origin = np.asarray(grid.origin_mm[::-1], float)
    datasets = []
    step, size = np.asarray(grid.spacing_mm, float), np.asarray(grid.shape)
    for number in range(levels):
        datasets.append(
            {
                "path": str(number),
                "coordinateTransformations": [
                    {"type": "scale", "scale": step.tolist()},
                    {"type": "translation", "translation": origin.tolist()},
                ],
            }
        )
        factor = np.where(size > 1, 2, 1)
        origin, step, size = origin + (factor - 1) / 2 * step, step * factor, np.maximum(size // 2, 1)
    axes = [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "zyx"]
    return {"version": VERSION, "multiscales": [{"name": name, "axes": axes, "datasets": datasets}]}


def _grid(
    shape: tuple[int, int, int], transformations: Iterable[Mapping[str, Any]], units: list[str]
) -> Grid | None:
    """Return where voxels are; None where a unit is no length."""
    if not all(unit in MILLIMETRES for unit in units):
        return None
    unit = np.array([MILLIMETRES[u] for u in units])
    step, origin = np.ones(3), np.zeros(3)
    for one in transformations:
        if one.get("type") == "scale":
            step, origin = step * one["scale"], origin * one["scale"]
        elif one.get("type") == "translation":
            origin = origin + one["translation"]
    (dz, dy, dx), (oz, oy, ox) = (step * unit).tolist(), (origin * unit).tolist()
    return Grid(shape, (dz, dy, dx), (ox, oy, oz))


def _quantity(own: Mapping[str, Any]) -> Quantity | None:
    told = own.get("quantity")
    if not told:
        return None
    window = told.get("window")
    return Quantity(
        Kind(told["kind"]), None if window is None else (window[0], window[1]), told.get("grey_max", 255)
    )
