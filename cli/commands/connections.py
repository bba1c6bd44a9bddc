"""`millrace connections plan | apply`: compares Airbyte with the files in `sources/`."""

from typing import Annotated

import typer

from cli import show
from cli.environment import enter

Sources = Annotated[list[str] | None, typer.Argument(metavar="SOURCE", help="files in sources/ (default: all)")]
Force = Annotated[bool, typer.Option("--force", help="also send what agrees, as Airbyte does not show secrets")]
COLOURS = {"+": "good", "~": "warn", "-": "bad", "=": "soft"}


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(no_args_is_help=True, help="Airbyte's connections, compared with the files in sources/.")
    group.command(epilog="Example: millrace connections plan shop")(plan)
    group.command(epilog="Example: millrace connections apply --delete")(apply)
    app.add_typer(group, name="connections", rich_help_panel="Set-up")


def plan(context: typer.Context, sources: Sources = None, force: Force = False) -> None:
    """Show the differences between Airbyte and the files; changes nothing, and shows no secret."""
    _agree(context, sources, dry_run=True, delete=False, force=force)


def apply(
    context: typer.Context,
    sources: Sources = None,
    delete: Annotated[bool, typer.Option(help="delete connections into the lake that no file declares")] = False,
    force: Force = False,
) -> None:
    """Make Airbyte agree with the files."""
    _agree(context, sources, dry_run=False, delete=delete, force=force)


def _agree(context: typer.Context, sources: list[str] | None, *, dry_run: bool, delete: bool, force: bool) -> None:
    enter(context)
    from tasks.upkeep.agreement import agree

    agreement = agree(sources or [], dry_run=dry_run, delete=delete, force=force)
    for change in agreement.changes:
        text = str(change)
        show.line(text, COLOURS.get(text[:1], ""))
    show.line(agreement.summary)
