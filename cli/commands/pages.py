"""`millrace open`: the platform's pages, in the browser or as addresses."""

import json
from typing import Annotated

import typer

from cli import show
from cli.environment import enter


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
    only_print: Annotated[bool, typer.Option("--print", help="only print the address")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="all addresses as one JSON document")] = False,
) -> None:
    """Open a page in the browser (default: the status page)."""
    from cli.addresses import addresses
    from millrace.domain.errors import SettingsError
    from millrace.settings import load_settings

    environment = enter(context)
    process = environment.read_local("status", "--json") if environment.state else None
    servers = json.loads(process.stdout) if process and not process.returncode else []
    pages = addresses(load_settings(), {server["server"]: server["address"] for server in servers})
    if page and page not in pages:
        raise SettingsError(f"no page is named {page!r}; expected one of {', '.join(pages)}")
    if as_json:
        return show.as_json(pages if not page else {page: pages[page]})
    if only_print and not page:
        return show.table(("page", "address"), pages.items())
    address = pages[page or "status"]
    show.line(address)
    if not only_print:
        typer.launch(address)
