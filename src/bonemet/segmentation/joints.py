"""Where bones touch or nearly do: the boundary between their places is led along the darkest surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from bonemet.segmentation.components import Mask
from bonemet.segmentation.names import Label

REACH = 3  # coarse voxels on either side of a coarse boundary within which the joint is looked for
ROUND = np.ones((3, 3, 3), bool)


def zones(
    near: NDArray[np.uint8], by_hand: Sequence[tuple[Label, Label]] = ()
) -> list[tuple[tuple[slice, ...], Mask]]:
    """Return the places where two labels lie side by side, each as its box and the mask (z, y, x) in it.

    Parameters
    ----------
    near
        (z, y, x) coarse labels, grown into the background.
    by_hand
        Pairs of labels between which a person has set the boundary.
    """
    for tibia, femur in by_hand:
        near = np.where(near == femur, np.uint8(tibia), near)
    size = 2 * REACH + 1
    bone = near != Label.HOLDER
    high = ndimage.maximum_filter(np.where(bone, near, 0), size)
    low = ndimage.minimum_filter(np.where(bone & (near > 0), near, 255), size)
    pieces, _ = ndimage.label((near > 0) & bone & (low < high), ROUND)
    return [(box, pieces[box] == k) for k, box in enumerate(ndimage.find_objects(pieces), start=1)]


def anchors(near: NDArray[np.uint8], bone: NDArray[np.uint8], zone: Mask) -> NDArray[np.uint8]:
    """Return coarse labels where they are sure: outside the zone, and for what lies all within it its inside.

    Parameters
    ----------
    near, bone
        (z, y, x) coarse labels, grown into the background and not grown.
    zone
        (z, y, x) where the boundary between labels is to be found.
    """
    out = np.where(zone, np.uint8(0), near)
    for label in np.unique(near[zone]):
        own = bone == label
        if (out == label).any() or not own.any():
            continue
        depth = ndimage.distance_transform_edt(near == label)
        out[own & (depth >= min(2.0, float(depth[own].max())))] = label
    return out


def part_along_dark(grey: NDArray[Any], sure: NDArray[np.uint8], place: Mask) -> NDArray[np.uint8]:
    """Return labels (z, y, x) grown from where they are sure, bright voxels first.

    That is a watershed of the grey values (Meyer 1994, doi:10.1016/0165-1684(94)90060-4), so two labels
    meet where it is darkest between them, which is the joint space between two bones.

    Parameters
    ----------
    grey
        (z, y, x).
    sure
        (z, y, x) labels, 0 where not sure.
    place
        (z, y, x) where there are labels at all.
    """
    height = -grey.astype(np.float32)
    return np.asarray(watershed(height, sure.astype(np.int32), mask=place)).astype(np.uint8)  # type: ignore[no-untyped-call]
