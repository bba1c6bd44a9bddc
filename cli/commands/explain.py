"""`millrace explain`: the section of the operations docs about an alert or an error."""

from typing import Annotated

import typer

from cli import show
from millrace.project import PLATFORM


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command(
        rich_help_panel="Look",
        epilog="Examples: millrace explain · millrace explain HeadMoved · "
        'millrace explain "Millrace: a flow run failed"',
    )(explain)


def _complete(incomplete: str) -> list[str]:
    from cli.runbook import entries

    return [name for name in entries(PLATFORM) if name.startswith(incomplete)]


def explain(
    name: Annotated[
        str, typer.Argument(help="an alert or an error (default: list all)", autocompletion=_complete)
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document")] = False,
) -> None:
    """Explain an alert or an error: its meaning, and the steps to take."""
    from cli import runbook

    if not name:
        names = list(runbook.entries(PLATFORM))
        return show.as_json(names) if as_json else show.lines(names)
    full_name, text = runbook.explain(PLATFORM, name)
    if as_json:
        return show.as_json({"name": full_name, "text": text})
    typer.echo(text)
