"""`millrace merge | pending | raise-epoch | erase | find | migrate`: one stream, without Prefect."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli import show
from cli.environment import enter


def _complete(incomplete: str) -> list[str]:
    from cli.streams import complete_streams

    return [name for name in complete_streams(incomplete) if "." in name]


Stream = Annotated[str, typer.Argument(metavar="SOURCE.STREAM", autocompletion=_complete)]
FullScan = Annotated[
    bool, typer.Option("--full-scan", help="read all manifests, also those that came more than 7 days late")
]
Keys = Annotated[list[str], typer.Option("--key", help='a key as JSON, as in {"id": 7}; may be repeated')]
Json = Annotated[bool, typer.Option("--json", help="one JSON document")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    panel = "One stream, without Prefect"
    key = """--key '{"id": 7}'"""
    app.command(rich_help_panel=panel, epilog="Example: millrace pending shop.orders --json")(pending)
    app.command(rich_help_panel=panel, epilog="Example: millrace merge shop.orders --full-scan")(merge)
    app.command(rich_help_panel=panel, epilog=f"Example: millrace find shop.customers {key}")(find)
    app.command(rich_help_panel=panel, epilog=f'Example: millrace erase shop.customers {key} --reason "request 7"')(
        erase
    )
    app.command(rich_help_panel=panel, epilog="Example: millrace migrate shop.customers")(migrate)
    app.command("raise-epoch", rich_help_panel=panel, epilog="Example: millrace raise-epoch shop.orders --from-job 12")(
        raise_epoch
    )


def pending(context: typer.Context, stream: Stream, full_scan: FullScan = False, as_json: Json = False) -> None:
    """List the manifests of a stream that are not merged yet."""
    enter(context, prefect=False)
    from beam_job.batches import pending
    from cli.platform import open_platform_lake, platform_warehouse
    from cli.streams import find_stream

    contract = find_stream(stream)
    with platform_warehouse() as warehouse:
        names = list(pending(open_platform_lake(), warehouse, contract, full_scan=full_scan))
    if as_json:
        return show.as_json(names)
    show.lines(names or [f"{contract.id}: nothing is pending"])


def merge(
    context: typer.Context,
    stream: Stream,
    full_scan: FullScan = False,
    wait_s: Annotated[float, typer.Option(help="seconds to wait for another merge of the stream")] = 120,
) -> None:
    """Merge all that is pending of a stream; a flow run that meets this merge leaves the work to it."""
    _run(context, "merge", stream, full_scan=full_scan, wait_s=wait_s)


def find(context: typer.Context, stream: Stream, key: Keys, as_json: Json = False) -> None:
    """List the files of the lake that hold rows of a key."""
    keys = [_key(text) for text in key]
    enter(context, prefect=False)
    from beam_job.find import files_with
    from cli.platform import open_platform_lake
    from cli.streams import find_stream
    from millrace.contracts.erasure import make_erasure

    contract = find_stream(stream)
    erasure = make_erasure(contract, keys, "search", datetime.now(UTC))
    names = list(files_with(open_platform_lake(), contract, set(erasure.keys)))
    if as_json:
        return show.as_json(names)
    show.lines(names or [f"{contract.id}: no file holds the key"])


def erase(
    context: typer.Context,
    stream: Stream,
    key: Keys,
    reason: Annotated[str, typer.Option(help="reason, kept in the ledger")],
) -> None:
    """Erase the rows of keys permanently: no later file brings them back."""
    _run(context, "erase", stream, key=[_key(text) for text in key], reason=reason)


def migrate(context: typer.Context, stream: Stream) -> None:
    """Change the columns of a stream's table to the types of its contract that a merge can't change to."""
    _run(context, "migrate", stream)


def raise_epoch(
    context: typer.Context,
    stream: Stream,
    from_job: Annotated[int, typer.Option(help="id of the first Airbyte job after the stream started over")],
    connection: Annotated[str, typer.Option(help="id of its connection, if two Airbytes had a job with that id")] = "",
    wait_s: Annotated[float, typer.Option(help="seconds to wait for a merge of the stream")] = 120,
) -> None:
    """Let the rows of a job and of all later ones outrank all rows before, after a source was restored."""
    _run(context, "raise-epoch", stream, from_job=from_job, connection=connection, wait_s=wait_s)


def _key(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"{text!r} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f'{text!r} is not a JSON object such as {{"id": 7}}')
    return value


def _run(context: typer.Context, command: str, stream: str, **options: object) -> None:
    """Run a command of the merge job with the addresses and limits of the settings."""
    enter(context, prefect=False)
    from argparse import Namespace

    from beam_job.__main__ import COMMANDS
    from cli.streams import find_stream
    from millrace.settings import load_settings

    settings, contract = load_settings(), find_stream(stream)
    values = {
        "lake_url": settings.lake.url,
        "lake_endpoint": settings.lake.endpoint,
        "warehouse_url": settings.warehouse.url,
        "warehouse_endpoint": settings.warehouse.endpoint,
        "marts_url": settings.warehouse.marts_url,
        "max_bytes_billed": settings.warehouse.max_bytes_billed,
        "project": settings.events.project,
        "events_endpoint": settings.events.endpoint,
        "max_bytes": settings.beam.batch_max_bytes,
        "max_files": settings.beam.batch_max_files,
        "plain_max_bytes": settings.beam.plain_max_bytes,
    }
    COMMANDS[command].run(Namespace(**values, **options), contract)
