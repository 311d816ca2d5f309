"""The published segmentation class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bonemet.core.context import SILENT, Context
from bonemet.core.errors import BonemetError, InputError, MissingInputError, SettingsError
from bonemet.core.ids import ScanKey
from bonemet.segmentation.threshold import PUBLISHED
from bonemet.stages.outcome import Outcome
from bonemet.stages.segment import Left, Method, segment

_KEYS = ("week", "masterfolder", "masterout")


class ReconCTSegmentation:
    """Splits reconstructions into spine, femora and tibiae, as the paper's first API does.

    Parameters
    ----------
    config
        The published keys, all optional: ``week`` (``" week 0"``), ``masterfolder``, ``masterout``.
    method
        ``default``, or ``published`` for the paper's own method.
    threshold
        Bone is grey >= threshold; the published one by default. Also ``0.12/mm`` and other choices of
        :func:`bonemet.stages.segment.segment`.
    left
        At which end of the columns the left leg lies.
    voxel_um
        Voxel size, for stacks that do not bring theirs.
    review
        A review file, in which a person changes or accepts what was found.
    overwrite
        Whether earlier results may be replaced.
    context
        Workers and progress.

    Raises
    ------
    SettingsError
        If the config has unknown keys, or a week without a number.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        method: Method = "default",
        threshold: float | str | None = PUBLISHED,
        left: Left = "low-x",
        voxel_um: float | None = None,
        review: str | Path | None = None,
        overwrite: bool = False,
        context: Context = SILENT,
    ) -> None:
        unknown = sorted(set(config) - set(_KEYS))
        if unknown:
            raise SettingsError(
                f"ReconCTSegmentation does not know the config key {', '.join(map(repr, unknown))}; "
                f"it knows {', '.join(map(repr, _KEYS))}."
            )
        self.config = dict(config)
        self._week = _week(config.get("week"))
        self._settings: dict[str, Any] = {
            "method": method,
            "threshold": threshold,
            "left": left,
            "voxel_um": voxel_um,
            "review": review,
            "overwrite": overwrite,
            "context": context,
        }

    def split_image(
        self, input_folder: str | Path, image_title: str, output_folder: str | Path | None = None
    ) -> Outcome:
        """Split one reconstruction into its bones.

        Parameters
        ----------
        input_folder
            Folder of slices, or volume file.
        image_title
            Animal (``871``), with or without the week.
        output_folder
            Where the scan's folder is made; the config's ``masterout`` by default.

        Returns
        -------
        Outcome
            Of the folder ``OUTPUT_FOLDER/871 week 0``, which holds the bones
            (``871 week 0 left tibia``, ...) and ``labels.nii.gz``.

        Raises
        ------
        SettingsError
            If neither an output folder nor ``masterout`` is given.
        InputError
            If the input cannot be used.
        """
        where = output_folder if output_folder is not None else self.config.get("masterout")
        if where is None:
            raise SettingsError("split_image needs an output folder, or the config key 'masterout'.")
        title = self._title(str(image_title))
        return segment(input_folder, Path(where) / title, name=title, **self._settings)

    def batch_split(
        self, image_titles: Sequence[str] | None = None, output_folder: str | Path | None = None
    ) -> dict[str, Outcome]:
        """Split several reconstructions of the ``masterfolder``; one that fails does not keep the rest.

        Parameters
        ----------
        image_titles
            Animals (``871``) to split, all by default: the folders ``MASTERFOLDER/871/week 0`` of the
            config's week, or ``MASTERFOLDER/871`` where there is none.
        output_folder
            As of :meth:`split_image`.

        Returns
        -------
        dict
            Outcomes by title.

        Raises
        ------
        SettingsError
            If the config has no ``masterfolder``.
        InputError
            At the end, naming every scan that failed and why; the others are done.
        """
        master = self.config.get("masterfolder")
        if master is None:
            raise SettingsError("batch_split needs the config key 'masterfolder'.")
        root = Path(master)
        if not root.is_dir():
            raise MissingInputError(f"The masterfolder {root} does not exist; check the config.")
        titles = list(image_titles or sorted(p.name for p in root.iterdir() if p.is_dir()))
        done: dict[str, Outcome] = {}
        failed: list[str] = []
        for title in titles:
            try:
                done[title] = self.split_image(self._scan(root, str(title)), str(title), output_folder)
            except BonemetError as error:
                failed.append(f"{title}: {error}")
        if failed:
            raise InputError(
                f"{len(failed)} of {len(titles)} scans were not split ({len(done)} were). " + " ".join(failed)
            )
        return done

    def _scan(self, root: Path, title: str) -> Path:
        """Return an animal's folder of slices: that of the config's week, else its own."""
        week = None if self._week is None else root / title / f"week {self._week}"
        return week if week is not None and week.is_dir() else root / title

    def _title(self, image_title: str) -> str:
        """Return animal and week: the title's own week, else the config's."""
        text = image_title.strip()
        if not text:
            raise SettingsError("split_image needs the animal's name as the image title, such as '871'.")
        try:
            key = ScanKey.parse(text)
        except InputError:
            return text if self._week is None else f"{text} week {self._week}"
        return f"{key.animal} week {key.week}"


def _week(value: Any) -> int | None:
    """Return the number of a week given as 0, ``"0"``, ``"week 0"`` or ``" week 0"``."""
    if value is None:
        return None
    match = re.fullmatch(r"\s*(?:week[\s_-]*)?(\d+)\s*", str(value), re.IGNORECASE)
    if match is None:
        raise SettingsError(f"The config's 'week' is a week such as ' week 0', not {value!r}.")
    return int(match[1])
