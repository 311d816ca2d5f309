"""Stages: each reads, calls pure functions, writes."""
