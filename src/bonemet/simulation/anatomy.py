"""The animals: names, sizes and tissue properties, drawn from a seed around published values.

Sources of the numbers
----------------------
Growth: most dimensions of C57BL/6 tibiae level off before 6 months, and males are larger at all ages
(Somerville 2004, Calcified Tissue International 74:469, PubMed 14961209); longitudinal growth is rapid
until 8-10 weeks and slow afterwards, in BALB/c too (Buie 2008, doi:10.1359/jbmr.080808).
Tibiae of young adult females, left and right, C57BL/6 and BALB/c: metaphyseal BV/TV, Tb.Th and Tb.N,
diaphyseal Tt.Ar, Ma.Ar and Ct.Th (tables 3 and 5 of Holguin 2013, doi:10.1007/s00223-013-9744-4).
Age: BV/TV is greatest at 6-8 weeks and declines ever after, faster in females (Glatt 2007,
doi:10.1359/jbmr.070507): in C57BL/6 tibiae to 0.085 at 5 and 0.032 at 12 months in females (Holguin
2014, doi:10.1016/j.bone.2014.05.006), and by 60 % between 6 weeks and 24 months in males, whose cortex
thickens until 6 months and thins by 12 % until 24 (Halloran 2002, doi:10.1359/jbmr.2002.17.6.1044).

Animals of one group differ in BV/TV by 8-23 % (one standard deviation, table 5 of Holguin 2013, errors of
measurement included); drawn are 7 % in BALB/c and 10 % in C57BL/6, cut off at two of them. Cortices are as
thick as Tt.Ar and Ma.Ar of its table 3 leave them.

Design values, for which no table was at hand: lengths (17-18 mm for an adult tibia, the femur 0.865 of
it), tissue mineral densities (within 1000-1200 mg HA/cm3), and how much animals differ otherwise, and their
two sides.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from bonemet.core.errors import SettingsError
from bonemet.simulation.growth import stature

SIDES = ("left", "right")
MODES = 6
"""Independent ways in which the cross-sections of animals differ."""
_PRIMARY_MM = 0.13
"""Height of the primary spongiosa at 6 weeks."""


@dataclass(frozen=True)
class Strain:
    """What sets a strain apart at 8 weeks: sizes relative to BALB/c, and metaphyseal trabeculae.

    ``tb_spread`` is the standard deviation of the bone volume fraction, as part of it.
    """

    size: float
    girth: float
    cortex: float
    tb_fraction: float
    tb_spread: float
    tb_thickness_mm: float
    tb_wave_mm: float


STRAINS = {
    "BALB/c": Strain(1.00, 1.00, 0.91, 0.184, 0.07, 0.0485, 0.345),
    "C57BL/6": Strain(1.01, 1.00, 0.81, 0.112, 0.10, 0.0505, 0.37),
}
"""After Holguin 2013; see above."""


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
    torsion_deg
        Turn of the tibia's distal end against the proximal one, outwards.
    slope_deg
        Backward slope of the tibial plateau.
    trochanter
        Relative height of the third trochanter.
    modes
        How the cross-sections differ from the mean form, in standard deviations.
    junction_mm
        Level at which the head of the fibula leaves the tibia.
    fusion
        Level of the distal fusion of tibia and fibula over the tibia's length.
    hip_mm
        Half the distance between the hips.
    tb_fraction, tb_thickness_mm, tb_wave_mm
        Bone volume fraction (of the millimetre from 0.55 mm beyond the growth plate on, 0.2 mm within the
        outline) and thickness of the metaphyseal trabeculae, and the wavelength of their network.
    primary_mm
        Height of the primary spongiosa, the fine septa below a growth plate.
    cortical_tmd, trabecular_tmd, woven_tmd
        Tissue mineral densities in mg HA/cm3.
    uneven
        By which share density rises and falls slowly within a tissue.
    fat_mm
        Thickness of the fat under the skin.
    """

    tibia_mm: float
    femur_mm: float
    girth: float
    cortex: float
    crest: float
    bow: float
    torsion_deg: float
    slope_deg: float
    trochanter: float
    modes: tuple[float, ...]
    junction_mm: float
    fusion: float
    hip_mm: float
    tb_fraction: float
    tb_thickness_mm: float
    tb_wave_mm: float
    primary_mm: float
    cortical_tmd: float
    trabecular_tmd: float
    woven_tmd: float
    uneven: float
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
        Whether the lesion grows slowly from one week after inoculation on.
    sizes
        Of its bones in week 0.
    sham_side
        The tibia into which only the vehicle was injected, or None.
    kind
        Of the disease: ``osteolytic``, ``osteoblastic`` or ``mixed``; None draws it from the seed.
    severity
        Factor on the radius of lesions and on the thickness of new bone.
    growth, remodelling
        Factors on growth and on normal remodelling; with both at 0 a healthy bone does not change at all.
    fractured
        Whether the diseased tibia breaks from week 3 on; None leaves it to how badly it is eaten and to
        chance.
    fibula_broken
        The leg whose fibula's shaft is broken, in all weeks, or None.
    """

    name: str
    seed: int
    strain: str
    sex: str
    age_weeks: float
    tumour_side: str | None
    treated: bool
    sizes: Sizes
    sham_side: str | None = None
    kind: str | None = None
    severity: float = 1.0
    growth: float = 1.0
    remodelling: float = 1.0
    fractured: bool | None = None
    fibula_broken: str | None = None


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
        Whether the tumour grows at two fifths of its speed from one week after inoculation on.
    name
        The animal's number as text; by default from the seed.

    Returns
    -------
    Animal
        For what else an animal may have, change it with :func:`dataclasses.replace`.

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


def _decline(age_weeks: float, sex: str) -> float:
    """Return the part of the trabecular bone of 8 weeks that is left (Holguin 2014, Halloran 2002)."""
    weeks = 42.0 if sex == "female" else 105.0
    return max(float(np.exp(-max(age_weeks - 8.0, 0.0) / weeks)), 0.15)


def _cortex(age_weeks: float) -> float:
    """Return the thickness of the cortex over that of 8 weeks: up to 6 months, down after (Halloran 2002)."""
    young = 1.0 - 0.14 * float(np.exp(-(age_weeks - 6.0) / 7.0))
    return (young - 0.12 * max(age_weeks - 26.0, 0.0) / 78.0) / 0.895


def _sizes(seed: int, strain: str, sex: str, age_weeks: float) -> Sizes:
    rng = generator(seed, "sizes")

    def around(mean: float, relative_sd: float) -> float:
        return float(mean * (1 + relative_sd * np.clip(rng.normal(), -2, 2)))

    kind = STRAINS[strain]
    size = kind.size * (1.05 if sex == "male" else 1.0) * stature(age_weeks, strain, sex)
    fraction = kind.tb_fraction * _decline(age_weeks, sex)
    # trabeculae thicken slowly over life (Glatt 2007); tissue mineralises
    thickness = kind.tb_thickness_mm * (1.0 + 0.0015 * (age_weeks - 8.0))
    mineral = 1.0 - 0.08 * float(np.exp(-(age_weeks - 6.0) / 8.0))
    tibia = around(18.0 * size, 0.012)
    return Sizes(
        tibia_mm=tibia,
        femur_mm=around(tibia * 0.865, 0.01),
        girth=around(size * kind.girth, 0.025),
        cortex=around(kind.cortex * _cortex(age_weeks), 0.035),
        crest=around(1.0, 0.12),
        bow=around(1.0, 0.2),
        torsion_deg=around(8.0, 0.4),
        slope_deg=around(14.0, 0.15),
        trochanter=around(1.0, 0.2),
        modes=tuple(float(v) for v in rng.normal(size=MODES).clip(-2, 2)),
        junction_mm=around(2.0, 0.05),
        fusion=around(0.575, 0.012),
        hip_mm=around(4.4 * size, 0.03),
        tb_fraction=float(np.clip(around(fraction, kind.tb_spread), 0.015, 0.25)),
        tb_thickness_mm=around(thickness, 0.02),
        # fewer trabeculae where bone was lost
        tb_wave_mm=around(kind.tb_wave_mm * (kind.tb_fraction / fraction) ** 0.5, 0.03),
        # made by growth, so there is little of it once growth has ceased
        primary_mm=_PRIMARY_MM * (0.3 + 0.7 * float(np.exp(-(age_weeks - 6.0) / 12.0))),
        cortical_tmd=around(1150.0 * mineral, 0.012),
        trabecular_tmd=around(980.0 * mineral, 0.02),
        woven_tmd=around(860.0 * mineral, 0.03),
        uneven=around(0.02, 0.3),
        fat_mm=around(0.3, 0.25),
    )


def sizes_of(animal: Animal, side: str) -> Sizes:
    """Return the sizes of one side's bones, which differ from the animal's by one or two per cent.

    Parameters
    ----------
    animal
        The animal.
    side
        ``left`` or ``right``.

    Returns
    -------
    Sizes
        Of the bones of that side; what belongs to both sides (hips, fat) is the animal's.
    """
    s, rng = animal.sizes, generator(animal.seed, "side", side)

    def near(value: float, relative_sd: float) -> float:
        return float(value * (1 + relative_sd * np.clip(rng.normal(), -2, 2)))

    return replace(
        s,
        tibia_mm=near(s.tibia_mm, 0.003),
        femur_mm=near(s.femur_mm, 0.003),
        girth=near(s.girth, 0.006),
        cortex=near(s.cortex, 0.012),
        crest=near(s.crest, 0.02),
        bow=near(s.bow, 0.03),
        torsion_deg=near(s.torsion_deg, 0.1),
        modes=tuple(m + 0.2 * float(v) for m, v in zip(s.modes, rng.normal(size=MODES), strict=True)),
        junction_mm=near(s.junction_mm, 0.012),
        fusion=near(s.fusion, 0.005),
        tb_fraction=near(s.tb_fraction, 0.02),
        cortical_tmd=near(s.cortical_tmd, 0.004),
    )
