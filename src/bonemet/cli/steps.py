"""Commands for single steps. Each is the function of the same name; only words become arguments here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bonemet.cli.console import execute
from bonemet.cli.options import Debug, Json, MemoryGb, Overwrite, Threshold, VoxelUm, Workers


def info(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Scan folder, log, slice stack or volume.")],
    voxel_um: VoxelUm = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell what a scan folder, a log, a slice stack or a volume is.

    Example: `bonemet info "Rotation-X-ray/871/week 0"`
    """
    from bonemet.stages.info import info as function

    execute(lambda _: function(path, voxel_um=voxel_um), as_json=as_json, debug=debug)


def reconstruct(
    scan: Annotated[
        Path, typer.Argument(metavar="SCAN", help="Folder of projections with their log, or the log.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make.")],
    voxel_um: VoxelUm = None,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Attenuation (1/mm) at grey 0 and at the largest grey.", metavar="MIN MAX"),
    ] = None,
    slice_format: Annotated[
        str, typer.Option("--format", help="png (8 bit), tiff (16 bit) or float (1/mm).")
    ] = "png",
    axis_offset: Annotated[
        float | None,
        typer.Option(help="Column of the axis minus the middle; found by default.", metavar="PX"),
    ] = None,
    slices: Annotated[
        str | None, typer.Option(help="Slices to make, half-open, from 0.", metavar="A:B")
    ] = None,
    filter_name: Annotated[
        str, typer.Option("--filter", help="ramp, shepp-logan, cosine, hamming or hann.")
    ] = "hamming",
    ring_level: Annotated[int, typer.Option(help="Ring removal, 0 (off) to 20.")] = 0,
    memory_gb: MemoryGb = 4.0,
    overwrite: Overwrite = False,
    workers: Workers = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Reconstruct a scan (cone-beam FDK).

    Example: `bonemet reconstruct "Rotation-X-ray/871/week 0" "Recon-CT/871/week 0"`
    """
    from bonemet.stages.reconstruct import reconstruct as function

    execute(
        lambda c: function(
            scan,
            out,
            voxel_um=voxel_um,
            window=window,
            format=slice_format,  # type: ignore[arg-type]  # checked there, with one sentence
            axis_offset=axis_offset,
            slices=slices,
            memory_gb=memory_gb,
            filter=filter_name,
            ring_level=ring_level,
            overwrite=overwrite,
            context=c,
        ),
        as_json=as_json,
        debug=debug,
        workers=workers,
        memory_gb=memory_gb,
    )


def segment(
    recon: Annotated[Path, typer.Argument(metavar="RECON", help="Reconstructed stack or volume.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make.")],
    threshold: Threshold = None,
    left: Annotated[str, typer.Option(help="Where the animal's left leg is: low-x or high-x.")] = "low-x",
    method: Annotated[str, typer.Option(help="default, or published (as in the paper).")] = "default",
    name: Annotated[
        str | None, typer.Option(help="Title of the scan, as '871 week 0'.", show_default=False)
    ] = None,
    voxel_um: VoxelUm = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
    memory_gb: MemoryGb = 4.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find femora, tibiae with fibulae, and spine, each as a stack of its own.

    Example: `bonemet segment "Recon-CT/871/week 0" bones --left low-x`
    """
    from bonemet.stages.segment import segment as function

    execute(
        lambda c: function(
            recon,
            out,
            threshold=threshold,
            left=left,  # type: ignore[arg-type]
            method=method,  # type: ignore[arg-type]
            name=name,
            voxel_um=voxel_um,
            overwrite=overwrite,
            context=c,
        ),
        as_json=as_json,
        debug=debug,
        workers=workers,
        memory_gb=memory_gb,
    )


def register(
    moving: Annotated[Path, typer.Argument(metavar="MOVING", help="Stack or volume to bring over.")],
    fixed: Annotated[Path, typer.Argument(metavar="FIXED", help="Stack or volume that stays.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make: MOVING on FIXED's grid.")],
    method: Annotated[str, typer.Option(help="default, or published (mutual information).")] = "default",
    kind: Annotated[str, typer.Option(help="rigid, similarity or affine.")] = "rigid",
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Mirror MOVING if it fits better (other leg).")
    ] = False,
    interpolation: Annotated[str, typer.Option(help="linear, cubic, sinc or nearest.")] = "linear",
    voxel_um: VoxelUm = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
    memory_gb: MemoryGb = 4.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Align one bone with another, rigidly.

    Example: `bonemet register "Seg-CT/871 left tibia/week 3" "Regist-CT/871 left tibia/week 0" aligned`
    """
    from bonemet.stages.register import register as function

    execute(
        lambda c: function(
            moving,
            fixed,
            out,
            method=method,
            kind=kind,
            mirror=mirror,
            interpolation=interpolation,  # type: ignore[arg-type]
            voxel_um=voxel_um,
            overwrite=overwrite,
            context=c,
        ),
        as_json=as_json,
        debug=debug,
        workers=workers,
        memory_gb=memory_gb,
    )


def measure(
    volume: Annotated[Path, typer.Argument(metavar="VOLUME", help="Stack or volume.")],
    mask: Annotated[
        Path | None, typer.Option(help="Region: non-zero voxels of this volume.", show_default=False)
    ] = None,
    threshold: Threshold = None,
    definition: Annotated[
        str, typer.Option(help="Whose definition of Tb.N to follow; see the docs.")
    ] = "ctan",
    only: Annotated[
        str | None,
        typer.Option(help="Measures to take, separated by commas, as Tb.Th,Tb.Sp.", show_default=False),
    ] = None,
    voxel_um: VoxelUm = None,
    workers: Workers = None,
    memory_gb: MemoryGb = 4.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure bone volume, trabeculae and cortex, with the field's names and units.

    Example: `bonemet measure trabecular-cube --voxel-um 19.5 --threshold 63 --json`
    """
    from bonemet.stages.measure import measure as function

    execute(
        lambda c: function(
            volume,
            mask=mask,
            threshold=threshold,
            definition=definition,
            only=only,
            voxel_um=voxel_um,
            context=c,
        ),
        as_json=as_json,
        debug=debug,
        workers=workers,
        memory_gb=memory_gb,
    )
