"""`millrace dashboards draw | --watch`: the charts of `dashboards/*.yaml`, into a folder or on a page that reloads."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import codes, show
from cli.environment import enter

if TYPE_CHECKING:
    from millrace.dashboards.page import DrawnChart

Watch = Annotated[bool, typer.Option("--watch", help="serve a page that is drawn again when a file changes")]
Port = Annotated[int, typer.Option(help="of the page; 0 takes a free one")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(
        invoke_without_command=True, help="Dashboards from the published marts: draw them, or watch them while writing."
    )
    group.command("draw", epilog="Example: millrace dashboards draw /tmp/dashboards")(draw_dashboards)
    group.callback(epilog="Example: millrace dashboards --watch")(dashboards)
    app.add_typer(group, name="dashboards", rich_help_panel="Work")


def dashboards(context: typer.Context, watch: Watch = False, port: Port = 0) -> None:
    """Serve the dashboards of this project with `--watch`, until Ctrl+C."""
    if context.invoked_subcommand:
        return
    if not watch:
        show.line(context.get_help())
        raise typer.Exit(codes.USAGE)
    enter(context, prefect=False)
    import threading

    from millrace.dashboards.watch import Watcher, server
    from millrace.project import current_project
    from millrace.settings import load_settings
    from millrace.warehouse.engines import open_marts

    settings, project = load_settings().warehouse, current_project()
    file = Path(settings.marts_url.removeprefix("duckdb:///"))
    with tempfile.TemporaryDirectory() as folder:
        watcher = Watcher(open_marts(settings), Path(folder), (project.dashboards, file), _print)
        watcher.look()
        pages = server(watcher, port)
        show.line(f"http://127.0.0.1:{pages.server_port}/ shows {project.dashboards}; Ctrl+C ends it")
        threading.Thread(target=watcher.run, daemon=True).start()
        try:
            pages.serve_forever()
        except KeyboardInterrupt:
            show.line("ended")
        finally:
            watcher.end()
            pages.server_close()


def draw_dashboards(
    context: typer.Context, folder: Annotated[Path, typer.Argument(help="receives index.html and its files")]
) -> None:
    """Draw the dashboards into a folder; print the sentence of each chart. Exit code 1 when one can't be drawn."""
    enter(context, prefect=False)
    from millrace.dashboards.draw import draw
    from millrace.settings import load_settings
    from millrace.warehouse.engines import open_marts

    read = open_marts(load_settings().warehouse)
    folder.mkdir(parents=True, exist_ok=True)
    charts = draw(read, folder, datetime.now(UTC))
    _print(charts)
    show.line(str(folder / "index.html"))
    if any(chart.error for chart in charts):
        raise typer.Exit(codes.WRONG)


def _print(charts: "list[DrawnChart]") -> None:
    for chart in charts:
        if chart.error:
            show.line(f"{chart.title}: {chart.error}", "bad")
        else:
            show.line(f"{chart.title}: {chart.sentence or chart.figure or ('drawn' if chart.rows else 'no data yet')}")
    if not charts:
        show.line("no file in dashboards/ yet")
