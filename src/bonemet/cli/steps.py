"""Commands for single steps. Each is the function of the same name; only words become arguments here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bonemet.cli.console import execute
from bonemet.cli.options import Debug, Json, MemoryGb, Overwrite, Threshold, VoxelUm, Workers

if TYPE_CHECKING:
    from bonemet.core.context import Context
    from bonemet.stages.outcome import Outcome


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
        str, typer.Option("--format", help="png or bmp (8 bit), tiff (16 bit), float or ome-zarr (1/mm).")
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
    accuracy: Annotated[
        str,
        typer.Option(help="standard; sharp: for the finest detail; fine: for few views.", show_default=False),
    ] = "standard",
    extend: Annotated[
        bool, typer.Option("--extend", help="The object is larger than the field of view.")
    ] = False,
    ring_level: Annotated[int, typer.Option(help="Ring removal, 0 (off) to 20.")] = 0,
    hardening: Annotated[
        str | None,
        typer.Option(help="Beam hardening: a percentage, water or bone.", show_default=False),
    ] = None,
    median: Annotated[int, typer.Option(help="Radius of a median filter in voxels, 0 (off) to 3.")] = 0,
    smooth: Annotated[float, typer.Option(help="Width of a Gaussian filter in voxels, 0 for none.")] = 0.0,
    region: Annotated[
        str | None, typer.Option(help="Columns and rows to make, half-open.", metavar="X0:X1,Y0:Y1")
    ] = None,
    undersample: Annotated[int, typer.Option(help="Make so many pixels one, each way.")] = 1,
    rotate_deg: Annotated[float, typer.Option(help="Turn slices clockwise.", metavar="DEG")] = 0.0,
    thermal: Annotated[str, typer.Option(help="Table of thermal shifts: auto, off, plus, minus.")] = "auto",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out views that are missing or worthless.")
    ] = False,
    skip_air: Annotated[
        bool, typer.Option("--skip-air", help="Leave out what is nothing but air: faster.")
    ] = False,
    calibration: Annotated[
        tuple[float, float] | None,
        typer.Option(help="mg HA/cm3 for each 1/mm, and at 0 1/mm.", metavar="SLOPE INTERCEPT"),
    ] = None,
    hounsfield: Annotated[
        tuple[float, float] | None,
        typer.Option("--hu", help="1/mm of water and of air, for Hounsfield units.", metavar="WATER AIR"),
    ] = None,
    tilt: Annotated[str, typer.Option(help="Tilt of the axis: auto, log, off or degrees.")] = "auto",
    preview: Annotated[
        bool, typer.Option("--preview", help="Write a picture of one slice at several axis offsets.")
    ] = False,
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
            accuracy=accuracy,  # type: ignore[arg-type]
            extend=extend,
            ring_level=ring_level,
            hardening=hardening,
            median=median,
            smooth=smooth,
            region=region,
            undersample=undersample,
            rotate_deg=rotate_deg,
            thermal=thermal,  # type: ignore[arg-type]
            skip_bad=skip_bad,
            skip_air=skip_air,
            calibration=calibration,
            hounsfield=hounsfield,
            tilt=tilt,
            preview=preview,
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
    threshold: Annotated[
        str | None,
        typer.Option(
            help="Grey value, 0.12/mm, 400mgHA, or published, otsu, half-height, local; Otsu's by default.",
            show_default=False,
        ),
    ] = None,
    left: Annotated[str, typer.Option(help="Where the animal's left leg is: low-x or high-x.")] = "low-x",
    method: Annotated[str, typer.Option(help="default, or published (as in the paper).")] = "default",
    name: Annotated[
        str | None, typer.Option(help="Title of the scan, as '871 week 0'.", show_default=False)
    ] = None,
    review: Annotated[
        Path | None,
        typer.Option(help="Review file (.toml): what a person changed or accepted.", show_default=False),
    ] = None,
    many: Annotated[
        bool, typer.Option("--many", help="RECON holds many scans: segment all that lie below it.")
    ] = False,
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
    from bonemet.core.errors import SettingsError
    from bonemet.stages.segment import segment as function
    from bonemet.stages.segment_many import segment_many

    settings = {
        "threshold": threshold,
        "left": left,
        "method": method,
        "review": review,
        "voxel_um": voxel_um,
        "overwrite": overwrite,
    }

    def work(c: Context) -> Outcome:
        if not many:
            return function(recon, out, name=name, context=c, **settings)  # type: ignore[arg-type]
        if name is not None:
            raise SettingsError("Many scans are named by their folders; leave --name out.")
        return segment_many(recon, out, context=c, **settings)

    execute(
        work,
        as_json=as_json,
        debug=debug,
        workers=workers,
        memory_gb=memory_gb,
    )


def register(
    moving: Annotated[Path, typer.Argument(metavar="MOVING", help="Stack or volume to bring over.")],
    fixed: Annotated[Path, typer.Argument(metavar="FIXED", help="Stack or volume that stays.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make: MOVING on FIXED's grid.")],
    method: Annotated[
        str, typer.Option(help="default, correlation, or published (mutual information).")
    ] = "default",
    kind: Annotated[str, typer.Option(help="rigid, similarity or affine.")] = "rigid",
    part: Annotated[
        str,
        typer.Option(help="auto, whole, shaft, metaphysis, diaphysis, or shares of the length, 0.1:0.6."),
    ] = "auto",
    pose: Annotated[
        Path | None,
        typer.Option(help="Review file (.toml) or hand-made pose (.tfm, .json).", show_default=False),
    ] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Mirror MOVING if it fits better (other leg).")
    ] = False,
    frame: Annotated[
        Path | None,
        typer.Option(help="FIXED set upright, with its .tfm: write MOVING there.", show_default=False),
    ] = None,
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="Write MOVING halfway to FIXED, both turned alike.")
    ] = False,
    interpolation: Annotated[str, typer.Option(help="cubic, linear, sinc or nearest.")] = "cubic",
    voxel_um: VoxelUm = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
    memory_gb: MemoryGb = 4.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Align one bone with another. A piece that broke off is put back where it was, and the pair marked.

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
            part=part,
            pose=pose,
            mirror=mirror,
            frame=frame,
            symmetric=symmetric,
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


def reference(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make.")],
    bones: Annotated[list[Path], typer.Argument(metavar="BONE...", help="Healthy tibiae, two or more.")],
    side: Annotated[
        str, typer.Option(help="Whose form it has, left or right; others are mirrored.")
    ] = "left",
    voxel_um: VoxelUm = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
    memory_gb: MemoryGb = 4.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a reference from a cohort: the mean shape of its tibiae, set upright.

    Example: `bonemet reference "reference/left tibia" Seg-CT/*/"week 0"`
    """
    from bonemet.stages.reference import reference as function

    execute(
        lambda c: function(out, bones, side=side, voxel_um=voxel_um, overwrite=overwrite, context=c),
        as_json=as_json,
        debug=debug,
        workers=workers,
        memory_gb=memory_gb,
    )


def carry(
    stack: Annotated[Path, typer.Argument(metavar="STACK", help="Stack, mask or labels to take over.")],
    like: Annotated[Path, typer.Argument(metavar="LIKE", help="Stack on whose grid it is wanted.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make.")],
    transform: Annotated[
        list[Path],
        typer.Option(help="From LIKE to STACK; repeat it to go through several.", show_default=False),
    ],
    back: Annotated[
        bool, typer.Option("--back", help="Go against the transforms: from a registered stack to its scan.")
    ] = False,
    interpolation: Annotated[str, typer.Option(help="nearest, linear, cubic or sinc.")] = "nearest",
    overwrite: Overwrite = False,
    workers: Workers = None,
    memory_gb: MemoryGb = 4.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Take a stack or a region through transforms onto another's grid, interpolated once.

    Example: `bonemet carry region "Seg-CT/871 left tibia/week 3" native --transform aligned.tfm --back`
    """
    from bonemet.stages.carry import carry as function

    execute(
        lambda c: function(
            stack,
            like,
            out,
            transforms=transform,
            back=back,
            interpolation=interpolation,  # type: ignore[arg-type]
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
