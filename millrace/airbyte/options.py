"""A contract and where Airbyte runs its connectors in; what of the connector and its options can't run there, out."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from millrace.airbyte.known import UNVERSIONED, check_image
from millrace.airbyte.specifications import BUNDLED, REQUIRED_BY_AIRBYTE, REQUIRED_WITH_THE_LOG
from millrace.contracts.source import SourceContract
from millrace.domain.errors import SettingsError

Json = dict[str, Any]
LOOPBACK = ("localhost", "127.", "::1", "0.0.0.0")  # noqa: S104  a name that is refused, not an address to listen at


def check_connectors(sources: Iterable[SourceContract], *, on_this_machine: bool, configured: Collection[str]) -> None:
    """Raise SettingsError, with every problem, when a source's connector can't run where Airbyte runs it.

    `on_this_machine`: Airbyte is the one of `millrace up`, which runs commands in place of images; `configured` are the
    images of the setting `airbyte.connectors`, which are others than these checks know.
    """
    problems: list[str] = []
    for source in sources:
        connector = source.connector
        if connector.image in configured:
            continue
        try:
            check_image(connector.image, on_this_machine=on_this_machine, configured=configured)
        except SettingsError as error:
            problems.append(f"sources/{source.source}.yaml: {error}")
            continue
        found = _here(connector.image, connector.config) if on_this_machine else _on_airbyte(source)
        problems += [f"sources/{source.source}.yaml: {problem}" for problem in found]
    if problems:
        raise SettingsError("; ".join(problems))


def _here(image: str, config: Json) -> Iterator[str]:
    """Yield a sentence for each option that the command of this machine does not have, or for a value of it."""
    schema = BUNDLED.get(image)
    if schema is None:
        return
    remedy = (
        f'change it, or name another program for this image in config/local.toml, [airbyte.connectors."{image}"]'
        " (docs/connectors.md)"
    )
    for path, problem in _differences(config, schema):
        yield f"connector.config.{path} {problem} for {image!r} on this machine; {remedy}"
    for name in schema["required"]:
        if name not in config:
            yield f"connector.config lacks {name!r}, which {image!r} needs"


def _differences(config: Json, schema: Json, at: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and problem of options that a schema does not have; a part without properties takes any."""
    known: Json = schema.get("properties", {})
    for name, value in config.items():
        path, declared = f"{at}{name}", known.get(name)
        if declared is None:
            yield path, f"is not among the options ({', '.join(known)})"
        elif isinstance(value, dict) and "properties" in declared:
            yield from _differences(value, declared, f"{path}.")
        elif "enum" in declared and value not in declared["enum"]:
            yield path, f"is {value!r}, but can only be {' or '.join(map(repr, declared['enum']))}"


def _on_airbyte(source: SourceContract) -> Iterator[str]:
    """Yield a sentence for what Airbyte's own connector of the image can't do without, and for what only works here."""
    image, config = source.connector.image, source.connector.config
    if source.connector.version == UNVERSIONED:
        yield (
            f"connector.version is {UNVERSIONED!r}, which is no tag of an image; name the version of {image!r} that"
            " Airbyte is to run"
        )
    yield from _lacking(image, config, REQUIRED_BY_AIRBYTE, BUNDLED.get(image, {}))
    method = config.get("replication_method")
    if isinstance(method, dict) and method.get("method") == "CDC":
        schema = BUNDLED.get(image, {}).get("properties", {}).get("replication_method", {})
        yield from _lacking(image, method, REQUIRED_WITH_THE_LOG, schema, "replication_method.")
    host = config.get("host")
    if isinstance(host, str) and host.startswith(LOOPBACK) and not _tunnel(config):
        yield (
            f"connector.config.host is {host!r}, which in Airbyte's pods is the pod itself; name the server as the"
            " cluster reaches it"
        )


def _lacking(
    image: str, config: Json, required: Mapping[str, tuple[str, ...]], schema: Json, at: str = ""
) -> Iterator[str]:
    """Yield a sentence for each required option that has no value, with the line to add."""
    for name in required.get(image, ()):
        if name not in config:
            line = _default(name, schema.get("properties", {}))
            yield f"connector.config lacks {at}{name}, which Airbyte requires for {image!r}; add {line}"


def _tunnel(config: Json) -> bool:
    """Return True when the connector reaches the server through another machine."""
    tunnel = config.get("tunnel_method")
    return isinstance(tunnel, dict) and tunnel.get("tunnel_method", "NO_TUNNEL") != "NO_TUNNEL"


def _default(name: str, properties: Json) -> str:
    """Return the line that a contract needs, with the value that this machine takes without it."""
    declared: Json = properties.get(name, {})
    parts = declared.get("properties", {})
    if "default" in declared:
        return f"`{name}: {declared['default']}`"
    values = ", ".join(f"{key}: {part['default']}" for key, part in parts.items() if key == "method")
    return f"`{name}: {{{values}}}`" if values else f"`{name}`"
