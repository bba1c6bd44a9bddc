"""`NAME=VALUE` arguments of a command line in, parameters of a flow out."""

import json
from collections.abc import Iterable
from typing import Any

from millrace.domain.errors import EventRefused


def parameters(arguments: Iterable[str]) -> dict[str, Any]:
    """Parse `name=value` arguments; a value that is valid JSON is decoded, any other is text.

    Raises:
        EventRefused: an argument has no name or no `=`.
    """
    values: dict[str, Any] = {}
    for text in arguments:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise EventRefused(f"{text!r} is not a parameter; write NAME=VALUE, as in source=shop")
        try:
            values[name] = json.loads(value)
        except json.JSONDecodeError:
            values[name] = value
    return values
