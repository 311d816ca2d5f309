"""The methods section: what was done, with the parameters that logs and sidecars hold."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bonemet.io.sidecar import Sidecar
from bonemet.io.skyscan import SkyScanLog, read_log
from bonemet.reporting.gather import StudyView

LIBRARIES = ("numpy", "scipy", "numba", "scikit-image", "SimpleITK")


def software_versions() -> str:
    """Return the versions that made the report, in one line."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"bonemet {version('bonemet')}, Python {platform.python_version()}, {libraries}."


def methods_text(view: StudyView) -> list[str]:
    """Return the paragraphs of the methods section; each says only what logs and sidecars say."""
    return [text for text in _paragraphs(view) if text]


def _paragraphs(view: StudyView) -> Iterator[str]:
    first = view.scans[0]
    yield _acquisition(first.recon)
    yield _reconstruction(first.recon_side)
    yield _segmentation(first.bones)
    for tibia in view.tibiae:
        for week in tibia.weeks:
            if week.composite_side is not None:
                yield _registration(week.registered_side)
                yield _composite(week.composite_side)
                yield _region(tibia.weeks[0].crop_side)
                return


def _of(side: Sidecar | None, step: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters of a step and the results of the folder that holds it."""
    if side is None:
        return {}, {}
    steps = [s for s in side.steps if s.name == step]
    return (steps[-1].parameters if steps else {}), side.results


def _acquisition(recon: Path) -> str:
    logs = sorted(recon.glob("*_rec.log"))
    if not logs:
        return ""
    log: SkyScanLog = read_log(logs[0])
    facts = {
        "source": ("Source Voltage (kV)", "{:g} kV"),
        "current": ("Source Current (uA)", "{:g} µA"),
        "exposure": ("Exposure (ms)", "{:g} ms a frame"),
        "views": ("Number Of Files", "{:g} projections"),
        "step": ("Rotation Step (deg)", "{:g} degrees apart"),
    }
    values = {name: log.find_number(key) for name, (key, _) in facts.items()}
    words = [facts[name][1].format(value) for name, value in values.items() if value is not None]
    filter_text = log.text("Filter")
    if filter_text:
        words.insert(2, f"{filter_text} filter")
    scanner = log.text("Scanner") or "a scanner that its log does not name"
    return f"Animals were scanned with {scanner}: {', '.join(words)}."


def _reconstruction(side: Sidecar | None) -> str:
    parameters, results = _of(side, "reconstruct")
    if not results:
        return ""
    voxel = results["spacing_mm"][0] * 1000
    sources = {"data": "found in each scan from its opposing rays", "given": "given by hand"}
    axis = sources.get(str(results.get("axis_source")), str(results.get("axis_source")))
    text = (
        "Scans were reconstructed with the cone-beam algorithm of Feldkamp, Davis and Kress "
        "(doi:10.1364/JOSAA.1.000612) with Parker weights (doi:10.1118/1.595078) and a "
        f"{parameters.get('filter', 'hamming')} filter on voxels of {voxel:.4g} µm; "
        f"the rotation axis was {axis}."
    )
    text += _corrections(parameters, results)
    window = results.get("window")
    if window:
        text += (
            f" Grey values stand for attenuation from {window[0]:.4g} to {window[1]:.4g} 1/mm, "
            "the same for all scans."
        )
    return text


def _corrections(parameters: dict[str, Any], results: dict[str, Any]) -> str:
    """Return what was done to projections and volume besides."""
    done = []
    if parameters.get("ring_level"):
        done.append(
            "rings were removed by sorted columns (after doi:10.1364/OE.26.028396), level "
            f"{parameters['ring_level']}"
        )
    if results.get("hardening") not in (None, "none"):
        done.append(f"beam hardening was corrected: {results['hardening']}")
    if parameters.get("median"):
        done.append(f"a median filter of radius {parameters['median']} voxels was applied")
    if parameters.get("smooth"):
        done.append(f"a Gaussian of {parameters['smooth']:g} voxels was applied")
    if str(results.get("thermal")).startswith("applied"):
        done.append("thermal shifts were undone")
    return "" if not done else f" {'; '.join(done)[:1].upper()}{'; '.join(done)[1:]}."


def _segmentation(side: Sidecar | None) -> str:
    parameters, results = _of(side, "segment")
    if not results:
        return ""
    left = parameters.get("left", "low-x").replace("-", " ")
    bone = f"grey ≥ {results['threshold']:.4g}"
    if results.get("threshold_source") in ("attenuation", "density"):
        bone = f"what has {results['threshold_choice']} or more"
    return (
        f"Bone is {bone} in every scan of the study. Bones were found by the "
        f"{parameters.get('method', 'default')} method and named by side (the animal's left at {left}, "
        f"{results.get('side_source', 'assumed')}). The fibula stays with its tibia."
    )


def _registration(side: Sidecar | None) -> str:
    parameters, results = _of(side, "register")
    if not results:
        return ""
    how = "coarse pose over the whole circle, then robust least squares from coarse to fine"
    if parameters.get("method") == "published":
        how = "mutual information maximised by gradient descent from a list of angles"
    return (
        "Each tibia's first week was set upright by its anatomy, and later weeks were aligned with it "
        f"rigidly ({how}) and interpolated once, from their original grey values "
        f"({parameters.get('interpolation')})."
    )


def _composite(side: Sidecar) -> str:
    _, results = _of(side, "composite")
    guard = results.get("guard") or {}
    text = (
        "The aligned weeks were overlaid: bone in both 180, formed 240, resorbed 60, neither 0, "
        f"at a threshold of {results['threshold']:.4g}."
    )
    if guard:
        text += (
            " Guarded volumes count a change that has a core, where the difference of the two scans, "
            f"smoothed with a Gaussian of {guard['sigma_voxels']:g} voxel, exceeds "
            f"{guard['smallest_difference']:.0%} of the contrast of bone and {guard['noise_sds']:g} standard "
            f"deviations of its noise in at least {guard['smallest_cluster_voxels']:g} connected voxels"
            + (f" beyond a surface film of {guard['film_voxels']:g} voxel" if guard["film_voxels"] else "")
            + ", and follow it as far as the difference keeps its sign."
        )
        if guard.get("local_mm"):
            text += (
                " For them bone is told at each place by the value half-way between the highest and the "
                f"lowest within {guard['local_mm']:g} mm."
            )
    return text


def _region(crop: Sidecar | None) -> str:
    _, region = _of(crop, "crop")
    if not region:
        return ""
    return (
        "The region of interest begins at the proximal tibia-fibula junction of the first week and reaches "
        f"{region['length_mm']:.3g} mm distally; it is the same bone in every week, and the fibula was taken "
        "out of it. Names and definitions of measures follow Bouxsein 2010 (doi:10.1002/jbmr.141)."
    )
