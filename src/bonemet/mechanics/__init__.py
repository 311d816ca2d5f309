"""Mechanics: stiffness, yield, maximum and work to fracture from load-displacement curves."""
