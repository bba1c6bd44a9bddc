"""`millrace status`: the content of the status page, in the terminal or as JSON."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli import show
from cli.environment import environment_of


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
    """Show the stations from source to marts, each stream, and each problem with the command that fixes it."""
    environment = environment_of(context)
    if servers and environment.state:
        environment.local("status", *(["--json"] if as_json else []))
    environment.enter()
    from cli.status_view import view
    from millrace.settings import load_settings
    from millrace.status.clients import status_clients
    from millrace.status.collect import collect

    platform_status = collect(status_clients(load_settings()), datetime.now(UTC))
    running = json.loads(environment.read_local("status", "--json").stdout) if environment.state else []
    if as_json:
        return show.as_json({"servers": running, "status": platform_status.model_dump(mode="json")})
    view(platform_status, running)
