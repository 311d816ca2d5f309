"""Commands for change: composites of a pair and of a series, and the region of interest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bonemet.cli.console import execute
from bonemet.cli.options import Debug, Json, MemoryGb, Overwrite, Regions, Threshold, VoxelUm, Workers

if TYPE_CHECKING:
    from bonemet.roi.guard import Guard

GuardSigma = Annotated[float, typer.Option(help="Smoothing of the difference before it counts, in voxels.")]
GuardDifference = Annotated[
    float, typer.Option(help="Smallest difference in a change's core, as a share of the contrast of bone.")
]
GuardNoise = Annotated[
    float, typer.Option(help="Smallest difference in a change's core, in standard deviations of the noise.")
]
GuardFilm = Annotated[int, typer.Option(help="Layer on unchanged bone taken for noise, in voxels.")]
GuardCluster = Annotated[int, typer.Option(help="Fewest voxels of a change's core.")]
GuardLocal = Annotated[
    float, typer.Option(help="Distance in mm within which values decide a place's threshold; 0: one for all.")
]


def _guard(sigma: float, difference: float, noise: float, film: int, cluster: int, local_mm: float) -> Guard:
    """Return what the options say that a change must be."""
    from bonemet.roi.guard import Guard

    return Guard(
        sigma_voxels=sigma,
        smallest_difference=difference,
        film_voxels=film,
        smallest_cluster_voxels=cluster,
        noise_sds=noise,
        local_mm=local_mm,
    )


def composite(
    baseline: Annotated[Path, typer.Argument(metavar="BASELINE", help="The earlier, registered stack.")],
    followup: Annotated[Path, typer.Argument(metavar="FOLLOWUP", help="The later stack on the same grid.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make.")],
    threshold: Threshold = None,
    days: Annotated[
        float | None, typer.Option(help="Days between the scans; by default from the weeks in their names.")
    ] = None,
    error_um: Annotated[
        float | None,
        typer.Option(help="Expected error of the registration; by default what register says."),
    ] = None,
    guard_sigma: GuardSigma = 1.0,
    guard_difference: GuardDifference = 0.05,
    guard_noise: GuardNoise = 2.5,
    guard_film: GuardFilm = 0,
    guard_cluster: GuardCluster = 8,
    guard_local: GuardLocal = 0.04,
    regions: Regions = None,
    voxel_um: VoxelUm = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
    memory_gb: MemoryGb = 4.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Overlay two weeks (kept bone 180, formed 240, resorbed 60, neither 0) and map lesions.

    Example: `bonemet composite "Regist-CT/871 left tibia/week 0" "Regist-CT/871 left tibia/week 3" change`
    """
    from bonemet.stages.composite import composite as function

    execute(
        lambda c: function(
            baseline,
            followup,
            out,
            threshold=threshold,
            days=days,
            error_um=error_um,
            guard=_guard(guard_sigma, guard_difference, guard_noise, guard_film, guard_cluster, guard_local),
            regions=regions,
            voxel_um=voxel_um,
            overwrite=overwrite,
            context=c,
        ),
        as_json=as_json,
        debug=debug,
        workers=workers,
        memory_gb=memory_gb,
    )


def series(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the composites.")],
    scans: Annotated[list[Path], typer.Argument(metavar="WEEK0 WEEK1...", help="Registered stacks.")],
    threshold: Threshold = None,
    guard_sigma: GuardSigma = 1.0,
    guard_difference: GuardDifference = 0.05,
    guard_noise: GuardNoise = 2.5,
    guard_film: GuardFilm = 0,
    guard_cluster: GuardCluster = 8,
    guard_local: GuardLocal = 0.04,
    regions: Regions = None,
    voxel_um: VoxelUm = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
    memory_gb: MemoryGb = 4.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Overlay a series: each week on week 0, and each week on the week before.

    Example: `bonemet series changes "871 left tibia/week 0" "871 left tibia/week 1" "871 left tibia/week 2"`
    """
    from bonemet.stages.series import series as function

    execute(
        lambda c: function(
            scans,
            out,
            threshold=threshold,
            guard=_guard(guard_sigma, guard_difference, guard_noise, guard_film, guard_cluster, guard_local),
            regions=regions,
            voxel_um=voxel_um,
            overwrite=overwrite,
            context=c,
        ),
        as_json=as_json,
        debug=debug,
        workers=workers,
        memory_gb=memory_gb,
    )


def crop(
    composite: Annotated[Path, typer.Argument(metavar="COMPOSITE", help="Composite or registered stack.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make.")],
    first_slice: Annotated[
        int | None, typer.Option(help="First slice; found by default.", show_default=False)
    ] = None,
    last_slice: Annotated[
        int | None, typer.Option(help="Last slice; found by default.", show_default=False)
    ] = None,
    below_junction: Annotated[
        int, typer.Option(help="Slices from the junction to the first slice, distally.")
    ] = 0,
    length_mm: Annotated[float, typer.Option(help="Length of the region in mm.")] = 3.0,
    length_slices: Annotated[
        int | None, typer.Option(help="Length in slices instead of mm.", show_default=False)
    ] = None,
    keep_fibula: Annotated[bool, typer.Option("--keep-fibula", help="Leave the fibula in.")] = False,
    region: Annotated[
        str | None,
        typer.Option(help="A defined region, as metaphysis or 'diaphysis 37 %'.", show_default=False),
    ] = None,
    regions: Regions = None,
    landmarks: Annotated[
        Path | None, typer.Option(help="Week 0 on the same grid, whose landmarks count.", show_default=False)
    ] = None,
    contours: Annotated[
        Path | None,
        typer.Option(
            help="Contours drawn by hand: a mask, ImageJ .roi or .zip, napari .csv.", show_default=False
        ),
    ] = None,
    threshold: Threshold = None,
    voxel_um: VoxelUm = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
    memory_gb: MemoryGb = 4.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Cut out the region below the proximal tibia-fibula junction.

    Example: `bonemet crop change region --length-mm 3`
    """
    from bonemet.stages.crop import crop as function

    execute(
        lambda c: function(
            composite,
            out,
            first_slice=first_slice,
            last_slice=last_slice,
            below_junction=below_junction,
            length_mm=length_mm,
            length_slices=length_slices,
            keep_fibula=keep_fibula,
            region=region,
            regions=regions,
            landmarks=landmarks,
            contours=contours,
            threshold=threshold,
            voxel_um=voxel_um,
            overwrite=overwrite,
            context=c,
        ),
        as_json=as_json,
        debug=debug,
        workers=workers,
        memory_gb=memory_gb,
    )
