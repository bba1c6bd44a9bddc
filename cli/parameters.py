"""Parameters of a flow as they are written on a command line."""

import json
from collections.abc import Iterable
from typing import Any

from millrace.domain.errors import EventRefused


def parameters(given: Iterable[str]) -> dict[str, Any]:
    """Parameters of `name=value`; a value that is JSON is what it says, any other is text.

    Raises:
        EventRefused: one has no `=`.
    """
    found: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise EventRefused(f"{text!r} is no parameter; write NAME=VALUE, as in source=airport_ops")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found
