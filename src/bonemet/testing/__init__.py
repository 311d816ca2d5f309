"""Planted truths for tests."""
