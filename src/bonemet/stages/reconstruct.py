"""``bonemet reconstruct``: from a raw scan to slices of attenuation."""

from __future__ import annotations

from pathlib import Path

from bonemet.core.context import SILENT, Context
from bonemet.io import scans
from bonemet.recon.filtering import Accuracy
from bonemet.stages.outcome import Outcome, Product, produce
from bonemet.stages.reconstruct_job import Job
from bonemet.stages.reconstruct_settings import DEFAULT_WINDOW, Format, Thermal, parse_slices, settings_of

__all__ = ["DEFAULT_WINDOW", "parse_slices", "reconstruct"]


def reconstruct(
    scan: str | Path,
    out: str | Path,
    *,
    voxel_um: float | None = None,
    window: tuple[float, float] | None = None,
    format: Format = "png",
    axis_offset: float | None = None,
    slices: str | tuple[int, int] | None = None,
    region: str | tuple[int, int, int, int] | None = None,
    memory_gb: float = 4.0,
    filter: str = "hamming",
    accuracy: Accuracy = "standard",
    extend: bool = False,
    ring_level: int = 0,
    hardening: float | str | None = None,
    median: int = 0,
    smooth: float = 0.0,
    undersample: int = 1,
    rotate_deg: float = 0.0,
    thermal: Thermal = "auto",
    skip_bad: bool = False,
    skip_air: bool = False,
    calibration: tuple[float, float] | None = None,
    hounsfield: tuple[float, float] | None = None,
    tilt: float | str = "auto",
    preview: bool = False,
    overwrite: bool = False,
    context: Context = SILENT,
) -> Outcome:
    """Reconstruct a SkyScan acquisition by cone-beam filtered backprojection.

    A run that was stopped or killed leaves ``OUT.partial``; the same call again goes on at the slab where it
    stopped, and the result is the same to the byte.

    Parameters
    ----------
    scan
        Folder or log of a raw acquisition. The parts of connected scans (``NAME~00``, ``NAME~01``) in one
        folder are joined; their results stand in ``parts``.
    out
        Folder for the slices ``NAME_rec00000000.png``, numbered as the slices of the full grid.
    voxel_um
        Voxel size over the same field; the log's Image Pixel Size by default.
    window
        Attenuations (1/mm) at grey 0 and at the largest grey; ``DEFAULT_WINDOW`` by default.
    format
        ``png`` or ``bmp`` (8-bit), ``tiff`` (16-bit) or ``float`` (float32 TIFF in 1/mm).
    axis_offset
        Column of the rotation axis minus (columns - 1) / 2; found from the data by default.
    slices
        Half-open range of slices of the full grid, ``"A:B"`` or (A, B), 0-based.
    region
        Half-open ranges of columns and rows of the slices, ``"X0:X1,Y0:Y1"`` or four numbers, 0-based.
    memory_gb
        Memory that may be taken; it does not change the result.
    filter
        ``ramp``, ``shepp-logan``, ``cosine``, ``hamming`` or ``hann``.
    accuracy
        ``standard``; ``sharp``: makes good what pixels and interpolation smooth, at twice the noise and twice
        the memory for filtered projections; or ``fine``: views and columns between the measured ones, at
        twice the time and four times that memory.
    extend
        Whether rows are carried on beyond the detector, for objects larger than the field of view.
    ring_level
        Strength of the ring correction, 0 (off) to 20.
    hardening
        Beam hardening: a percentage from 0 to 100, or ``water`` or ``bone`` for straightening by the
        spectrum of a 50 kVp tube behind the log's filter of aluminium.
    median
        Radius in voxels of a median filter of the volume, 0 (off) to 3.
    smooth
        Standard deviation in voxels of a Gaussian filter of the volume, 0 for none.
    undersample
        So many pixels along each side are made one, and voxels grow with them.
    rotate_deg
        By how much slices are turned about the axis, clockwise as they are shown.
    thermal
        What is done with a table of thermal shifts beside the scan: ``auto`` applies it with the signs that
        fit the data, if any does; ``plus`` and ``minus`` move what is seen by the table or against it.
    skip_bad
        Whether views that are missing, damaged, black, saturated or there twice are left out.
    skip_air
        Whether blocks of 16 x 16 x 16 voxels are left out, as 0, where a small copy of the scan shows nothing
        but air within 16 pixels. All else is the same to the byte; two limbs take half the time.
    calibration
        Slope (mg HA/cm3 for each 1/mm) and intercept (mg HA/cm3) of a hydroxyapatite phantom, for
        ``density_at_grey_75``; without, the beam of the log's tube is assumed.
    hounsfield
        Attenuations (1/mm) of water and of air as this scanner reconstructs them, for Hounsfield units: the
        values of format ``float``, and what greys stand for in the results.
    tilt
        Of the axis against the camera in degrees; ``auto`` finds it, ``log`` takes the log's Image Rotation,
        ``off`` takes none. Views are turned upright.
    preview
        Whether a picture of one slice at several axis offsets is written beside, ``OUT axis.png``.
    overwrite
        Whether ``out`` may be replaced when it holds something else.
    context
        Threads and progress.

    Returns
    -------
    Outcome
        Results: ``axis_offset_px``, ``axis_source``, ``turn``, ``shape``, ``spacing_mm``, ``slices``,
        ``window``, ``grey_step`` (1/mm per grey), ``attenuation_at_grey_75`` (1/mm, what the published
        bone threshold on 8-bit grey stands for), ``density_at_grey_75`` (mg HA/cm3, with a
        ``density_source``, which names what was assumed; null with a ``density_reason``),
        ``axis_tilt_deg``, ``tilt_source``, ``white``, ``white_source``, ``air_level``, ``air``
        (line integral beside the object, ideally 0), ``stuck_pixels`` (replaced), ``saturated_share``,
        ``air_share`` (of the blocks, left out),
        ``projections``, ``left_out`` (views), ``thermal``, ``hardening``, ``quality`` (see
        :mod:`bonemet.recon.quality`).
    """
    asked = {k: v for k, v in locals().items() if k not in ("scan", "out", "overwrite", "context")}
    settings = settings_of(asked)
    path, target = Path(scan), Path(out)
    parts = scans.find_parts(path)
    folder = parts[0][0].path.parent
    inside = target.resolve().is_relative_to(folder.resolve())  # our own slices are no input
    own = [p for log, series in parts for p in (log.path, *series.paths)]
    inputs = own if inside else [folder]
    name = scans.name_of(parts)
    found = [(log.path if len(parts) > 1 else path, log) for log, _ in parts]

    def work(partial: Path) -> Product:
        return Job(found, name, target, settings, context).run(partial)

    return produce(
        target, "reconstruct", settings.parameters(), inputs, work, overwrite=overwrite, resumable=True
    )
