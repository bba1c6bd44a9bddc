"""`millrace pause | resume`: a source or a stream that nothing reads, merges or alerts on for a while."""

from typing import Annotated

import typer

from cli import show
from cli.environment import enter


def _complete(incomplete: str) -> list[str]:
    from cli.streams import complete_streams

    return complete_streams(incomplete)


Target = Annotated[str, typer.Argument(metavar="SOURCE[.STREAM]", autocompletion=_complete)]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(
        rich_help_panel="Work",
        epilog='Examples: millrace pause shop --reason "the database moves" · millrace pause shop.orders',
    )(pause)
    app.command(rich_help_panel="Work", epilog="Example: millrace resume shop")(resume)


def pause(
    context: typer.Context,
    target: Target,
    reason: Annotated[str, typer.Option(help="reason, shown with the pause")] = "",
) -> None:
    """Pause a source or a stream, durably: no sync or merge of it starts, and nothing of it is missed or alerts."""
    enter(context)
    from datetime import UTC, datetime

    from cli.pausing import follow_pause
    from cli.platform import open_platform_lake
    from cli.streams import find_target
    from millrace.lake.pauses import Pause
    from millrace.lake.pauses import pause as store

    source, stream = find_target(target)
    made = store(open_platform_lake(), Pause(source=source, stream=stream, reason=reason, at=datetime.now(UTC)))
    show.line(f"{target} is paused" if made else f"{target} was paused before", "good")
    show.lines(follow_pause(source))
    show.line(f"`millrace resume {target}` ends the pause", "soft")


def resume(context: typer.Context, target: Target) -> None:
    """End a pause: schedules and merges go on, and `reconcile` starts what was missed."""
    enter(context)
    from cli.pausing import follow_pause
    from cli.platform import open_platform_lake
    from cli.streams import find_target
    from millrace.lake.pauses import resume as end

    source, _ = find_target(target)
    ended = end(open_platform_lake(), target)
    show.line(f"{target} is not paused any more" if ended else f"{target} was not paused", "good")
    show.lines(follow_pause(source))
    show.line(f"`millrace backfill {target}` starts now what was missed; `reconcile` does within 15 minutes", "soft")
