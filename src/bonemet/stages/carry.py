"""Carry: a stack, or a region, taken through transforms onto another's grid, interpolated once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bonemet.core.context import SILENT, Context
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.transform import Transform
from bonemet.core.volume import SlicedArray, Volume
from bonemet.io.transforms import read_transform
from bonemet.io.volumes import open_volume
from bonemet.kernels.interpolate import Order
from bonemet.stages import _placed
from bonemet.stages.outcome import Outcome, Product, produce

_TYPES = (np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.float32)


def carry(
    stack: str | Path,
    like: str | Path,
    out: str | Path,
    *,
    transforms: Sequence[str | Path],
    back: bool = False,
    interpolation: Order = "nearest",
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Take a stack onto another's grid through one transform or several that become one.

    So a region drawn on a registered bone is carried back into the grid of the scan, where its grey values
    were never interpolated; and a follow-up is taken through its week 0 to a reference in one step. Slices
    are read and written as they are needed.

    Parameters
    ----------
    stack
        Volume to take over (folder of slices or file): grey values, a mask or labels.
    like
        Volume on whose grid it is wanted.
    out
        Folder to make; the transform stands beside it, in ``OUT.tfm``.
    transforms
        Files (.tfm or .json), each from points of its FIXED to points of its MOVING, in the order in which
        they lead from LIKE to STACK; with ``back`` from STACK to LIKE.
    back
        Whether to go against the transforms' direction: from a registered stack back to its scan.
    interpolation
        ``nearest`` (for masks, labels and regions), ``linear``, ``cubic`` or ``sinc``.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    context
        Workers and progress.

    Returns
    -------
    Outcome
        ``matrix`` (4 x 4, takes points of OUT to points of STACK), ``translation_mm``, ``angle_deg``,
        ``mirrored``.

    Raises
    ------
    InputError
        If an input is not usable.
    SettingsError
        If a setting makes no sense.
    """
    _placed.refuse_interpolation(interpolation)
    files = [Path(t) for t in transforms]
    if not files:
        raise SettingsError("There is no transform to carry the stack by; give one or more .tfm files.")
    target = Path(out)
    parameters = {"back": back, "interpolation": interpolation}

    def work(partial: Path) -> Product:
        here, there = open_volume(Path(stack)), open_volume(Path(like))
        here = here.with_data(_resampled_type(here.data, Path(stack)))
        whole = _composed([read_transform(f) for f in files])
        whole = whole.inverse() if back else whole
        _placed.write(partial, here, there.grid, whole, interpolation, context)
        product = _placed.product(
            here, there.grid, whole, _placed.placement(whole), [_placed.beside(target, whole)]
        )
        return replace(product, warnings=[*product.warnings, *_apart(here, there, whole), *_pieces(files)])

    inputs = [Path(stack), Path(like), *files]
    return produce(target, "carry", parameters, inputs, work, overwrite=overwrite)


def _composed(transforms: Sequence[Transform]) -> Transform:
    """Return the map that applies the first, then the second, and so on."""
    whole = transforms[0]
    for transform in transforms[1:]:
        whole = transform.after(whole)
    return whole


def _resampled_type(data: SlicedArray, path: Path) -> SlicedArray:
    """Return numbers of a type that is resampled; wider ones are read and made narrower."""
    if data.dtype in _TYPES:
        return data
    values: Any = data[:]
    if data.dtype.kind == "f":
        return np.asarray(values, np.float32)
    if values.size and (values.min() < 0 or values.max() > np.iinfo(np.uint16).max):
        raise InputError(f"{path} holds numbers that do not fit into 16 bits; it cannot be carried.")
    return np.asarray(values, np.uint16)


def _apart(here: Volume, there: Volume, transform: Transform) -> list[str]:
    """Return a warning where the two volumes do not meet at all."""
    shape = np.asarray(there.grid.shape)
    steps = [np.linspace(0, n - 1, min(n, 32)) for n in shape]
    index = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
    seen = here.grid.mm_to_index(transform.apply(there.grid.index_to_mm(index)))
    inside = ((seen > -0.5) & (seen < np.asarray(here.grid.shape) - 0.5)).all(1)
    if inside.any():
        return []
    return ["The two volumes lie apart, so the result is empty: was the direction of the transform meant?"]


def _pieces(files: Sequence[Path]) -> list[str]:
    """Return a warning for each transform beside which that of a broken-off piece stands."""
    return [
        f"A piece of the bone of {file.name} broke off and has a transform, {file.stem}.piece1.tfm; what "
        "lies in that piece is carried as if it had not."
        for file in files
        if file.with_name(f"{file.stem}.piece1.tfm").is_file()
    ]
