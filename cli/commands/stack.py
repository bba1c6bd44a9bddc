"""`millrace up | down | run`: the stack on this machine, and days of real data through it."""

from typing import Annotated

import typer

from cli.place import here


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    panel = "The stack on this machine"
    app.command(rich_help_panel=panel, epilog="Example: millrace up")(up)
    app.command(rich_help_panel=panel, epilog="Example: millrace down")(down)
    app.command(rich_help_panel=panel, epilog="Example: millrace run --days 3 --exit")(run)


def up(context: typer.Context) -> None:
    """Start the stack and leave it running; one that is up stays as it is."""
    here(context).local("up")


def down(context: typer.Context) -> None:
    """End the stack; its data stays."""
    here(context).local("down")


def run(
    context: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=365, help="days of 2013 to take in, from where it stands")] = 7,
    leave: Annotated[bool, typer.Option("--exit", help="end the stack when done, instead of staying up")] = False,
) -> None:
    """Take days of real data through all steps, and check every figure of the marts; starts the stack if need be."""
    here(context).local("run", "--days", str(days), *(["--exit"] if leave else []))
