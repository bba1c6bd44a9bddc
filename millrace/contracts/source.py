"""A YAML file of sources/ in; a source with its connector, schedule and streams out."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Discriminator, Field, Tag, ValidationError, field_validator, model_validator
from typing_extensions import TypeAliasType

from millrace.contracts.secret import SecretReference as SecretReference
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.errors import ContractError, UnknownStream
from millrace.domain.types import Frozen, Name

MANUAL = "manual"
SCHEDULE = r"^(manual|(\S+ ){6,7}[A-Za-z][A-Za-z0-9_+/-]*)$"


def _kind(value: object) -> str:
    """Return the kind of a part of a configuration; a mapping with the only key `secret` is always a reference."""
    if isinstance(value, SecretReference) or (isinstance(value, dict) and set(value) == {"secret"}):
        return "reference"
    return "mapping" if isinstance(value, dict) else "list" if isinstance(value, list) else "value"


Plain = bool | int | float | str | None
Config = TypeAliasType(
    "Config",
    Annotated[
        "Annotated[SecretReference, Tag('reference')] | Annotated[dict[str, Config], Tag('mapping')]"
        " | Annotated[list[Config], Tag('list')] | Annotated[Plain, Tag('value')]",
        Discriminator(_kind),
    ],
)


class Connector(Frozen):
    """The Airbyte connector of a source and its configuration, which may be nested; secrets by reference.

    `manifest`: file in `sources/` that describes a REST API to the image `airbyte/source-declarative-manifest`, as
    Airbyte's connector builder exports it.
    """

    image: str
    version: str
    manifest: Annotated[str, Field(pattern=r"^(manifests/[a-z][a-z0-9_]*\.yaml)?$")] = ""
    config: dict[str, Config] = Field(default_factory=dict)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the names of the secrets that the configuration refers to."""
        return tuple(part.secret for part in _parts(self.config) if isinstance(part, SecretReference))


def _parts(value: Config | dict[str, Config]) -> Iterator[Config]:
    """Yield a configuration's values at every depth."""
    yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _parts(part)


class SourceContract(Frozen):
    """A source and its streams; `channel` is the secret with the Slack URL of its owner, for alerts on it.

    `version` must rise with a change that breaks readers of its tables; `make check` enforces it. `epoch` is the least
    first term of the order of rows: a connection that was created again gets a higher one by itself, and `millrace
    raise-epoch` raises it from a job on. `schedule` is Airbyte's: `manual` when `ingest`
    requests the syncs, else a Quartz cron expression with its time zone, `0 0 * * * ? UTC`.
    """

    source: Name
    version: Annotated[int, Field(ge=1)] = 1
    description: str = ""
    owner: str = ""
    channel: SecretReference | None = None
    epoch: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    schedule: Annotated[str, Field(pattern=SCHEDULE)] = MANUAL
    connector: Connector
    streams: dict[Name, StreamContract]

    @field_validator("source")
    @classmethod
    def _separable(cls, value: str) -> str:
        if "__" in value or value.endswith("_"):
            raise ValueError(
                f"{value!r} has `__` or ends with `_`; `__` separates source and stream in names of tables, so another"
                " source could have the same table: use single `_`, and none at the end"
            )
        return value

    @model_validator(mode="after")
    def _check_streams(self) -> "SourceContract":
        """Refuse streams whose tables or views would meet."""
        for name, stream in self.streams.items():
            if (stream.source, stream.stream) != (self.source, name):
                raise ValueError(f"stream {name!r} calls itself {stream.id!r}; leave out its `source` and `stream`")
            for other in (names.live_view(name), names.migrating_table(name)):
                if other in self.streams:
                    raise ValueError(
                        f"stream {other!r} has the name that the platform gives to a view or copy of stream {name!r};"
                        " rename one of them"
                    )
        return self

    def stream(self, name: str) -> StreamContract:
        """Return the contract of one stream.

        Raises:
            UnknownStream: the source has no stream of that name.
        """
        if name not in self.streams:
            there = f"{', '.join(self.streams)}{_near(name, self.streams)}"
            raise UnknownStream(f"source {self.source!r} has no stream {name!r}; it has {there}")
        return self.streams[name]


class _UniqueKeys(yaml.CSafeLoader):
    """A loader that refuses a mapping with one key twice; YAML forbids it, and PyYAML drops the first silently."""

    def construct_document(self, node: yaml.Node) -> Any:
        for mapping in _mappings(node, set()):
            keys = set[str]()
            for key in (key for key, _ in mapping.value if isinstance(key, yaml.ScalarNode)):
                if key.value in keys:
                    raise yaml.MarkedYAMLError(None, None, f"{key.value!r} is there twice", key.start_mark)
                keys.add(key.value)
        return super().construct_document(node)


def _mappings(node: yaml.Node, seen: set[int]) -> Iterator[yaml.MappingNode]:
    """Yield the mappings of a document at every depth, each once."""
    if isinstance(node, yaml.CollectionNode) and id(node) not in seen:
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield node
        for part in node.value:
            for child in part if isinstance(part, tuple) else (part,):
                yield from _mappings(child, seen)


def parse_source(text: str, file: str) -> SourceContract:
    """Parse a source from YAML; `file` is its name in errors.

    Raises:
        ContractError: the YAML or a field is invalid; the message names file, stream and field of every error.
    """
    try:
        data: Any = yaml.load(text, _UniqueKeys)  # noqa: S506  it is a safe loader
    except yaml.YAMLError as error:
        raise ContractError(f"{file}: not YAML: {error}") from error
    if not isinstance(data, dict):
        raise ContractError(f"{file}: expected a mapping with `source`, `connector` and `streams`")
    inherited = {"source": data.get("source"), "owner": data.get("owner", ""), "channel": data.get("channel")}
    streams = data.get("streams")
    if isinstance(streams, dict):
        data = data | {
            "streams": {
                name: inherited | {"stream": name} | stream if isinstance(stream, dict) else stream
                for name, stream in streams.items()
            }
        }
    try:
        return SourceContract.model_validate(data)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in e['loc']) or 'file'}: {e['msg']}" for e in error.errors()]
        raise ContractError(f"{file}: " + "; ".join(lines)) from None


def load_sources(directory: Path) -> dict[str, SourceContract]:
    """Return all sources of a directory, by name.

    Raises:
        ContractError: a file is invalid, or its name is not the source's name.
    """
    sources = {}
    for path in sorted(directory.glob("*.yaml")):
        source = parse_source(_text(path), path.name)
        if source.source != path.stem:
            raise ContractError(f"{path.name}: declares source {source.source!r}; name the file {source.source}.yaml")
        if source.connector.manifest:
            load_manifest(directory, source)
        sources[source.source] = source
    return sources


def load_manifest(directory: Path, source: SourceContract) -> dict[str, Any]:
    """Return the manifest of a source whose connector is `source-declarative-manifest`.

    Raises:
        ContractError: the file is missing, or not a manifest.
    """
    name = source.connector.manifest
    try:
        manifest = yaml.load((directory / name).read_text(encoding="utf-8"), yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ContractError(f"{source.source}.yaml: connector.manifest: {name}: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("type") != "DeclarativeSource":
        raise ContractError(f"{source.source}.yaml: connector.manifest: {name} has no `type: DeclarativeSource`")
    return manifest


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ContractError(f"{path.name}: not UTF-8: {error}") from None


def find_source(sources: Mapping[str, SourceContract], name: str) -> SourceContract:
    """Return one source by name.

    Raises:
        UnknownStream: no source has that name.
    """
    if name not in sources:
        there = ", ".join(sources) or "none"
        raise UnknownStream(f"no source {name!r} in sources/; there are {there}{_near(name, sources)}")
    return sources[name]


def _near(name: str, names: Iterable[str]) -> str:
    """Return a hint at the name that was probably meant."""
    near = get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
