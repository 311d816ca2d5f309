"""Every bone in one frame: coarse pose, robust refinement, quality, anatomical frame."""

from bonemet.registration._itk import register_published
from bonemet.registration.align import Registration, judge, register
from bonemet.registration.reference import AnatomicalFrame, anatomical_frame

__all__ = ["AnatomicalFrame", "Registration", "anatomical_frame", "judge", "register", "register_published"]
