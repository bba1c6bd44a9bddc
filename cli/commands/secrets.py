"""`millrace secrets list | add | rotate`: secrets by name, never by value."""

from typing import Annotated

import typer

from cli import codes, show
from cli.environment import enter


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(no_args_is_help=True, help="Secrets by name and age, never by value: list, add, rotate.")
    group.command("list", epilog="Example: millrace secrets list --json")(list_secrets)
    group.command(epilog='Example: printf %s "$VALUE" | millrace secrets add slack-webhook-url --disable-old')(add)
    group.command(epilog="Example: millrace secrets rotate")(rotate)
    app.add_typer(group, name="secrets", rich_help_panel="Set-up")


def list_secrets(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="one JSON document")] = False
) -> None:
    """List every secret with its user and age; exit code 1 when one should be rotated."""
    enter(context)
    from millrace.settings import load_settings
    from tasks.upkeep.secret_states import secret_states

    states = secret_states(load_settings())
    if as_json:
        show.as_json([{"secret": s.secret, "used_by": s.used_by, "newest": s.newest, "due": s.due} for s in states])
    else:
        rows = [
            (s.secret, s.used_by, f"{s.newest:%Y-%m-%d %H:%M}" if s.newest else "", s.due or "good") for s in states
        ]
        show.table(("secret", "used by", "newest version", "state"), rows, {"good": "good"})
    if any(s.due for s in states):
        raise typer.Exit(codes.WRONG)


def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="the secret's name")],
    disable_old: Annotated[bool, typer.Option("--disable-old", help="disable the versions before it")] = False,
) -> None:
    """Add a version with the value on standard input, or from a hidden prompt. Then run `millrace secrets rotate`."""
    import sys

    typed = sys.stdin.isatty()
    value = str(typer.prompt("value", hide_input=True)).encode() if typed else sys.stdin.buffer.read()
    enter(context)
    from blocks.secrets import MillraceCredentials
    from cli.deploy.add_secret import add_version
    from millrace.settings import load_settings

    settings = load_settings()
    credentials = MillraceCredentials(project=settings.events.project, endpoint=settings.secrets.endpoint)
    show.line(f"added {add_version(credentials, name, value, disable_old=disable_old)}", "good")


def rotate(context: typer.Context) -> None:
    """Load rotated secrets now, and alert on old ones: starts the flow `rotation`."""
    enter(context)
    from cli.runs import run_flow

    run_flow("rotation", {}, wait=True)
