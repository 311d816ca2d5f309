"""Readers and writers: the only rooms, with engine and above, that touch disk."""
