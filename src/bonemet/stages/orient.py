"""Orient: a tibia set upright by its own anatomy."""

from __future__ import annotations

from pathlib import Path

from bonemet.core.context import SILENT, Context
from bonemet.kernels.interpolate import Order
from bonemet.registration import Model, anatomical_frame, frame_by_model
from bonemet.stages import _placed
from bonemet.stages._placed import WHOLE, SliceRange
from bonemet.stages.outcome import Outcome, Product, produce


def orient(
    moving: str | Path,
    out: str | Path,
    *,
    side: str,
    model: str | Path | None = None,
    interpolation: Order = "cubic",
    moving_slices: SliceRange = WHOLE,
    voxel_um: float | None = None,
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Set a tibia upright by its anatomy and write it so: knee first, crest to the top of each slice.

    Parameters
    ----------
    moving
        Volume of one tibia.
    out
        Folder for the upright stack; the transform stands beside it, in ``OUT.tfm``.
    side
        ``left`` or ``right``; checked against where the fibula lies, and with a model against both its forms.
    model
        A reference (the output of ``reference``, or any upright tibia whose name says its side): the bone is
        turned about its own long axis as the reference is. By its crest alone where None.
    interpolation, moving_slices, voxel_um, overwrite, context
        As in :func:`bonemet.stages.register.register`.

    Returns
    -------
    Outcome
        ``matrix`` (4 x 4, takes points of the upright stack to points of MOVING), ``confidence``,
        ``review`` with ``reasons``, ``translation_mm``, ``angle_deg``, ``mirrored`` (never).

    Raises
    ------
    InputError
        If the input is empty, holds labels or no long bone.
    SettingsError
        If a setting makes no sense.
    """
    _placed.refuse_interpolation(interpolation)
    target = Path(out)
    parameters = {
        "side": side,
        "interpolation": interpolation,
        "moving_slices": list(moving_slices),
        "voxel_um": voxel_um,
    }

    def work(partial: Path) -> Product:
        here = _placed.load(Path(moving), voxel_um, moving_slices)
        if model is None:
            frame = anatomical_frame(here, side, context.map)
        else:
            frame = frame_by_model(here, side, _model(Path(model)), context.map)
        results = _placed.placement(frame.transform) | {
            "confidence": frame.confidence,
            "review": frame.review,
            "reasons": list(frame.reasons),
            "side": side,
        }
        _placed.write(partial, here, frame.grid, frame.transform, interpolation, context)
        files = [_placed.beside(target, frame.transform)]
        return _placed.product(here, frame.grid, frame.transform, results, files)

    inputs = [Path(p) for p in (moving, model) if p is not None]
    return produce(target, "orient", parameters, inputs, work, overwrite=overwrite)


def _model(path: Path) -> Model:
    """Return a reference, its side read from its name."""
    volume = _placed.load(path, None, WHOLE)
    return Model(volume, _placed.side_of(volume.name or path.name))
