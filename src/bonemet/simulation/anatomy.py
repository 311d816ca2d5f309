"""The animals: names, sizes and tissue properties, drawn from a seed around published values.

Sources of the numbers
----------------------
Lengths: tibia 17-18 mm and femur about 15-16 mm in adult mice (Somerville 2004,
doi:10.1007/s00223-003-0101-x, C57BL/6 tibiae; Willinghamm 2010, doi:10.1007/s00223-010-9359-y,
BALB/c); for the form of the hind limb see Charles 2016 (doi:10.1371/journal.pone.0147669).
Cortex and trabeculae: midshaft Ct.Th near 0.2 mm and the metaphyseal BV/TV of C57BL/6 (8-15 %) and
BALB/c (15-22 %) with Tb.Th near 0.05 mm (Halloran 2002, doi:10.1359/jbmr.2002.17.6.1044; Glatt 2007,
doi:10.1359/jbmr.070507; Willinghamm 2010; guidelines: Bouxsein 2010, doi:10.1002/jbmr.141).
Tissue mineral density of cortical bone 1000-1200 mg HA/cm3 (Bouxsein 2010). These are design values;
strains, sites and laboratories differ.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from bonemet.core.errors import SettingsError

SIDES = ("left", "right")
STRAINS = {"BALB/c": (1.00, 0.185), "C57BL/6": (1.01, 0.115)}
"""Per strain: relative size, and metaphyseal bone volume fraction of young adult females."""


@dataclass(frozen=True)
class Sizes:
    """Sizes (mm) and tissue of one animal's bones.

    Attributes
    ----------
    tibia_mm, femur_mm
        Lengths.
    girth
        Relative thickness of the bones.
    cortex
        Relative thickness of their cortices.
    crest, bow
        Relative height of the tibial crest and of the tibia's bow.
    junction_mm
        Level at which the head of the fibula leaves the tibia.
    fusion
        Level of the distal fusion of tibia and fibula over the tibia's length.
    hip_mm
        Half the distance between the hips.
    tb_fraction, tb_thickness_mm
        Bone volume fraction and thickness of the metaphyseal trabeculae.
    cortical_tmd, trabecular_tmd, woven_tmd
        Tissue mineral densities in mg HA/cm3.
    fat_mm
        Thickness of the fat under the skin.
    """

    tibia_mm: float
    femur_mm: float
    girth: float
    cortex: float
    crest: float
    bow: float
    junction_mm: float
    fusion: float
    hip_mm: float
    tb_fraction: float
    tb_thickness_mm: float
    cortical_tmd: float
    trabecular_tmd: float
    woven_tmd: float
    fat_mm: float


@dataclass(frozen=True)
class Animal:
    """One animal of the digital cohort.

    Attributes
    ----------
    name
        Its number as text.
    seed
        Everything about the animal follows from this number and the attributes below.
    strain, sex, age_weeks
        What it is at week 0 of the study.
    tumour_side
        The inoculated tibia, or None for a control.
    treated
        Whether the lesion grows slowly.
    sizes
        Of its bones.
    growth_mm_per_week
        Longitudinal growth; only 0 is rendered so far.
    """

    name: str
    seed: int
    strain: str
    sex: str
    age_weeks: float
    tumour_side: str | None
    treated: bool
    sizes: Sizes
    growth_mm_per_week: float = 0.0


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """Return the generator of one purpose, so that no drawing shifts another."""
    words = [zlib.crc32(str(p).encode()) for p in purpose]
    return np.random.default_rng([seed, *words])


def animal(
    seed: int,
    *,
    strain: str = "BALB/c",
    sex: str = "female",
    age_weeks: float = 8.0,
    tumour_side: str | None,
    treated: bool = False,
    name: str | None = None,
) -> Animal:
    """Return the animal of a seed.

    Parameters
    ----------
    seed
        Any number from 0 up; the same seed gives the same animal.
    strain
        ``BALB/c`` or ``C57BL/6``.
    sex
        ``female`` or ``male`` (5 % larger).
    age_weeks
        Age at week 0 of the study, 6 to 104.
    tumour_side
        ``left``, ``right`` or None.
    treated
        Whether the tumour grows at two fifths of its speed.
    name
        The animal's number as text; by default from the seed.

    Raises
    ------
    SettingsError
        If a value is none of these.
    """
    if seed < 0:
        raise SettingsError(f"The seed of an animal is a whole number from 0 up, not {seed}.")
    if strain not in STRAINS:
        raise SettingsError(f"The strain is one of {', '.join(STRAINS)}, not {strain!r}.")
    if sex not in ("female", "male"):
        raise SettingsError(f"The sex is female or male, not {sex!r}.")
    if tumour_side not in (None, *SIDES):
        raise SettingsError(f"The tumour's side is left, right or None, not {tumour_side!r}.")
    if not 6 <= age_weeks <= 104:
        raise SettingsError(f"The age at week 0 lies between 6 and 104 weeks, not at {age_weeks}.")
    sizes = _sizes(seed, strain, sex, age_weeks)
    return Animal(
        str(seed) if name is None else name, seed, strain, sex, age_weeks, tumour_side, treated, sizes
    )


def _sizes(seed: int, strain: str, sex: str, age_weeks: float) -> Sizes:
    rng = generator(seed, "sizes")

    def around(mean: float, relative_sd: float) -> float:
        return float(mean * (1 + relative_sd * np.clip(rng.normal(), -2, 2)))

    size, fraction = STRAINS[strain]
    size *= 1.05 if sex == "male" else 1.0
    # at 8 weeks a mouse has about 97 % of its adult bone length
    size *= 1.0 - 0.05 * float(np.exp(-(age_weeks - 6.0) / 4.0))
    # trabecular bone is greatest at 6-8 weeks and declines thereafter (Glatt 2007)
    fraction *= float(np.exp(-max(age_weeks - 8.0, 0.0) / 60.0))
    # tissue mineralises with age
    mineral = 1.0 - 0.08 * float(np.exp(-(age_weeks - 6.0) / 8.0))
    tibia = around(17.8 * size, 0.012)
    return Sizes(
        tibia_mm=tibia,
        femur_mm=around(tibia * 0.865, 0.01),
        girth=around(size, 0.03),
        cortex=around(1.0, 0.04),
        crest=around(1.0, 0.12),
        bow=around(1.0, 0.2),
        junction_mm=around(2.0, 0.05),
        fusion=around(0.575, 0.015),
        hip_mm=around(4.4 * size, 0.03),
        tb_fraction=float(np.clip(around(fraction, 0.08), 0.06, 0.22)),
        tb_thickness_mm=around(0.050, 0.02),
        cortical_tmd=around(1150.0 * mineral, 0.015),
        trabecular_tmd=around(980.0 * mineral, 0.02),
        woven_tmd=around(860.0 * mineral, 0.03),
        fat_mm=around(0.3, 0.25),
    )
