"""From camera counts to line integrals of attenuation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.errors import InputError
from bonemet.kernels.jit import kernel

BORDER = 0.02  # share of the columns, at each side, that are looked at for air
BLOCK = 8  # rows averaged before the brightest are taken, so that noise does not pass for brightness
DEFECT = 5  # pixels; in a square of this side a defect of the camera fills less than half
TOLERANCE = 0.02  # by how much white and air may differ before it is said


@dataclass(frozen=True)
class White:
    """The open beam.

    Attributes
    ----------
    value
        Intensity of the open beam.
    source
        ``log``, ``air`` or ``flats``: where it was taken from.
    air
        Intensity of the brightest parts of the images' borders, as measured.
    notes
        What a person should know.
    """

    value: float
    source: str
    air: float
    notes: tuple[str, ...] = ()


def air_level(images: Iterable[NDArray[Any]]) -> float:
    """Return the intensity of air: the brightest parts of the left and right borders of some views.

    Per view, blocks of rows of both borders are averaged and their 90th percentile taken; the median of
    all views stands.
    """
    levels = []
    for image in images:
        rows, columns = image.shape
        width = max(2, round(BORDER * columns))
        sides = (image[:, :width], image[:, -width:])
        means = [
            float(side[r : r + BLOCK].mean(dtype=np.float64)) for side in sides for r in range(0, rows, BLOCK)
        ]
        levels.append(float(np.percentile(means, 90)))
    return float(np.median(levels))


def find_white(images: Iterable[NDArray[Any]], logged: float | None, source: str = "log") -> White:
    """Return the open beam, checked against the air beside the object.

    Parameters
    ----------
    images
        Some views (rows, columns), spread over the scan.
    logged
        The reference intensity that the log gives, where it does; it stands, and air is the check.
    source
        Where ``logged`` comes from.

    Raises
    ------
    InputError
        If the images are black.
    """
    air = air_level(images)
    if air <= 0:
        raise InputError("The projections are black at their borders; check the images of this scan.")
    if logged is None:
        return White(
            air, "air", air, ("The open beam's intensity was taken from air at the images' borders.",)
        )
    notes: tuple[str, ...] = ()
    if abs(air / logged - 1) > TOLERANCE:
        notes = (
            f"The open beam should read {logged:g}, but the brightest parts of the images' borders read "
            f"{air:.6g}: the object reaches both borders, or the reference is wrong.",
        )
    return White(logged, source, air, notes)


def stuck_pixels(images: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    """Return the pixels (rows, columns) that read full in every view, alone or in thin lines.

    A broad area that is full in every view is beam that was exposed too long, and no defect of the camera.

    Parameters
    ----------
    images
        Some views (rows, columns) of unsigned counts, spread over the scan.
    """
    full = np.logical_and.reduce([image == np.iinfo(image.dtype).max for image in images])
    share = ndimage.uniform_filter(full.astype(np.float32), DEFECT, mode="nearest")
    return np.asarray(full & (share < 0.5))


def line_integrals(
    projections: NDArray[Any],
    white: float | NDArray[np.float32],
    dark: NDArray[np.float32] | None = None,
    stuck: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return -log of the transmission: attenuation times path, without unit.

    A dead pixel (no counts above dark, no open beam, or known to be stuck) takes the value between its
    nearest live neighbours in its row. A row without any live pixel becomes 0. Values below 0, which noise
    makes in air, stay, so that means stay right.

    Parameters
    ----------
    projections
        (views, rows, columns) or (rows, columns) counts.
    white
        Open beam: one intensity, or an image (rows, columns).
    dark
        Image (rows, columns) without beam, where it is still in the counts.
    stuck
        Pixels (rows, columns) whose counts mean nothing, see :func:`stuck_pixels`.
    """
    counts = np.asarray(projections)
    images = counts.reshape(-1, *counts.shape[-2:])
    beam = np.broadcast_to(np.asarray(white, np.float32), images.shape[1:])
    base = np.broadcast_to(np.float32(0) if dark is None else np.asarray(dark, np.float32), beam.shape)
    skip = np.zeros(beam.shape, np.bool_) if stuck is None else np.ascontiguousarray(stuck)
    out = np.empty(images.shape, np.float32)
    for image, rays in zip(images, out, strict=True):
        _negative_log(image, beam, base, skip, rays)
    return out.reshape(counts.shape)


@kernel
def _negative_log(counts: Any, white: Any, dark: Any, stuck: Any, out: Any) -> None:
    rows, columns = counts.shape
    for j in range(rows):
        last = -1  # the last live column
        for i in range(columns):
            signal = np.float32(counts[j, i]) - dark[j, i]
            beam = white[j, i] - dark[j, i]
            if stuck[j, i] or not (signal > 0 and beam > 0):
                continue
            out[j, i] = np.log(beam) - np.log(signal)
            for gap in range(last + 1, i):
                t = np.float32(gap - last) / np.float32(i - last)
                out[j, gap] = out[j, i] if last < 0 else out[j, last] + t * (out[j, i] - out[j, last])
            last = i
        for gap in range(last + 1, columns):
            out[j, gap] = np.float32(0) if last < 0 else out[j, last]


def dead_share(projections: NDArray[Any]) -> float:
    """Return the share of pixels that hold no counts."""
    counts = np.asarray(projections)
    return float(np.count_nonzero(counts <= 0)) / counts.size
