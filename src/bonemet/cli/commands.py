"""The group of commands: a mistyped or stopped command ends as an error does, in one sentence and code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from bonemet.cli.console import refuse
from bonemet.cli.entry import STOPPED

# Typer carries its own copy of click in some versions and not in others; this is the class in both.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
_STOPPED_EXIT = 130  # what typer makes of Ctrl-C outside of our own code, such as while libraries load


class Commands(TyperGroup):
    """Commands whose usage errors are one sentence, and JSON too where that was asked for."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run a command and leave the process with its code."""
        words = sys.argv[1:] if args is None else list(args)
        as_json = "--json" in words
        try:
            code = super().main(args, *rest, **extra | {"standalone_mode": False})
        except _UsageError as error:
            code = refuse(_usage(error), as_json) if words else _help(error)
        except typer.Abort:
            code = _STOPPED_EXIT
        if code == _STOPPED_EXIT:
            code = refuse(STOPPED, as_json)
        sys.exit(code if isinstance(code, int) else 0)


def _usage(error: Any) -> str:
    """Return what is wrong with a command line, and where its help is."""
    command = error.ctx.command_path if error.ctx is not None else "bonemet"
    return f"{error.format_message().rstrip('. ')}; see '{command} --help'."


def _help(error: Any) -> int:
    """Show the help that a bare ``bonemet`` asks for."""
    error.show()
    return int(error.exit_code)
