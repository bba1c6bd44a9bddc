"""`millrace replay list | send | drop`: messages that could not be delivered."""

from typing import Annotated, Any

import typer

from cli import show
from cli.place import entered
from millrace.domain.dead_letters import Action
from millrace.domain.names import TOPICS

Topics = Annotated[list[str] | None, typer.Option("--topic", help=f"{', '.join(TOPICS)}; may be repeated (all)")]
Ids = Annotated[list[str] | None, typer.Option("--id", help="this message only; may be repeated (all)")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do nothing")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    replay = typer.Typer(no_args_is_help=True, help="Messages that could not be delivered: list, publish again, drop.")
    replay.command("list", epilog="Example: millrace replay list --topic lake-landed")(list_letters)
    replay.command(epilog="Example: millrace replay send --topic lake-landed --dry-run")(send)
    replay.command(epilog='Example: millrace replay drop --id 19 --reason "sent by a test"')(drop)
    app.add_typer(replay, name="replay", rich_help_panel="Work")


def list_letters(context: typer.Context, topic: Topics = None, as_json: Json = False) -> None:
    """List them, each with the reason for which the gateway would refuse it now."""
    _sort(context, "list", topic, None, as_json)


def send(
    context: typer.Context, topic: Topics = None, ids: Ids = None, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Publish them again on the topic they came from, as they were; twice is harmless."""
    _sort(context, "redrive", topic, ids, as_json, dry_run=dry_run)


def drop(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="why they make no sense; is logged with what they said")],
    topic: Topics = None,
    ids: Ids = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Forget them for good."""
    _sort(context, "drop", topic, ids, as_json, reason=reason, dry_run=dry_run)


def _sort(
    context: typer.Context,
    action: Action,
    topics: list[str] | None,
    ids: list[str] | None,
    as_json: bool,
    *,
    reason: str = "",
    dry_run: bool = False,
) -> None:
    from millrace.events.dead_letters import DeadLetters
    from millrace.events.reasons import why_refused
    from millrace.events.sort import sort
    from millrace.settings import load_settings

    entered(context)
    events = load_settings().events
    done: list[Any] = sort(
        DeadLetters(events.project, events.endpoint),
        action,
        why_refused,
        topics=topics or [],
        ids=ids or [],
        reason=reason,
        dry_run=dry_run,
    )
    if as_json:
        return show.as_json([one.model_dump() for one in done])
    if not done:
        return show.line("no message waits", "good")
    rows = [(one.topic, one.id, one.published, one.attempts, one.why, one.done) for one in done]
    show.table(("topic", "id", "published", "tried", "refused for", ""), rows)
