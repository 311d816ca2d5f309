"""Commands on whole studies. Each is the function of the same name; only words become arguments here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from bonemet.cli.console import execute
from bonemet.cli.options import Debug, Json, MemoryGb, Overwrite, Workers
from bonemet.core.errors import SettingsError

if TYPE_CHECKING:
    from bonemet.simulation.motion import Moving


def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    seed: Annotated[int, typer.Option(help="Seed of the simulated animals.")] = 1,
    preset: Annotated[
        str, typer.Option(help="Size of the scans: small (4 voxels a cortex) or tiny (a try).")
    ] = "small",
    overwrite: Overwrite = False,
    workers: Workers = None,
    memory_gb: MemoryGb = 4.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Simulate a small study as raw scans, run everything on it, and compare planted with measured.

    Example: `bonemet demo my-demo`, then open `my-demo/report.html`.
    """
    from bonemet.cli.tables import show_demo
    from bonemet.workflows.demo import demo as function

    execute(
        lambda c: function(directory, seed=seed, preset=preset, overwrite=overwrite, context=c),
        as_json=as_json,
        debug=debug,
        workers=workers,
        memory_gb=memory_gb,
        show=show_demo,
    )


def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Study folder to make.")],
    preset: Annotated[
        str, typer.Option(help="Size of the scans: tiny, small, medium, full or narrow.")
    ] = "small",
    animals: Annotated[int, typer.Option(help="Number of animals.")] = 2,
    weeks: Annotated[str, typer.Option(help="Weeks of the scans, separated by commas.")] = "0,3",
    seed: Annotated[int, typer.Option(help="Seed: the same seed gives the same bytes.")] = 1,
    dose: Annotated[str, typer.Option(help="Photons: low, normal or high.")] = "normal",
    volume: Annotated[
        bool, typer.Option("--volume", help="Volumes as reconstructed, made without X-rays.")
    ] = False,
    voxel_um: Annotated[float, typer.Option(help="Voxel of these volumes in micrometres.")] = 40.0,
    motion: Annotated[str, typer.Option(help="Animals move in some (3 %), none or all scans.")] = "some",
    field: Annotated[
        str, typer.Option(metavar="COLSxROWS", help="Keep a window of the camera, as 640x400.")
    ] = "",
    off_axis_mm: Annotated[
        float, typer.Option(help="With narrow: distance of the leg from the axis of rotation, in mm.")
    ] = 0.0,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Scan the calibration phantom, too.")
    ] = False,
    strain: Annotated[str, typer.Option(help="Strain: BALB/c or C57BL/6.")] = "BALB/c",
    sex: Annotated[str, typer.Option(help="Sex: female or male.")] = "female",
    arms: Annotated[
        str, typer.Option(help="Arms, dealt in turn: some of tumour, sham, treated, untouched.")
    ] = "tumour,sham,treated,untouched",
    overwrite: Overwrite = False,
    workers: Workers = None,
    memory_gb: MemoryGb = 4.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write raw scans of simulated mice, or volumes of them, with their truth beside them.

    Example: `bonemet simulate my-study --preset small --animals 2 --weeks 0,3 --seed 1`
    """
    from bonemet.stages.simulate import simulate as function

    execute(
        lambda c: function(
            out,
            preset=preset,
            animals=animals,
            weeks=_whole_numbers(weeks),
            seed=seed,
            dose=dose,
            volume=volume,
            voxel_um=voxel_um,
            motion=cast("Moving", motion),
            field=_window(field),
            off_axis_mm=off_axis_mm,
            calibration=calibration,
            strain=strain,
            sex=sex,
            arms=[arm.strip() for arm in arms.split(",")],
            overwrite=overwrite,
            context=c,
        ),
        as_json=as_json,
        debug=debug,
        workers=workers,
        memory_gb=memory_gb,
    )


def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Study folder with raw scans.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do again what settings have changed.")
    ] = False,
    workers: Workers = None,
    memory_gb: MemoryGb = 4.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Do everything for a study: reconstruct, segment, register, overlay, crop, measure, record, report.

    Example: `bonemet run my-study`, where `my-study/Imagery_Dataset/Rotation-X-ray/871/week 0` holds a scan.
    """
    from bonemet.cli.tables import show_run
    from bonemet.workflows.run import run as function

    execute(
        lambda c: function(study, overwrite=overwrite, context=c),
        as_json=as_json,
        debug=debug,
        workers=workers,
        memory_gb=memory_gb,
        show=show_run,
    )


def report(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Study folder that was run.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the study's report page anew from what is on disk.

    Example: `bonemet report my-study`
    """
    from bonemet.reporting.report import report as function

    execute(lambda c: function(study, context=c), as_json=as_json, debug=debug)


def _window(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    try:
        columns, rows = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise SettingsError(f"--field takes columns x rows, as 640x400, not {text!r}.") from error
    return columns, rows


def _whole_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(
            f"--weeks takes whole numbers separated by commas, as 0,3, not {text!r}."
        ) from error
