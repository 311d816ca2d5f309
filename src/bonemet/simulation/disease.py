"""Disease over the weeks: foci that eat the proximal tibia from within, woven bone, needle and fracture.

Everything is a field in the tibia's own frame that depends on the week alone, so a later scan is the
earlier one changed, never a new bone. Trabeculae go first; the cortex follows when the focus has grown
to it, from its inner surface outwards, until it is perforated. Osteoblastic and mixed disease fills
part of the marrow with woven bone and puts more of it on the outside. Some badly eaten tibiae break.

The scan of week 0 is taken before the injection. So week 0 carries no sign of disease and no needle
track; later weeks carry a track in every injected tibia, with tumour cells or without (sham), which
closes partly. The other leg never shows either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bonemet.core.errors import SettingsError
from bonemet.simulation.anatomy import SIDES, Animal, generator
from bonemet.simulation.packed import BREAK, FOCUS
from bonemet.simulation.shapes import Array, Point

FULL_WEEKS = 5.0
"""Weeks after which the drawn sizes are reached."""
TREATED = 0.4
"""Speed of a treated lesion over that of an untreated one."""
TREATED_FROM_WEEK = 1.0
LAST_WEEK = 12
KINDS = {"osteolytic": 0.6, "mixed": 0.25, "osteoblastic": 0.15}
"""Kinds of disease and how often each is drawn."""
FIRST_FRACTURE_WEEK = 3
_BAD_MM = 0.9
"""A tibia may break when its cortex is gone within this radius of a focus."""
_BREAKS = 0.35
"""Part of the badly eaten tibiae that break."""
_NEEDLE_MM = 0.2
"""Radius of a 27 gauge needle."""


@dataclass(frozen=True, eq=False)
class Fracture:
    """A break and what became of the piece above it.

    Attributes
    ----------
    level_mm, slopes
        Where the break crosses the long axis of the bone's frame, and its slopes along x and y.
    teeth_mm
        Height of its teeth (one standard deviation).
    proximal
        4 x 4, takes points of the proximal fragment from where they were to where they are, in the bone's
        frame, which stays with the distal one.
    """

    level_mm: float
    slopes: tuple[float, float]
    teeth_mm: float
    proximal: Array

    def table(self) -> Array:
        """Return the row (1, 16) of a packed shape."""
        back = np.linalg.inv(self.proximal)[:3].ravel()
        return np.array([[self.level_mm, *self.slopes, self.teeth_mm, *back]])


def check_week(week: int) -> int:
    """Return a week; refuse one that no study has."""
    if not 0 <= week <= LAST_WEEK:
        raise SettingsError(f"The week of a scan lies between 0 and {LAST_WEEK}, not at {week}.")
    return week


def is_diseased(animal: Animal, side: str, week: int) -> bool:
    """Tell whether a tibia carries signs of disease in a week."""
    return check_week(week) > 0 and animal.tumour_side == side


def kind_of(animal: Animal) -> str:
    """Return the kind of an animal's disease.

    Raises
    ------
    SettingsError
        If the animal's kind is none of those known.
    """
    if animal.kind is None:
        return str(generator(animal.seed, "kind").choice(list(KINDS), p=list(KINDS.values())))
    if animal.kind not in KINDS:
        raise SettingsError(f"The kind of disease is one of {', '.join(KINDS)}, not {animal.kind!r}.")
    return animal.kind


def _progress(animal: Animal, week: float) -> float:
    """Return how far disease has come after so many weeks, 1 when full grown; it ends at 1.6."""
    if animal.treated:
        week = min(week, TREATED_FROM_WEEK) + TREATED * max(week - TREATED_FROM_WEEK, 0.0)
    return min(max(week, 0.0) / FULL_WEEKS, 1.6)


def lesion(animal: Animal, side: str, week: int) -> Array:
    """Return the foci (foci, 5): centre (x, y, z), and the radii (mm) that have lost trabeculae and cortex.

    The first focus lies in the marrow below the growth plate; up to two more arise beside it, later.
    Osteoblastic disease has one small focus, mixed disease two.
    """
    if not is_diseased(animal, side, week):
        return np.zeros((0, FOCUS))
    count, size = {"osteolytic": (3, 1.0), "mixed": (2, 0.8), "osteoblastic": (1, 0.45)}[kind_of(animal)]
    rng = generator(animal.seed, "lesion")
    onset, spread = rng.uniform(0.0, 0.6), rng.uniform(0.55, 0.85)
    rows = []
    for i in range(count):
        centre = rng.uniform((-0.45, -0.6, 2.3 + 0.9 * i), (0.45, 0.35, 3.3 + 0.9 * i))
        final = (rng.uniform(1.45, 1.9) - 0.3 * i) * size * animal.severity
        start = onset + spread * i
        if animal.treated and i > 0:
            continue
        trabecular = final * _progress(animal, week - start) ** 0.7
        cortical = 0.9 * final * _progress(animal, week - start - 1.0) ** 0.7
        rows.append([*centre, trabecular, cortical])
    return np.array(rows)


def new_bone(animal: Animal, side: str, week: int) -> Array:
    """Return the periosteal new bone (6,) of a tibia; see :class:`bonemet.simulation.packed.Shape`.

    It lies on the front and the medial side, away from the fibula, up to 0.3 mm thick when full grown
    (0.4 mm in osteoblastic disease), so that the junction stays where it was.
    """
    rng = generator(animal.seed, "new bone")
    low, high, bare = {
        "osteolytic": (0.2, 0.3, -0.4),
        "mixed": (0.26, 0.36, -0.6),
        "osteoblastic": (0.3, 0.4, -0.9),
    }[kind_of(animal)]
    thickness, angle = rng.uniform(low, high) * animal.severity, rng.uniform(0.2, 0.8)
    last = rng.uniform(5.2, 7.0)
    if not is_diseased(animal, side, week):
        return np.zeros(6)
    now = min(1.0, _progress(animal, week) / 0.6)
    return np.array([min(thickness * now, 0.5), 2.4, last, angle, 1.0, bare])


def sclerosis(animal: Animal, side: str, week: int) -> Array:
    """Return the foci (foci, 5) of woven bone in the marrow: centre, radius (mm), part that it fills."""
    kind = kind_of(animal)
    if not is_diseased(animal, side, week) or kind == "osteolytic":
        return np.zeros((0, FOCUS))
    rng = generator(animal.seed, "sclerosis")
    rows = []
    for i in range(3 if kind == "osteoblastic" else 2):
        centre = rng.uniform((-0.4, -0.5, 2.0 + 1.1 * i), (0.4, 0.4, 2.9 + 1.1 * i))
        final = rng.uniform(0.8, 1.2) * animal.severity * (1.0 if kind == "osteoblastic" else 0.8)
        radius = final * _progress(animal, week - 0.6 * i) ** 0.6
        if radius > 0:
            rows.append([*centre, radius, rng.uniform(0.45, 0.75)])
    return np.array(rows).reshape(-1, FOCUS)


def needle_track(animal: Animal, side: str, week: int) -> Array:
    """Return the needle's track (0 or 1, 8) in an injected tibia, as packed shapes have it.

    The needle enters between the condyles and ends in the marrow, as in intratibial injections. The
    hole narrows by half within some weeks and is walled by woven bone that comes and goes.
    """
    if check_week(week) == 0 or side not in (animal.tumour_side, animal.sham_side):
        return np.zeros((0, 8))
    # the same draws whatever was injected, so that the track tells nothing
    rng = generator(animal.seed, "needle")
    start = rng.uniform((-0.25, 0.15, -0.6), (0.25, 0.5, -0.5))
    end = rng.uniform((-0.2, -0.1, 3.2), (0.3, 0.35, 4.4))
    hole = _NEEDLE_MM * rng.uniform(0.9, 1.15) * (0.45 + 0.55 * np.exp(-week / 2.5))
    callus = 0.07 * min(week, 2.0) / 2.0 * np.exp(-max(week - 2.0, 0.0) / 4.0)
    return np.array([[*start, *end, hole, callus]])


def fracture(animal: Animal, side: str, week: int) -> Fracture | None:
    """Return the pathological fracture of a tibia, or None.

    From week 3 on, once the cortex is gone about the first focus; a third of these tibiae break, or
    all or none, as the animal says. The fibula breaks along.
    """
    if animal.fractured is False or not is_diseased(animal, side, week):
        return None
    rng = generator(animal.seed, "fracture")
    luck, onset = rng.uniform(), FIRST_FRACTURE_WEEK + int(rng.integers(3))
    if animal.fractured is None and (luck > _BREAKS or week < onset):
        return None
    foci = lesion(animal, side, week)
    if week < FIRST_FRACTURE_WEEK or (animal.fractured is None and foci[0, 4] < _BAD_MM):
        return None
    level = float(np.clip(foci[0, 2] + rng.uniform(-0.2, 0.5), 2.9, 4.4))
    slopes = (float(rng.uniform(-0.3, 0.3)), float(rng.uniform(-0.4, 0.4)))
    angles = rng.uniform((-9.0, -4.0, -8.0), (9.0, 4.0, 8.0))
    shift = rng.uniform((-0.25, -0.25, -0.05), (0.25, 0.25, 0.15))
    return Fracture(level, slopes, 0.1, rigid_about((0.0, 0.0, level), angles, shift))


def broken_fibula(animal: Animal, side: str, junction_mm: float, fusion_mm: float, at: Array) -> Array:
    """Return the break (0 or 1, 16) of a fibula's shaft.

    Parameters
    ----------
    animal, side
        Whose.
    junction_mm, fusion_mm
        Levels between which the fibula stands clear of the tibia.
    at
        (x, y) of the fibula where it leaves the tibia; its upper part turns about that place.
    """
    if animal.fibula_broken not in (None, *SIDES):
        raise SettingsError(f"The broken fibula is left, right or None, not {animal.fibula_broken!r}.")
    if animal.fibula_broken != side:
        return np.zeros((0, BREAK))
    rng = generator(animal.seed, "fibula")
    level = junction_mm + rng.uniform(0.35, 0.65) * (fusion_mm - junction_mm)
    tilt = rng.choice((-1.0, 1.0), size=2) * rng.uniform((4.5, 4.5), (8.0, 8.0))
    # the free end leans backwards or outwards, away from the tibia
    proximal = rigid_about((*at, junction_mm), (abs(tilt[0]), -abs(tilt[1]), 0.0), (0.0, 0.0, 0.0))
    slopes = rng.uniform(-0.6, 0.6, size=2)
    return Fracture(float(level), (float(slopes[0]), float(slopes[1])), 0.05, proximal).table()


def rigid_about(point: Point, angles_deg: Point, shift_mm: Point) -> Array:
    """Return the 4 x 4 of turns about x, y and z (in this order) through a point, then a shift."""
    out = np.eye(4)
    for axis, angle in enumerate(np.radians(angles_deg)):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(4)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i], turn[i, j] = np.sin(angle), -np.sin(angle)
        out = turn @ out
    out[:3, 3] = np.asarray(point) + np.asarray(shift_mm) - out[:3, :3] @ np.asarray(point)
    return out
