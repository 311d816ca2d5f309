"""Figures and the report page: reads results, computes no stage."""
