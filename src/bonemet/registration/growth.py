"""How far the ends of a bone have grown away, beyond their growth plates.

The pose of the part that was registered is carried along the bone. Each end beyond the growth plates is then
registered by itself, beginning from that pose, or from the fragment's where the end has broken off. An end
that fits better some way along the axis has grown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bonemet.registration import rigid
from bonemet.registration.broken import Fragment
from bonemet.registration.levels import Level
from bonemet.registration.part import Share
from bonemet.registration.pieces import FITS, PLATES, POINTS, Pair, shift
from bonemet.registration.rigid import Points

_ENDS: Final[dict[str, Share]] = {"proximal": (0.0, PLATES[0]), "distal": (PLATES[1], 1.0)}
_GROWTH_MM: Final = (-0.4, 2.0)  # where a grown end is looked for, outwards
_SHRUNK_MM: Final = 0.03  # no bone grows shorter: an end further in than this is another end
_SEEN: Final = 0.8  # least share of an end that the other image shows
_SHARP: Final = 0.03  # an end's agreement falls by so much a coarse voxel along the axis, or it may slide


@dataclass(frozen=True)
class Growth:
    """How far the ends of the bone lie further out than they did, in mm along its long axis.

    Attributes
    ----------
    proximal_mm, distal_mm
        At the knee and at the ankle, None where it could not be found.
    reasons
        Why not, one sentence each.
    """

    proximal_mm: float | None
    distal_mm: float | None
    reasons: tuple[str, ...] = ()

    def standing(self, least_mm: float) -> tuple[bool, bool]:
        """Tell which ends (knee, ankle) are known to have grown less than this; none becomes shorter."""
        ends = (self.proximal_mm, self.distal_mm)
        first, last = (end is not None and -_SHRUNK_MM < end < least_mm for end in ends)
        return first, last

    @property
    def total_mm(self) -> float | None:
        """By how much the bone has become longer."""
        if self.proximal_mm is None or self.distal_mm is None:
            return None
        return self.proximal_mm + self.distal_mm


def growth_of(pair: Pair, fragments: Sequence[Fragment], usual: float, rng: np.random.Generator) -> Growth:
    """Return how far the ends of a bone have grown.

    Parameters
    ----------
    pair
        The registered bone.
    fragments
        Pieces that have broken off.
    usual
        Agreement of the bone's best pieces.
    rng
        Chooses points.
    """
    poses = {name: pair.pose.matrix for name in _ENDS}
    for fragment in fragments:
        poses["proximal" if fragment.first == 0 else "distal"] = fragment.piece.transform.matrix
    ends = {name: _end(pair, name, poses[name], usual, rng) for name in _ENDS}
    reasons = tuple(reason for _, reason in ends.values() if reason)
    return Growth(ends["proximal"][0], ends["distal"][0], reasons)


def _end(
    pair: Pair, name: str, pose: NDArray[np.float64], usual: float, rng: np.random.Generator
) -> tuple[float | None, str]:
    """Return how far one end moved outwards since a pose, or why that is not known."""
    level_f, level_m = pair.levels()
    points = pair.points(_ENDS[name], level_f, rng)
    unknown = f"Growth at the {name} end is not known: "
    if len(points.mm) < POINTS // 10 or _cut_off(level_f, points):
        return None, unknown + "the earlier scan does not show it whole."
    outwards = pair.bone.along * (-1.0 if name == "proximal" else 1.0)
    shifts = np.arange(*_GROWTH_MM, 0.75 * level_f.spacing)
    tried = [pair.judge(points, level_m, pose @ shift(outwards * s)) for s in shifts]
    agreement = np.array([fit.agreement for fit in tried])
    best = int(np.argmax(agreement))
    beside = agreement[[max(best - 2, 0), min(best + 2, len(shifts) - 1)]].max()
    fit = rigid.refine(points, level_m, tried[best].matrix, iterations=15, tolerance=0.01)
    if level_m.sample(points.mm, fit.matrix)[1].mean() < _SEEN:
        return None, unknown + "the later scan does not show it whole."
    if fit.agreement < FITS * usual or agreement[best] - beside < _SHARP:
        return None, unknown + "it has changed too much."
    finer_f, finer_m = pair.levels(finer=2)
    fine = pair.points(_ENDS[name], finer_f, rng)
    fit = rigid.refine(fine, finer_m, fit.matrix, iterations=15)
    return float(pair.moved(fit.matrix, fine, pose).mean(0) @ outwards), ""


def _cut_off(level: Level, points: Points) -> bool:
    """Tell whether an end reaches a face of the image."""
    index = level.grid.mm_to_index(points.mm)
    last = np.asarray(level.grid.shape) - 1
    return bool(((index < 1.5).any(1) | (index > last - 1.5).any(1)).mean() > 0.02)
