"""How good a scan is, judged from its own data: numbers, and a grade for each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.scan import ConeGeometry

GRADES = ("good", "fair", "poor")
# From which value on a scan is fair, and from which poor; those of signal to noise, below which.
LIMITS: Mapping[str, tuple[float, float]] = {
    "motion_px": (0.4, 1.5),
    "saturated_share": (1e-3, 1e-2),
    "truncated_share": (0.02, 0.25),
    "signal_to_noise": (8.0, 4.0),
    "ring_share": (0.03, 0.10),
    "view_spacing_px": (6.0, 12.0),
}
WORDS = {
    "motion_px": "the object moved by about {value:.1f} pixels during the scan",
    "saturated_share": "{value:.1%} of the pixels are saturated",
    "truncated_share": "the object reaches beyond the field in {value:.0%} of the views",
    "signal_to_noise": "bone stands only {value:.1f} times above the noise",
    "ring_share": "rings are {value:.0%} as strong as bone",
    "view_spacing_px": "views lie {value:.1f} pixels apart at the outermost bone, which aliases fine detail",
}
EDGE = 0.02  # share of the columns at each side at which the object should have ended
REACHES = 0.05  # share of the largest line integral at the edge from which a view is cut off


@dataclass(frozen=True)
class Quality:
    """Numbers about a scan, and what they are worth.

    Attributes
    ----------
    values
        By name, see ``LIMITS``; None where something could not be told.
    grades
        ``good``, ``fair`` or ``poor`` for each value that is known.
    notes
        One clause for each that is not good.
    """

    values: Mapping[str, float | None]
    grades: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def grade(self) -> str:
        """The worst of the grades."""
        return max(self.grades.values(), key=GRADES.index, default="good")

    def as_dict(self) -> dict[str, object]:
        """Return the JSON object that stands in the sidecar."""
        rounded = {k: None if v is None else float(f"{v:.4g}") for k, v in self.values.items()}
        return {"grade": self.grade, **rounded, "grades": dict(self.grades), "notes": list(self.notes)}


def judge(values: Mapping[str, float | None]) -> Quality:
    """Return the grades of some values by ``LIMITS``; other values are kept without a grade."""
    grades, notes = {}, []
    for name, (fair, poor) in LIMITS.items():
        value = values.get(name)
        if value is None:
            continue
        sign = 1 if poor > fair else -1
        level = int(sign * value >= sign * fair) + int(sign * value >= sign * poor)
        grades[name] = GRADES[level]
        if level:
            notes.append(f"{GRADES[level]}: {WORDS[name].format(value=value)}")
    return Quality(values, grades, tuple(notes))


def truncated_share(rays: NDArray[np.float32]) -> float:
    """Return the share of the views (views, rows, columns) whose rays do not end in air at both sides."""
    width = max(2, round(EDGE * rays.shape[2]))
    largest = float(np.percentile(rays.max(axis=(1, 2)), 50))
    ends = np.stack([part.mean(axis=2).max(axis=1) for part in (rays[..., :width], rays[..., -width:])])
    return float(np.mean(ends.max(axis=0) > REACHES * largest)) if largest > 0 else 0.0


def of_slices(
    slab: NDArray[np.float32], geometry: ConeGeometry, spacing_mm: float
) -> dict[str, float | None]:
    """Return what some slices in the middle of a scan tell: noise, signal, rings, view spacing.

    Parameters
    ----------
    slab
        (z, y, x) attenuation of a few neighbouring slices of a default grid, the axis in the middle.
    geometry
        The scan's, with its axis.
    spacing_mm
        Of the slab's voxels.

    Returns
    -------
    dict
        ``noise_per_mm``: standard deviation, from second differences along z. ``bone_per_mm``: median of what
        lies above Otsu's threshold, taken a second time above itself, so that bone is told from flesh.
        ``signal_to_noise``: their ratio. ``ring_share``: standard deviation, along the radius, of what is the
        same all the way round, over bone. ``view_spacing_px``: how far apart neighbouring views pass at the
        outermost bone, in pixels; detail finer than that is aliased there (as in Crowther, DeRosier and Klug
        1970, doi:10.1098/rspa.1970.0119).
    """
    inner = slab[:, slab.any(axis=0)]
    if inner.size == 0 or len(slab) < 3:
        return dict.fromkeys(
            ("noise_per_mm", "bone_per_mm", "signal_to_noise", "ring_share", "view_spacing_px")
        )
    noise = 1.4826 * float(np.median(np.abs(np.diff(inner, n=2, axis=0)))) / math.sqrt(6)
    threshold = _otsu(inner[inner > _otsu(inner)])  # soft tissue from air, then bone from soft tissue
    bone = float(np.median(inner[inner > threshold])) if (inner > threshold).any() else 0.0
    radius_px = _radius_px(slab, spacing_mm, geometry)
    at = (slab > threshold) & (radius_px <= radius_px[slab.any(axis=0)].max())
    outermost = float(np.percentile(np.broadcast_to(radius_px, slab.shape)[at], 99)) if at.any() else 0.0
    return {
        "noise_per_mm": noise,
        "bone_per_mm": bone,
        "signal_to_noise": bone / noise if noise > 0 else None,
        "ring_share": _rings(slab, radius_px) / bone if bone > 0 else None,
        "view_spacing_px": outermost * math.radians(abs(geometry.step_deg)),
    }


def _otsu(values: NDArray[np.float32]) -> float:
    """Return Otsu's threshold (doi:10.1109/TSMC.1979.4310076) of 512 classes."""
    low, high = np.percentile(values, (0.1, 99.9))
    counts, edges = np.histogram(values, 512, (low, max(high, low + 1e-9)))
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(middle[int(np.nanargmax(between))])


def _radius_px(slab: NDArray[np.float32], spacing_mm: float, geometry: ConeGeometry) -> NDArray[np.float64]:
    """Return the distance (y, x) from the axis in pixels of the detector."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in slab.shape[1:])
    return np.asarray(np.hypot(y[:, None], x) * spacing_mm / geometry.pixel_mm)


def _rings(slab: NDArray[np.float32], radius_px: NDArray[np.float64]) -> float:
    """Return the standard deviation over the radius of the median all the way round, detail only."""
    seen = slab.any(axis=0)
    place = radius_px[seen].astype(int)
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.arange(place.max() + 2))
    image = slab[:, seen].mean(axis=0)
    image = image - ndimage.gaussian_filter(slab.mean(axis=0), 2.0)[seen]
    sorted_values = image[order]
    medians = [float(np.median(sorted_values[a:b])) for a, b in pairwise(ends) if b - a > 60]
    return float(np.std(medians)) if len(medians) > 3 else 0.0
