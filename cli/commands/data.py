"""`millrace lake | request`: objects of the lake, a request for a sync."""

import sys
from typing import Annotated

import typer

from cli import show
from cli.environment import enter

Json = Annotated[bool, typer.Option("--json", help="one JSON document")]
Name = Annotated[str, typer.Argument(help="name of the object in the bucket")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    lake = typer.Typer(no_args_is_help=True, help="Objects of the lake: ls, cat, rm.")
    lake.command("ls", epilog="Example: millrace lake ls raw/shop/")(list_objects)
    lake.command("cat", epilog="Example: millrace lake cat _batches/shop/orders/lease.json")(print_object)
    lake.command("rm", epilog="Example: millrace lake rm _results/old --yes")(remove_object)
    app.add_typer(lake, name="lake", rich_help_panel="Look")
    app.command(rich_help_panel="Work", epilog='Example: millrace request shop --reason "new schedule"')(request)


def list_objects(
    context: typer.Context,
    prefix: Annotated[str, typer.Argument(help="beginning of the names (default: all)")] = "",
    as_json: Json = False,
) -> None:
    """List objects with time and size."""
    enter(context, prefect=False)
    from cli.platform import open_platform_lake

    infos = open_platform_lake().list(prefix)
    if as_json:
        objects = [
            {"name": i.name, "size": i.size, "updated": i.updated.isoformat(), "generation": i.generation}
            for i in infos
        ]
        return show.as_json(objects)
    for info in infos:
        typer.echo(f"{info.updated:%Y-%m-%d %H:%M} {info.size:>12,} {info.name}")


def print_object(context: typer.Context, name: Name) -> None:
    """Write the bytes of an object to standard output."""
    enter(context, prefect=False)
    from cli.platform import open_platform_lake

    data = open_platform_lake().read(name)
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def remove_object(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
) -> None:
    """Delete an object permanently."""
    enter(context, prefect=False)
    from cli.platform import open_platform_lake
    from millrace.domain.errors import ObjectMissing

    lake = open_platform_lake()
    info = lake.stat(name)
    if info is None:
        raise ObjectMissing(f"{lake.url}/{name} does not exist; `millrace lake ls` lists objects")
    if not yes:
        typer.confirm(f"Delete {lake.url}/{name} ({info.size:,} bytes)?", abort=True)
    lake.delete(name, info.generation)
    show.line(f"deleted {name}", "good")


def request(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="a source of sources/")],
    stream: Annotated[
        list[str] | None, typer.Option("--stream", help="a stream that must be in the sync; may be repeated")
    ] = None,
    reason: Annotated[str, typer.Option(help="reason, shown with the run")] = "",
    as_json: Json = False,
) -> None:
    """Publish a request for a sync on `ingest-requested`, as another system would; the trigger starts `ingest`."""
    enter(context, prefect=False)
    from cli.streams import find_source_name, find_stream
    from millrace.domain.events import IngestRequested
    from millrace.events.bus import EventBus
    from millrace.settings import load_settings

    names = tuple(find_stream(f"{source}.{name}").stream for name in stream or ())
    message = IngestRequested(source=find_source_name(source), streams=names or None, reason=reason)
    events = load_settings().events
    message_id = EventBus(events.project, events.endpoint).publish(message)
    if as_json:
        return show.as_json({"topic": message.topic, "id": message_id})
    show.line(f"published message {message_id} on {message.topic}", "good")
