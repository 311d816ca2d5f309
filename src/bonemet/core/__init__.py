"""Core types: where voxels are, what their numbers mean, and what was done to them."""
