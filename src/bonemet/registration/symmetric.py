"""Halfway between two bones: both are turned by as much, so that interpolation blurs both alike.

Where only one of two images is interpolated, its noise and edges are smoother than the other's, and the
difference looks like remodelling (de Bakker 2016, doi:10.1007/s10439-015-1527-9).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.core.transform import Transform, TransformKind
from bonemet.core.volume import Volume
from bonemet.registration import levels

_MARGIN_MM = 0.3


def half(transform: Transform) -> Transform:
    """Return the rigid map that, done twice, is the given one: half of the turn about the same axis.

    Raises
    ------
    SettingsError
        If the map is not rigid, or mirrors.
    """
    if transform.kind is not TransformKind.RIGID or transform.mirrored:
        raise SettingsError("Only a rigid map that does not mirror has a half.")
    linear, shift = transform.matrix[:3, :3], transform.matrix[:3, 3]
    out = np.eye(4)
    out[:3, :3] = Rotation.from_rotvec(Rotation.from_matrix(linear).as_rotvec() / 2).as_matrix()
    # h(h(x)) has the shift (H + 1) t, which must be the whole map's
    out[:3, 3] = np.linalg.solve(out[:3, :3] + np.eye(3), shift)
    return Transform(out)


def halfway(fixed: Volume, transform: Transform) -> tuple[Grid, Transform]:
    """Return a grid about the fixed bone, halfway to the moving one, and the map from it to the fixed volume.

    The moving volume is reached through that map and then ``transform``; it is half the transform, and
    the map to the fixed volume is half its inverse.

    Parameters
    ----------
    fixed
        The fixed volume.
    transform
        Rigid; takes points of the fixed volume to points of the moving volume.

    Returns
    -------
    tuple
        The grid, with cubic voxels as fine as the fixed volume's finest, cropped to the bone; the map.
    """
    to_fixed = half(transform).inverse()
    level = levels.build(fixed).at(2 * max(fixed.grid.spacing_mm))
    seen = half(transform).apply(level.bone_points())
    spacing = min(fixed.grid.spacing_mm)
    margin = level.spacing + _MARGIN_MM
    low, high = seen.min(0) - margin, seen.max(0) + margin
    shape = [int(n) for n in np.ceil((high - low) / spacing)[::-1] + 1]
    x, y, z = (float(v) for v in low)
    return Grid.isotropic(shape, spacing, (x, y, z)), to_fixed
