"""Pauses of sources and streams, kept in the lake: nothing of what is paused is read, merged, missed or alerted on."""

from datetime import datetime

from millrace.domain import names
from millrace.domain.errors import ObjectExists
from millrace.domain.types import Frozen, Name
from millrace.lake.store import Lake

JSON = "application/json"


class Pause(Frozen):
    """A source, or one stream of it, that a person has paused, with the reason."""

    v: int = 1
    source: Name
    stream: Name | None = None
    reason: str = ""
    at: datetime

    @property
    def id(self) -> str:
        """Return `<source>` or `<source>.<stream>`."""
        return f"{self.source}.{self.stream}" if self.stream else self.source

    @property
    def sentence(self) -> str:
        """Return what is paused, since when and why."""
        return f"{self.id} is paused since {self.at:%Y-%m-%d %H:%M} UTC{f': {self.reason}' if self.reason else ''}"


class Pauses(tuple[Pause, ...]):
    """All pauses of the platform."""

    __slots__ = ()

    def of(self, source: str, stream: str | None = None) -> Pause | None:
        """Return the pause of a source, or of a stream: its own or that of its source."""
        return next((p for p in self if p.source == source and p.stream in (None, stream)), None)


def read_pauses(lake: Lake) -> Pauses:
    """Return all pauses."""
    return Pauses(Pause.model_validate_json(lake.read(info.name)) for info in lake.list(names.PAUSED))


def pause(lake: Lake, paused: Pause) -> bool:
    """Store a pause; return False when it is paused already, whose reason stays."""
    try:
        lake.create(_name(paused.id), paused.model_dump_json().encode(), JSON)
    except ObjectExists:
        return False
    return True


def resume(lake: Lake, name: str) -> bool:
    """End the pause of `<source>` or `<source>.<stream>`; return False when it was not paused."""
    info = lake.stat(_name(name))
    if info is None:
        return False
    lake.delete(info.name, info.generation)
    return True


def _name(paused: str) -> str:
    return f"{names.PAUSED}{paused}.json"
