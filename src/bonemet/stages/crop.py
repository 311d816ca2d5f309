"""Crop: the region below the proximal tibia-fibula junction, without the fibula."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.context import SILENT, Context
from bonemet.core.errors import InputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.core.volume import Volume
from bonemet.dataset import settings
from bonemet.io import output, stacks
from bonemet.io.contours import read_contours
from bonemet.io.volumes import open_volume, write_volume
from bonemet.roi import crop as regions_of
from bonemet.roi.contours import Bone
from bonemet.roi.crop import Region
from bonemet.roi.drawn import DrawnContours
from bonemet.roi.fibula import FibulaRemover, FibulaTrack, clean_slices
from bonemet.roi.regions import DEFAULT, Definition
from bonemet.segmentation.bone import compartments
from bonemet.stages._region import Found, Wish, bone_of, choose, find
from bonemet.stages.checks import refuse_threshold
from bonemet.stages.outcome import Outcome, Product, produce


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
    region: str | None = None,
    regions: str | Path | None = None,
    landmarks: str | Path | None = None,
    contours: str | Path | None = None,
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
    region
        Name of a defined region, in place of slices and lengths: ``metaphysis`` is the trabecular bone from
        0.25 mm below the growth plate for 1 mm, ``diaphysis 37 %`` and ``diaphysis 50 %`` are 0.5 mm of
        cortex there, ``proximal tibia`` is the published region.
    regions
        TOML file that defines regions, in place of these.
    landmarks
        Registered scan or composite of week 0 on the same grid, whose junction and growth plate count; the
        stack's own by default.
    contours
        A person's contours, drawn in some slices: a mask of the stack's size, ImageJ's ``.roi`` or ``.zip``,
        or napari's ``.csv``. Between them they are interpolated, what is outside becomes 0, and the fibula is
        left to them.
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
        number in every slice), ``published_junction_slice``, ``growth_plate_slice``,
        ``growth_plate_confidence``, ``fibula_voxels_removed``, ``length_mm``, ``part``, ``threshold``. Beside
        the folder of a trabecular or cortical part stands ``OUT mask.nii.gz``, the part as a mask.

    Raises
    ------
    InputError
        If there is no bone, or neither a junction nor a given slice, or the region lies outside the bone.
    """
    refuse_threshold(threshold)
    source, target = Path(composite), Path(out)
    definition = _definition(region, regions)
    if definition is not None and (first_slice, last_slice, below_junction, length_slices) != (
        None,
        None,
        0,
        None,
    ):
        raise SettingsError(
            "A defined region brings its own slices; leave first, last, below and length out."
        )
    others = [Path(p) for p in (landmarks, contours) if p is not None]
    parameters = {
        "first_slice": first_slice,
        "last_slice": last_slice,
        "below_junction": below_junction,
        "length_mm": length_mm,
        "length_slices": length_slices,
        "keep_fibula": keep_fibula,
        "region": None if definition is None else asdict(definition),
        "landmarks": None if landmarks is None else Path(landmarks).name,
        "contours": None if contours is None else Path(contours).name,
        "threshold": threshold,
        "voxel_um": voxel_um,
    }

    def work(partial: Path) -> Product:
        volume = open_volume(source, voxel_um)
        bone, bar = bone_of(volume, threshold, context)
        found = find(volume, bone, context)
        first = found
        if landmarks is not None:
            first = _find_first(Path(landmarks), volume, bar, voxel_um, context)
        wish = Wish(first_slice, last_slice, below_junction, length_mm, length_slices, definition)
        span = choose(wish, first, volume)
        drawn = None if contours is None else _drawn(Path(contours), volume, voxel_um)
        if drawn is not None:
            span = _within_drawn(span, drawn)
        keep = keep_fibula or drawn is not None
        remover = None if keep else _remover(volume, found, bone)
        part = "whole" if definition is None else definition.part
        cut = _Cut(volume, span, remover, drawn, bone, part)
        removed, beside = _write(partial, target, cut, context)
        results = {
            **first.results(),
            "first_slice": span.first_slice,
            "last_slice": span.last_slice,
            "length_mm": span.length * volume.grid.spacing_mm[0],
            "part": part,
            "fibula_voxels_removed": removed,
            "threshold": bar,
        }
        warnings = [*first.notes, *span.notes, *_fibula_notes(found.track, remover, span, keep)]
        return Product(results, volume.name, cut.grid, volume.quantity, warnings, beside)

    return produce(target, "crop", parameters, [source, *others], work, overwrite=overwrite)


def _definition(name: str | None, path: str | Path | None) -> Definition | None:
    """Return the region of a name, from a file or of the published ones."""
    if name is None:
        if path is not None:
            raise SettingsError(f"{path} defines regions; say which one, with region.")
        return None
    known = DEFAULT if path is None else settings.read_regions(Path(path))
    for definition in known:
        if definition.name.lower() == name.strip().lower():
            return definition
    raise SettingsError(f"No region is called {name!r}; there are {', '.join(d.name for d in known)}.")


def _find_first(
    path: Path, volume: Volume, bar: float | None, voxel_um: float | None, context: Context
) -> Found:
    """Return the landmarks of week 0."""
    first = open_volume(path, voxel_um)
    if not first.grid.same_as(volume.grid):
        raise InputError(f"{path} does not lie on the grid of the stack; give the registered week 0.")
    bone, _ = bone_of(first, bar, context)
    return find(first, bone, context)


def _drawn(path: Path, volume: Volume, voxel_um: float | None) -> DrawnContours:
    """Return a person's contours."""
    return DrawnContours(read_contours(path, volume.grid.shape, voxel_um))


def _within_drawn(span: Region, drawn: DrawnContours) -> Region:
    """Return the part of a region in which contours are drawn."""
    part = regions_of.within(span.first_slice, span.last_slice, (drawn.first, drawn.last), "drawn part")
    return Region(part.first_slice, part.last_slice, (*span.notes, *part.notes))


_NECK_MM = 0.25  # wider is marrow space, narrower a passage from it to the head of the fibula


@dataclass(frozen=True, eq=False)
class _Cut:
    """What is cut out of what."""

    volume: Volume
    span: Region
    remover: FibulaRemover | None
    drawn: DrawnContours | None
    bone: Bone
    part: str

    @property
    def grid(self) -> Grid:
        """Where the region's voxels are."""
        _, rows, columns = self.volume.grid.shape
        first, last = self.span.first_slice, self.span.last_slice
        return self.volume.grid.crop((first, 0, 0), (last + 1, rows, columns))

    def slices(self, context: Context) -> Iterator[tuple[NDArray[Any], int]]:
        """Yield the region's slices and how many fibula voxels each lost."""
        if self.remover is not None:
            return clean_slices(self.remover, self.span.first_slice, self.span.last_slice, mapper=context.map)
        return context.map(self._slice, range(self.span.first_slice, self.span.last_slice + 1))

    def _slice(self, z: int) -> tuple[NDArray[Any], int]:
        values = np.asarray(self.volume.data[z])
        if self.drawn is None:
            return values, 0
        return np.where(self.drawn.mask(z), values, 0).astype(values.dtype), 0


def _write(folder: Path, target: Path, cut: _Cut, context: Context) -> tuple[int, list[Path]]:
    """Write the region's slices; return the fibula voxels left out, and files beside the folder."""
    removed = 0

    def slices() -> Iterator[NDArray[Any]]:
        nonlocal removed
        with context.progress("crop", cut.span.length) as tick:
            for values, gone in cut.slices(context):
                removed += gone
                yield values
                tick(1)

    dtype = cut.volume.data.dtype
    plain = dtype.kind in "ub" and dtype.itemsize <= 2
    codes = cut.volume.quantity.kind is Kind.LABELS
    kind: Literal["png", "indexed", "float"] = "float" if not plain else "indexed" if codes else "png"
    prefix = _prefix(cut.volume)
    if cut.part == "whole":
        stacks.write_slices(folder, prefix, slices(), format=kind, digits=4)
        return removed, []
    values = np.stack(list(slices()))
    parts = compartments(cut.bone(values), cut.volume.grid.spacing_mm, mapper=context.map)
    mask = _largest(parts.trabecular, cut.grid.spacing_mm) if cut.part == "trabecular" else parts.cortical
    stacks.write_slices(folder, prefix, np.where(mask, values, 0).astype(dtype), format=kind, digits=4)
    path = target.with_name(f"{target.name} mask.nii.gz")
    with output.whole_file(output.staged(path)) as partial:
        write_volume(partial, Volume(mask, cut.grid, Quantity(Kind.MASK)))
    return removed, [path]


def _largest(mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Return the largest piece of a mask, narrow necks cut: the tibia's marrow space without the fibula's."""
    deep = ndimage.distance_transform_edt(mask, sampling=spacing_mm) > _NECK_MM / 2
    labels, count = ndimage.label(deep)
    if count < 2:
        return mask
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    others = ndimage.distance_transform_edt(~deep | largest, sampling=spacing_mm)
    return np.asarray(mask & (ndimage.distance_transform_edt(~largest, sampling=spacing_mm) <= others))


def _prefix(volume: Volume) -> str:
    """Return the published beginning of the file names."""
    name = volume.name.strip() or "stack"
    return f"{name} 00_voi_" if name.endswith("composite") else f"{name}_voi_"


def _remover(volume: Volume, found: Found, bone: Bone) -> FibulaRemover | None:
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
