"""`key=value` options in; a connector's configuration, with its secrets apart, out."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from millrace.domain.errors import SettingsError

Json = dict[str, Any]
ENVIRONMENT = "env:"


def parse_options(options: Iterable[str], schema: Json, url: str = "") -> Json:
    """Return the configuration of `path.to.key=value` options, with values of the types that the schema has.

    A value `env:NAME` is taken from a variable, so that it is in no command line.

    Raises:
        SettingsError: an option has no `=`, is unknown, or its value is of another type.
    """
    config = _from_url(_named(url, "--url")) if url else {}
    for option in options:
        path, equals, text = option.partition("=")
        if not equals:
            raise SettingsError(f"--config {option!r} has no `=`; write key=value")
        declared = _declared(schema, path)
        value = _value(path, text, str(declared.get("type", "string")))
        _set(config, path.split("."), value)
    return config


def _from_url(url: str) -> Json:
    parts = urlsplit(url)
    values = {
        "host": parts.hostname,
        "port": parts.port,
        "database": parts.path.lstrip("/"),
        "username": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }
    return {name: value for name, value in values.items() if value}


def _declared(schema: Json, path: str) -> Json:
    """Return what the schema says of a key; a part without properties of its own takes any key."""
    at = schema
    for part in path.split("."):
        known = _properties(at)
        if known and part not in known:
            raise SettingsError(f"--config {path}: the connector has no option {part!r}; it has {', '.join(known)}")
        at = known.get(part, {})
    return at


def _properties(schema: Json) -> Json:
    """Return the properties of an object, of all its alternatives together."""
    merged: Json = dict(schema.get("properties", {}))
    for alternative in schema.get("oneOf", []):
        merged |= {name: p for name, p in alternative.get("properties", {}).items() if name not in merged}
    return merged


def _value(path: str, text: str, kind: str) -> Any:
    text = _named(text, f"--config {path}")
    try:
        if kind == "array" and not text.startswith("["):
            return text.split(",")
        return json.loads(text) if kind in ("integer", "number", "boolean", "array", "object") else text
    except ValueError:
        raise SettingsError(f"--config {path}={text}: the connector expects a value of type {kind}") from None


def _named(text: str, option: str) -> str:
    """Return a text, or the value of the variable that it names."""
    if not text.startswith(ENVIRONMENT):
        return text
    name = text.removeprefix(ENVIRONMENT)
    if name not in os.environ:
        raise SettingsError(f"{option}: the variable {name} is not set")
    return os.environ[name]


def _set(config: Json, path: list[str], value: Any) -> None:
    for part in path[:-1]:
        config = config.setdefault(part, {})
    config[path[-1]] = value


def secret_paths(schema: Json, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of the options that are secrets."""
    paths = []
    for name, declared in _properties(schema).items():
        if declared.get("airbyte_secret"):
            paths.append((*at, name))
        paths += secret_paths(declared, (*at, name))
    return paths


def split_secrets(source: str, config: Json, schema: Json) -> tuple[Json, dict[str, str]]:
    """Return the configuration with references in place of secrets, and the values by the secrets' names."""
    values: dict[str, str] = {}
    shown = json.loads(json.dumps(config))
    for path in secret_paths(schema):
        holder: Any = shown
        for part in path[:-1]:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and isinstance(value := holder.get(path[-1]), str) and value:
            name = "-".join((source, *path)).replace("_", "-")
            values[name] = value
            holder[path[-1]] = {"secret": name}
    return shown, values


def ask_missing(config: Json, schema: Json, ask: Callable[[str, bool], str] | None) -> None:
    """Ask for required options that have no value and no default, and for a password that a server may want.

    Raises:
        SettingsError: nobody can be asked.
    """
    secrets = {path[0] for path in secret_paths(schema) if len(path) == 1}
    required = [n for n in schema.get("required", []) if n not in config and "default" not in _properties(schema)[n]]
    if required and ask is None:
        raise SettingsError(f"the connector also needs {', '.join(f'--config {name}=…' for name in required)}")
    if ask is None:
        return
    for name in [*required, *sorted(secrets - set(required) - set(config))]:
        if value := ask(name, name in secrets):
            config[name] = _value(name, value, str(_properties(schema).get(name, {}).get("type", "string")))


def fill_secrets(config: Any, read: Callable[[str], str]) -> Any:
    """Return a configuration with the values of the secrets that it refers to."""
    if isinstance(config, Mapping):
        if set(config) == {"secret"}:
            return read(str(config["secret"]))
        return {name: fill_secrets(part, read) for name, part in config.items()}
    return [fill_secrets(part, read) for part in config] if isinstance(config, list) else config
