"""`millrace open`: the platform's pages, in the browser or as addresses."""

import json
from typing import Annotated

import typer

from cli import show
from cli.place import entered


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command(
        "open",
        rich_help_panel="Look",
        epilog="Examples: millrace open · millrace open dashboards · millrace open quality --print",
    )(open_page)


def _complete(incomplete: str) -> list[str]:
    from cli.addresses import PAGES

    return [name for name in PAGES if name.startswith(incomplete)]


def open_page(
    context: typer.Context,
    page: Annotated[str, typer.Argument(help="`--print` alone lists them", autocompletion=_complete)] = "",
    only_print: Annotated[bool, typer.Option("--print", help="print the address, and open nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="all addresses as one JSON document")] = False,
) -> None:
    """Open a page in the browser: the status page, when none is named."""
    from cli.addresses import addresses
    from millrace.domain.errors import SettingsError
    from millrace.settings import load_settings

    where = entered(context)
    said = where.ask_local("status", "--json") if where.state else None
    ports = {one["server"]: one["address"] for one in json.loads(said.stdout)} if said and not said.returncode else {}
    found = addresses(load_settings(), ports)
    if page and page not in found:
        raise SettingsError(f"no page {page!r}; there are {', '.join(found)}")
    if as_json:
        return show.as_json(found if not page else {page: found[page]})
    if only_print and not page:
        return show.table(("page", "address"), found.items())
    address = found[page or "status"]
    show.line(address)
    if not only_print:
        typer.launch(address)
