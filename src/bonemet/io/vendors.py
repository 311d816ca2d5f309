"""Files of other makers: told by name or content, so that they can be refused by name."""

from __future__ import annotations

from pathlib import Path

from bonemet.core.errors import UnknownFormatError

# What other vendors' files are called, by the end of their names and by what they contain.
_VENDOR_NAMES = (
    ((".xtekct", ".xtekhelixct", ".ctinfo.xml", ".ctprofile.xml", "_ctdata.txt"), "Nikon X-Tek"),
    ((".pca", ".pcr", ".pcp"), "GE phoenix datos|x"),
    ((".scv", ".isq", ".rsq", ".aim", ".gobj"), "Scanco"),
    ((".txrm", ".xrm", ".txm"), "Zeiss Xradia"),
    ((".dcm", ".dicom"), "DICOM"),
    ((".vgi", ".vgl"), "Volume Graphics"),
)
_VENDOR_WORDS = (
    ("[xtekct]", "Nikon X-Tek"),
    ("<ctprofile", "Nikon X-Tek"),
    ("angle(deg)", "Nikon X-Tek"),
    ("version-pca", "GE phoenix datos|x"),
    ("version-pcr", "GE phoenix datos|x"),
    ("cttype", "Scanco"),
)


def vendor_of(path: Path, text: str = "") -> str:
    """Return the vendor whose file this is by its name or content, empty where unknown."""
    name = path.name.casefold()
    for endings, vendor in _VENDOR_NAMES:
        if name.endswith(endings):
            return vendor
    lowered = text[:20_000].casefold()
    return next((vendor for word, vendor in _VENDOR_WORDS if word in lowered), "")


def refuse_foreign(path: Path, text: str = "") -> UnknownFormatError:
    """Return the error that says whose file this is, since it is not a SkyScan log."""
    vendor = vendor_of(path, text)
    whose = f"a {vendor} file" if vendor else "no SkyScan log"
    return UnknownFormatError(f"{path} is {whose}; bonemet reads the scan logs of SkyScan scanners only.")
