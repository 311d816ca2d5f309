"""The published class for aligning tibiae (Figure 5 of the paper)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bonemet.core.context import SILENT, Context
from bonemet.core.errors import BonemetError, InputError, MissingInputError, SettingsError
from bonemet.core.ids import ScanKey
from bonemet.io.imagefiles import is_image_file, stem
from bonemet.io.slicefiles import SUFFIXES
from bonemet.stages._placed import SliceRange
from bonemet.stages.orient import orient
from bonemet.stages.outcome import Outcome
from bonemet.stages.register import register

KEYS: Final = (
    "workspace",
    "outputdir",
    "refdir",
    "img_z_range",
    "ref_z_range",
    "initial_transform_angles",
    "BASELINE_REG",
)


@dataclass(frozen=True)
class _Settings:
    """The published settings, checked."""

    workspace: Path | None
    outputdir: Path | None
    refdir: Path | None
    img_z_range: SliceRange
    ref_z_range: SliceRange
    angles: tuple[float, ...] | None
    baseline: bool


class CTRegistration:
    """Aligns tibiae: week 0 to a reference, later weeks to the same animal's week 0.

    Parameters
    ----------
    config
        The published keys, all optional. ``workspace``: where relative input folders begin.
        ``outputdir``: where registered stacks stand. ``refdir``: the reference (a stack, a volume file, or
        a folder that holds one); without it week 0 is set upright by its own anatomy. ``img_z_range``,
        ``ref_z_range``: first slice and the one after the last of target and reference.
        ``initial_transform_angles``: axial angles in radian to begin from; the whole circle by default.
        ``BASELINE_REG``: True for week 0 (the default), False for later weeks.
    context
        Workers and progress.

    Raises
    ------
    SettingsError
        If a key is not known or a value makes no sense.
    """

    def __init__(self, config: Mapping[str, Any], *, context: Context = SILENT) -> None:
        self.config = dict(config)
        self._settings = _read(config)
        self._context = context

    def register_ct(self, input_folder: str, ct_id: str, week: int, output_folder: str) -> Outcome:
        """Align one tibia and write it, with its transform, to ``output_folder/ct_id``.

        Parameters
        ----------
        input_folder
            Folder that holds the segmented tibia under its name.
        ct_id
            Name of the tibia (``871 week 0 left tibia``); case, blanks and underscores do not matter.
        week
            Week of the scan; must be that of the name, where the name says one.
        output_folder
            Where to write.

        Returns
        -------
        Outcome
            As of :func:`bonemet.stages.register.register`.

        Raises
        ------
        MissingInputError
            If the tibia, the reference or week 0 is not there.
        InputError
            If the names contradict each other.
        """
        s = self._settings
        source = Path(input_folder)
        if s.workspace is not None and not source.is_dir():
            source = s.workspace / source
        key = _key(ct_id, week)
        moving = _find(source, ct_id)
        out = Path(output_folder) / ct_id
        if s.baseline and s.refdir is None:
            return self._orient(moving, key, out)
        fixed = self._reference(key) if s.baseline else self._week_0(key, Path(output_folder))
        if moving.resolve() == fixed.resolve():
            raise InputError(f"{ct_id} would be registered to itself; set BASELINE_REG to True for week 0.")
        return register(
            moving,
            fixed,
            out,
            initial_angles=s.angles,
            moving_slices=s.img_z_range,
            fixed_slices=s.ref_z_range,
            context=self._context,
        )

    def batch_register(
        self, input_folder: str, ct_ids: Sequence[str], week: int, output_folder: str
    ) -> dict[str, Outcome]:
        """Align several tibiae; one that fails does not keep the rest from being done.

        A name that says another week than ``week`` is aligned as of its own week.

        Returns
        -------
        dict
            Outcomes by name.

        Raises
        ------
        InputError
            At the end, naming every tibia that failed and why; the others are done.
        """
        done: dict[str, Outcome] = {}
        failed: list[str] = []
        for ct_id in ct_ids:
            try:
                done[ct_id] = self.register_ct(input_folder, ct_id, _week_of(ct_id, week), output_folder)
            except BonemetError as error:
                failed.append(f"{ct_id}: {error}")
        if failed:
            raise InputError(
                f"{len(failed)} of {len(ct_ids)} tibiae were not registered ({len(done)} were). "
                + " ".join(failed)
            )
        return done

    def _orient(self, moving: Path, key: ScanKey | None, out: Path) -> Outcome:
        if key is None or key.side is None:
            raise InputError(
                f"Without a reference {moving.name} is set upright by its anatomy, which takes its side; "
                "name it as in '871 week 0 left tibia', or give a refdir."
            )
        return orient(
            moving,
            out,
            side=key.side,
            moving_slices=self._settings.img_z_range,
            context=self._context,
        )

    def _reference(self, key: ScanKey | None) -> Path:
        """Return the reference in ``refdir``: the folder or file itself, or the one that fits in it."""
        root = self._settings.refdir
        assert root is not None
        if not root.exists():
            raise MissingInputError(f"The reference folder {root} does not exist; check refdir.")
        if root.is_file() or _holds_slices(root):
            return root
        found = _volumes(root)
        if len(found) > 1 and key is not None and key.side is not None:
            found = [p for p in found if key.side in p.name.lower()] or found
        if len(found) == 1:
            return found[0]
        if not found:
            raise MissingInputError(f"{root} holds no reference; put a stack or volume of a tibia there.")
        names = ", ".join(p.name for p in found[:4])
        raise InputError(f"{root} holds more than one reference ({names}); give the one that is meant.")

    def _week_0(self, key: ScanKey | None, output_folder: Path) -> Path:
        """Return the same tibia's registered week 0."""
        if key is None:
            raise InputError(
                "A later week is aligned with the same animal's week 0, so its name must say animal and "
                "week, as in '871 week 3 left tibia'."
            )
        wanted = ScanKey(key.animal, 0, key.side, key.bone)
        s = self._settings
        roots = [r for r in (s.refdir, s.outputdir, output_folder) if r is not None]
        # beside a folder of a later week ("Regist-CT/week 3") stands that of week 0
        roots += [r.parent / "week 0" for r in roots]
        for root in roots:
            found = _find_week_0(root, wanted) if root.is_dir() else None
            if found is not None:
                return found
        places = " and ".join(dict.fromkeys(str(r) for r in roots[: len(roots) // 2]))
        raise MissingInputError(f"No registered {wanted} was found in {places}; register week 0 first.")


def _read(config: Mapping[str, Any]) -> _Settings:
    unknown = [key for key in config if key not in KEYS]
    if unknown:
        names = ", ".join(repr(k) for k in unknown)
        raise SettingsError(f"CTRegistration does not know {names}; its keys are {', '.join(KEYS)}.")
    baseline = config.get("BASELINE_REG", True)
    if not isinstance(baseline, bool):
        raise SettingsError(f"BASELINE_REG is True or False, not {baseline!r}.")
    return _Settings(
        _path(config, "workspace"),
        _path(config, "outputdir"),
        _path(config, "refdir"),
        _range(config, "img_z_range"),
        _range(config, "ref_z_range"),
        _angles(config),
        baseline,
    )


def _path(config: Mapping[str, Any], key: str) -> Path | None:
    value = config.get(key)
    return None if value in (None, "") else Path(str(value))


def _range(config: Mapping[str, Any], key: str) -> SliceRange:
    value = config.get(key)
    if value is None:
        return (None, None)
    try:
        first, last = (None if v is None else int(v) for v in value)
    except (TypeError, ValueError):
        raise SettingsError(f"{key} is a first slice and the one after the last, not {value!r}.") from None
    return first, last


def _angles(config: Mapping[str, Any]) -> tuple[float, ...] | None:
    value = config.get("initial_transform_angles")
    if value is None:
        return None
    try:
        angles = tuple(float(a) for a in value)
    except (TypeError, ValueError):
        raise SettingsError(f"initial_transform_angles is a list of radians, not {value!r}.") from None
    if not angles:
        raise SettingsError("initial_transform_angles is empty; leave it out to search the whole circle.")
    return angles


def _key(ct_id: str, week: int) -> ScanKey | None:
    """Return what a name says, or None where it says no animal and week."""
    try:
        key = ScanKey.parse(ct_id)
    except InputError:
        return None
    if key.week != week:
        raise InputError(f"{ct_id} says week {key.week}, but week {week} was given.")
    return key


def _week_of(ct_id: str, week: int) -> int:
    try:
        return ScanKey.parse(ct_id).week
    except InputError:
        return week


def _words(text: str) -> list[str]:
    """Return words and numbers of a name, each once, in alphabetical order: all that spellings share."""
    return sorted(set(re.findall(r"[a-z]+|\d+", text.lower())))


def _candidates(folder: Path) -> list[tuple[Path, list[str]]]:
    """Return what may be volumes in a folder and the folders in it, with the words of their names.

    So ``871 week 0 left tibia``, the dataset's ``871 left tibia/week 0`` and what ``split_image`` writes,
    ``871 week 0/871 week 0 left tibia``, are all found.
    """
    inner = [p for p in sorted(folder.iterdir()) if p.is_dir() and not _holds_slices(p)]
    found = [(p, _words(_title(p))) for p in _volumes(folder)]
    return found + [(p, _words(f"{q.name} {_title(p)}")) for q in inner for p in _volumes(q)]


def _find(folder: Path, ct_id: str) -> Path:
    """Return the stack or volume file of a name, tolerant of spelling."""
    if not folder.is_dir():
        raise MissingInputError(f"{folder} is not a folder; give the folder that holds the segmented tibiae.")
    if (folder / ct_id).exists():
        return folder / ct_id
    found = [p for p, words in _candidates(folder) if words == _words(ct_id)]
    if len(found) > 1:
        names = ", ".join(str(p.relative_to(folder)) for p in found)
        raise InputError(f"{folder} holds {ct_id} more than once ({names}); remove what is not meant.")
    if not found:
        raise MissingInputError(f"{folder} holds no {ct_id!r}; check the name.")
    return found[0]


def _find_week_0(folder: Path, wanted: ScanKey) -> Path | None:
    """Return the stack of a tibia in a folder; its name may say more (``registered``), or not at all."""
    words = set(_words(str(wanted)))
    found = [(len(w), p) for p, w in _candidates(folder) if words <= set(w) and "composite" not in w]
    return min(found)[1] if found else None


def _title(path: Path) -> str:
    return path.name if path.is_dir() else stem(path)


def _volumes(folder: Path) -> list[Path]:
    """Return what may be volumes in a folder: folders with slices, and volume files."""
    return sorted(
        p for p in folder.iterdir() if (p.is_dir() and _holds_slices(p)) or (p.is_file() and is_image_file(p))
    )


def _holds_slices(folder: Path) -> bool:
    return any(p.suffix.lower() in SUFFIXES and p.is_file() for p in folder.iterdir())
