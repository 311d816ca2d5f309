"""A study's animals: arms, batches and everything that a laboratory would know of them.

Animals are dealt to the arms in turn, and arms to batches alike, so that every arm has the same ages,
sides and kinds of disease to within chance. What may still confound is drawn and recorded: age, batch,
day, body weight (which falls with the disease), the tumour's light, and a drift of the mineral density
from batch to batch, as from a scanner's calibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bonemet.core.errors import SettingsError
from bonemet.simulation.anatomy import SIDES, Animal, animal, generator
from bonemet.simulation.change import healthy_twin, lost_share, proximal_third
from bonemet.simulation.disease import fracture, lesion

ARMS = ("tumour", "sham", "treated", "untouched")
"""Tumour cells; vehicle alone; tumour cells and treatment from week 1 on; no injection."""
FIRST_NAME = 871
BATCH = 8
"""Animals that are inoculated on one day, two of each arm."""
BATCH_WEEKS = 4
"""Weeks between the inoculations of two batches."""
DOSE_UL_PER_G = 10.0
_KINDS = ("osteolytic", "mixed", "osteolytic", "osteoblastic")
_AGES = (10, 14)
_DRIFT = 0.012
_MOST_SEVERE = 2.5
_SEEN_MM = 0.4
"""Foci as large as this are seen on a radiograph."""


@dataclass(frozen=True, eq=False)
class Member:
    """One animal of a study.

    Attributes
    ----------
    animal
        The animal; the drift of its batch is in its densities.
    arm
        One of :data:`ARMS`.
    batch
        Number of its batch, from 0 up.
    density_drift
        Factor on all mineral densities of the batch.
    weight_g
        Body weight in week 0.
    """

    animal: Animal
    arm: str
    batch: int
    density_drift: float
    weight_g: float


def member(
    index: int,
    seed: int,
    *,
    arms: Sequence[str] = ARMS,
    strain: str = "BALB/c",
    sex: str = "female",
) -> Member:
    """Return one animal of a study.

    Parameters
    ----------
    index
        Its place in the study, from 0 up; it is named 871 + index.
    seed
        Of the study.
    arms
        The study's arms, dealt in turn.
    strain, sex
        Of all animals.

    Raises
    ------
    SettingsError
        If there is no such arm, strain or sex.
    """
    unknown = sorted(set(arms) - set(ARMS))
    if unknown or not arms:
        raise SettingsError(f"The arms of a study are some of {', '.join(ARMS)}, not {list(arms)}.")
    arm, batch = arms[index % len(arms)], index // BATCH
    rng, shared = (generator(seed, "cohort", *key) for key in (("animal", index), ("batch", batch)))
    age = float(shared.integers(*_AGES))
    drift = 1.0 + _DRIFT * float(np.clip(shared.normal(), -2, 2)) if batch else 1.0
    side = SIDES[int(rng.integers(2))]
    mouse = animal(
        seed * 1000 + index,
        strain=strain,
        sex=sex,
        age_weeks=age,
        tumour_side=side if arm in ("tumour", "treated") else None,
        treated=arm == "treated",
        name=str(FIRST_NAME + index),
    )
    mouse = replace(
        mouse,
        sham_side=side if arm == "sham" else None,
        kind=_KINDS[(index // len(arms)) % len(_KINDS)],
        sizes=replace(
            mouse.sizes,
            cortical_tmd=mouse.sizes.cortical_tmd * drift,
            trabecular_tmd=mouse.sizes.trabecular_tmd * drift,
            woven_tmd=mouse.sizes.woven_tmd * drift,
        ),
    )
    weight = (18.0 if sex == "female" else 23.0) + 0.25 * (age - 8.0) + float(rng.normal(0, 0.8))
    return Member(mouse, arm, batch, drift, weight)


def weight_g(who: Member, week: int) -> float:
    """Return the body weight of an animal in a week: it grows, and falls with the disease."""
    noise = float(generator(who.animal.seed, "weight", week).normal(0, 0.3)) if week else 0.0
    loss = {"tumour": 0.16, "treated": 0.09}.get(who.arm, 0.0) * max(week - 1.0, 0.0) ** 1.5
    weight: float = who.weight_g + 0.25 * week - loss + noise
    return weight


def radiant_efficiency(who: Member, side: str, week: int) -> float:
    """Return the light of a tibia's tumour as luminescence shows it, in uW/cm2; background elsewhere."""
    noise = float(np.exp(generator(who.animal.seed, "light", side, week).normal(0, 0.25)))
    foci = lesion(who.animal, side, week)
    size = float((foci[:, 3] ** 3).sum()) if len(foci) else 0.0
    light: float = (4e6 + 9e7 * size) * noise
    return light


def diagnosis(who: Member, side: str, week: int) -> str:
    """Return what a radiologist would write about a tibia."""
    foci = lesion(who.animal, side, week)
    found = []
    if len(foci) and foci[:, 3].max() >= _SEEN_MM:
        found.append("bone lesion")
    if fracture(who.animal, side, week) is not None:
        found.append("fracture")
    return ", ".join(found) or "no lesion"


def with_loss(mouse: Animal, week: int, share: float, *, tolerance: float = 0.01) -> Animal:
    """Return the animal with the severity at which disease has eaten a share of the proximal tibia.

    Parameters
    ----------
    mouse
        An animal with a tumour.
    week
        When.
    share
        Part of the bone of the tibia's proximal third that disease has taken
        (:func:`bonemet.simulation.change.lost_share`), such as 0.3 or 0.45.
    tolerance
        By how much the share may be missed.

    Raises
    ------
    SettingsError
        If the animal has no tumour, or no severity gives that share.
    """
    twin = proximal_third(healthy_twin(mouse), week, f"{mouse.tumour_side or 'left'} tibia", 0.06)
    # false position in severity, kept away from the ends; lost bone grows about with its square
    low, below, high, above = 0.0, 0.0, _MOST_SEVERE, 0.0
    trial = replace(mouse, severity=high)
    while (lost := lost_share(trial, week, 0.06, twin=twin)) >= share or trial.severity < _MOST_SEVERE:
        if abs(lost - share) <= tolerance:
            return trial
        if lost < share:
            low, below = trial.severity, lost
        else:
            high, above = trial.severity, lost
        if high - low < 1e-3:
            break
        part = (share**0.5 - below**0.5) / max(above**0.5 - below**0.5, 1e-9)
        trial = replace(mouse, severity=low + (high - low) * min(max(part, 0.1), 0.9))
    raise SettingsError(
        f"No severity makes animal {mouse.name} lose {share:.0%} of its proximal tibia in week {week}; "
        "try a later week or an osteolytic disease."
    )
