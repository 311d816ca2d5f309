"""Kernels that count, sum and look around in masks and label volumes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.kernels.jit import kernel


@kernel
def block_counts(grey: NDArray[Any], threshold: float, counts: NDArray[np.uint16]) -> None:
    """Count the voxels >= ``threshold`` in each block; incomplete blocks at the far ends are left out.

    ``counts`` (z, y, x) starts at zero; the block's edges are the shape of ``grey`` over that of ``counts``.
    """
    fz = grey.shape[0] // counts.shape[0]
    fy = grey.shape[1] // counts.shape[1]
    fx = grey.shape[2] // counts.shape[2]
    for z in range(counts.shape[0] * fz):
        for y in range(counts.shape[1] * fy):
            for x in range(counts.shape[2] * fx):
                if grey[z, y, x] >= threshold:
                    counts[z // fz, y // fy, x // fx] += 1


@kernel
def enclosure(
    mask: NDArray[np.uint8],
    points: NDArray[np.int32],
    directions: NDArray[np.int32],
    reach: NDArray[np.int32],
) -> NDArray[np.float32]:
    """Return for each point the share of rays that meet the mask within their reach.

    A ray that leaves the volume counts for neither side, so bones cut by the field of view keep
    their inside.

    Parameters
    ----------
    mask
        (z, y, x), not zero where there is bone.
    points
        (n, 3) voxels (z, y, x).
    directions
        (m, 3) steps of the rays in voxels.
    reach
        (m,) number of steps of each ray.
    """
    out = np.zeros(len(points), np.float32)
    for i in range(len(points)):
        met = 0
        seen = 0
        for k in range(len(directions)):
            z, y, x = points[i, 0], points[i, 1], points[i, 2]
            state = 1
            for _ in range(reach[k]):
                z += directions[k, 0]
                y += directions[k, 1]
                x += directions[k, 2]
                if z < 0 or y < 0 or x < 0 or z >= mask.shape[0] or y >= mask.shape[1] or x >= mask.shape[2]:
                    state = 0
                    break
                if mask[z, y, x]:
                    state = 2
                    break
            if state > 0:
                seen += 1
            if state == 2:
                met += 1
        out[i] = met / seen if seen > 0 else 0.0
    return out


@kernel
def local_moments(
    labels: NDArray[np.int32], points: NDArray[np.int32], offsets: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return sums over each point's neighbours that bear its own label.

    Parameters
    ----------
    labels
        (z, y, x), 0 is background.
    points
        (n, 3) voxels (z, y, x).
    offsets
        (m, 3) neighbourhood in voxels.

    Returns
    -------
    ndarray
        (n, 10): count, sums of dz, dy, dx, then of dz dz, dy dy, dx dx, dz dy, dz dx, dy dx.
    """
    out = np.zeros((len(points), 10))
    for i in range(len(points)):
        own = labels[points[i, 0], points[i, 1], points[i, 2]]
        for k in range(len(offsets)):
            a, b, c = offsets[k, 0], offsets[k, 1], offsets[k, 2]
            z, y, x = points[i, 0] + a, points[i, 1] + b, points[i, 2] + c
            if (
                z < 0
                or y < 0
                or x < 0
                or z >= labels.shape[0]
                or y >= labels.shape[1]
                or x >= labels.shape[2]
            ):
                continue
            if labels[z, y, x] != own:
                continue
            out[i, 0] += 1
            out[i, 1] += a
            out[i, 2] += b
            out[i, 3] += c
            out[i, 4] += a * a
            out[i, 5] += b * b
            out[i, 6] += c * c
            out[i, 7] += a * b
            out[i, 8] += a * c
            out[i, 9] += b * c
    return out


@kernel
def saddles(
    labels: NDArray[np.int32],
    height: NDArray[np.float32],
    first: NDArray[np.int64],
    best: NDArray[np.float32],
) -> int:
    """List the pairs of touching labels with the highest pass between them.

    Parameters
    ----------
    labels
        (z, y, x) regions from 1; 0 is background.
    height
        (z, y, x).
    first, best
        Filled: ``first[k] = a * (largest label + 1) + b`` with a < b, unsorted, with repeats, and
        ``best[k]`` the height of that face.

    Returns
    -------
    int
        Number of faces written.
    """
    count = 0
    size = labels.max() + 1
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                a = labels[z, y, x]
                if a == 0:
                    continue
                for axis in range(3):
                    w, v, u = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                    if w >= nz or v >= ny or u >= nx:
                        continue
                    b = labels[w, v, u]
                    different = b != 0 and b != a  # noqa: PLR1714 (numba has no `in` for mixed types)
                    if not different or count >= len(first):
                        continue
                    first[count] = min(a, b) * size + max(a, b)
                    best[count] = min(height[z, y, x], height[w, v, u])
                    count += 1
    return count


@kernel
def label_boxes(labels: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Return for each label from 0 to ``count - 1`` its voxels and its box, in one pass.

    Parameters
    ----------
    labels
        (z, y, x), all below ``count``.
    count
        Number of labels, background included.

    Returns
    -------
    ndarray
        (count, 7): voxels, first voxel (z, y, x), last voxel plus one (z, y, x). Label 0 is left out.
    """
    out = np.zeros((count, 7), np.int64)
    for k in range(count):
        out[k, 1], out[k, 2], out[k, 3] = labels.shape
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                a = labels[z, y, x]
                if a == 0:
                    continue
                out[a, 0] += 1
                out[a, 1] = min(out[a, 1], z)
                out[a, 2] = min(out[a, 2], y)
                out[a, 3] = min(out[a, 3], x)
                out[a, 4] = max(out[a, 4], z + 1)
                out[a, 5] = max(out[a, 5], y + 1)
                out[a, 6] = max(out[a, 6], x + 1)
    return out


@kernel
def refine_labels(
    labels: NDArray[np.uint8], factors: tuple[int, int, int], first: int, out: NDArray[np.uint8]
) -> None:
    """Fill slices of a finer grid with labels, each voxel by a vote of the eight around it.

    Votes count as in linear interpolation, so boundaries run smoothly through the voxels of the coarse grid.
    Beyond the centres of the outermost voxels, these alone count.

    Parameters
    ----------
    labels
        (z, y, x) on the coarse grid.
    factors
        Fine voxels along the edges of a coarse one.
    first
        Fine slice at which ``out`` begins.
    out
        (z, y, x) filled; may reach beyond the last coarse voxel.
    """
    weights = np.zeros(256, np.float32)
    sides = np.zeros((3, 2), np.int64)
    share = np.zeros(3, np.float32)
    for k in range(out.shape[0]):
        _between(first + k, factors[0], labels.shape[0], sides[0], share, 0)
        for j in range(out.shape[1]):
            _between(j, factors[1], labels.shape[1], sides[1], share, 1)
            i = 0
            low = -1
            while i < out.shape[2]:
                # Up to here voxels lie between the same two coarse columns.
                stop = min(out.shape[2], factors[2] * (2 * low + 3) // 2)
                _between(i, factors[2], labels.shape[2], sides[2], share, 2)
                if _alike(labels, sides):
                    out[k, j, i:stop] = labels[sides[0, 0], sides[1, 0], sides[2, 0]]
                else:
                    for m in range(i, stop):
                        _between(m, factors[2], labels.shape[2], sides[2], share, 2)
                        out[k, j, m] = _vote(labels, sides, share, weights)
                i = stop
                low += 1


@kernel
def _between(
    fine: int, factor: int, size: int, sides: NDArray[np.int64], share: NDArray[np.float32], axis: int
) -> None:
    """Set the two coarse places between which a fine one lies, and how far it is to the second."""
    low = (2 * fine + 1 - factor) // (2 * factor)
    share[axis] = (fine + 0.5) / factor - 0.5 - low
    sides[0] = min(max(low, 0), size - 1)
    sides[1] = min(max(low + 1, 0), size - 1)


@kernel
def _alike(labels: NDArray[np.uint8], sides: NDArray[np.int64]) -> bool:
    """Tell whether eight voxels bear one label."""
    a = labels[sides[0, 0], sides[1, 0], sides[2, 0]]
    same = 0
    for n in range(8):
        same += labels[sides[0, n >> 2], sides[1, (n >> 1) & 1], sides[2, n & 1]] == a
    return same == 8


@kernel
def _vote(
    labels: NDArray[np.uint8],
    sides: NDArray[np.int64],
    share: NDArray[np.float32],
    weights: NDArray[np.float32],
) -> int:
    """Return the label with most weight among eight voxels, the larger of two equals."""
    for n in range(8):
        w = np.float32(1)
        for axis in range(3):
            w *= share[axis] if (n >> (2 - axis)) & 1 else 1 - share[axis]
        weights[labels[sides[0, n >> 2], sides[1, (n >> 1) & 1], sides[2, n & 1]]] += w
    best = 0
    for n in range(8):
        b = labels[sides[0, n >> 2], sides[1, (n >> 1) & 1], sides[2, n & 1]]
        if weights[b] > weights[best] or (weights[b] == weights[best] and b > best):
            best = int(b)
    for n in range(8):
        weights[labels[sides[0, n >> 2], sides[1, (n >> 1) & 1], sides[2, n & 1]]] = 0
    return best


@kernel
def block_means(values: NDArray[Any], factors: tuple[int, int, int], out: NDArray[np.float32]) -> None:
    """Fill ``out`` (z, y, x) with the means of blocks of voxels; it starts at zero."""
    fz, fy, fx = factors
    for z in range(out.shape[0] * fz):
        for y in range(out.shape[1] * fy):
            row = out[z // fz, y // fy]
            for x in range(out.shape[2]):
                total = np.float32(0)
                for i in range(x * fx, (x + 1) * fx):
                    total += values[z, y, i]
                row[x] += total
    out /= np.float32(fz * fy * fx)
