"""The published cropper of composites."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bonemet.core.context import SILENT, Context
from bonemet.core.errors import BonemetError, InputError, MissingInputError, SettingsError, StopRequestedError
from bonemet.io import stacks
from bonemet.io.output import partial_path
from bonemet.stages.crop import crop
from bonemet.stages.outcome import Outcome

_BELOW = "first_slice_selected_below_t-f_junction"
_ABOVE = "first_slice_selected_above_t-f_junction"
_KEYS = ("foldername", "first_slice_selected", "last_slice_selected", _BELOW, _ABOVE)


class RoICompositeCropper:
    """Crops composites below the proximal tibia-fibula junction, as the paper's third API does.

    Parameters
    ----------
    config
        The published keys, all optional: ``foldername``, ``first_slice_selected``, ``last_slice_selected``,
        ``first_slice_selected_below_t-f_junction``. The paper's example sets that last key and reads
        ``first_slice_selected_above_t-f_junction``; both spellings are taken, and both mean slices below.
    length_mm
        Length of the region; 3 mm are the published 300 slices of 10 um.
    keep_fibula
        Whether the fibula stays.
    voxel_um
        Voxel size, for composites that do not bring theirs.
    context
        Workers and progress.

    Raises
    ------
    SettingsError
        If the config has unknown keys, or values that contradict each other.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        length_mm: float = 3.0,
        keep_fibula: bool = False,
        voxel_um: float | None = None,
        context: Context = SILENT,
    ) -> None:
        unknown = sorted(set(config) - set(_KEYS))
        if unknown:
            raise SettingsError(
                f"RoICompositeCropper does not know the config key {', '.join(map(repr, unknown))}; "
                f"it knows {', '.join(map(repr, _KEYS))}."
            )
        spellings = {slice_number(config[k], k) for k in (_BELOW, _ABOVE) if k in config}
        if len(spellings) > 1:
            raise SettingsError(f"The config's {_BELOW!r} and {_ABOVE!r} differ; give one of them.")
        self.config = dict(config)
        self._below = spellings.pop() if spellings else None
        self._length_mm = length_mm
        self._keep_fibula = keep_fibula
        self._voxel_um = voxel_um
        self._context = context

    def crop_roi(
        self,
        input_folder: str | Path,
        output_folder: str | Path | None = None,
        first_slice_selected: object = None,
        last_slice_selected: object = None,
        first_slice_below_tf_junction: object = None,
        *,
        overwrite: bool = False,
    ) -> list[Outcome]:
        """Crop one composite, or every composite in a folder.

        Parameters
        ----------
        input_folder
            Slices of one composite, or a folder whose sub-folders hold one composite each.
        output_folder
            For one composite the folder of its region, else the folder of all regions, each named as its
            composite; by default the config's ``foldername`` within the input folder.
        first_slice_selected, last_slice_selected
            Slice numbers, also as text; None, or text that is no number (the paper's config holds such),
            means found automatically.
        first_slice_below_tf_junction
            Slices between the junction and the start of the region; 0 where it is None or no number.
        overwrite
            Whether output folders that hold something else may be replaced.

        Returns
        -------
        list[Outcome]
            One for each composite, see :func:`bonemet.crop`.

        Raises
        ------
        InputError
            If composites could not be cropped; every one of them is named, and the others are done.
        """
        source = Path(input_folder)
        target = self._target(source, output_folder)
        first = self._given(first_slice_selected, "first_slice_selected")
        last = self._given(last_slice_selected, "last_slice_selected")
        below = slice_number(first_slice_below_tf_junction, "first_slice_below_tf_junction")
        below = self._below if below is None else below
        done: list[Outcome] = []
        failed: list[str] = []
        pairs = _pairs(source, target)
        for composite, out in pairs:
            try:
                done.append(
                    crop(
                        composite,
                        out,
                        first_slice=first,
                        last_slice=last,
                        below_junction=below or 0,
                        length_mm=self._length_mm,
                        keep_fibula=self._keep_fibula,
                        voxel_um=self._voxel_um,
                        overwrite=overwrite,
                        context=self._context,
                    )
                )
            except StopRequestedError:
                raise
            except BonemetError as error:
                if len(pairs) == 1:
                    raise
                failed.append(f"{composite.name}: {error}")
        if failed:
            raise InputError(
                f"{len(failed)} of {len(pairs)} composites could not be cropped, the others are in {target}: "
                + " ".join(failed)
            )
        return done

    def _given(self, value: object, key: str) -> int | None:
        """Return a slice number from an argument, or from the config where the argument says nothing."""
        return slice_number(self.config.get(key) if value is None else value, key)

    def _target(self, source: Path, output_folder: str | Path | None) -> Path:
        """Return the output folder, which the config may name within the input folder."""
        if output_folder is not None:
            return Path(output_folder)
        name = self.config.get("foldername")
        if not name:
            raise SettingsError(
                "An output folder is needed: give output_folder, or 'foldername' in the config."
            )
        return source / str(name)


def slice_number(value: object, name: str) -> int | None:
    """Return a slice number, or None for None and for text that is no number.

    Raises
    ------
    SettingsError
        If it is a number that is not whole, or something else.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        raise SettingsError(f"{name} must be a slice number, a text or None, not {value}.")
    try:
        number = float(value)  # type: ignore[arg-type]  # anything may stand here; what is no number is refused
    except ValueError:
        return None
    except TypeError:
        raise SettingsError(f"{name} must be a slice number, a text or None, not {value!r}.") from None
    if not math.isfinite(number):  # text such as "nan" is no slice
        return None
    if not number.is_integer():
        raise SettingsError(f"{name} must be a whole slice number, not {value}.")
    return int(number)


def _pairs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Return composites and the folders of their regions.

    Raises
    ------
    MissingInputError
        If the folder is missing, or neither it nor a sub-folder holds slices.
    """
    if not source.is_dir():
        raise MissingInputError(f"{source} is not a folder; give the folder of one or more composites.")
    if stacks.find_series(source):
        return [(source, target)]
    own = {target.resolve(), partial_path(target).resolve()}
    found = [
        p
        for p in sorted(source.iterdir())
        if p.is_dir() and p.resolve() not in own and not p.name.endswith(".partial") and stacks.find_series(p)
    ]
    if not found:
        raise MissingInputError(f"{source} holds no slices, nor does a folder in it; give the composites.")
    return [(p, target / p.name) for p in found]
