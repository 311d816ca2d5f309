"""Register: one bone brought onto another's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bonemet.core.context import SILENT, Context
from bonemet.core.errors import MissingInputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.core.transform import Transform
from bonemet.core.volume import Volume
from bonemet.dataset import poses
from bonemet.io.transforms import read_transform
from bonemet.io.volumes import open_volume
from bonemet.kernels.interpolate import Order
from bonemet.registration import Fragment, Options, Registration, halfway, judge, register_published
from bonemet.registration import register as align
from bonemet.registration.part import AUTO, Share
from bonemet.stages import _placed
from bonemet.stages._placed import WHOLE, SliceRange
from bonemet.stages.outcome import Outcome, Product, produce

METHODS = ("default", "correlation", "published")
_SEED = 1


def register(
    moving: str | Path,
    fixed: str | Path,
    out: str | Path,
    *,
    method: str = "default",
    kind: str = "rigid",
    part: str | Share = AUTO,
    initial_angles: Sequence[float] | None = None,
    pose: str | Path | None = None,
    mirror: bool = False,
    frame: str | Path | None = None,
    symmetric: bool = False,
    interpolation: Order = "cubic",
    moving_slices: SliceRange = WHOLE,
    fixed_slices: SliceRange = WHOLE,
    voxel_um: float | None = None,
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Align one bone with another and write it on the other's grid.

    Parameters
    ----------
    moving
        Volume to bring over (folder of slices or file).
    fixed
        Volume that stays.
    out
        Folder for the moving volume on the fixed grid: slices of the moving volume's type, interpolated
        once. The transform stands beside it, in ``OUT.tfm``; that of a piece that broke off, which is put
        back where it was, in ``OUT.piece1.tfm``.
    method
        ``default``: coarse pose over the whole circle, then robust least squares; ``correlation``: the same
        with normalised correlation; ``published``: mutual information by gradient descent.
    kind
        ``rigid``, ``similarity`` or ``affine`` (the last two not with the published method).
    part
        What of the fixed bone is aligned: ``auto`` (the shaft, and those ends that have not grown away from
        it), ``whole``, ``shaft`` (between the growth plates), ``metaphysis``,
        ``diaphysis``, or two shares of the length from the knee, ``(0.1, 0.6)`` or ``0.1:0.6``.
    initial_angles
        Axial angles in radian to begin from; the whole circle by default.
    pose
        A review file (``poses.toml``, see :mod:`bonemet.dataset.poses`), or a hand-made pose (.tfm, .json)
        from which to refine.
    mirror
        Whether the moving bone may be mirrored where its mirror image fits better (the other leg).
    frame
        Stack of the fixed bone in another frame (the output of ``orient`` or of an earlier ``register``, its
        .tfm beside it): the moving bone is written there, both transforms made one.
    symmetric
        Whether to write the moving volume halfway between both, so that both are turned by as much (de
        Bakker 2016, doi:10.1007/s10439-015-1527-9). ``OUT.fixed.tfm`` takes the fixed volume there, with
        :func:`bonemet.stages.carry.carry`.
    interpolation
        ``cubic``, ``linear``, ``sinc`` or, for masks, ``nearest``.
    moving_slices, fixed_slices
        First slice and the one after the last to use; None for all to that side.
    voxel_um
        Voxel size of both that overrides log and header.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    context
        Workers and progress.

    Returns
    -------
    Outcome
        ``matrix`` (4 x 4, takes points of OUT to points of MOVING), ``correlation``, ``overlap``,
        ``coverage``, ``mutual_information``, ``confidence``, ``review`` with ``reasons``,
        ``expected_error_um``, ``inverse_error_um``, ``growth``, ``fragments``, ``translation_mm``,
        ``angle_deg``, ``mirrored`` (whether the map mirrors; the name then says so), ``mirror_fits``,
        ``mirrored_correlation``; with a frame or halfway also
        ``fixed_matrix``, from points of FIXED.

    Raises
    ------
    InputError
        If an input is empty or holds labels.
    SettingsError
        If a setting makes no sense.
    """
    target = Path(out)
    paths = [Path(moving), Path(fixed)]
    angles = None if initial_angles is None else [float(a) for a in initial_angles]
    place = _Place(None if frame is None else Path(frame), symmetric)
    _placed.refuse_interpolation(interpolation)
    _refuse_settings(method, kind, mirror, part, place)
    metric = "correlation" if method == "correlation" else "robust"
    options = Options(kind, metric, part, angles, allow_mirror=mirror, seed=_SEED)
    parameters = {
        "method": method,
        "kind": kind,
        "part": part if isinstance(part, str) else list(part),
        "initial_angles": angles,
        "mirror": mirror,
        "symmetric": symmetric,
        "interpolation": interpolation,
        "moving_slices": list(moving_slices),
        "fixed_slices": list(fixed_slices),
        "voxel_um": voxel_um,
    }

    def work(partial: Path) -> Product:
        there = _placed.load(paths[1], voxel_um, fixed_slices)
        here = _placed.load(paths[0], voxel_um, moving_slices)
        hand = None if pose is None else poses.read(Path(pose), here.name)
        found = _by_names(_found(there, here, method, options, hand, context), here.name, there.name)
        grid, to_fixed = place.of(there, found.transform)
        whole = found.transform.after(to_fixed)
        results = _results(found) | _placed.placement(whole) | {"method": method}
        files = [_placed.beside(target, whole)]
        if place.elsewhere:
            results["fixed_matrix"] = found.transform.matrix.tolist()
            files.append(_placed.beside(target, to_fixed, ".fixed"))
        pieces = [piece.after(to_fixed) for piece in found.pieces]
        files += [_placed.beside(target, p.transform, f".piece{n}") for n, p in enumerate(pieces, start=1)]
        _placed.write(partial, here, grid, whole, interpolation, context, pieces)
        return _placed.product(here, grid, whole, results, files)

    more = [Path(p) for p in (pose, *place.inputs) if p is not None]
    return produce(target, "register", parameters, [*paths, *more], work, overwrite=overwrite)


@dataclass(frozen=True)
class _Place:
    """Where the moving volume is written: on the fixed grid, in a frame, or halfway."""

    frame: Path | None
    symmetric: bool

    @property
    def elsewhere(self) -> bool:
        """Whether it is not the fixed grid."""
        return self.frame is not None or self.symmetric

    @property
    def inputs(self) -> list[Path]:
        """What is read for it."""
        return [] if self.frame is None else [self.frame, self._beside(self.frame)]

    @staticmethod
    def _beside(frame: Path) -> Path:
        path = frame.with_name(f"{frame.name}.tfm")
        if not path.is_file():
            raise MissingInputError(f"{path} does not exist; the transform of a frame stands beside it.")
        return path

    def of(self, fixed: Volume, transform: Transform) -> tuple[Grid, Transform]:
        """Return the grid, and the map from it to the fixed volume."""
        if self.frame is not None:
            return open_volume(self.frame).grid, read_transform(self._beside(self.frame))
        if self.symmetric:
            return halfway(fixed, transform)
        return fixed.grid, Transform.identity()


def _refuse_settings(method: str, kind: str, mirror: bool, part: str | Share, place: _Place) -> None:
    if method not in METHODS:
        raise SettingsError(f"The method is one of {', '.join(METHODS)}, not {method!r}.")
    if method == "published" and (kind != "rigid" or mirror or part not in (AUTO, "whole")):
        raise SettingsError(
            "The published method is rigid, of the whole bone, and never mirrors; use the default method."
        )
    if place.symmetric and (kind != "rigid" or mirror or place.frame is not None):
        raise SettingsError("Only a rigid map that does not mirror has a half, and it has no other frame.")


def _found(
    fixed: Volume,
    moving: Volume,
    method: str,
    options: Options,
    hand: tuple[poses.Entry, Transform | None] | None,
    context: Context,
) -> Registration:
    """Return the pose, as a person's review has it where there is one."""
    entry, start = hand or (poses.Entry(), None)
    if start is not None and not entry.refine:
        found = judge(fixed, moving, start, mapper=context.map)
        found = replace(found, notes=("The pose is one given by hand, taken as it is.",))
    elif method == "published" and start is None:
        found = register_published(
            fixed, moving, initial_angles=options.initial_angles, seed=_SEED, mapper=context.map
        )
    else:
        found = align(fixed, moving, replace(options, start=start), mapper=context.map)
    if entry.note:
        found = replace(found, notes=(*found.notes, f"Review: {entry.note}"))
    if entry.accepted and found.review:
        said = ("A person looked and accepted the pose, in spite of: " + " ".join(found.reasons),)
        found = replace(found, review=False, reasons=(), notes=(*found.notes, *said))
    return found


def _by_names(found: Registration, moving: str, fixed: str) -> Registration:
    """Return a pose, marked where the sides that names say and the form that fits contradict each other."""
    here, there = _placed.said_side(moving), _placed.said_side(fixed)
    if found.mirror_fits is None or None in (here, there) or (here != there) == found.mirror_fits:
        return found
    if found.mirror_fits:
        says = f"Both bones are named {here}, but the mirror image fits better"
    else:
        says = f"The bones are named {here} and {there}, but fit each other unmirrored"
    reasons = (*found.reasons, f"{says}: one of the names is wrong, or one of the bones.")
    return replace(found, review=True, confidence=0.0, reasons=reasons)


def _results(found: Registration) -> dict[str, Any]:
    return {
        "kind": str(found.transform.kind),
        "part": None if found.part is None else list(found.part),
        "correlation": found.correlation,
        "overlap": found.overlap,
        "coverage": found.coverage,
        "mutual_information": found.mutual_information,
        "confidence": found.confidence,
        "review": found.review,
        "reasons": list(found.reasons),
        "notes": list(found.notes),
        "mirrored_correlation": found.mirrored_correlation,
        "mirror_fits": found.mirror_fits,
        "expected_error_um": found.expected_error_um,
        **_checks(found),
    }


def _checks(found: Registration) -> dict[str, Any]:
    """Return what was found besides the pose; null for a pose that was found elsewhere."""
    growth = found.growth
    ends = {"proximal_mm": growth.proximal_mm, "distal_mm": growth.distal_mm} if growth else {}
    rest = {"total_mm": growth.total_mm, "reasons": list(growth.reasons)} if growth else {}
    return {
        "inverse_error_um": found.inverse_error_um,
        "growth": ends | rest if growth else None,
        "fragments": [_as_results(fragment) for fragment in found.fragments],
    }


def _as_results(fragment: Fragment) -> dict[str, Any]:
    """Return where a fragment lies in FIXED, its own matrix, and the plane of the break."""
    piece = fragment.piece
    return {
        "first": fragment.first,
        "last": fragment.last,
        "moved_mm": fragment.moved_mm,
        "matrix": piece.transform.matrix.tolist(),
        "normal": piece.normal.tolist(),
        "level_mm": piece.level,
    }
