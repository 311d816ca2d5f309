"""Reconstruction: from X-ray projections to attenuation in 1/mm."""
