"""Parameters of a run and the contracts in; an error that names the mistyped one out, before anything starts."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from millrace.contracts.erasure import make_erasure
from millrace.contracts.source import SourceContract, find_source
from millrace.domain.errors import EventRefused

Sources = Mapping[str, SourceContract]
Parameters = Mapping[str, Any]
Rule = Callable[[Sources, Parameters], object]


def check_parameters(sources: Sources, parameters: Parameters) -> None:
    """Check each parameter that names something in the contracts; one that is absent or None is not checked.

    Raises:
        UnknownStream: no such source or stream; the message lists the existing ones.
        EventRefused: a key has other columns or types than the contract's key, or a day is no date.
    """
    for name, rule in RULES.items():
        if parameters.get(name) is not None:
            rule(sources, parameters)


def names_contracts(parameters: Parameters) -> bool:
    """Return True when a rule covers one of these parameters."""
    return any(parameters.get(name) is not None for name in RULES)


def _source(sources: Sources, parameters: Parameters) -> object:
    return find_source(sources, str(parameters["source"]))


def _sources(sources: Sources, parameters: Parameters) -> object:
    return [find_source(sources, str(name)) for name in parameters["sources"]]


def _stream(sources: Sources, parameters: Parameters) -> object:
    return find_source(sources, str(parameters.get("source"))).stream(str(parameters["stream"]))


def _streams(sources: Sources, parameters: Parameters) -> object:
    source = find_source(sources, str(parameters.get("source")))
    return [source.stream(str(name)) for name in parameters["streams"]]


def _keys(sources: Sources, parameters: Parameters) -> object:
    contract = find_source(sources, str(parameters.get("source"))).stream(str(parameters.get("stream")))
    return make_erasure(contract, parameters["keys"], str(parameters.get("reason") or "unknown"), datetime.now(UTC))


def _day(sources: Sources, parameters: Parameters) -> object:
    try:
        return date.fromisoformat(str(parameters["day"]))
    except ValueError:
        raise EventRefused(f"{parameters['day']!r} is not a day; write it as 2026-01-31") from None


RULES: dict[str, Rule] = {
    "source": _source,
    "sources": _sources,
    "stream": _stream,
    "streams": _streams,
    "keys": _keys,
    "day": _day,
}
"""The rule of each parameter, in the order in which they are checked; flows give these names one meaning."""
