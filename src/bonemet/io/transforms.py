"""Transforms on disk: ITK's .tfm, and .json.

Both hold the map from points of the fixed to points of the moving image, which is ITK's own way.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from bonemet.core.errors import InputError, MissingInputError, SettingsError
from bonemet.core.transform import Transform, TransformKind

_ITK = (".tfm", ".txt", ".h5", ".hdf5")
_MAPS = "points of FIXED, (x, y, z) in mm, to points of MOVING"


def write_transform(path: Path, transform: Transform) -> None:
    """Write a transform as ITK's .tfm or as .json.

    A rigid map without a mirror becomes ITK's VersorRigid3DTransform (where that keeps its digits),
    any other its AffineTransform; both with their centre at the origin.

    Raises
    ------
    SettingsError
        If the name ends with neither.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        content = {"maps": _MAPS, "kind": str(transform.kind), "matrix": transform.matrix.tolist()}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8", newline="\n")
    elif path.suffix.lower() == ".tfm":
        sitk.WriteTransform(_to_itk(transform), str(path))
    else:
        raise SettingsError(f"Transforms are written as .tfm or .json, not {path.name}.")


def _is_rotation(linear: NDArray[np.float64]) -> bool:
    return bool(np.allclose(linear @ linear.T, np.eye(3), atol=1e-9) and np.linalg.det(linear) > 0)


def _to_itk(transform: Transform) -> Any:
    linear, shift = transform.matrix[:3, :3].ravel().tolist(), transform.matrix[:3, 3].tolist()
    if transform.kind is TransformKind.RIGID and _is_rotation(transform.matrix[:3, :3]):
        rigid: Any = sitk.VersorRigid3DTransform()
        rigid.SetMatrix(linear, 1e-7)
        rigid.SetTranslation(shift)
        again: Any = sitk.VersorRigid3DTransform()
        again.SetParameters(rigid.GetParameters())
        # Only a versor's vector is written, so half a turn would come back to 1e-8 only.
        if np.allclose(again.GetMatrix(), linear, rtol=0, atol=1e-13):
            return rigid
    affine: Any = sitk.AffineTransform(3)
    affine.SetMatrix(linear)
    affine.SetTranslation(shift)
    return affine


def read_transform(path: Path) -> Transform:
    """Read a transform that ITK, SimpleITK, elastix-style tools or bonemet wrote.

    Raises
    ------
    MissingInputError
        If there is no such file.
    InputError
        If it holds no linear map of three dimensions.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist; give a transform (.tfm or .json).")
    if path.suffix.lower() == ".json":
        return _read_json(path)
    if path.suffix.lower() not in _ITK:
        raise InputError(f"{path} is no transform; give a .tfm or .json file.")
    try:
        found: Any = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} is damaged or no ITK transform; write it anew.") from error
    return _from_itk(found, path)


def _read_json(path: Path) -> Transform:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        matrix = np.array(content["matrix"], dtype=np.float64)
        kind = TransformKind(content.get("kind", "affine"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no transform; it needs a 4 x 4 'matrix' and a 'kind'.") from error
    return Transform(matrix, kind)


def _from_itk(found: Any, path: Path) -> Transform:
    """Return a linear ITK transform as a matrix, by where it takes the origin and the unit points."""
    if found.GetDimension() != 3 or not found.IsLinear():
        raise InputError(
            f"{path} holds no linear map of three dimensions; bonemet reads rigid and affine ones."
        )
    origin = np.array(found.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, 3] = origin
    for axis in range(3):
        unit = [0.0, 0.0, 0.0]
        unit[axis] = 1.0
        matrix[:3, axis] = np.array(found.TransformPoint(unit)) - origin
    return Transform(matrix, _kind_of(matrix[:3, :3]))


def _kind_of(linear: NDArray[np.float64]) -> TransformKind:
    """Return how much freedom a linear map uses; a mirror is no scale."""
    gram = linear @ linear.T
    if np.allclose(gram, np.eye(3), atol=1e-6):
        return TransformKind.RIGID
    scale = float(np.trace(gram)) / 3
    return (
        TransformKind.SIMILARITY
        if np.allclose(gram, scale * np.eye(3), atol=1e-6 * scale)
        else TransformKind.AFFINE
    )
