"""Compiled kernels that several rooms need."""
