"""A source or stream whose pause was changed in; Airbyte's connection and the alerts on missing data follow it."""

from collections.abc import Iterator
from typing import cast

from prefect.automations import Automation

from cli.platform import open_platform_lake
from cli.streams import sources
from millrace.lake.pauses import read_pauses
from tasks.upkeep.agreement import agree

MISSING_DATA = "Millrace: no new data of {stream}"


def follow_pause(source: str) -> Iterator[str]:
    """Stop or resume the schedule in Airbyte and the alerts on missing data; yield a line for each change."""
    for change in agree([source], dry_run=False).changes:
        if change.action != "keep":
            yield str(change)
    pauses = read_pauses(open_platform_lake())
    for stream in sources()[source].streams.values():
        paused = pauses.of(source, stream.stream) is not None
        if stream.freshness_s and set_enabled(MISSING_DATA.format(stream=stream.id), enabled=not paused):
            yield f"{'disabled' if paused else 'enabled'}: {MISSING_DATA.format(stream=stream.id)}"


def set_enabled(name: str, *, enabled: bool) -> bool:
    """Enable or disable an automation; return False when it was so before, or is not deployed."""
    try:
        automation = cast(Automation, Automation.read(name=name))
    except ValueError:
        return False
    if automation.enabled == enabled:
        return False
    automation.enabled = enabled
    automation.update()
    return True
