"""Cross-sections of cortical bone: areas and the polar moment of inertia.

Slices must lie across the bone's long axis. Formulae: Bouxsein 2010 (doi:10.1002/jbmr.141).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.context import Mapper


@dataclass(frozen=True)
class Sections:
    """Means over the slices that hold bone.

    Attributes
    ----------
    total_mm2, bone_mm2
        Area within the outer contour, and of the bone.
    polar_mm4
        Polar moment of inertia of the bone about each slice's own centroid.
    slices
        Number of slices that hold bone.
    open_slices
        Number of these whose contour encloses no marrow: closed bone, or a ring with a gap, through which the
        marrow is not told from the outside.
    """

    total_mm2: float
    bone_mm2: float
    polar_mm4: float
    slices: int
    open_slices: int


def sections(bone: NDArray[Any], spacing: Sequence[float], *, mapper: Mapper = map) -> Sections | None:
    """Return the mean cross-section of a bone that stands along z, or None where there is none.

    Parameters
    ----------
    bone
        (z, y, x), non-zero where cortical bone is.
    spacing
        Voxel edges (z, y, x) in mm.
    mapper
        An ordered map over slices.
    """
    inside = np.asarray(bone) != 0
    rows = [
        r for r in mapper(lambda z: _section(inside[z], spacing), range(inside.shape[0])) if r is not None
    ]
    if not rows:
        return None
    total, area, polar, _ = (float(v) for v in np.mean(np.asarray(rows, dtype=np.float64), axis=0))
    return Sections(total, area, polar, len(rows), int(sum(r[3] for r in rows)))


def _section(image: NDArray[np.bool_], spacing: Sequence[float]) -> tuple[float, float, float, bool] | None:
    """Return total area, bone area, polar moment, and whether no marrow is enclosed, of one slice."""
    y, x = np.nonzero(image)
    if y.size == 0:
        return None
    _, hy, hx = spacing
    pixel = hy * hx
    filled = int(np.count_nonzero(ndimage.binary_fill_holes(image)))
    # Each pixel is a small rectangle with a moment of its own beside that of its place.
    spread = y.var() * hy**2 + x.var() * hx**2
    polar = pixel * y.size * (spread + (hy**2 + hx**2) / 12)
    return filled * pixel, y.size * pixel, float(polar), filled == y.size
