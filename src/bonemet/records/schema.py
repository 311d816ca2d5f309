"""Columns of the MiceMediRec table (Table 2 of the published supplement), with units and aliases."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of the record.

    Attributes
    ----------
    name
        Header without the unit.
    unit
        Unit, empty where there is none.
    aliases
        Other headers that mean the same; compared without case, spaces, dots and units.
    measure
        Name of the measure (ASBMR) that fills it and the region it is taken from, or empty.
    """

    name: str
    unit: str = ""
    aliases: tuple[str, ...] = ()
    measure: tuple[str, str] | None = None

    @property
    def header(self) -> str:
        """Header as written."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


WHOLE = "whole bone"
REGION = "region of interest"
CORTEX = "region of interest, cortex"
MARROW = "region of interest, marrow cavity"

KEYS = (
    Column("Animal", aliases=("Mouse", "Subject", "Mouse ID", "Animal ID", "ID")),
    Column("Week", aliases=("Weeks after inoculation", "Time point")),
    Column("Side", aliases=("Leg", "Limb", "Tibia")),
)

MEDICAL = (
    Column("Age", "week", ("Age in weeks",)),
    Column("Sex"),
    Column("Date", aliases=("Date of inoculation", "Inoculation date")),
    Column("Body Weight", "g", ("Weight",)),
    Column("Tibiae tumor inoculation", aliases=("Tumor", "Tumour", "Tumor inoculation")),
    Column("Treatment", aliases=("Treatment dose",)),
    Column("Diagnosis", aliases=("Treatment Diagnosis",)),
)

QUANTITATIVE = (
    Column("Average Radiant Efficiency", "uW/cm2", ("IVIS",)),
    Column("Bone volume", "mm3", ("BV",), ("BV", WHOLE)),
    Column("Ct.pMOI", "mm4", ("Cort. pMOI",), ("Ct.pMOI", CORTEX)),
    Column("Ct.Ar", "mm2", ("Cort. Ar",), ("Ct.Ar", CORTEX)),
    Column("Ct.Th", "mm", ("Cort. Th",), ("Ct.Th", CORTEX)),
    Column("Tb.BV/TV", "%", ("Trab. BV/TV",), ("BV/TV", MARROW)),
    Column("Tb.Th", "mm", ("Trab. Th",), ("Tb.Th", MARROW)),
    Column("Tb.N", "1/mm", ("Trab. N",), ("Tb.N", MARROW)),
    Column("Tb.Sp", "mm", ("Trab. Sp",), ("Tb.Sp", MARROW)),
    Column("Displacement", "um"),
    Column("Reaction force", "N"),
    Column("Stiffness", "N/m"),
    Column("Yield load", "N"),
    Column("Maximum load", "N"),
    Column("Work to fracture", "N.m"),
)

CHANGE = (
    Column("Unchanged bone since week 0", "mm3"),
    Column("Formed bone since week 0", "mm3"),
    Column("Resorbed bone since week 0", "mm3"),
    Column("Net change since week 0", "mm3"),
    Column("Review", aliases=("To review",)),
)

COLUMNS = KEYS + MEDICAL + QUANTITATIVE + CHANGE


def _plain(text: str) -> str:
    """Strip a header of everything but its letters and digits, units in brackets left out."""
    return "".join(c for c in text.partition("(")[0].lower() if c.isalnum())


_KNOWN = {_plain(alias): c for c in reversed(COLUMNS) for alias in (*c.aliases, c.name)}


def recognise(header: str) -> Column | None:
    """Return the column that a header means, or None for a column of the laboratory's own."""
    return _KNOWN.get(_plain(header))
