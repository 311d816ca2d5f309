"""Every bone in one frame: coarse pose, robust refinement, quality, anatomical frame."""

from bonemet.registration._itk import register_published
from bonemet.registration.align import METRICS, Options, Registration, judge, register
from bonemet.registration.checks import Fragment, Growth
from bonemet.registration.part import NAMED as PARTS
from bonemet.registration.reference import AnatomicalFrame, anatomical_frame
from bonemet.registration.symmetric import half, halfway

__all__ = [
    "METRICS",
    "PARTS",
    "AnatomicalFrame",
    "Fragment",
    "Growth",
    "Options",
    "Registration",
    "anatomical_frame",
    "half",
    "halfway",
    "judge",
    "register",
    "register_published",
]
