"""`millrace start | backfill | redrive`: flows, started by their deployments and watched to their end."""

import re
from typing import Annotated, Any

import typer

from cli import show
from cli.parameters import parameters
from cli.place import entered
from millrace.domain.errors import EventRefused

STREAM = re.compile(r"([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*)")
Detached = Annotated[bool, typer.Option("--detach", help="do not wait for the end of the run")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do nothing")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    panel = "Work"
    app.command(
        rich_help_panel=panel,
        epilog="Examples: millrace start ingest -p source=airport_ops · millrace start model -p full=true · "
        "millrace start reconcile -p dry_run=true",
    )(start)
    app.command(
        rich_help_panel=panel,
        epilog="Examples: millrace backfill · millrace backfill airport_ops.flights · millrace backfill --marts · "
        "millrace backfill --dry-run",
    )(backfill)
    app.command(
        rich_help_panel=panel,
        epilog="Examples: millrace redrive --dry-run · millrace redrive airport_ops.flights · "
        "millrace redrive airport_ops.flights --object raw/airport_ops/flights/sync_id=7/a.parquet",
    )(redrive)


def _flows(incomplete: str) -> list[str]:
    import yaml

    from millrace.settings.tree import ROOT

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    return [one["name"] for one in deployments if one["name"].startswith(incomplete)]


def _streams(incomplete: str) -> list[str]:
    found = [".".join(stream) for stream in _all_streams()]
    return [name for name in (*_sources(), *found) if name.startswith(incomplete)]


def start(
    context: typer.Context,
    flow: Annotated[str, typer.Argument(help="ingest, merge, model, reconcile, digest …", autocompletion=_flows)],
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="may be repeated; JSON or text")
    ] = None,
    detach: Detached = False,
) -> None:
    """Start a flow by its deployment, and wait for its end."""
    given = parameters(parameter or [])
    entered(context)
    from cli.runs import run_flow

    run_flow(flow, given, wait=not detach)


def backfill(
    context: typer.Context,
    what: Annotated[
        str | None, typer.Argument(metavar="SOURCE[.STREAM]", help="left out: all", autocompletion=_streams)
    ] = None,
    marts: Annotated[bool, typer.Option("--marts", help="build every mart anew, from all that was merged")] = False,
    dry_run: DryRun = False,
    detach: Detached = False,
) -> None:
    """Take in whatever was left out, however old: syncs, landings, merges; or build all marts anew."""
    if marts and (what or dry_run):
        raise typer.BadParameter("--marts builds all of them from all that was merged: leave the rest out")
    if dry_run and what and "." in what:
        raise typer.BadParameter("--dry-run looks at sources: name a source, or nothing")
    entered(context)
    from cli.runs import run_flow

    if marts:
        run_flow("model", {"full": True}, wait=not detach)
    elif what and "." in what:
        source, stream = _known(what)
        run_flow("merge", {"source": source, "stream": stream, "audit": True}, wait=not detach)
    else:
        named: dict[str, Any] = {"source": _known_source(what)} if what else {}
        run_flow("reconcile", named | {"audit": True, "dry_run": dry_run}, wait=not detach)


def redrive(
    context: typer.Context,
    stream: Annotated[
        str | None, typer.Argument(metavar="SOURCE.STREAM", help="left out: all", autocompletion=_streams)
    ] = None,
    objects: Annotated[
        list[str] | None, typer.Option("--object", help="this object of the lake only; may be repeated")
    ] = None,
    dry_run: DryRun = False,
    detach: Detached = False,
    as_json: Annotated[bool, typer.Option("--json", help="with --dry-run: one JSON document")] = False,
) -> None:
    """Let quarantined objects be merged once more, after a fix of the contract or of the object."""
    if objects and not stream:
        raise typer.BadParameter("name the stream of the objects: SOURCE.STREAM")
    entered(context)
    from cli.quarantine import refused_objects

    found = refused_objects([_known(stream)] if stream else _all_streams(), objects or [])
    if dry_run:
        if as_json:
            return show.as_json([one.model_dump() for one in found])
        return show_refused(found)
    from cli.runs import run_flow

    for source, name in dict.fromkeys((one.source, one.stream) for one in found if not one.exhausted):
        given = {"source": source, "stream": name} | ({"objects": objects} if objects else {})
        run_flow("redrive", given, wait=not detach)
    if not any(not one.exhausted for one in found):
        show_refused(found)


def show_refused(found: list[Any]) -> None:
    """What is in quarantine, for people."""
    if not found:
        return show.line("nothing is in quarantine", "good")
    columns = ("stream", "object", "rows", "reasons", "tried", "")
    rows = [
        (
            f"{o.source}.{o.stream}",
            o.object,
            f"{o.rows:,}",
            o.reasons,
            o.attempts,
            "tried too often: mend it first" if o.exhausted else "would be let in again",
        )
        for o in found
    ]
    show.table(columns, rows, {"would be let in again": "good", "tried too often: mend it first": "warn"})


def _sources() -> dict[str, Any]:
    from millrace.contracts.source import load_sources
    from millrace.settings.tree import ROOT

    return dict(load_sources(ROOT / "sources"))


def _all_streams() -> list[tuple[str, str]]:
    return [(name, stream) for name, source in _sources().items() for stream in source.streams]


def _known(stream: str) -> tuple[str, str]:
    """Source and stream of `<source>.<stream>`; raises UnknownStream, EventRefused."""
    from millrace.contracts.source import find_source

    match = STREAM.fullmatch(stream)
    if not match:
        raise EventRefused(f"{stream!r} is no stream; write SOURCE.STREAM, as in airport_ops.flights")
    find_source(_sources(), match[1]).stream(match[2])
    return match[1], match[2]


def _known_source(name: str) -> str:
    from millrace.contracts.source import find_source

    return str(find_source(_sources(), name).source)
