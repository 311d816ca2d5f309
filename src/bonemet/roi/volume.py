"""Bone volume of one scan, by the threshold at each place of that scan alone.

Change is told by thresholds that both scans share, so that what stayed is none. The volume of a scan must not
depend on what it is compared with: a week has one bone volume, whichever week it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.volume import SlicedArray
from bonemet.roi.bars import LOWEST, local_bars
from bonemet.roi.difference import Scale


def bone_voxels(
    scan: SlicedArray,
    scale: Scale,
    radius_mm: float,
    spacing_mm: tuple[float, float, float],
    *,
    without: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None = None,
    mapper: Mapper = map,
) -> int:
    """Return the number of bone voxels of a scan.

    Parameters
    ----------
    scan
        (z, y, x) values; 0 is what was cut away.
    scale
        Its threshold and contrast.
    radius_mm
        How far around a place values are looked at for its threshold; 0: the scale's holds everywhere.
    spacing_mm
        Voxel (z, y, x).
    without
        Tells which voxels (n, 3) are left out.
    mapper
        Ordered map over slices.
    """
    bars = local_bars((scan,), (scale,), radius_mm, spacing_mm, mapper) if radius_mm > 0 else None

    def one(z: int) -> int:
        values = scale.normal(np.asarray(scan[z]))
        held = np.nonzero(values >= (0.0 if bars is None else LOWEST))
        if not len(held[0]):
            return 0
        window = slice(held[0].min(), held[0].max() + 1), slice(held[1].min(), held[1].max() + 1)
        bone = values[window] >= (0.0 if bars is None else bars.planes(z, z + 1, window)[0])
        if without is None:
            return int(np.count_nonzero(bone))
        at = np.argwhere(bone) + np.array([window[0].start, window[1].start])
        return int(np.count_nonzero(~without(np.column_stack([np.full(len(at), z), at]))))

    return sum(mapper(one, range(scan.shape[0])))
