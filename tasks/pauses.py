"""Pauses in a run: a source or stream in, the final state of a run that must not work on it out."""

from collections.abc import Iterable, Mapping
from typing import Any

from prefect import State
from prefect.states import Cancelled

from millrace.command_line import command_line
from millrace.contracts.source import SourceContract
from millrace.domain.remedies import Remedy, rooted
from millrace.lake.pauses import read_pauses
from tasks.context import open_lake


def stop_paused(parameters: Mapping[str, Any]) -> State[Any] | None:
    """Return the state Cancelled, which alerts nobody, when the run's source or stream is paused; else None."""
    source = parameters.get("source")
    paused = read_pauses(open_lake()).of(source, parameters.get("stream")) if source else None
    if paused is None:
        return None
    resume = rooted(Remedy.RESUME.filled(name=paused.id), command_line())
    return Cancelled(message=f"{paused.sentence}; `{resume}` ends the pause")


def without_paused(sources: Iterable[SourceContract]) -> list[SourceContract]:
    """Return the sources that are not paused, without their paused streams."""
    pauses = read_pauses(open_lake())
    left = []
    for source in sources:
        streams = {name: stream for name, stream in source.streams.items() if not pauses.of(source.source, name)}
        if streams:
            left.append(source.model_copy(update={"streams": streams}))
    return left
