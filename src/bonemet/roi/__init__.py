"""Regions of interest: composites of two scans, the tibia-fibula junction, the fibula, the region below."""
