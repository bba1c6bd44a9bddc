"""Sources and streams as they are named on a command line."""

import re

from millrace.contracts.source import SourceContract, find_source, load_sources
from millrace.contracts.stream import StreamContract
from millrace.domain.errors import EventRefused
from millrace.project import current_project

STREAM = re.compile(r"([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*)")


def sources() -> dict[str, SourceContract]:
    """Load all sources."""
    return dict(load_sources(current_project().sources))


def all_streams() -> list[tuple[str, str]]:
    """Return source and stream of every stream."""
    return [(name, stream) for name, source in sources().items() for stream in source.streams]


def find_stream(text: str) -> StreamContract:
    """Return the contract of `<source>.<stream>`; raises UnknownStream, EventRefused."""
    match = STREAM.fullmatch(text)
    if not match:
        raise EventRefused(f"{text!r} is not a stream; write SOURCE.STREAM, as in shop.orders")
    return find_source(sources(), match[1]).stream(match[2])


def find_target(text: str) -> tuple[str, str | None]:
    """Return source and stream of `<source>` or `<source>.<stream>`; raises UnknownStream, EventRefused."""
    if "." in text:
        contract = find_stream(text)
        return contract.source, contract.stream
    return find_source_name(text), None


def find_source_name(text: str) -> str:
    """Return the name of a source; raises UnknownStream."""
    return str(find_source(sources(), text).source)


def complete_streams(incomplete: str) -> list[str]:
    """Complete names of sources and streams."""
    names = [".".join(stream) for stream in all_streams()]
    return [name for name in (*sources(), *names) if name.startswith(incomplete)]
