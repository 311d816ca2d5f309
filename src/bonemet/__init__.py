"""From raw micro-CT scans of mouse hind limbs to reconstructed, segmented, aligned and measured bones."""

from bonemet._version import __version__

__all__ = ["__version__"]
