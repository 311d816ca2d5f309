"""Segmentation: thresholds, the bones of the hind limbs, compartments within a bone.

Arrays in, arrays out; labels are those of :data:`bonemet.segmentation.names.LABELS`.
"""
