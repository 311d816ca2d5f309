"""Pictures of volumes: surfaces under a lamp, X-ray like projections, sections, side by side.

Used by ``docs/make_gallery.py``; plain NumPy, so that no viewer is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

BONE_COLOUR = (236, 224, 200)
Picture = NDArray[np.uint8]


def surface(
    share: NDArray[np.floating], *, colour: Sequence[int] = BONE_COLOUR, blur: float = 0.7
) -> Picture:
    """Return what is seen of a volume from low values of its first axis on.

    Parameters
    ----------
    share
        (depth, rows, columns): share of each voxel that is bone, 0 to 1. The surface lies at one half.
    colour
        Of the bone.
    blur
        Standard deviation, in voxels, of the smoothing that normals are taken from.

    Returns
    -------
    (rows, columns, 3) uint8
        Lit from above left; deeper is darker; nothing is white.
    """
    field = ndimage.gaussian_filter(share.astype(np.float32), blur)
    inside = field >= 0.5
    seen, first = inside.any(axis=0), inside.argmax(axis=0)
    rows, columns = np.indices(seen.shape)
    before = np.maximum(first - 1, 0)
    a, b = field[before, rows, columns], field[first, rows, columns]
    depth = first - np.where(b > a, (b - 0.5) / np.maximum(b - a, 1e-6), 0.0)
    at = np.stack([depth, rows, columns])
    normal = -np.stack([ndimage.map_coordinates(g, at, order=1) for g in np.gradient(field)])
    normal /= np.maximum(np.linalg.norm(normal, axis=0), 1e-6)
    lamp = np.array([-0.72, -0.52, -0.46])
    lit = np.clip(np.tensordot(lamp / np.linalg.norm(lamp), normal, 1), 0.0, 1.0)
    light = (0.22 + 0.78 * lit) * _not_in_holes(depth, seen) * _nearer_is_brighter(depth, seen)
    out = np.full((*seen.shape, 3), 255, np.uint8)
    out[seen] = np.clip(light[seen, None] * np.array(colour), 0, 255).astype(np.uint8)
    return out


def _not_in_holes(depth: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return how much light reaches a surface that its neighbourhood stands around."""
    flat = np.where(seen, depth, depth[seen].max() if seen.any() else 0.0)
    around = ndimage.gaussian_filter(flat, 6.0)
    return np.asarray(np.clip(1.0 - 0.035 * (flat - around), 0.35, 1.1))


def _nearer_is_brighter(depth: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.floating]:
    if not seen.any():
        return np.ones_like(depth)
    near, far = depth[seen].min(), depth[seen].max()
    return np.asarray(1.0 - 0.45 * (depth - near) / max(far - near, 1.0))


def projection(density: NDArray[np.floating], axis: int, *, white: float | None = None) -> Picture:
    """Return the density summed along an axis as a picture (rows, columns, 3), bone white on black."""
    total = density.sum(axis=axis, dtype=np.float64)
    top = float(np.quantile(total[total > 0], 0.995)) if white is None else white
    grey = (255 * np.clip(total / top, 0, 1) ** 0.7).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def section(plane: NDArray[np.floating], *, white: float = 1300.0) -> Picture:
    """Return a section of density in mg HA/cm3 as a picture."""
    grey = (255 * np.clip(plane / white, 0, 1)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def beside(pictures: Sequence[Picture], *, gap: int = 8, paper: int = 255) -> Picture:
    """Return pictures side by side, centred on one line."""
    tall = max(p.shape[0] for p in pictures)
    out = []
    for i, p in enumerate(pictures):
        above = (tall - p.shape[0]) // 2
        pads = ((above, tall - p.shape[0] - above), (gap if i else 0, 0), (0, 0))
        out.append(np.pad(p, pads, constant_values=paper))
    return np.concatenate(out, axis=1)


def below(pictures: Sequence[Picture], *, gap: int = 8, paper: int = 255) -> Picture:
    """Return pictures one below the other, flush left."""
    wide = max(p.shape[1] for p in pictures)
    out = []
    for i, p in enumerate(pictures):
        pads = ((gap if i else 0, 0), (0, wide - p.shape[1]), (0, 0))
        out.append(np.pad(p, pads, constant_values=paper))
    return np.concatenate(out, axis=0)


def named(picture: Picture, name: str, *, paper: int = 255) -> Picture:
    """Return a picture with a line of text above it."""
    lines = name.split("\n")
    strip = Image.new("RGB", (picture.shape[1], 14 * len(lines)), (paper,) * 3)
    ImageDraw.Draw(strip).text((2, 1), name, fill=(255 - paper,) * 3)
    return np.concatenate([np.asarray(strip), picture], axis=0)


def save(picture: Picture, path: Path, *, colours: int = 48) -> int:
    """Write a PNG with a palette of few colours; return its size in bytes."""
    image = Image.fromarray(picture).quantize(colours, dither=Image.Dither.NONE)
    image.save(path, optimize=True)
    return path.stat().st_size
