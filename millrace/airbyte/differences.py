"""Airbyte's item and the declared one in; a line for each difference, without secrets, out."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from millrace.contracts.source import SecretReference

MASK = re.compile(r"\*+")
SECRETIVE = re.compile(r"pass|secret|token|key|credential|auth|cert|private", re.I)
HIDDEN = "(hidden)"
SHOWN = 80

SecretText = Callable[[str], str]


def fill_secrets(value: Any, secret_text: SecretText) -> Any:
    """Return a configuration with each secret replaced by the text that `secret_text` returns for its name."""
    if isinstance(value, SecretReference):
        return secret_text(value.secret)
    if isinstance(value, dict):
        return {key: fill_secrets(part, secret_text) for key, part in value.items()}
    return [fill_secrets(part, secret_text) for part in value] if isinstance(value, list | tuple) else value


def differences(actual: Any, expected: Any, secret_text: SecretText, path: str = "") -> Iterator[str]:
    """Yield a line for each part of `expected` that differs in `actual`; extra parts of `actual` are Airbyte's own.

    Airbyte shows secrets as asterisks: such a value can't be compared and counts as equal.
    """
    if isinstance(expected, SecretReference):
        if not (isinstance(actual, str) and (MASK.fullmatch(actual) or actual == secret_text(expected.secret))):
            yield f"{path}: {'(none)' if actual is None else HIDDEN} → secret {expected.secret}"
    elif isinstance(expected, dict):
        mapping = actual if isinstance(actual, dict) else {}
        for key, part in expected.items():
            yield from differences(mapping.get(key), part, secret_text, f"{path}.{key}" if path else key)
    elif _is_named_list(expected) and _is_named_list(actual):
        yield from _in_lists({i["name"]: i for i in actual}, {i["name"]: i for i in expected}, secret_text, path)
    elif actual != expected:
        yield f"{path}: {_show(actual, path)} → {_show(fill_secrets(expected, lambda name: f'secret {name}'), path)}"


def _is_named_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) and "name" in item for item in value)


def _in_lists(actual: dict[str, Any], expected: dict[str, Any], secret_text: SecretText, path: str) -> Iterator[str]:
    for name in [n for n in actual if n not in expected]:
        yield f"{path}[{name}]: removed"
    for name, part in expected.items():
        if name in actual:
            yield from differences(actual[name], part, secret_text, f"{path}[{name}]")
        else:
            yield f"{path}[{name}]: added"


def _show(value: Any, path: str) -> str:
    """Return a value as a diff shows it: values under names that suggest a secret are always hidden."""
    if value is None:
        return "(none)"
    if SECRETIVE.search(path.rsplit(".", 1)[-1]) and not path.endswith("primaryKey"):
        return HIDDEN
    if isinstance(value, dict | list) and SECRETIVE.search(json.dumps(value, default=str)) and "[" not in path:
        return HIDDEN
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
