"""`millrace up | down | run`: the stack on this machine, and days of real data through it."""

from typing import Annotated

import typer

from cli.environment import environment_of


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    panel = "The stack on this machine"
    app.command(rich_help_panel=panel, epilog="Examples: millrace up · millrace up --watch")(up)
    app.command(rich_help_panel=panel, epilog="Example: millrace down")(down)
    app.command(rich_help_panel=panel, epilog="Example: millrace run --days 3 --exit")(run)


def up(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", help="stay, and deploy the project's files at each change, until Ctrl-C")
    ] = False,
) -> None:
    """Start the stack in the background; a running stack is left as it is.

    Runs use the project's files as they are at the start, and after each `millrace deploy`.
    """
    environment = environment_of(context)
    if not watch:
        environment.local("up")
    from cli.watch import watch_project

    watch_project(environment)


def down(context: typer.Context) -> None:
    """Stop the stack; its data is kept."""
    environment_of(context).local("down")


def run(
    context: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=365, help="days of 2013 to ingest, from the last one on")] = 7,
    leave: Annotated[
        bool, typer.Option("--exit", help="stop the stack at the end (default: leave it running)")
    ] = False,
) -> None:
    """Process days of real data through all steps, and check every figure of the marts; starts a stopped stack."""
    environment_of(context).local("run", "--days", str(days), *(["--exit"] if leave else []))
