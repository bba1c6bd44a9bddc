"""`millrace status`: what the status page shows, in the terminal or as JSON."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli import show
from cli.place import here


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command(
        rich_help_panel="Look",
        epilog="Examples: millrace status · millrace status --servers · millrace status --json | jq .status.health",
    )(status)


def status(
    context: typer.Context,
    servers: Annotated[bool, typer.Option("--servers", help="only the servers of the stack on this machine")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document: servers and status")] = False,
) -> None:
    """Show the way from the source to the marts, each stream, what went wrong and what mends it."""
    where = here(context)
    if servers and where.state:
        where.local("status", *(["--json"] if as_json else []))
    where.enter()
    from cli.status_view import view
    from millrace.settings import load_settings
    from millrace.status.collect import collect
    from millrace.status.places import status_places

    found = collect(status_places(load_settings()), datetime.now(UTC))
    running = json.loads(where.ask_local("status", "--json").stdout) if where.state else []
    if as_json:
        return show.as_json({"servers": running, "status": found.model_dump(mode="json")})
    view(found, running)
