"""From raw micro-CT scans of mouse hind limbs to reconstructed, segmented, aligned and measured bones.

Every command of the command line is a function here, with the same name and arguments.
Names are imported when first used, so that ``import bonemet`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bonemet._version import __version__

_HOMES = {
    # the commands
    "demo": "bonemet.workflows.demo",
    "info": "bonemet.stages.info",
    "simulate": "bonemet.stages.simulate",
    "reconstruct": "bonemet.stages.reconstruct",
    "segment": "bonemet.stages.segment",
    "register": "bonemet.stages.register",
    "reference": "bonemet.stages.reference",
    "carry": "bonemet.stages.carry",
    "composite": "bonemet.stages.composite",
    "series": "bonemet.stages.series",
    "crop": "bonemet.stages.crop",
    "measure": "bonemet.stages.measure",
    "run": "bonemet.workflows.run",
    "report": "bonemet.reporting.report",
    # the published classes
    "ReconCTSegmentation": "bonemet.api.segmentation",
    "CTRegistration": "bonemet.api.registration",
    "RoICompositeCropper": "bonemet.api.roi",
    # the types that the functions take and return
    "Context": "bonemet.core.context",
    "Grid": "bonemet.core.grid",
    "Measure": "bonemet.core.measure",
    "Outcome": "bonemet.stages.outcome",
    "Quantity": "bonemet.core.calibration",
    "Scan": "bonemet.core.scan",
    "ScanKey": "bonemet.core.ids",
    "ThreadContext": "bonemet.engine.context",
    "Transform": "bonemet.core.transform",
    "Volume": "bonemet.core.volume",
    "open_scan": "bonemet.io.scans",
    "open_volume": "bonemet.io.volumes",
    # errors
    "BonemetError": "bonemet.core.errors",
}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bonemet' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
