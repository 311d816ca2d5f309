"""One slice at several offsets of the axis, side by side, as users of NRecon find the right one by eye."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bonemet.core.context import Context
from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.recon import fdk
from bonemet.recon.filtering import Recipe
from bonemet.recon.projections import Projections

STEPS = (-4, -2, -1, 0, 1, 2, 4)  # pixels from the axis that is used
WIDTH = 384  # of one picture, at most
TITLE = 16  # rows above each for its offset


def write(
    path: Path,
    rays: Projections,
    read: fdk.ReadRows,
    geometry: ConeGeometry,
    full: Grid,
    recipe: Recipe,
    context: Context,
) -> None:
    """Write the strip as PNG: the slice at the plane of the source, its middle at full size.

    Parameters
    ----------
    path
        The file.
    rays
        Told which rows are needed.
    read
        Gives the line integrals.
    geometry
        Of the scan, with the axis that is used.
    full
        The whole grid.
    recipe
        How projections are filtered.
    context
        Threads and progress.
    """
    middle = round((geometry.optical_axis_row * geometry.pixel_mm - full.origin_mm[2]) / full.spacing_mm[0])
    z = min(max(middle, 0), full.shape[0] - 1)
    y, x = (max(0, (n - WIDTH) // 2) for n in full.shape[1:])
    grid = full.crop((0, y, x), (full.shape[0], full.shape[1] - y, full.shape[2] - x))
    images = []
    with context.progress("axis preview", len(STEPS)) as tick:
        for step in STEPS:
            moved = replace(geometry, axis_offset_px=geometry.axis_offset_px + step)
            rays.prepare(*fdk.rows_to_read(moved, grid, z, z + 1))
            images.append(
                fdk.reconstruct(read, moved, grid, (z, z + 1), recipe=recipe, mapper=context.map)[0]
            )
            tick(1)
    top = float(np.percentile(images[len(STEPS) // 2], 99.8))
    titles = [f"{geometry.axis_offset_px + step:+.2f} px" for step in STEPS]
    _strip(images, titles, top).save(path, "PNG")


def _strip(images: list[NDArray[np.float32]], titles: list[str], top: float) -> Image.Image:
    height, width = images[0].shape
    strip = Image.new("L", ((width + 2) * len(images), height + TITLE))
    draw = ImageDraw.Draw(strip)
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        grey = np.clip(image * (255 / max(top, 1e-9)), 0, 255).astype(np.uint8)
        strip.paste(Image.fromarray(grey), (place * (width + 2), TITLE))
        draw.text((place * (width + 2) + 2, 2), title, fill=255)
    return strip
