"""Names, units and formulae of the measures, in one table.

Names are those of the American Society for Bone and Mineral Research as used for micro-CT: Bouxsein 2010
(doi:10.1002/jbmr.141), after Parfitt 1987 (doi:10.1002/jbmr.5650020617). Fractions are plain numbers (unit
``1``), not per cent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bonemet.core.errors import SettingsError


@dataclass(frozen=True)
class Term:
    """One measure: its name, unit, meaning in words, and how it is computed here."""

    name: str
    unit: str
    meaning: str
    formula: str


_DIRECT = "mean diameter of the largest spheres (Hildebrand 1997, doi:10.1046/j.1365-2818.1997.1340694.x)"
_SURFACE = "crossings of 13 directions of lines (Legland 2007, doi:10.5566/ias.v26.p83-92)"

TERMS = {
    t.name: t
    for t in (
        Term("BV", "mm3", "bone volume", "bone voxels of the region x voxel volume"),
        Term("TV", "mm3", "total volume", "voxels of the region x voxel volume"),
        Term("BV/TV", "1", "bone volume fraction", "bone voxels / voxels of the region"),
        Term("BS", "mm2", "bone surface", f"between bone and space within the region, by {_SURFACE}"),
        Term("BS/BV", "1/mm", "specific bone surface", "BS / BV"),
        Term("BS/TV", "1/mm", "bone surface density", "BS / TV"),
        Term("Tb.Th", "mm", "trabecular thickness", f"bone: {_DIRECT}"),
        Term("Tb.Sp", "mm", "trabecular separation", f"space between bone: {_DIRECT}"),
        Term("Tb.N", "1/mm", "trabecular number", "by --definition: ctan, ipl or plate"),
        Term(
            "Conn.D",
            "1/mm3",
            "connectivity density",
            "(1 - Euler number) / TV of the largest piece (Odgaard 1993, doi:10.1016/8756-3282(93)90245-6)",
        ),
        Term(
            "Tt.Ar", "mm2", "total cross-sectional area", "mean over slices of the area in the outer contour"
        ),
        Term("Ct.Ar", "mm2", "cortical bone area", "mean over slices of the area of bone"),
        Term("Ma.Ar", "mm2", "marrow area", "Tt.Ar - Ct.Ar"),
        Term("Ct.Ar/Tt.Ar", "1", "cortical area fraction", "Ct.Ar / Tt.Ar"),
        Term("Ct.Th", "mm", "cortical thickness", f"cortical bone: {_DIRECT}"),
        Term(
            "Ct.pMOI",
            "mm4",
            "polar moment of inertia",
            "mean over slices of the sum of r2 dA about the centroid",
        ),
        Term("BMD", "mg HA/cm3", "bone mineral density", "mean density of the region, marrow included"),
        Term("TMD", "mg HA/cm3", "tissue mineral density", "mean density of the bone voxels"),
        Term("Tb.BMD", "mg HA/cm3", "trabecular bone mineral density", "BMD of a trabecular region"),
        Term("Tb.TMD", "mg HA/cm3", "trabecular tissue mineral density", "TMD of a trabecular region"),
        Term("Ct.BMD", "mg HA/cm3", "cortical bone mineral density", "BMD of a cortical region"),
        Term("Ct.TMD", "mg HA/cm3", "cortical tissue mineral density", "TMD of a cortical region"),
    )
}

VOLUME = ("BV", "TV", "BV/TV")
TRABECULAR = (*VOLUME, "BS", "BS/BV", "BS/TV", "Tb.Th", "Tb.Sp", "Tb.N", "Conn.D")
CORTICAL = ("Tt.Ar", "Ct.Ar", "Ma.Ar", "Ct.Ar/Tt.Ar", "Ct.Th", "Ct.pMOI")

DEFINITIONS = {
    "ctan": "Tb.Th and Tb.Sp by spheres; Tb.N = (BV/TV) / Tb.Th, as Bruker's CTAn does",
    "ipl": "Tb.Th and Tb.Sp by spheres; Tb.N = 1 / mean distance of the mid-axes, as Scanco's IPL does",
    "plate": "all three from BV/TV and BS/BV by the parallel plate model, as in histology",
}
"""Whose definition of Tb.N (for ``plate``, also of Tb.Th and Tb.Sp) to follow."""


def choose(names: str | Iterable[str] | None, default: Iterable[str] = TRABECULAR) -> tuple[str, ...]:
    """Return the names that were asked for, in the order of asking, each once.

    Parameters
    ----------
    names
        Names, or one text with commas between them (``"Tb.Th,Tb.Sp"``), in any case; None for ``default``.

    Raises
    ------
    SettingsError
        If a name is unknown, or none is given.
    """
    if names is None:
        return tuple(default)
    parts = names.split(",") if isinstance(names, str) else list(names)
    known = {name.lower(): name for name in TERMS}
    wanted = [p.strip() for p in parts if p.strip()]
    unknown = [w for w in wanted if w.lower() not in known]
    if unknown or not wanted:
        what = f"no measure is called {', '.join(unknown)}" if unknown else "no measure was named"
        raise SettingsError(f"Here {what}; the names are {', '.join(TERMS)}.")
    return tuple(dict.fromkeys(known[w.lower()] for w in wanted))


def check_definition(definition: str) -> str:
    """Return a definition's name if it is known, whatever its case.

    Raises
    ------
    SettingsError
        If it is not known.
    """
    name = definition.strip().lower()
    if name not in DEFINITIONS:
        raise SettingsError(
            f"No definition is called {definition!r}; the names are {', '.join(DEFINITIONS)}."
        )
    return name
