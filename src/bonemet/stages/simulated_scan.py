"""Writes one simulated scan as a scanner would: images and log."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonemet._version import __version__
from bonemet.core.context import Context, Tick
from bonemet.core.ids import ScanKey
from bonemet.core.scan import ConeGeometry
from bonemet.io import skyscan, stacks
from bonemet.simulation import Animal, ScanPose, detector, spectrum, xray
from bonemet.simulation import presets as sizes
from bonemet.simulation import scene as scenes


@dataclass(frozen=True, eq=False)
class Scanning:
    """One scan to be made."""

    key: ScanKey
    animal: Animal
    preset: sizes.Preset
    camera: detector.Detector
    dose: str
    geometry: ConeGeometry
    pose: ScanPose
    seed: int
    when: datetime.datetime


def write_scan(folder: Path, job: Scanning, context: Context) -> None:
    """Write the images and the log of a scan into a new folder."""
    folder.mkdir(parents=True)
    prefix = f"{job.key.animal}_week{job.key.week}"
    with context.progress(f"simulating {job.key}", job.preset.views) as tick:
        stacks.write_slices(folder, prefix + "_", _views(job, context, tick), format="tiff")
    log = skyscan.format_log(scan_log(job, prefix))
    (folder / f"{prefix}.log").write_bytes(log.encode("utf-8"))


def _views(job: Scanning, context: Context, tick: Tick) -> Iterator[NDArray[np.uint16]]:
    """Yield the images of a scan."""
    beam = spectrum.tube_spectrum()
    attenuation = spectrum.attenuation_table(beam)
    g = job.geometry
    body = scenes.body_in_beam(
        job.animal, job.key.week, job.pose, job.preset, g, spectrum.soft_materials(beam), mapper=context.map
    )
    faults = detector.panel(job.camera, g.rows, g.columns, job.seed)

    def image(view: int) -> NDArray[np.uint16]:
        light = xray.project(body, g, view, attenuation)
        return detector.record(light, job.camera, faults, view=view, views=job.preset.views, seed=job.seed)

    for picture in context.map(image, range(job.preset.views)):
        yield picture
        tick(1)


def scan_log(job: Scanning, prefix: str) -> dict[str, dict[str, object]]:
    """Return the scan's log as a SkyScan 1276 would write it."""
    g = job.geometry
    pixel_um = f"{g.pixel_mm * 1000:.6f}"
    return {
        "System": {
            "Scanner": "SkyScan1276",
            "Instrument S/N": "simulated",
            "Software Version": f"bonemet {__version__}",
            "Source Type": "simulated tungsten tube",
            "Camera Type": "simulated",
            "Camera Pixel Size (um)": f"{g.pixel_mm * g.magnification * 1000:.4f}",
            "Camera X/Y Ratio": "1.0000",
        },
        "Acquisition": {
            "Filename Prefix": prefix + "_",
            "Filename Index Length": 8,
            "Number Of Files": f"{job.preset.views:5d}",
            "Number Of Rows": f"{g.rows:5d}",
            "Number Of Columns": f"{g.columns:5d}",
            "Partial Width": "OFF",
            "Image crop origin X": 0,
            "Image crop origin Y": 0,
            "Optical Axis (line)": f"{skyscan.axis_row(g.optical_axis_row, g.rows):5.0f}",
            "Camera to Source (mm)": f"{g.sdd_mm:.5f}",
            "Object to Source (mm)": f"{g.sod_mm:.5f}",
            "Source Voltage (kV)": f"{spectrum.KILOVOLTS:4d}",
            "Source Current (uA)": " 200",
            "Image Pixel Size (um)": pixel_um,
            "Scaled Image Pixel Size (um)": pixel_um,
            "Image Format": "TIFF",
            "Depth (bits)": 16,
            "Reference Intensity": detector.WHITE,
            "Exposure (ms)": 900,
            "Rotation Step (deg)": f"{job.preset.step_deg:.3f}",
            "Use 360 Rotation": "NO",
            "Frame Averaging": "OFF (1)",
            "Random Movement": "OFF (10)",
            "Flat Field Correction": "ON",
            "Geometrical Correction": "ON",
            "Filter": f"Al {spectrum.ALUMINIUM_MM:g}mm",
            "Gantry direction": "CC",
            "Rotation Direction": "CC",
            "Type of Detector Motion": "STEP AND SHOOT",
            "Scanning Trajectory": "ROUND",
            "Number Of Horizontal Offset Positions": 1,
            "Number of connected scans": 1,
            "Study Date and Time": job.when.strftime("%d %b %Y  %Hh:%Mm:%Ss"),
            "Scan duration": "0h:4m:12s",
            "Simulated Photons per Pixel": f"{job.camera.photons:.0f}",
        },
    }
