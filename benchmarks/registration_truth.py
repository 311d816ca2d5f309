"""Truth for the registration benchmark: points to judge by, planted lesions, and the defined long axis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from cases import Pair
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.volume import Volume
from bonemet.simulation import points_in_bone

SHAFT = (0.12, 0.88)  # of the length: diaphysis and metaphyses, growth plates and epiphyses left out
AXIS = (0.15, 0.85)
PROXIMAL = 0.3
MIRROR = np.diag([-1.0, 1.0, 1.0])


def _own(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    inverse = np.linalg.inv(matrix)
    return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3])


def shaft_points(pair: Pair) -> NDArray[np.float64]:
    """Return points (n, 3) of the fixed image on the bone's surface between the growth plates."""
    labels = pair.labels[0] > 0
    edge = labels & ~ndimage.binary_erosion(labels)
    points = pair.fixed.grid.index_to_mm(np.argwhere(edge))
    place = _own(points, pair.matrices[0])[:, 2] / pair.animal.sizes.tibia_mm
    return points[(place > SHAFT[0]) & (place < SHAFT[1])][::7]


def carved(pair: Pair, wanted: float, rng: np.random.Generator) -> tuple[Volume, float]:
    """Return the moving volume with balls cut out of its proximal bone, and the share that is then gone.

    Parameters
    ----------
    pair
        The pair; the disease that it has stays in it, and counts.
    wanted
        Share of the proximal bone (the first 30 % of the length) to be gone.
    rng
        Places the balls.
    """
    image = np.array(pair.moving.array(), np.float32)
    grid, matrix = pair.moving.grid, pair.matrices[1]
    length = pair.animal.sizes.tibia_mm
    bone = np.argwhere(image > 0.5 * np.quantile(image[image > 0], 0.95))
    points = grid.index_to_mm(bone)
    own = _own(points, matrix)
    near = own[:, 2] < PROXIMAL * length
    gone = np.zeros(len(bone), bool)
    empty = float(np.median(image))
    for _ in range(200):
        if gone[near].mean() >= wanted:
            break
        centre = own[near][rng.integers(near.sum())]
        gone |= np.linalg.norm(own - centre, axis=1) < rng.uniform(0.3, 0.9)
    keep = np.ones(image.shape, bool)
    keep[tuple(bone[gone].T)] = False
    # what was bone and its blurred rim become empty, with the noise that empty space has
    rim = ndimage.binary_dilation(~keep, iterations=2) & (image > empty)
    image[rim] = empty
    values = np.rint(image).astype(pair.moving.data.dtype)
    return replace(pair.moving, data=values), float(gone[near].mean())


def defined_axis(pair: Pair) -> NDArray[np.float64]:
    """Return the long axis in the bone's own frame, by its definition, from the formulae of the bone.

    The straight line nearest to the centres of the tibia's filled sections between 15 and 85 % of its length.
    """
    length = pair.animal.sizes.tibia_mm
    across = np.arange(-3.0, 3.0, 0.06)
    heights = np.linspace(AXIS[0] * length, AXIS[1] * length, 36)
    centres = []
    for z in heights:
        x, y = np.meshgrid(across, across, indexing="ij")
        points = np.stack([x.ravel(), y.ravel(), np.full(x.size, z)], axis=1)
        outer = points_in_bone(pair.animal, 0, f"{pair.side} tibia", points)[:, 0].reshape(x.shape)
        parts, count = ndimage.label(outer <= 0)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        largest = parts == 1 + int(np.argmax(sizes))
        centres.append([x[largest].mean(), y[largest].mean()])
    slope = np.polyfit(heights, np.array(centres), 1)[0]
    axis = np.array([*slope, 1.0])
    return np.asarray(axis / np.linalg.norm(axis))


def axis_error_deg(own: NDArray[Any], axis: NDArray[np.float64]) -> float:
    """Return the angle between a frame's z axis (columns, in the bone's frame) and the defined axis."""
    return float(np.degrees(np.arccos(np.clip(own[:, 2] @ axis, -1, 1))))


def axial_error_deg(own: NDArray[Any], side: str) -> float:
    """Return by how much a frame is turned about z from the planted front, lateral turns positive.

    The bone's own frame is a right leg's, y to the front; a left leg's is its mirror image.
    """
    front = -own[:, 1]
    return float(np.degrees(np.arctan2(front[0], front[1])))
