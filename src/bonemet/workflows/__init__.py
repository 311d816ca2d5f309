"""Whole workflows: every stage for a study, and the demonstration."""
