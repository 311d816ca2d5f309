"""Every bone in one frame: coarse pose, robust refinement, quality, anatomical frame."""

from bonemet.registration._itk import register_published
from bonemet.registration.align import METRICS, Options, Registration, judge, register
from bonemet.registration.broken import Fragment
from bonemet.registration.cohort import MeanShape, mean_shape
from bonemet.registration.growth import Growth
from bonemet.registration.part import NAMED as PARTS
from bonemet.registration.reference import AnatomicalFrame, Model, anatomical_frame, frame_by_model
from bonemet.registration.symmetric import half, halfway

__all__ = [
    "METRICS",
    "PARTS",
    "AnatomicalFrame",
    "Fragment",
    "Growth",
    "MeanShape",
    "Model",
    "Options",
    "Registration",
    "anatomical_frame",
    "frame_by_model",
    "half",
    "halfway",
    "judge",
    "mean_shape",
    "register",
    "register_published",
]
