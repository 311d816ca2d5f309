"""The methods paragraph: what was done, with the parameters that the sidecars hold."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from bonemet.io.sidecar import Sidecar
from bonemet.reporting.gather import StudyView

LIBRARIES = ("numpy", "scipy", "numba", "scikit-image", "SimpleITK")


def software_versions() -> str:
    """Return the versions that made the report, in one line."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"bonemet {version('bonemet')}, Python {platform.python_version()}, {libraries}."


def methods_text(view: StudyView) -> list[str]:
    """Return the paragraphs of the methods section; each says only what the sidecars say."""
    return [text for text in _paragraphs(view) if text]


def _paragraphs(view: StudyView) -> Iterator[str]:
    first = view.scans[0]
    yield _reconstruction(first.recon_side)
    yield _segmentation(first.bones)
    for tibia in view.tibiae:
        for week in tibia.weeks:
            if week.composite_side is not None:
                yield _registration(week.registered_side)
                yield _composite(week.composite_side, tibia.weeks[0].crop_side)
                return


def _of(side: Sidecar | None, step: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters of a step and the results of the folder that holds it."""
    if side is None:
        return {}, {}
    steps = [s for s in side.steps if s.name == step]
    return (steps[-1].parameters if steps else {}), side.results


def _reconstruction(side: Sidecar | None) -> str:
    parameters, results = _of(side, "reconstruct")
    if not results:
        return ""
    voxel = results["spacing_mm"][0] * 1000
    text = (
        "Scans were reconstructed with the cone-beam algorithm of Feldkamp, Davis and Kress "
        f"(doi:10.1364/JOSAA.1.000612) with Parker weights and a {parameters.get('filter', 'Hamming')} filter "
        f"on voxels of {voxel:.4g} µm; the rotation axis was taken from: {results.get('axis_source', 'the data')}."
    )
    window = results.get("window")
    if window:
        text += (
            f" Grey values stand for attenuation from {window[0]:.4g} to {window[1]:.4g} 1/mm, "
            "the same for all scans."
        )
    return text


def _segmentation(side: Sidecar | None) -> str:
    parameters, results = _of(side, "segment")
    if not results:
        return ""
    return (
        f"Bone is grey ≥ {results['threshold']:.4g}; bones were found by the {parameters.get('method', 'default')} "
        f"method and named by side ({results.get('side_source', 'assumed')}: the animal's left at "
        f"{parameters.get('left', 'low-x').replace('-', ' ')}). The fibula stays with its tibia."
    )


def _registration(side: Sidecar | None) -> str:
    parameters, results = _of(side, "register")
    if not results:
        return ""
    return (
        "Each tibia's first week was set upright by its anatomy, and later weeks were aligned with it rigidly "
        f"(method {parameters.get('method', 'default')}: coarse pose over the whole circle, then robust "
        "least squares on a pyramid of resolutions), resampled once from the original grey values."
    )


def _composite(side: Sidecar | None, crop: Sidecar | None) -> str:
    _, results = _of(side, "composite")
    _, region = _of(crop, "crop")
    text = (
        "The aligned weeks were overlaid: bone in both 180, formed 240, resorbed 60, neither 0, "
        f"at a threshold of {results.get('threshold', float('nan')):.4g}."
    )
    if region:
        text += (
            " The region of interest begins at the proximal tibia-fibula junction of the first week and reaches "
            f"{region['last_slice'] - region['first_slice'] + 1} slices distally; the fibula was removed."
        )
    return text + " Measures follow Bouxsein 2010 (doi:10.1002/jbmr.141)."
