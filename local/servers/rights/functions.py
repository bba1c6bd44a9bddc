"""Terraform's functions by name, as far as the platform's files call them."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from local.servers.rights.values import SetOf, Unknown, is_known


def call(function: str, values: list[Any]) -> Any:
    """Return the value of a call: unknown if an argument is, or if a text is made out of unknown parts.

    Raises:
        NotImplementedError: the function is none of these.
    """
    if function not in FUNCTIONS:
        raise NotImplementedError(f"no rule for Terraform's function {function}; add it to FUNCTIONS")
    if any(isinstance(value, Unknown) for value in values):
        return Unknown(function)
    value = FUNCTIONS[function](*values)
    return Unknown(function) if isinstance(value, str) and not is_known(values) else value


def _set(values: Iterable[Any]) -> SetOf:
    return SetOf(sorted(dict.fromkeys(values)))


def _flatten(values: Any) -> list[Any]:
    return [item for value in values for item in (_flatten(value) if isinstance(value, list) else [value])]


def _merge(*values: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: item for value in values for key, item in value.items()}


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "toset": _set,
    "setunion": lambda *values: _set([item for value in values for item in value]),
    "setsubtract": lambda a, b: _set([item for item in a if item not in b]),
    "setproduct": lambda *values: [list(pair) for pair in itertools.product(*values)],
    "concat": lambda *values: [item for value in values for item in value],
    "distinct": lambda values: list(dict.fromkeys(values)),
    "flatten": _flatten,
    "merge": _merge,
    "keys": lambda value: sorted(value),
    "values": lambda value: [value[key] for key in sorted(value)],
    "compact": lambda values: [value for value in values if value],
    "join": lambda mark, values: mark.join(values),
    "replace": lambda text, old, new: text.replace(old, new),
    "trimsuffix": lambda text, end: text.removesuffix(end),
    "startswith": lambda text, start: text.startswith(start),
    "floor": int,
    "length": len,
    "tostring": str,
    "plantimestamp": lambda: Unknown("plantimestamp"),
    "timeadd": lambda *_: Unknown("timeadd"),
    "file": lambda path: Unknown(f"file {path}"),
    "yamldecode": lambda _: Unknown("yaml"),
}
