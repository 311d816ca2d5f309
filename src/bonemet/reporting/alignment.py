"""Pictures by which a person judges whether two bones lie on each other: checkerboard and flicker."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bonemet.reporting.figures import bone_centre, middle_planes, panels, png, show

_SQUARES = 12  # along the longer side of the longest plane
_FLICKER_MS = 500
_HEIGHT = 480  # pixels of the flicker picture
Planes = list[tuple[str, NDArray[Any], tuple[int, int]]]


def checkerboard(
    fixed: NDArray[Any], moving: NDArray[Any], spacing_mm: tuple[float, float, float], level: int
) -> bytes:
    """Show two registered bones in alternating squares: where they agree, edges run on across the squares.

    Parameters
    ----------
    fixed, moving
        (z, y, x) grey values on one grid.
    spacing_mm
        Voxel size (z, y, x).
    level
        Slice through which the axial plane runs.

    Returns
    -------
    bytes
        PNG.
    """
    figure, axes = panels([1, 1, 1.4], 4.2)
    edge = max(size * step for size, step in zip(fixed.shape, spacing_mm, strict=True)) / _SQUARES
    pairs = zip(axes, *_both(fixed, moving, level), strict=True)
    for ax, (title, one, (down, across)), (_, other, _) in pairs:
        size = (spacing_mm[down], spacing_mm[across])
        rows, columns = (np.arange(n) * s // edge for n, s in zip(one.shape, size, strict=True))
        odd = (rows[:, None] + columns[None, :]) % 2 == 1
        tinted = np.where(odd[..., None], other[..., None] * (0.75, 0.9, 1.0), one[..., None])
        show(ax, tinted, size, title)
    return png(figure)


def flicker(
    fixed: NDArray[Any], moving: NDArray[Any], spacing_mm: tuple[float, float, float], level: int
) -> bytes:
    """Show two registered bones by turns: what jumps differs, what stands still agrees.

    Parameters
    ----------
    fixed, moving, spacing_mm, level
        As in :func:`checkerboard`.

    Returns
    -------
    bytes
        PNG of two frames, which browsers play without end; others show the first.
    """
    frames = [_strip(planes, spacing_mm) for planes in _both(fixed, moving, level)]
    buffer = io.BytesIO()
    frames[0].save(
        buffer, format="png", save_all=True, append_images=frames[1:], duration=_FLICKER_MS, loop=0
    )
    return buffer.getvalue()


def _both(fixed: NDArray[Any], moving: NDArray[Any], level: int) -> tuple[Planes, Planes]:
    """Return the same planes of both, grey values from 0 to 1, each by its own brightest."""
    centre = bone_centre(fixed, level)
    out = []
    for volume in (fixed, moving):
        planes = middle_planes(volume, level, centre)
        top = max([float(image.max()) for _, image, _ in planes] + [1e-9])
        out.append([(title, np.clip(image / top, 0, 1), axes) for title, image, axes in planes])
    return out[0], out[1]


def _strip(planes: Planes, spacing_mm: tuple[float, float, float]) -> Image.Image:
    """Return planes side by side, all at one scale, the longest side filling the height."""
    scale = _HEIGHT / max(image.shape[0] * spacing_mm[down] for _, image, (down, _) in planes)
    pictures = []
    for _, image, (down, across) in planes:
        rows = round(image.shape[0] * spacing_mm[down] * scale)
        columns = round(image.shape[1] * spacing_mm[across] * scale)
        grey = Image.fromarray(np.rint(image * 255).astype(np.uint8))
        pictures.append(grey.resize((max(columns, 1), max(rows, 1)), Image.Resampling.BILINEAR))
    gap = 8
    strip = Image.new("L", (sum(p.width + gap for p in pictures) - gap, _HEIGHT))
    place = 0
    for picture in pictures:
        strip.paste(picture, (place, (_HEIGHT - picture.height) // 2))
        place += picture.width + gap
    return strip
