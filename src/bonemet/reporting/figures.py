"""Figures of the report: arrays in, PNG bytes out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from bonemet.reporting.view3d import LOST, NEW

LABEL_COLOURS = {
    1: "#b8b8b8",
    2: "#e69f00",
    3: "#56b4e9",
    4: "#d55e00",
    5: "#0072b2",
    6: "#666666",
    7: "#cc79a7",
}
LABEL_NAMES = {
    1: "spine, tail, pelvis",
    2: "left femur",
    3: "left tibia, fibula",
    4: "right femur",
    5: "right tibia, fibula",
    6: "holder",
    7: "other bones",
}
COMPOSITE_NAMES = {180: "kept", 240: "formed", 60: "resorbed"}


def png(figure: Figure) -> bytes:
    """Return a figure as PNG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None}, facecolor="white")
    return buffer.getvalue()


def panels(widths: Sequence[float], height: float) -> tuple[Figure, Any]:
    """Return a figure of panels side by side."""
    figure = Figure(figsize=(10, height), layout="constrained")
    return figure, figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]


def show(axes: Any, image: NDArray[Any], spacing: tuple[float, float], title: str, **how: Any) -> None:
    """Show an image with millimetres along its sides; ``spacing`` is (down, across)."""
    rows, columns = image.shape[:2]
    extent = (0, columns * spacing[1], rows * spacing[0], 0)
    axes.imshow(image, extent=extent, interpolation="nearest", **how)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("mm", fontsize=8)
    axes.tick_params(labelsize=7)


def _contours(axes: Any, labels: NDArray[Any], spacing: tuple[float, float]) -> None:
    rows, columns = labels.shape
    x = (np.arange(columns) + 0.5) * spacing[1]
    y = (np.arange(rows) + 0.5) * spacing[0]
    for value, colour in LABEL_COLOURS.items():
        inside = labels == value
        if inside.any() and not inside.all():
            axes.contour(x, y, inside.astype(np.float32), levels=[0.5], colors=[colour], linewidths=0.9)


def scan_overview(
    front: NDArray[Any],
    front_labels: NDArray[Any],
    slices: Sequence[tuple[str, NDArray[Any], NDArray[Any]]],
    spacing_mm: tuple[float, float, float],
    front_spacing: tuple[float, float],
) -> bytes:
    """Show a scan from the front with its bones, beside some of its slices with contours.

    Parameters
    ----------
    front, front_labels
        (z, x) maximum projections of grey values and labels.
    slices
        Title, grey slice (y, x) and its labels (y, x).
    spacing_mm
        Of the slices' volume (z, y, x).
    front_spacing
        Of the projection (z, x).
    """
    figure, axes = panels([1.0] * (1 + len(slices)), 4.2)
    show(axes[0], front, front_spacing, "from the front", cmap="gray")
    _contours(axes[0], front_labels, front_spacing)
    for ax, (title, grey, labels) in zip(axes[1:], slices, strict=True):
        show(ax, grey, spacing_mm[1:], title, cmap="gray")
        _contours(ax, labels, spacing_mm[1:])
    present = [v for v in LABEL_COLOURS if (front_labels == v).any()]
    patches = [Patch(color=LABEL_COLOURS[v], label=LABEL_NAMES[v]) for v in present]
    if patches:
        figure.legend(handles=patches, loc="outside lower center", ncols=7, fontsize=7, frameon=False)
    return png(figure)


def middle_planes(
    volume: NDArray[Any], level: int, centre: tuple[int, int] | None = None
) -> list[tuple[str, NDArray[Any], tuple[int, int]]]:
    """Return the coronal, sagittal and axial planes through the bone: title, image, axes (down, across).

    The planes pass through ``centre`` (y, x), or the centre of what is not zero at ``level``.
    """
    y, x = centre or bone_centre(volume, level)
    return [
        ("coronal", volume[:, y, :], (0, 2)),
        ("sagittal", volume[:, :, x], (0, 1)),
        (f"axial, slice {level}", volume[level], (1, 2)),
    ]


def bone_centre(volume: NDArray[Any], level: int) -> tuple[int, int]:
    """Return the centre (y, x) of what is not zero in a slice, or of the whole where it is empty."""
    at = volume[level] > 0
    if not at.any():
        at = (volume > 0).any(axis=0)
    if not at.any():
        return volume.shape[1] // 2, volume.shape[2] // 2
    y, x = (round(float(i.mean())) for i in np.nonzero(at))
    return y, x


def composite_planes(
    volume: NDArray[np.uint8],
    spacing_mm: tuple[float, float, float],
    region: tuple[int, int],
    junction: int | None,
) -> bytes:
    """Show a composite in its four greys, with the region of interest and the junction marked."""
    middle = (region[0] + region[1]) // 2
    figure, axes = panels([1, 1, 1.4], 4.6)
    for ax, (title, image, (down, across)) in zip(axes, middle_planes(volume, middle), strict=True):
        spacing = (spacing_mm[down], spacing_mm[across])
        show(ax, image, spacing, title, cmap="gray", vmin=0, vmax=255)
        if down == 0:
            for edge in region:
                ax.axhline((edge + 0.5) * spacing[0], color="#56b4e9", linewidth=0.8)
            if junction is not None:
                ax.axhline((junction + 0.5) * spacing[0], color="#e69f00", linewidth=0.8, linestyle="--")
    patches = [
        Patch(facecolor=str(v / 255), edgecolor="black", label=f"{name} ({v})")
        for v, name in COMPOSITE_NAMES.items()
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return png(figure)


def alignment_planes(
    fixed: NDArray[Any], moving: NDArray[Any], spacing_mm: tuple[float, float, float], level: int
) -> bytes:
    """Show two registered bones over each other: both grey, the first alone red, the second alone cyan."""
    top = float(max(fixed.max(), moving.max(), 1))
    figure, axes = panels([1, 1, 1.4], 4.2)
    centre = bone_centre(fixed, level)
    both = zip(middle_planes(fixed, level, centre), middle_planes(moving, level, centre), strict=True)
    for ax, ((title, image, (down, across)), (_, other, _)) in zip(axes, both, strict=True):
        red, cyan = image / top, other / top
        show(ax, np.dstack([red, cyan, cyan]), (spacing_mm[down], spacing_mm[across]), title)
    return png(figure)


def lost_from_four_sides(
    volume: NDArray[np.uint8], spacing_mm: tuple[float, float, float], region: tuple[int, int]
) -> bytes:
    """Show the near half of a composite from four sides: lost bone red and formed bone blue on a relief.

    Every side is as an eye sees it: seen from the low y or the high x side, columns run to the left. Colour
    grows with the depth of changed bone along the line of sight, full at 0.3 mm.
    """
    figure, axes = panels([1, 1, 1, 1], 4.4)
    middle = bone_centre(volume, (region[0] + region[1]) // 2)
    for ax, (title, axis, flipped, turned) in zip(axes, _SIDES, strict=True):
        place = middle[axis - 1]
        half = volume.take(range(place, volume.shape[axis]) if flipped else range(place + 1), axis=axis)
        near = np.flip(half, axis) if flipped else half
        image = _relief(near, axis, spacing_mm)
        for code, colour in ((60, LOST), (240, NEW)):
            depth = (near == code).sum(axis=axis) * spacing_mm[axis]
            share = np.clip(depth / _FULL_MM, 0, 1)[..., None]
            image = image * (1 - share) + np.asarray(colour) * share
        across = spacing_mm[3 - axis]
        show(ax, image, (spacing_mm[0], across), title)
        if turned:
            ax.invert_xaxis()
        for edge in region:
            ax.axhline((edge + 0.5) * spacing_mm[0], color="#56b4e9", linewidth=0.8)
    patches = [Patch(color=LOST, label="lost"), Patch(color=NEW, label="formed")]
    figure.legend(handles=patches, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return png(figure)


_SIDES = (  # name, axis looked along, from its far end, whether columns run to the left
    ("low y side", 1, False, True),
    ("high y side", 1, True, False),
    ("low x side", 2, False, False),
    ("high x side", 2, True, True),
)
_FULL_MM = 0.3


def _relief(
    near: NDArray[np.uint8], axis: int, spacing_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Return the bone seen along an axis as grey relief (z, across, 3), lit from above, white around it."""
    bone = near > 0
    hit = bone.any(axis=axis)
    depth = np.where(hit, bone.argmax(axis=axis) * spacing_mm[axis], np.nan)
    filled = np.where(hit, depth, np.nanmax(depth) if hit.any() else 0.0)
    down, across = np.gradient(filled, spacing_mm[0], spacing_mm[3 - axis])
    light = (1.0 - 0.5 * down + 0.3 * across) / np.sqrt(1 + down**2 + across**2)
    grey = np.where(hit, 0.35 + 0.5 * np.clip(light, 0, 1.2) / 1.2, 1.0)
    return np.repeat(grey[..., None], 3, axis=2)


def junction_evidence(counts: Sequence[float], junction: int | None, region: tuple[int, int]) -> bytes:
    """Show the number of closed bone contours in each slice, with the junction and the region."""
    figure, (ax,) = panels([1], 1.9)
    ax.step(range(len(counts)), counts, where="mid", color="black", linewidth=0.8)
    ax.axvspan(region[0], region[1], color="#56b4e9", alpha=0.25, label="region of interest")
    if junction is not None:
        ax.axvline(junction, color="#e69f00", linestyle="--", label=f"junction, slice {junction}")
    ax.set_xlabel("slice", fontsize=8)
    ax.set_ylabel("contours", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.legend(fontsize=7, frameon=False)
    return png(figure)
