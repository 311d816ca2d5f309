"""Everything for a study: the whole story on one screen.

Raw scans in ``STUDY/Imagery_Dataset/Rotation-X-ray`` become the other components of the dataset,
the record and the report. Each stage's output is whole or not there, and work that is finished
is not done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from bonemet.core.context import SILENT, Context, Tick
from bonemet.core.errors import BonemetError, InputError, MissingInputError
from bonemet.core.ids import SIDES, ScanKey
from bonemet.dataset import derived, layout, review, settings
from bonemet.dataset.layout import Component
from bonemet.io import sidecar
from bonemet.records import table
from bonemet.stages.collect import collect
from bonemet.stages.composite import composite
from bonemet.stages.crop import crop
from bonemet.stages.measure_bone import measure_bone
from bonemet.stages.orient import orient
from bonemet.stages.outcome import Outcome, peak_memory_mb
from bonemet.stages.reconstruct import reconstruct
from bonemet.stages.register import register
from bonemet.stages.segment import segment
from bonemet.workflows.ledger import Ledger
from bonemet.workflows.place import place_bone, remove_bone

TELLING = ("reconstruct", "segment", "register")  # the other steps' notes stand in the report only
STEPS_PER_SCAN = 2
STEPS_PER_TIBIA = 4


def run(study: str | Path, *, overwrite: bool = False, context: Context = SILENT) -> Outcome:
    """Do everything for a study: reconstruct, segment, register, overlay, crop, measure, record, report.

    Parameters
    ----------
    study
        Folder that holds ``Imagery_Dataset/Rotation-X-ray/<animal>/week <n>/`` with raw scans, and
        perhaps ``study.toml`` and ``MiceMediRec Dataset/record.csv``.
    overwrite
        Whether results that other settings made are replaced.
    context
        Threads, memory and progress.

    Returns
    -------
    Outcome
        ``scans`` and ``tibiae`` with what became of each; a scan or bone that failed is named in the
        warnings, and the rest goes on.

    Raises
    ------
    MissingInputError
        If the study holds no raw scan.
    InputError
        If no scan could be reconstructed, or the record cannot be read.
    """
    from bonemet.reporting.report import report

    start = time.perf_counter()
    root = Path(study)
    scans = layout.find(root, Component.ROTATION_XRAY)
    if not scans:
        raise MissingInputError(
            f"No raw scan in {root}; scans belong in "
            f"{layout.folder(root, Component.ROTATION_XRAY, ScanKey('871', 0))} and the like."
        )
    if layout.record_path(root).is_file():
        table.read(layout.record_path(root))  # a record that cannot be joined is told before the long work
    work = _Run(root, overwrite, context)
    animals = sorted({key.animal for key, _ in scans})
    later = sum(max(0, sum(k.animal == a for k, _ in scans) - 2) for a in animals)  # laid on the week before
    total = STEPS_PER_SCAN * len(scans) + (STEPS_PER_TIBIA * len(scans) + later) * len(SIDES)
    with context.progress("Study", total) as tick:
        work.tick = tick
        for key, path in scans:
            work.guarded(lambda key=key, path=path: work.scan(key, path))  # type: ignore[misc]
        for animal in animals:
            weeks = sorted(key.week for key, _ in scans if key.animal == animal)
            for side in SIDES:
                work.guarded(lambda a=animal, s=side, w=weeks: work.tibia(a, s, w))  # type: ignore[misc]
    if not any((work.folder(Component.RECON_CT, key) / sidecar.NAME).is_file() for key, _ in scans):
        raise InputError(f"No scan of {root} could be reconstructed; the first fault: {work.failures[0]}")
    done_before = work.ledger.nothing_done
    work.ledger.write()
    outcome = collect(root)
    page = report(root, context=context)
    results = {
        "scans": [str(key) for key, _ in scans],
        "threshold": work.first_threshold,
        "failed": work.failures,
        "review": outcome.results["review"],
        "report": page.outputs[0],
    }
    return Outcome(
        [str(root), *outcome.outputs, *page.outputs],
        time.perf_counter() - start,
        peak_memory_mb(),
        [*work.failures, *work.warnings],
        results,
        done_before=done_before and outcome.done_before,
    )


class _Run:
    """The state of one run: the study's threshold, what failed, what was timed."""

    def __init__(self, root: Path, overwrite: bool, context: Context) -> None:
        self.root = root
        self.overwrite = overwrite
        self.context = context
        self.settings = settings.read(root)
        self.choice = self.settings.segmentation.threshold
        self.thresholds: dict[tuple[str, int], float] = {}
        self.revised: set[str] = set()
        self.ledger = Ledger(root)
        self.failures: list[str] = []
        self.warnings: list[str] = []
        self.tick: Tick = lambda n: None

    @property
    def first_threshold(self) -> float | None:
        """The threshold of the first scan that was segmented."""
        return next(iter(self.thresholds.values()), None)

    def threshold(self, key: ScanKey) -> float | None:
        """Return the grey value of the study's one threshold in a scan."""
        return self.thresholds.get((key.animal, key.week), self.first_threshold)

    def replaces(self, key: ScanKey) -> bool:
        """Tell whether earlier results may be replaced: by leave, or since a person's review has changed."""
        return self.overwrite or key.animal in self.revised

    def guarded(self, work: Callable[[], None]) -> None:
        """Do one scan's or bone's work; where it fails, note why and let the rest go on."""
        try:
            work()
        except BonemetError as error:
            self.failures.append(str(error))

    def step(self, name: str, key: ScanKey, work: Callable[[], Outcome]) -> Outcome:
        """Do one step, time it, and keep its warnings."""
        outcome = work()
        self.ledger.add(name, str(key), outcome)
        if name in TELLING:
            self.warnings.extend(f"{key}, {name}: {w}" for w in outcome.warnings)
        self.tick(1)
        return outcome

    def folder(self, component: Component, key: ScanKey) -> Path:
        return layout.folder(self.root, component, key)

    def scan(self, key: ScanKey, raw: Path) -> None:
        """Reconstruct one scan and find its bones."""
        recon = self.folder(Component.RECON_CT, key)
        how = self.settings.reconstruction
        self.step(
            "reconstruct",
            key,
            lambda: reconstruct(
                raw,
                recon,
                **how.model_dump(),
                memory_gb=self.context.memory_gb,
                overwrite=self.overwrite,
                context=self.context,
            ),
        )
        found = self.bones(key, recon)
        self.choice = found.results["threshold_for_others"]
        self.thresholds[key.animal, key.week] = found.results["threshold"]
        for bone in found.results["bones"]:
            bone_key = ScanKey.parse(f"{key} {bone['name']}")
            place_bone(Path(bone["path"]), self.folder(Component.SEG_CT, bone_key))
        for name in found.results["missing"]:
            lost = ScanKey.parse(f"{key} {name}")
            made = (Component.SEG_CT, Component.REGIST_CT, Component.ROI_CT)
            for component in made if lost.bone == "tibia" else made[:1]:
                remove_bone(self.folder(component, lost))

    def bones(self, key: ScanKey, recon: Path) -> Outcome:
        """Find one scan's bones, as a person's review has them where there is one."""
        out, path = derived.labels_folder(self.root, key), self.root / review.NAME
        said = review.read(path, str(key)).as_dict() if path.is_file() else None
        before = sidecar.read(out) if out.is_dir() else None
        if before is not None and before.results.get("reviewed") != said:
            self.revised.add(key.animal)
        return self.step(
            "segment",
            key,
            lambda: segment(
                recon,
                out,
                threshold=self.choice,
                left=self.settings.segmentation.left,
                method=self.settings.segmentation.method,
                name=str(key),
                review=path if path.is_file() else None,
                template=path,
                overwrite=self.replaces(key),
                context=self.context,
            ),
        )

    def tibia(self, animal: str, side: str, weeks: list[int]) -> None:
        """Align one tibia over its weeks, overlay, crop and measure it."""
        keys = [ScanKey(animal, week, side, "tibia") for week in weeks]
        keys = [key for key in keys if (self.folder(Component.SEG_CT, key) / sidecar.NAME).is_file()]
        if not keys:
            self.failures.append(
                f"{animal} {side} tibia was found in no week, so nothing is measured for it."
            )
            return
        first = keys[0]
        upright = self.folder(Component.REGIST_CT, first)
        self.step(
            "register",
            first,
            lambda: orient(
                self.folder(Component.SEG_CT, first),
                upright,
                side=side,
                overwrite=self.replaces(first),
                context=self.context,
            ),
        )
        region = self.crop(upright, self.folder(Component.ROI_CT, first), first)
        self.measure(upright, self.folder(Component.ROI_CT, first), first)
        for key in keys[1:]:
            self.followup(key, first, upright, region)
        for before, after in pairwise(keys[1:]):
            self.overlay(before, after, upright)

    def followup(self, key: ScanKey, first: ScanKey, upright: Path, region: Outcome) -> None:
        """Align one later week with the first, lay it over the first, crop and measure."""
        aligned = self.folder(Component.REGIST_CT, key)
        self.step(
            "register",
            key,
            lambda: register(
                self.folder(Component.SEG_CT, key),
                upright,
                aligned,
                method=self.settings.registration.method,
                overwrite=self.replaces(key),
                context=self.context,
            ),
        )
        self.overlay(first, key, None)
        overlay = derived.composite_folder(self.root, first, key)
        span = (region.results["first_slice"], region.results["last_slice"])
        self.crop(overlay, self.folder(Component.ROI_CT, key), key, span)
        part = derived.region_folder(self.root, key)
        self.crop(aligned, part, key, span)
        self.measure(aligned, part, key)

    def overlay(self, before: ScanKey, after: ScanKey, landmarks: Path | None) -> None:
        """Lay one aligned week on an earlier one, and measure what changed."""
        change = self.settings.change
        self.step(
            "composite" if landmarks is None else "composite on the week before",
            after,
            lambda: composite(
                self.folder(Component.REGIST_CT, before),
                self.folder(Component.REGIST_CT, after),
                derived.composite_folder(self.root, before, after),
                threshold=self.threshold(before),
                guard=None if change is None else change.guard(),
                regions=self.root / settings.NAME if self.settings.regions else None,
                landmarks=landmarks,
                overwrite=self.replaces(after),
                context=self.context,
            ),
        )

    def crop(self, stack: Path, out: Path, key: ScanKey, span: tuple[int, int] | None = None) -> Outcome:
        """Cut out the region of interest: found on the first week, carried to the later ones."""
        first, last = span or (None, None)
        return self.step(
            "crop",
            key,
            lambda: crop(
                stack,
                out,
                first_slice=first,
                last_slice=last,
                below_junction=self.settings.region.below_junction,
                length_mm=self.settings.region.length_mm,
                threshold=self.threshold(key),
                overwrite=self.replaces(key),
                context=self.context,
            ),
        )

    def measure(self, stack: Path, region: Path, key: ScanKey) -> None:
        """Measure the whole tibia and the region of interest."""
        threshold = self.threshold(key)
        if threshold is None:
            return
        self.step(
            "measure",
            key,
            lambda: measure_bone(
                stack,
                region,
                derived.measures_folder(self.root, key),
                threshold=threshold,
                overwrite=self.replaces(key),
                context=self.context,
            ),
        )
