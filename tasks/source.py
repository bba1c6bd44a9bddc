"""Where flows find the contracts."""

from contracts.source import SourceContract, find_source, load_sources
from contracts.stream import StreamContract
from settings.tree import ROOT

SOURCES = ROOT / "sources"


def source_contract(source: str) -> SourceContract:
    """Contract of a source. Raises UnknownStream, and ContractError when a file is wrong."""
    return find_source(load_sources(SOURCES), source)


def stream_contract(source: str, stream: str) -> StreamContract:
    """Contract of a stream. Raises UnknownStream, and ContractError when a file is wrong."""
    return source_contract(source).stream(stream)


def wanted_sources(source: str | None) -> list[SourceContract]:
    """The contract of one source, or of all. Raises UnknownStream, and ContractError when a file is wrong."""
    sources = load_sources(SOURCES)
    return [find_source(sources, source)] if source else list(sources.values())
