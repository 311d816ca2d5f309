"""A stated part of a bone, between two shares of its length from the knee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import SettingsError
from bonemet.registration.pose import principal_axis

Share = tuple[float, float]
AUTO: Final = "auto"  # CORE, and those ends that have not grown away from it
WHOLE: Final[Share] = (0.0, 1.0)
NAMED: Final[dict[str, Share]] = {
    "whole": WHOLE,
    "shaft": (0.12, 0.88),  # between the growth plates, which lie at about 8 % and 92 % in a young adult
    "metaphysis": (0.12, 0.35),
    "diaphysis": (0.35, 0.75),
}
CORE: Final[Share] = (
    0.25,
    0.88,
)  # without the flare below the knee, which growth trims
_END: Final = 0.12


@dataclass(frozen=True, eq=False)
class Part:
    """What lies between two planes across a bone.

    Attributes
    ----------
    centre
        Point on the axis in mm.
    along
        Unit vector along the axis, away from the knee.
    low, high
        Where the planes cross the axis, in mm from the centre.
    """

    centre: NDArray[np.float64]
    along: NDArray[np.float64]
    low: float
    high: float

    def heights(self, points_mm: NDArray[Any]) -> NDArray[np.float64]:
        """Return where points (n, 3) lie along the axis: 0 at the first plane, 1 at the second."""
        return np.asarray(((points_mm - self.centre) @ self.along - self.low) / (self.high - self.low))

    def holds(self, points_mm: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which of the points (n, 3) lie in the part."""
        place = self.heights(points_mm)
        return np.asarray((place >= 0) & (place <= 1))

    def between(self, share: Share) -> Part:
        """Return what lies between two shares of this part."""
        length = self.high - self.low
        return Part(self.centre, self.along, self.low + share[0] * length, self.low + share[1] * length)

    def seen_through(self, matrix: NDArray[np.float64]) -> Part:
        """Return this part where a 4 x 4 matrix takes it."""
        along = matrix[:3, :3] @ self.along
        scale = float(np.linalg.norm(along))
        centre = matrix[:3, :3] @ self.centre + matrix[:3, 3]
        return Part(centre, along / scale, self.low * scale, self.high * scale)

    @property
    def length(self) -> float:
        """Distance between the planes in mm."""
        return self.high - self.low


def share_of(part: str | Share) -> Share:
    """Return the shares of the length that a part's name means, or those given; of the whole for ``auto``.

    Raises
    ------
    SettingsError
        If the name is not known, or the shares (``0.1:0.6`` where a text) do not rise within 0 to 1.
    """
    if isinstance(part, str) and part in (AUTO, *NAMED):
        return NAMED.get(part, WHOLE)
    try:
        low, high = (float(v) for v in (part.split(":") if isinstance(part, str) else part))
    except ValueError:
        known = ", ".join([AUTO, *NAMED])
        raise SettingsError(
            f"The part of a bone is one of {known}, or two shares as 0.1:0.6, not {part!r}."
        ) from None
    if not 0 <= low < high <= 1:
        raise SettingsError(f"A part lies between two rising shares of the length, 0 to 1, not {part}.")
    return low, high


def whole(bone_mm: NDArray[np.float64]) -> Part:
    """Return the whole of a long bone that fills points (n, 3); the knee is its wider end."""
    axis = principal_axis(bone_mm)
    local = (bone_mm - axis.centre) @ axis.frame
    low, high = float(local[:, 2].min()), float(local[:, 2].max())
    place = (local[:, 2] - low) / (high - low)
    first, last = (float(local[end, :2].var(0).sum()) for end in (place < _END, place > 1 - _END))
    if first >= last:
        return Part(axis.centre, axis.frame[:, 2], low, high)
    return Part(axis.centre, -axis.frame[:, 2], -high, -low)
