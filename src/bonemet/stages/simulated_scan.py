"""Writes one simulated scan as a scanner would: images and log."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet._version import __version__
from bonemet.core.context import Context, Tick
from bonemet.core.ids import ScanKey
from bonemet.core.scan import ConeGeometry
from bonemet.io import skyscan, slicefiles, stacks
from bonemet.simulation import Animal, ScanPose, detector, spectrum, xray
from bonemet.simulation import presets as sizes
from bonemet.simulation import scene as scenes
from bonemet.simulation.motion import STILL, Motion

CURRENT_UA, EXPOSURE_MS = 200, 900
_SECONDS_A_VIEW = 0.97


@dataclass(frozen=True, eq=False, kw_only=True)
class Shot:
    """How something is scanned."""

    preset: sizes.Preset
    camera: detector.Detector
    dose: str
    geometry: ConeGeometry
    seed: int
    when: datetime.datetime
    motion: Motion = STILL

    def faults(self) -> detector.Panel:
        """Return the faults of the camera's pixels."""
        return detector.panel(self.camera, self.geometry.rows, self.geometry.columns, self.seed)

    def planted(self) -> dict[str, Any]:
        """Return what is true of the scanner during this scan, for ``truth.json``."""
        g, faults = self.geometry, self.faults()
        return {
            "preset": self.preset.name,
            "dose": self.dose,
            "photons_per_pixel": self.camera.photons,
            "kilovolts": spectrum.KILOVOLTS,
            "current_ua": CURRENT_UA,
            "exposure_ms": EXPOSURE_MS,
            "filter_aluminium_mm": spectrum.ALUMINIUM_MM,
            "mean_energy_kev": round(spectrum.tube_spectrum().mean_kev, 3),
            "axis_offset_px": g.axis_offset_px,
            "axis_tilt_deg": g.axis_tilt_deg,
            "optical_axis_row": g.optical_axis_row,
            "turn": g.turn,
            "pixel_mm": g.pixel_mm,
            "motion": {"moves": not self.motion.still} | asdict(self.motion),
            "camera": asdict(self.camera)
            | {
                "flat_change": dict(zip(("x", "y", "x2_y2"), faults.flat.tolist(), strict=True)),
                "dead_pixels": faults.dead.tolist(),
            },
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Scanning(Shot):
    """One scan of an animal to be made."""

    key: ScanKey
    animal: Animal
    pose: ScanPose


def write_scan(folder: Path, job: Scanning, context: Context) -> None:
    """Write the images and the log of a scan into a new folder."""
    materials = spectrum.soft_materials(spectrum.tube_spectrum())
    body = scenes.body_in_beam(
        job.animal, job.key.week, job.pose, job.preset, job.geometry, materials, mapper=context.map
    )
    write_shot(folder, f"{job.key.animal}_week{job.key.week}", body, job, context)


def write_shot(folder: Path, prefix: str, body: xray.Body, shot: Shot, context: Context) -> None:
    """Write the images and the log of any body's scan into a new folder."""
    folder.mkdir(parents=True)
    with context.progress(f"simulating {prefix}", shot.preset.views) as tick:
        stacks.write_slices(folder, prefix + "_", _views(body, shot, context, tick), format="tiff")
    (folder / f"{prefix}.log").write_bytes(skyscan.format_log(scan_log(shot, prefix)).encode("utf-8"))


def write_planted(folder: Path, shot: Shot) -> None:
    """Write the sensitivity errors of the pixels: at the first view, and what comes on top until the last."""
    faults = shot.faults()
    slicefiles.write(folder / "gain.tif", faults.gain)
    slicefiles.write(folder / "gain-drift.tif", faults.drift)


def _views(body: xray.Body, shot: Shot, context: Context, tick: Tick) -> Iterator[NDArray[np.uint16]]:
    """Yield the images of a scan."""
    attenuation = spectrum.attenuation_table(spectrum.tube_spectrum())
    faults, views = shot.faults(), shot.preset.views

    def image(view: int) -> NDArray[np.uint16]:
        shift = shot.motion.shift_mm(view, views)
        light = xray.project(body, shot.geometry, view, attenuation, shift)
        return detector.record(light, shot.camera, faults, view=view, views=views, seed=shot.seed)

    for picture in context.map(image, range(views)):
        yield picture
        tick(1)


def scan_log(shot: Shot, prefix: str) -> dict[str, dict[str, object]]:
    """Return the scan's log as a SkyScan 1276 would write it."""
    g, preset = shot.geometry, shot.preset
    pixel_um = f"{g.pixel_mm * 1000:.6f}"
    crop_x, crop_y = preset.crop_origin
    part = 100 * g.columns / preset.camera_columns
    minutes, seconds = divmod(round(preset.views * _SECONDS_A_VIEW), 60)
    return {
        "System": {
            "Scanner": "SkyScan1276",
            "Instrument S/N": "simulated",
            "Software Version": f"bonemet {__version__}",
            "Home Directory": "simulated",
            "Source Type": "simulated tungsten tube",
            "Camera Type": "simulated",
            "Camera Pixel Size (um)": f"{g.pixel_mm * g.magnification * 1000:.4f}",
            "Camera X/Y Ratio": "1.0000",
        },
        "User": {"User Name": "simulated", "Computer Name": "simulated"},
        "Acquisition": {
            "Data Directory": prefix,
            "Filename Prefix": prefix + "_",
            "Filename Index Length": 8,
            "Number Of Files": f"{preset.views:5d}",
            "Number Of Rows": f"{g.rows:5d}",
            "Number Of Columns": f"{g.columns:5d}",
            "Partial Width": "OFF" if part == 100 else f"{part:.0f}%",
            "Image crop origin X": crop_x,
            "Image crop origin Y": crop_y,
            "Camera binning": "1x1",
            "Image Rotation": "0.00000",
            "Optical Axis (line)": f"{skyscan.axis_row(g.optical_axis_row, g.rows):5.0f}",
            "Camera to Source (mm)": f"{g.sdd_mm:.5f}",
            "Object to Source (mm)": f"{g.sod_mm:.5f}",
            "Source Voltage (kV)": f"{spectrum.KILOVOLTS:4d}",
            "Source Current (uA)": f"{CURRENT_UA:4d}",
            "Image Pixel Size (um)": pixel_um,
            "Scaled Image Pixel Size (um)": pixel_um,
            "Image Format": "TIFF",
            "Depth (bits)": 16,
            "Reference Intensity": detector.WHITE,
            "Exposure (ms)": EXPOSURE_MS,
            "Rotation Step (deg)": f"{preset.step_deg:.3f}",
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
            "Current scan number": 1,
            "Number of lines to be reconstructed": g.rows,
            "Study Date and Time": shot.when.strftime("%d %b %Y  %Hh:%Mm:%Ss"),
            "Scan duration": f"0h:{minutes}m:{seconds}s",
            "Simulated Photons per Pixel": f"{shot.camera.photons:.0f}",
        },
    }
