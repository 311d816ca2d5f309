"""Segment: a reconstruction split into its bones, each with its grey values and its place in the scan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bonemet._version import __version__
from bonemet.core.calibration import Kind, Quantity
from bonemet.core.context import SILENT, Context
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.ids import ScanKey
from bonemet.core.rim import RIM_VOXELS, with_rim
from bonemet.core.step import Step
from bonemet.core.volume import Volume
from bonemet.io import sidecar, stacks
from bonemet.io.volumes import open_volume, write_volume
from bonemet.segmentation.limbs import segment_limbs
from bonemet.segmentation.names import REVIEW_BAR, BoneFound, LimbSegmentation
from bonemet.segmentation.published import segment_published
from bonemet.segmentation.threshold import PUBLISHED, bone_threshold
from bonemet.stages.outcome import Outcome, Product, produce

Left = Literal["low-x", "high-x"]
Method = Literal["default", "published"]

LABELS = "labels.nii.gz"
MARGIN = RIM_VOXELS + 2  # voxels around a bone


@dataclass(frozen=True)
class _Cut:
    """A threshold and where it came from."""

    value: float
    source: str


def segment(
    recon: str | Path,
    out: str | Path,
    *,
    threshold: float | None = None,
    left: Left = "low-x",
    method: Method = "default",
    voxel_um: float | None = None,
    name: str | None = None,
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Split a reconstruction of both hind limbs into its bones.

    Parameters
    ----------
    recon
        Folder of slices or volume file.
    out
        Folder for ``labels.nii.gz`` and one folder of slices for each bone found.
    threshold
        T: bone is grey >= T. Without it: Otsu's between soft tissue and bone by the default method, 76 by the
        published one.
    left
        At which end of the columns the animal's left leg lies. No log holds the pose.
    method
        ``default`` or ``published``.
    voxel_um
        Edge of the voxels in micrometres; overrides log and header.
    name
        Animal and week (``871 week 0``), by which the bones are named; from the input's own names by default.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    context
        Threads and progress.

    Returns
    -------
    Outcome
        Results: ``bones`` (a list of ``name``, ``path``, ``confidence``, ``reasons``, ``review``, ``voxels``,
        ``volume_mm3``), ``missing``, ``labels``, ``threshold``, ``threshold_source``, ``side_source``,
        ``method``, ``details``.

    Raises
    ------
    InputError
        If the volume holds nothing as bright as bone, or labels instead of grey values.
    SettingsError
        If a setting makes no sense.
    """
    _refuse_settings(threshold, left, method)
    source, target = Path(recon), Path(out)
    parameters = {"threshold": threshold, "left": left, "method": method, "voxel_um": voxel_um, "name": name}

    def work(partial: Path) -> Product:
        volume = open_volume(source, voxel_um)
        if volume.quantity.kind in (Kind.LABELS, Kind.MASK):
            raise InputError(
                f"{source} holds {volume.quantity.kind} and no grey values; give a reconstruction."
            )
        title = name or title_of(source, volume.name)
        with context.progress("Segmenting", 3) as tick:
            grey = volume.array()
            tick(1)
            cut = _threshold(grey, threshold, method)
            find = segment_limbs if method == "default" else segment_published
            found = find(grey, volume.grid.spacing_mm, cut.value, left=left)
            tick(1)
            step = Step(
                "segment", __version__, parameters | {"threshold": cut.value}, (source.name,), found.notes
            )
            bones = _write(partial, target, title, volume.with_data(grey), found, step)
            tick(1)
        results = {
            "bones": bones,
            "missing": found.missing,
            "labels": str(target / LABELS),
            "threshold": cut.value,
            "threshold_source": cut.source,
            "side_source": "assumed",
            "left": left,
            "method": method,
            "details": found.details,
        }
        return Product(results, title, warnings=[*volume.notes, *_warnings(found)])

    return produce(target, "segment", parameters, [source], work, overwrite=overwrite)


def write_bone(
    folder: Path, volume: Volume, *, steps: tuple[Step, ...] = (), warnings: tuple[str, ...] = ()
) -> None:
    """Write one bone as a folder of slices with its sidecar.

    Parameters
    ----------
    folder
        Is made; the slices are ``NAME 00000000.png`` for 8- and 16-bit grey values, else float TIFF.
    volume
        The bone, grey beyond its rim set to 0, with its name and its place in the scan.
    steps
        What was done to it so far.
    warnings
        What a person should know about it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = "png" if volume.data.dtype in (np.uint8, np.uint16) else "float"
    planes: Iterator[NDArray[Any]] = (np.asarray(volume.data[z]) for z in range(volume.grid.shape[0]))
    stacks.write_slices(folder, f"{volume.name} ", planes, format="png" if kind == "png" else "float")
    sidecar.write(
        folder,
        sidecar.Sidecar(
            bonemet=__version__,
            name=volume.name,
            grid=sidecar.grid_model(volume.grid),
            quantity=sidecar.quantity_model(volume.quantity),
            view=sidecar.view_model(volume.view),
            steps=[sidecar.step_model(s) for s in steps],
            warnings=list(warnings),
        ),
    )


def title_of(path: Path, known: str = "") -> str:
    """Return animal and week as the published titles have them (``871 week 0``).

    They are read from the volume's name, the folder's or file's name, or from the last folders of its path
    (``871/week 0``, ``week 0/871``). Without a week the name itself is the title.
    """
    stem = path.name if path.is_dir() else path.name.split(".")[0]
    above = path.resolve().parent.name
    for text in (known, stem, f"{above} {stem}", f"{stem} {above}"):
        try:
            key = ScanKey.parse(text)
        except InputError:
            continue
        return f"{key.animal} week {key.week}"
    return known or stem


def _refuse_settings(threshold: float | None, left: str, method: str) -> None:
    if threshold is not None and not np.isfinite(threshold):
        raise SettingsError(f"A threshold is a finite number, not {threshold}.")
    if left not in ("low-x", "high-x"):
        raise SettingsError(f"The left leg lies at low-x or high-x, not at {left!r}.")
    if method not in ("default", "published"):
        raise SettingsError(f"The method is default or published, not {method!r}.")


def _threshold(grey: NDArray[Any], given: float | None, method: str) -> _Cut:
    if given is not None:
        return _Cut(float(given), "given")
    if method == "published":
        if grey.dtype != np.uint8:
            raise InputError(
                "The published threshold is one of 8-bit grey values; give one with --threshold."
            )
        return _Cut(float(PUBLISHED), "published")
    return _Cut(bone_threshold(grey), "otsu")


def _write(
    partial: Path, target: Path, title: str, volume: Volume, found: LimbSegmentation, step: Step
) -> list[dict[str, Any]]:
    """Write labels and bones, and return the list of bones with the paths where they will stand."""
    write_volume(partial / LABELS, volume.with_data(found.labels, Quantity(Kind.LABELS)))
    rows = []
    for bone in found.bones:
        piece = _cut_out(volume, found.labels, bone, f"{title} {bone.name}")
        write_bone(partial / piece.name, piece, steps=(step,), warnings=bone.reasons)
        rows.append(
            {
                "name": bone.name,
                "path": str(target / piece.name),
                "confidence": bone.confidence,
                "review": bone.confidence < REVIEW_BAR,
                "reasons": list(bone.reasons),
                "voxels": bone.voxels,
                "volume_mm3": bone.voxels * volume.grid.voxel_mm3,
            }
        )
    return rows


def _cut_out(volume: Volume, labels: NDArray[np.uint8], bone: BoneFound, title: str) -> Volume:
    """Return one bone's box with a margin, grey values beyond its contour's rim set to 0."""
    start = tuple(max(0, a - MARGIN) for a in bone.box[0])
    stop = tuple(min(n, b + MARGIN) for b, n in zip(bone.box[1], labels.shape, strict=True))
    piece = volume.crop((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    grey = np.asarray(piece.data[:])
    own = labels[box] == bone.label
    inside = with_rim(own, (labels[box] > 0) & ~own)
    data = np.where(inside, grey, np.zeros(1, grey.dtype))
    return Volume(data, piece.grid, volume.quantity, title, view=volume.view)


def _warnings(found: LimbSegmentation) -> list[str]:
    doubts = [
        f"The {b.name} is marked for review (confidence {b.confidence:.2f}): {' '.join(b.reasons)}"
        for b in found.bones
        if b.confidence < REVIEW_BAR
    ]
    return [*found.notes, *doubts]
