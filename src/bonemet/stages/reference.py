"""Reference: the mean of a cohort's tibiae, upright, for others to be aligned with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bonemet.core.context import SILENT, Context
from bonemet.core.errors import SettingsError
from bonemet.core.ids import SIDES
from bonemet.io import stacks
from bonemet.registration import MeanShape, mean_shape
from bonemet.stages import _placed
from bonemet.stages._placed import WHOLE
from bonemet.stages.outcome import Outcome, Product, produce


def reference(
    out: str | Path,
    bones: Sequence[str | Path],
    *,
    side: str = "left",
    voxel_um: float | None = None,
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Make a reference from a cohort: the mean shape of several tibiae, knee first, crest to the top.

    Parameters
    ----------
    out
        Folder for the reference; put it where ``refdir`` points to, under a name that says its side.
    bones
        Two stacks or more of healthy tibiae (week 0), under names that say their sides, as
        ``871 week 0 left tibia``.
    side
        Whose form the reference has, ``left`` or ``right``; bones of the other side are mirrored.
    voxel_um
        Voxel size of all that overrides log and header.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    context
        Workers and progress.

    Returns
    -------
    Outcome
        ``side``, ``rounds``, ``moved_voxels`` (in the last round), ``members``: for each bone ``name``,
        ``side``, ``mirrored``, ``scale``, ``correlation``, ``matrix`` (4 x 4, takes points of OUT to
        points of the bone) and ``reasons`` to look at it.

    Raises
    ------
    InputError
        If there are fewer than two bones, a name does not say its side, or grey values differ in meaning.
    SettingsError
        If a setting makes no sense.
    """
    if side not in SIDES:
        raise SettingsError(f"A side is left or right, not {side!r}.")
    paths = [Path(bone) for bone in bones]

    def work(partial: Path) -> Product:
        loaded = [_placed.load(path, voxel_um, WHOLE) for path in paths]
        sides = [
            _placed.side_of(volume.name or path.name) for volume, path in zip(loaded, paths, strict=True)
        ]
        with context.progress("reference", len(paths)) as tick:
            made = mean_shape(loaded, sides, side=side, mapper=context.map, tick=tick)
        data = made.volume.array()
        stacks.write_slices(partial, f"reference {side} tibia ", iter(data), format=_placed.form(data))
        warnings = [f"{m.name}: {reason}" for m in made.members for reason in m.reasons]
        name = f"reference {side} tibia"
        return Product(_results(made), name, made.volume.grid, made.volume.quantity, warnings)

    parameters = {"side": side, "voxel_um": voxel_um}
    return produce(Path(out), "reference", parameters, paths, work, overwrite=overwrite)


def _results(made: MeanShape) -> dict[str, Any]:
    members = [
        {
            "name": m.name,
            "side": m.side,
            "mirrored": m.transform.mirrored,
            "scale": m.scale,
            "correlation": m.correlation,
            "matrix": m.transform.matrix.tolist(),
            "reasons": list(m.reasons),
        }
        for m in made.members
    ]
    return {
        "side": made.side,
        "rounds": made.rounds,
        "moved_voxels": made.moved_voxels,
        "review": any(m.reasons for m in made.members),
        "members": members,
    }
