"""Writes the simulated scan of the calibration phantom, and what is true of it."""

from __future__ import annotations

import json
from pathlib import Path

from bonemet.core.context import Context
from bonemet.dataset import layout
from bonemet.simulation import phantom, spectrum
from bonemet.simulation import scene as scenes
from bonemet.stages.simulated_scan import Shot, write_planted, write_shot

FOLDER = Path("Calibration") / "phantom"
_FRAMES = (
    "centre_mm holds (x, y) from the axis of rotation, every slice being the same; scan_mm the same from "
    "the centre of voxel (0, 0, 0) of the default reconstruction. attenuation_per_mm is that of the beam "
    "before it hardens."
)


def write_calibration(study: Path, shot: Shot, context: Context) -> Path:
    """Write the phantom's images, log and truth into a study; return the folder of the images."""
    beam = spectrum.tube_spectrum()
    folder = study / FOLDER
    write_shot(folder, "phantom", phantom.phantom_in_beam(shot.preset, shot.geometry, beam), shot, context)
    inserts = phantom.truth(beam)
    corner = scenes.reconstruction_grid(shot.geometry).origin_mm
    for insert in inserts:
        x, y = insert["centre_mm"]
        insert["scan_mm"] = [round(x - corner[0], 6), round(y - corner[1], 6)]
    truth = {**shot.planted(), "frames": _FRAMES, "inserts": inserts}
    beside = study / layout.TRUTH / "calibration"
    beside.mkdir(parents=True)
    text = json.dumps(truth, indent=1) + "\n"
    (beside / "truth.json").write_text(text, encoding="utf-8", newline="\n")
    write_planted(beside, shot)
    return folder
