"""The published classes: thin faces on the stages."""
