"""Crop: the region below the proximal tibia-fibula junction, without the fibula."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bonemet.core.calibration import Kind
from bonemet.core.context import SILENT, Context
from bonemet.core.errors import InputError
from bonemet.core.volume import Volume
from bonemet.io import stacks
from bonemet.io.volumes import open_volume
from bonemet.roi import crop as regions
from bonemet.roi.composite import KEPT, RESORBED
from bonemet.roi.contours import Bone, SliceContours, bone_mask
from bonemet.roi.crop import Region
from bonemet.roi.fibula import FibulaRemover, FibulaTrack, all_contours, clean_slices, track_fibula
from bonemet.roi.junction import Junction, bone_extent, find_junction
from bonemet.stages.checks import refuse_threshold
from bonemet.stages.composite import choose_threshold
from bonemet.stages.outcome import Outcome, Product, produce

_SAMPLES = 25


def crop(
    composite: str | Path,
    out: str | Path,
    *,
    first_slice: int | None = None,
    last_slice: int | None = None,
    below_junction: int = 0,
    length_mm: float = 3.0,
    length_slices: int | None = None,
    keep_fibula: bool = False,
    threshold: float | None = None,
    voxel_um: float | None = None,
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Crop the region of interest of a composite or of one registered scan.

    Parameters
    ----------
    composite
        Composite or registered scan of an upright tibia with its fibula, either end first.
    out
        Folder for the cropped stack, which keeps its place in space and the order of its slices.
    first_slice, last_slice
        Lowest and highest slice number to keep, both included, as the stack is read. With one of them the
        length counts from it; with none the region starts at the junction.
    below_junction
        Number of slices between the junction and the start of the region, distal positive.
    length_mm
        Length of the region; 3 mm are the published 300 slices of 10 um.
    length_slices
        Length in slices, in place of ``length_mm``.
    keep_fibula
        Whether the fibula stays.
    threshold
        For a registered scan: bone is grey >= threshold; Otsu's of the greys other than 0 by default.
    voxel_um
        Voxel size that overrides log and header.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    context
        Workers and progress.

    Returns
    -------
    Outcome
        ``junction_slice`` (None with ``reason`` where slices were given and none was found), ``confidence``,
        ``first_slice``, ``last_slice``, ``direction`` (+1: slice numbers rise distally), ``contours`` (their
        number in every slice), ``published_junction_slice``, ``fibula_voxels_removed``, ``length_mm``,
        ``threshold``.

    Raises
    ------
    InputError
        If there is no bone, or neither a junction nor a given slice, or the region lies outside the bone.
    """
    refuse_threshold(threshold)
    source = Path(composite)
    parameters = {
        "first_slice": first_slice,
        "last_slice": last_slice,
        "below_junction": below_junction,
        "length_mm": length_mm,
        "length_slices": length_slices,
        "keep_fibula": keep_fibula,
        "threshold": threshold,
        "voxel_um": voxel_um,
    }

    def work(partial: Path) -> Product:
        volume = open_volume(source, voxel_um)
        spacing = volume.grid.spacing_mm
        length = regions.slices_in(length_mm, length_slices, spacing[0])
        bone, bar = _bone_of(volume, threshold, context)
        with context.progress("junction", volume.grid.shape[0]) as tick:
            contours = all_contours(volume.data, spacing, bone, mapper=context.map, tick=tick)
        given = first_slice is not None or last_slice is not None
        found = _find(volume, contours, bone, required=not given)
        if found.junction is None or given:
            region = regions.region_between(first_slice, last_slice, length, volume.grid.shape[0])
        else:
            place, way = found.junction.slice, found.junction.direction
            region = regions.region_below(place, way, below_junction, length, found.junction.bone_slices)
        remover = None if keep_fibula else _remover(volume, found, bone)
        removed = _write(partial, volume, region, remover, context)
        results = {
            **_junction_results(found, contours),
            "first_slice": region.first_slice,
            "last_slice": region.last_slice,
            "length_mm": region.length * spacing[0],
            "fibula_voxels_removed": removed,
            "threshold": bar,
        }
        warnings = [*found.notes, *region.notes, *_fibula_notes(found.track, remover, region, keep_fibula)]
        _, rows, columns = volume.grid.shape
        grid = volume.grid.crop((region.first_slice, 0, 0), (region.last_slice + 1, rows, columns))
        return Product(results, volume.name, grid, volume.quantity, warnings)

    return produce(Path(out), "crop", parameters, [source], work, overwrite=overwrite)


@dataclass(frozen=True)
class _Found:
    """Junction and fibula, as far as they were found."""

    junction: Junction | None
    track: FibulaTrack | None
    reason: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""
        return (self.reason,) if self.junction is None else self.junction.notes


def _find(volume: Volume, contours: list[SliceContours], bone: Bone, *, required: bool) -> _Found:
    """Find junction and fibula; a junction that was not asked for may be missing."""
    spacing = volume.grid.spacing_mm
    bone_extent(contours)
    try:
        junction = find_junction(volume.data, spacing, bone, contours=contours)
    except InputError as error:
        if required:
            raise
        return _Found(None, track_fibula(contours, spacing), str(error))
    return _Found(junction, junction.track)


def _bone_of(volume: Volume, threshold: float | None, context: Context) -> tuple[Bone, float | None]:
    """Return what tells bone from the rest in a composite (the baseline's bone), mask or scan."""
    if volume.quantity.kind is Kind.MASK:
        return bone_mask, None
    depth = volume.grid.shape[0]
    places = sorted({int(z) for z in np.linspace(0, depth - 1, _SAMPLES)})
    if regions.is_composite(np.stack([np.asarray(volume.data[z]) for z in places])):
        return _baseline_bone, None
    if volume.quantity.kind is Kind.LABELS:
        raise InputError(
            f"{volume.name or 'The volume'} holds labels that are not a composite's greys; "
            "give a composite or a registered scan of one tibia."
        )
    bar = choose_threshold(volume, context) if threshold is None else float(threshold)
    return (lambda values: np.asarray(values >= bar)), bar


def _baseline_bone(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the baseline's bone in a composite: what stayed and what was lost."""
    return np.asarray((values == KEPT) | (values == RESORBED))


def _write(
    folder: Path, volume: Volume, region: Region, remover: FibulaRemover | None, context: Context
) -> int:
    """Write the region's slices and return the number of fibula voxels left out."""
    removed = 0

    def slices() -> Iterator[NDArray[Any]]:
        nonlocal removed
        with context.progress("crop", region.length) as tick:
            for values, gone in _cleaned(volume, region, remover, context):
                removed += gone
                yield values
                tick(1)

    plain = volume.data.dtype.kind in "ub" and volume.data.dtype.itemsize <= 2
    kind: Literal["png", "float"] = "png" if plain else "float"
    stacks.write_slices(folder, _prefix(volume), slices(), format=kind, digits=4)
    return removed


def _cleaned(
    volume: Volume, region: Region, remover: FibulaRemover | None, context: Context
) -> Iterator[tuple[NDArray[Any], int]]:
    """Yield the region's slices and how many fibula voxels each lost."""
    if remover is not None:
        return clean_slices(remover, region.first_slice, region.last_slice, mapper=context.map)
    span = range(region.first_slice, region.last_slice + 1)
    return context.map(lambda z: (np.asarray(volume.data[z]), 0), span)


def _prefix(volume: Volume) -> str:
    """Return the published beginning of the file names."""
    name = volume.name.strip() or "stack"
    return f"{name} 00_voi_" if name.endswith("composite") else f"{name}_voi_"


def _junction_results(found: _Found, contours: list[SliceContours]) -> dict[str, Any]:
    """Return what is said about the junction."""
    evidence = [s.count for s in contours]
    junction = found.junction
    if junction is None:
        return {
            "junction_slice": None,
            "reason": found.reason,
            "confidence": 0.0,
            "direction": None,
            "published_junction_slice": None,
            "contours": evidence,
        }
    return {
        "junction_slice": junction.slice,
        "confidence": junction.confidence,
        "direction": junction.direction,
        "published_junction_slice": junction.published,
        "contours": evidence,
    }


def _remover(volume: Volume, found: _Found, bone: Bone) -> FibulaRemover | None:
    """Return what takes the fibula out, where there is one."""
    if found.track is None:
        return None
    place = None if found.junction is None else found.junction.slice
    return FibulaRemover(volume.data, found.track, bone, place)


def _fibula_notes(
    track: FibulaTrack | None, remover: FibulaRemover | None, region: Region, kept: bool
) -> list[str]:
    """Return in which slices the fibula stays, or its outline is a guess."""
    if kept:
        return []
    if track is None or remover is None:
        return ["No fibula was found, so none was removed."]
    inside = range(max(region.first_slice, remover.first), min(region.last_slice, remover.last) + 1)
    notes = []
    fused = region.length - len(inside)
    if fused:
        notes.append(f"In {fused} slices of the region tibia and fibula are one bone, and the fibula stays.")
    own = {c.z for c in track.contours}
    guessed = sum(z not in own for z in inside)
    if guessed:
        notes.append(f"In {guessed} slices of the region the fibula's outline was interpolated.")
    return notes
