"""Pauses in the status: a paused source or stream is shown as such, and needs nobody's look; pure."""

from collections.abc import Iterable, Mapping

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.lake.pauses import Pauses
from millrace.status.types import SourceStatus, Trouble


def silence_paused(
    troubles: Mapping[str, Trouble], streams: Iterable[StreamContract], pauses: Pauses
) -> dict[str, Trouble]:
    """Return the failures, of which those of paused work are over."""
    paused = {f"{flow} {pause.source}" for pause in pauses if not pause.stream for flow in ("ingest", "land")}
    paused |= {names.merge_work(s.source, s.stream) for s in streams if pauses.of(s.source, s.stream)}
    return {n: t.model_copy(update={"over": True}) if n in paused else t for n, t in troubles.items()}


def mark_paused(source: SourceStatus, pauses: Pauses) -> SourceStatus:
    """Return a source that says when it was paused; a failed last sync is then no problem."""
    pause = pauses.of(source.source)
    if pause is None:
        return source
    health = "good" if source.health == "bad" else source.health
    return source.model_copy(update={"paused": pause.sentence, "health": health})
