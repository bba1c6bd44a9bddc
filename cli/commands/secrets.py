"""`millrace secrets list | add | rotate`: secrets by name, never by value."""

from typing import Annotated

import typer

from cli import codes, show
from cli.place import entered


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
    """List every secret that is used: by whom, how old, whether it wants a new value (then exit code 1)."""
    entered(context)
    from millrace.settings import load_settings
    from tasks.upkeep.secret_states import secret_states

    found = secret_states(load_settings())
    if as_json:
        show.as_json([{"secret": s.secret, "used_by": s.used_by, "newest": s.newest, "due": s.due} for s in found])
    else:
        rows = [(s.secret, s.used_by, f"{s.newest:%Y-%m-%d %H:%M}" if s.newest else "", s.due or "good") for s in found]
        show.table(("secret", "used by", "newest version", "wants a new value"), rows, {"good": "good"})
    if any(s.due for s in found):
        raise typer.Exit(codes.WRONG)


def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="the secret's name")],
    disable_old: Annotated[bool, typer.Option("--disable-old", help="disable the versions before it")] = False,
) -> None:
    """Add a version; its value comes from standard input or is asked for, and is not shown. Then `secrets rotate`."""
    import sys

    typed = sys.stdin.isatty()
    value = str(typer.prompt("value", hide_input=True)).encode() if typed else sys.stdin.buffer.read()
    entered(context)
    from blocks.secrets import MillraceCredentials
    from cli.deploy.add_secret import add_version
    from millrace.settings import load_settings

    settings = load_settings()
    credentials = MillraceCredentials(project=settings.events.project, endpoint=settings.secrets.endpoint)
    show.line(f"added {add_version(credentials, name, value, disable_old=disable_old)}", "good")


def rotate(context: typer.Context) -> None:
    """Take up rotated secrets now, and tell of those that are old: the flow `rotation`."""
    entered(context)
    from cli.runs import run_flow

    run_flow("rotation", {}, wait=True)
