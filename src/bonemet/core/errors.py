"""Errors that a user can act on: each says what was found, where, and what to do.

Every error is also a builtin error, so callers may catch either.
"""


class BonemetError(Exception):
    """Base of every error that bonemet raises on purpose; its text is one clear sentence."""


class InputError(BonemetError, ValueError):
    """An input is there but cannot be used as it is."""


class MissingInputError(BonemetError, FileNotFoundError):
    """An input is not there."""


class UnknownFormatError(InputError):
    """A file or folder is of a kind that bonemet does not read."""


class SettingsError(BonemetError, ValueError):
    """A setting or argument has a value that makes no sense here."""


class OutputExistsError(BonemetError, FileExistsError):
    """The output folder holds something else, and overwriting was not asked for."""


class OutputWriteError(BonemetError, OSError):
    """An output could not be written (disk full, no permission)."""


class StopRequestedError(BonemetError):
    """The user or a scheduler asked to stop; nothing half-written stays behind."""


class MissingExtraError(BonemetError, ImportError):
    """An optional library is not installed; the text names the extra to install."""
