"""Segment: a reconstruction split into its bones, each with its grey values and its place in the scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bonemet._version import __version__
from bonemet.core.calibration import Kind
from bonemet.core.context import SILENT, Context, Tick
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.ids import ScanKey
from bonemet.core.step import Step
from bonemet.core.volume import Volume
from bonemet.dataset import review as reviews
from bonemet.io import sidecar
from bonemet.io.volumes import open_volume
from bonemet.segmentation import choices
from bonemet.segmentation.choices import Choice, Cut
from bonemet.segmentation.names import LimbSegmentation
from bonemet.segmentation.published import segment_published
from bonemet.segmentation.revision import accept
from bonemet.segmentation.slabs import PackedLabels, find_limbs
from bonemet.stages import _bones
from bonemet.stages.outcome import Outcome, Product, produce

Left = Literal["low-x", "high-x"]
Method = Literal["default", "published"]

LABELS = "labels.nii.gz"


def segment(
    recon: str | Path,
    out: str | Path,
    *,
    threshold: float | str | None = None,
    left: Left = "low-x",
    method: Method = "default",
    voxel_um: float | None = None,
    name: str | None = None,
    review: str | Path | None = None,
    template: str | Path | None = None,
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
        T: bone is grey >= T. A grey value; an attenuation (``0.12/mm``) or mineral density (``400mgHA``)
        where the scan's window and calibration are known; or ``published``, ``otsu``, ``half-height`` or
        ``local``. Without it: Otsu's between soft tissue and bone by the default method, and 76 by the
        published one.
    left
        At which end of the columns the animal's left leg lies. No log holds the pose.
    method
        ``default`` or ``published``.
    voxel_um
        Edge of the voxels in micrometres; overrides log and header.
    name
        Animal and week (``871 week 0``), by which the bones are named; from the input's own names by default.
    review
        A review file, in which a person changes or accepts what was found; see :mod:`bonemet.dataset.review`.
    template
        Review file to which a scan is added, commented out, where a bone of it is marked for review:
        ``review``, else ``OUT.review.toml``, by default.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    context
        Threads, memory and progress.

    Returns
    -------
    Outcome
        Results: ``bones`` (a list of ``name``, ``path``, ``confidence``, ``reasons``, ``review``,
        ``accepted``, ``voxels``, ``volume_mm3``), ``missing``, ``labels``, ``threshold`` (on the scan's
        numbers), ``threshold_source``, ``threshold_choice``, ``threshold_attenuation_per_mm``,
        ``threshold_low``, ``side_source``, ``left``, ``method``, ``reviewed`` (what the review file says),
        ``details``.

    Raises
    ------
    InputError
        If the volume holds nothing as bright as bone, or labels instead of grey values.
    SettingsError
        If a setting makes no sense.
    """
    source, target = Path(recon), Path(out)
    choice = None if threshold is None else choices.parse(threshold)
    if choice is not None and choice.way == "grey":
        threshold = choice.amount  # the same however it was written
    _refuse_settings(left, method)
    title = name or (None if review is None else _title(source, voxel_um))
    entry = reviews.Entry() if review is None else reviews.read(Path(review), str(title))
    parameters: dict[str, Any] = {
        "threshold": threshold,
        "left": left,
        "method": method,
        "voxel_um": None if voxel_um is None else float(voxel_um),
        "name": name,
    }
    if entry.as_dict() is not None:
        parameters["review"] = entry.as_dict()
    wanted = _Wanted(choice, threshold, entry.left or left, method, entry)

    def work(partial: Path) -> Product:
        volume = open_volume(source, voxel_um)
        if volume.quantity.kind in (Kind.LABELS, Kind.MASK):
            raise InputError(
                f"{source} holds {volume.quantity.kind} and no grey values; give a reconstruction."
            )
        title = name or title_of(source, volume.name)
        with context.progress("Segmenting", 3) as tick:
            done = _segmented(partial, _bones.loaded(volume, context), wanted, source, context, tick)
            step = Step(
                "segment",
                __version__,
                parameters | {"threshold": done.cut.value},
                (source.name,),
                done.found.notes,
            )
            _bones.write_bones(
                partial, done.volume, done.labels, done.found.bones, title, step=step, context=context
            )
            tick(1)
        results = _results(done, wanted, target, title)
        return Product(results, title, warnings=[*volume.notes, *_warnings(done.found, entry.note)])

    outcome = produce(target, "segment", parameters, [source], work, overwrite=overwrite)
    results = outcome.results
    if any(b["review"] for b in results["bones"]):
        path = Path(template or review or target.with_name(f"{target.name}.review.toml"))
        reviews.add_template(path, str(results["title"]), results["bones"], results["details"])
    return outcome


@dataclass(frozen=True)
class _Wanted:
    """The settings of one run, with what the review has changed of them."""

    choice: Choice | None
    written: float | str | None
    left: Left
    method: Method
    entry: reviews.Entry


@dataclass(frozen=True, eq=False)
class _Done:
    """A scan, its threshold, its labels and what was found."""

    volume: Volume
    cut: Cut
    labels: PackedLabels | NDArray[np.uint8]
    found: LimbSegmentation


def _segmented(
    partial: Path, volume: Volume, wanted: _Wanted, source: Path, context: Context, tick: Tick
) -> _Done:
    """Find the bones and write their labels."""
    choice = wanted.choice
    if choice is None and wanted.method == "published":
        choice = Choice("published")
    cut = choices.cut(choice, volume.data, volume.quantity, _calibration(source), context.map)
    tick(1)
    spacing, revision = volume.grid.spacing_mm, wanted.entry.revision()
    path = partial / LABELS
    if wanted.method == "published":
        if revision.changes:
            raise SettingsError("A review of names, knees and pieces goes with the default method only.")
        published = segment_published(volume.array(), spacing, cut.value, left=wanted.left)
        _bones.write_labels(path, iter([published.labels]), volume.grid, context)
        tick(1)
        return _Done(volume, cut, published.labels, accept(published, revision))
    limbs = find_limbs(volume.data, spacing, cut, left=wanted.left, revision=revision, mapper=context.map)
    labels, boxes = _bones.write_labels(path, limbs.slabs(context.map), volume.grid, context)
    tick(1)
    return _Done(volume, cut, labels, limbs.judged(boxes))


def _results(done: _Done, wanted: _Wanted, target: Path, title: str) -> dict[str, Any]:
    """Return what the sidecar says, with the paths where the bones will stand."""
    voxel_mm3 = done.volume.grid.voxel_mm3
    bones = [
        {
            "name": bone.name,
            "path": str(target / f"{title} {bone.name}"),
            "confidence": bone.confidence,
            "review": bone.review,
            "accepted": bone.accepted,
            "reasons": list(bone.reasons),
            "voxels": bone.voxels,
            "volume_mm3": bone.voxels * voxel_mm3,
        }
        for bone in done.found.bones
    ]
    return {
        "title": title,
        "bones": bones,
        "missing": done.found.missing,
        "labels": str(target / LABELS),
        **choices.recorded(done.cut, done.volume.quantity, wanted.written),
        "side_source": "assumed" if wanted.entry.left is None else "review",
        "left": wanted.left,
        "method": wanted.method,
        "reviewed": wanted.entry.as_dict(),
        "details": done.found.details,
    }


def _calibration(source: Path) -> tuple[float, float] | None:
    """Return the calibration with which a scan was reconstructed, if its sidecar tells one."""
    known = sidecar.read(source) if source.is_dir() else None
    for step in known.steps if known is not None else []:
        line = step.parameters.get("calibration")
        if step.name == "reconstruct" and line is not None:
            return float(line[0]), float(line[1])
    return None


def _title(source: Path, voxel_um: float | None) -> str:
    return title_of(source, open_volume(source, voxel_um).name)


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


def _refuse_settings(left: str, method: str) -> None:
    if left not in ("low-x", "high-x"):
        raise SettingsError(f"The left leg lies at low-x or high-x, not at {left!r}.")
    if method not in ("default", "published"):
        raise SettingsError(f"The method is default or published, not {method!r}.")


def _warnings(found: LimbSegmentation, note: str) -> list[str]:
    doubts = [
        f"The {b.name} is marked for review (confidence {b.confidence:.2f}): {' '.join(b.reasons)}"
        for b in found.bones
        if b.review
    ]
    said = [f"Review: {note}"] if note else []
    taken = [
        f"A person accepted the {b.name}, in spite of: {' '.join(b.reasons)}"
        for b in found.bones
        if b.accepted and b.reasons
    ]
    return [*found.notes, *said, *taken, *doubts]
