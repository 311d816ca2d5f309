"""The command line: which commands there are, in the order in which help lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from bonemet._version import __version__
from bonemet.cli import change, steps, studies
from bonemet.cli.commands import Commands

app = typer.Typer(
    name="bonemet",
    cls=Commands,
    help="From raw micro-CT scans of mouse hind limbs to aligned and measured bones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for command in (
    studies.demo,
    steps.info,
    studies.simulate,
    steps.reconstruct,
    steps.segment,
    steps.register,
    steps.reference,
    steps.carry,
    change.composite,
    change.series,
    change.crop,
    steps.measure,
    studies.run,
    studies.report,
):
    app.command()(command)


if __name__ == "__main__":
    app()
