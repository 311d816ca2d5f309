"""The published dataset on disk: where each component of each scan stands."""
