"""What a path is: a scan, a log, a stack, a volume, a transform or a study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bonemet.core.errors import InputError, MissingInputError, UnknownFormatError
from bonemet.io import imagefiles, omezarr, scans, sidecar, slicefiles, stacks
from bonemet.io.skyscan import read_log
from bonemet.io.vendors import refuse_foreign, vendor_of
from bonemet.io.volumes import only_tiff

Kind = Literal["scan", "scan log", "reconstruction log", "stack", "volume", "transform", "study"]

_LOGS = (".log", ".oog")
_TRANSFORMS = (".tfm", ".json")
_STUDY = ("study.toml", "Imagery_Dataset")


@dataclass(frozen=True)
class Found:
    """What a path is.

    Attributes
    ----------
    kind
        Its kind.
    path
        The path to open: the log for the kinds of logs, the given path otherwise.
    """

    kind: Kind
    path: Path


def sniff(path: Path) -> Found:
    """Tell what a path is, by names and headers.

    Raises
    ------
    MissingInputError
        If nothing is there.
    UnknownFormatError
        If it is of a kind that bonemet does not read; the vendor is named where known.
    InputError
        If it is of a known kind but cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist; check the path.")
    return _file(path)


def _file(path: Path) -> Found:
    suffix = path.suffix.lower()
    if vendor_of(path):
        raise refuse_foreign(path)
    if suffix in _LOGS:
        log = read_log(path)
        if log.is_reconstruction_log:
            return Found("reconstruction log", path)
        return Found("scan log" if scans.projections_of(log) is None else "scan", path)
    if imagefiles.is_image_file(path) or suffix in (".tif", ".tiff"):
        return Found("volume", path)
    if path.name == "study.toml":
        return Found("study", path.parent)
    if suffix in slicefiles.SUFFIXES:
        raise InputError(f"{path} is one slice; give the folder that holds it.")
    if path.name == sidecar.NAME:
        raise InputError(f"{path} is the sidecar of a folder; give the folder {path.parent}.")
    if suffix in _TRANSFORMS:
        return Found("transform", path)
    with path.open("rb") as file:
        head = file.read(4096).decode("latin-1")
    if vendor_of(path, head):
        raise refuse_foreign(path, head)
    raise UnknownFormatError(
        f"{path} is of an unknown kind; bonemet reads SkyScan logs, slices, TIFF, NIfTI, NRRD and MHA."
    )


def _folder(folder: Path) -> Found:
    if omezarr.is_store(folder):
        return Found("volume", folder)
    if any((folder / name).exists() for name in _STUDY):
        return Found("study", folder)
    logs = scans.scan_logs(folder)
    series = stacks.find_series(folder)
    if any(scans.projections_of(log) is not None for log in logs):
        return Found("scan", folder)
    if series or only_tiff(folder) is not None or omezarr.inside(folder) is not None:
        return Found("stack", folder)
    if len(logs) == 1:
        return Found("scan log", logs[0].path)
    if logs:
        names = ", ".join(log.path.name for log in logs[:3])
        raise InputError(f"{folder} holds {len(logs)} logs and no images; give one of them ({names}).")
    vendors = sorted({v for p in folder.iterdir() if (v := vendor_of(p))})
    whose = f"a {vendors[0]} folder" if vendors else "a folder without slices, projections or logs"
    raise UnknownFormatError(f"{folder} is {whose}; give the folder of a SkyScan scan or of slices.")
