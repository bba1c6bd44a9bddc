"""`millrace start | retry | backfill | redrive`: flows, started by their deployments and watched to their end."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import show
from cli.environment import enter
from cli.parameters import parameters

if TYPE_CHECKING:
    from cli.quarantine import QuarantinedObject

Detached = Annotated[bool, typer.Option("--detach", help="do not wait for the end of the run")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the actions, and take none")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    panel = "Work"
    app.command(
        rich_help_panel=panel,
        epilog="Examples: millrace start ingest -p source=shop · millrace start model -p full=true · "
        "millrace start reconcile -p dry_run=true",
    )(start)
    app.command(rich_help_panel=panel, epilog="Example: millrace retry 0199f0a2-5b1e-7c3d-8e4f-000000000001")(retry)
    app.command(
        rich_help_panel=panel,
        epilog="Examples: millrace backfill · millrace backfill shop.orders · millrace backfill --marts · "
        "millrace backfill --dry-run",
    )(backfill)
    app.command(
        rich_help_panel=panel,
        epilog="Examples: millrace redrive --dry-run · millrace redrive shop.orders · "
        "millrace redrive shop.orders --object raw/shop/orders/sync_id=7/a.parquet",
    )(redrive)


def _flows(incomplete: str) -> list[str]:
    import yaml

    from cli.deploy.declared_deployments import declared_text
    from millrace.project import current_project

    deployments = yaml.safe_load(declared_text(current_project()))["deployments"]
    return [flow["name"] for flow in deployments if flow["name"].startswith(incomplete)]


def _streams(incomplete: str) -> list[str]:
    from cli.streams import complete_streams

    return complete_streams(incomplete)


def start(
    context: typer.Context,
    flow: Annotated[str, typer.Argument(help="ingest, merge, model, reconcile, digest …", autocompletion=_flows)],
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="may be repeated; JSON or text")
    ] = None,
    detach: Detached = False,
) -> None:
    """Start a flow by its deployment, and wait for its end."""
    values = parameters(parameter or [])
    enter(context)
    from cli.runs import run_flow

    run_flow(flow, values, wait=not detach)


def retry(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="id of a flow run that failed; alerts and the status name it")],
    detach: Detached = False,
) -> None:
    """Continue a failed run after its last completed step, and wait for its end."""
    enter(context)
    from cli.runs import retry_run

    retry_run(run, wait=not detach)


def backfill(
    context: typer.Context,
    target: Annotated[
        str | None, typer.Argument(metavar="SOURCE[.STREAM]", help="default: all", autocompletion=_streams)
    ] = None,
    marts: Annotated[bool, typer.Option("--marts", help="rebuild every mart from all merged rows")] = False,
    dry_run: DryRun = False,
    detach: Detached = False,
) -> None:
    """Process all that was missed, however old: syncs, landings, merges; or rebuild all marts."""
    if marts and (target or dry_run):
        raise typer.BadParameter("--marts rebuilds all marts from all merged rows: omit the other arguments")
    if dry_run and target and "." in target:
        raise typer.BadParameter("--dry-run covers whole sources: name a source, or nothing")
    enter(context)
    from cli.runs import run_flow
    from cli.streams import find_source_name, find_stream

    if marts:
        run_flow("model", {"full": True}, wait=not detach)
    elif target and "." in target:
        contract = find_stream(target)
        values = {"source": contract.source, "stream": contract.stream, "full_scan": True}
        run_flow("merge", values, wait=not detach)
    else:
        named: dict[str, Any] = {"source": find_source_name(target)} if target else {}
        run_flow("reconcile", named | {"full_scan": True, "dry_run": dry_run}, wait=not detach)


def redrive(
    context: typer.Context,
    stream: Annotated[
        str | None, typer.Argument(metavar="SOURCE.STREAM", help="default: all", autocompletion=_streams)
    ] = None,
    objects: Annotated[
        list[str] | None, typer.Option("--object", help="only this object of the lake; may be repeated")
    ] = None,
    dry_run: DryRun = False,
    detach: Detached = False,
    as_json: Annotated[bool, typer.Option("--json", help="with --dry-run: one JSON document")] = False,
) -> None:
    """Merge quarantined objects again, after a fix of the contract or of the object."""
    if objects and not stream:
        raise typer.BadParameter("name the stream of the objects: SOURCE.STREAM")
    enter(context)
    from cli.quarantine import quarantined_objects
    from cli.streams import all_streams, find_stream

    contract = find_stream(stream) if stream else None
    streams = [(contract.source, contract.stream)] if contract else all_streams()
    quarantined = quarantined_objects(streams, objects or [])
    if dry_run:
        if as_json:
            return show.as_json([o.model_dump() for o in quarantined])
        return show_quarantined(quarantined)
    from cli.runs import run_flow

    for source, name in dict.fromkeys((o.source, o.stream) for o in quarantined if not o.exhausted):
        values = {"source": source, "stream": name} | ({"objects": objects} if objects else {})
        run_flow("redrive", values, wait=not detach)
    if all(o.exhausted for o in quarantined):
        show_quarantined(quarantined)


def show_quarantined(quarantined: "list[QuarantinedObject]") -> None:
    """Print a table of quarantined objects, and what is wrong with the first row of each."""
    if not quarantined:
        return show.line("nothing is quarantined", "good")
    again, exhausted = "would be merged again", "too many attempts: fix it first"
    columns = ("stream", "object", "rows", "reasons", "attempts", "")
    rows = [
        (
            f"{o.source}.{o.stream}",
            o.object,
            f"{o.rows:,}",
            o.reasons,
            o.attempts,
            exhausted if o.exhausted else again,
        )
        for o in quarantined
    ]
    show.table(columns, rows, {again: "good", exhausted: "warn"})
    for o in quarantined:
        show.line(f"{o.object}: {o.detail}")
