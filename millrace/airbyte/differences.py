"""What differs between an item as Airbyte has it and as it is wanted, in words that hold no secret; pure."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from millrace.contracts.source import SecretReference

MASK = re.compile(r"\*+")
SECRETIVE = re.compile(r"pass|secret|token|key|credential|auth|cert|private", re.I)
HIDDEN = "(hidden)"
SHOWN = 80

Sent = Callable[[str], str]


def filled(value: Any, sent: Sent) -> Any:
    """A configuration as it is sent: `sent` says what stands in the place of a secret, by its name."""
    if isinstance(value, SecretReference):
        return sent(value.secret)
    if isinstance(value, dict):
        return {key: filled(part, sent) for key, part in value.items()}
    return [filled(part, sent) for part in value] if isinstance(value, list | tuple) else value


def differences(there: Any, wanted: Any, sent: Sent, path: str = "") -> Iterator[str]:
    """One line for each part of `wanted` that `there` has otherwise; what only `there` has is Airbyte's own affair.

    Airbyte shows secrets as asterisks, so that such a value can't be compared: it is taken to be right.
    """
    if isinstance(wanted, SecretReference):
        if not (isinstance(there, str) and (MASK.fullmatch(there) or there == sent(wanted.secret))):
            yield f"{path}: {'(none)' if there is None else HIDDEN} → secret {wanted.secret}"
    elif isinstance(wanted, dict):
        known = there if isinstance(there, dict) else {}
        for key, part in wanted.items():
            yield from differences(known.get(key), part, sent, f"{path}.{key}" if path else key)
    elif _named(wanted) and _named(there):
        yield from _in_lists({i["name"]: i for i in there}, {i["name"]: i for i in wanted}, sent, path)
    elif there != wanted:
        yield f"{path}: {_shown(there, path)} → {_shown(filled(wanted, lambda name: f'secret {name}'), path)}"


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) and "name" in item for item in value)


def _in_lists(there: dict[str, Any], wanted: dict[str, Any], sent: Sent, path: str) -> Iterator[str]:
    for name in [n for n in there if n not in wanted]:
        yield f"{path}[{name}]: taken away"
    for name, part in wanted.items():
        if name in there:
            yield from differences(there[name], part, sent, f"{path}[{name}]")
        else:
            yield f"{path}[{name}]: added"


def _shown(value: Any, path: str) -> str:
    """A value as a diff shows it: those under names that secrets bear are hidden, whatever the contract says."""
    if value is None:
        return "(none)"
    if SECRETIVE.search(path.rsplit(".", 1)[-1]) and not path.endswith("primaryKey"):
        return HIDDEN
    if isinstance(value, dict | list) and SECRETIVE.search(json.dumps(value, default=str)) and "[" not in path:
        return HIDDEN
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
