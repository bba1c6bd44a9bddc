"""`millrace dead-letters list | redrive | drop`: messages that could not be delivered."""

from typing import Annotated, Any

import typer

from cli import show
from cli.environment import enter
from millrace.domain.dead_letters import Action
from millrace.domain.names import TOPICS

Topics = Annotated[list[str] | None, typer.Option("--topic", help=f"{', '.join(TOPICS)}; may be repeated (all)")]
Ids = Annotated[list[str] | None, typer.Option("--id", help="only this message; may be repeated (all)")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the actions, and take none")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(no_args_is_help=True, help="Messages that could not be delivered: list, publish again, drop.")
    group.command("list", epilog="Example: millrace dead-letters list --topic lake-landed")(list_letters)
    group.command(epilog="Example: millrace dead-letters redrive --topic lake-landed --dry-run")(redrive)
    group.command(epilog='Example: millrace dead-letters drop --id 19 --reason "sent by a test"')(drop)
    app.add_typer(group, name="dead-letters", rich_help_panel="Work")


def list_letters(context: typer.Context, topic: Topics = None, as_json: Json = False) -> None:
    """List dead letters, each with the reason for which the gateway would reject it now."""
    _process(context, "list", topic, None, as_json)


def redrive(
    context: typer.Context, topic: Topics = None, ids: Ids = None, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Publish dead letters again on their topic, unchanged; to repeat this is harmless."""
    _process(context, "redrive", topic, ids, as_json, dry_run=dry_run)


def drop(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="reason for the log, which keeps the content of the message")],
    topic: Topics = None,
    ids: Ids = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Delete dead letters permanently."""
    _process(context, "drop", topic, ids, as_json, reason=reason, dry_run=dry_run)


def _process(
    context: typer.Context,
    action: Action,
    topics: list[str] | None,
    ids: list[str] | None,
    as_json: bool,
    *,
    reason: str = "",
    dry_run: bool = False,
) -> None:
    enter(context, prefect=False)
    from millrace.events.dead_letters import DeadLetters
    from millrace.events.reasons import rejection_reason
    from millrace.events.sort import settle_letters
    from millrace.settings import load_settings

    events = load_settings().events
    outcomes: list[Any] = settle_letters(
        DeadLetters(events.project, events.endpoint),
        action,
        rejection_reason,
        topics=topics or [],
        ids=ids or [],
        reason=reason,
        dry_run=dry_run,
    )
    if as_json:
        return show.as_json([outcome.model_dump() for outcome in outcomes])
    if not outcomes:
        return show.line("no dead letters", "good")
    rows = [(o.topic, o.id, o.published, o.attempts, o.why, o.done) for o in outcomes]
    show.table(("topic", "id", "published", "attempts", "rejected for", ""), rows)
