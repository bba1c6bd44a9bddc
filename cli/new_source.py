"""A connector and its configuration in; a source's contract, staging models and generated files in the project out."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cli.connector_runs import ConnectorRun, Json
from millrace.airbyte.known import KNOWN, OWN, UNVERSIONED, Known
from millrace.contracts.generated import write as write_generated
from millrace.contracts.proposal import Proposal, propose
from millrace.contracts.source import parse_source
from millrace.contracts.source_files import contract_text, model_name, staging_sql, staging_yaml
from millrace.domain.errors import SettingsError
from millrace.project import Project

NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")
BY_HAND = "rest"


@dataclass(frozen=True)
class NewSource:
    """What was proposed: the contract's text, its streams, and those that were left out with the reason."""

    name: str
    text: str
    proposals: tuple[Proposal, ...]
    left_out: dict[str, str]


def find_connector(named: str) -> Known:
    """Return a connector by its short name or image.

    Raises:
        SettingsError: it is neither.
    """
    if named == BY_HAND:
        raise SettingsError("a REST API is described by a manifest, not discovered; see docs/add-a-source.md")
    if named in KNOWN:
        return KNOWN[named]
    if "/" in named:
        return next((known for known in KNOWN.values() if known.image == named), Known(named, UNVERSIONED, False))
    names = ", ".join(name for name in KNOWN if name != BY_HAND)
    raise SettingsError(f"--connector {named!r} is neither {names}, nor an image such as airbyte/source-github")


def check_new(project: Project, name: str, *, force: bool) -> None:
    """Raise SettingsError when the name can't be one of a new source."""
    if not NAME.match(name) or "__" in name or name.endswith("_"):
        raise SettingsError(f"{name!r} is no name of a source; use small letters, digits and single `_`, such as shop")
    if (project.sources / f"{name}.yaml").exists() and not force:
        raise SettingsError(
            f"sources/{name}.yaml exists; `millrace source refresh {name}` shows what is new at the source, and --force"
            " writes the file anew"
        )


def choose(streams: Sequence[Json], named: Collection[str]) -> tuple[list[Json], dict[str, str]]:
    """Return the streams to read, and the reasons for those that are left out.

    Raises:
        SettingsError: the source lacks one that is named.
    """
    available = {stream["name"]: stream for stream in streams}
    if missing := [name for name in named if name not in available]:
        raise SettingsError(f"the source has no stream {', '.join(missing)}; it has {', '.join(available)}")
    chosen = {name: stream for name, stream in available.items() if not named or name in named}
    reasons = {
        name: "its name has other characters than small letters, digits and `_`; read it through a view"
        for name in chosen
        if not NAME.match(name)
    }
    reasons |= {
        name: "it has no columns" for name, stream in chosen.items() if not stream["json_schema"].get("properties")
    }
    return [stream for name, stream in chosen.items() if name not in reasons], reasons


def propose_source(
    name: str, known: Known, config: Json, run: ConnectorRun, named: Collection[str], owner: str, now: datetime
) -> NewSource:
    """Discover and sample a source; return its contract. `config` has references in place of secrets.

    Raises:
        ConnectorFailed: the connector can't connect, discover or read.
        SettingsError: no stream is left.
    """
    run.check()
    chosen, left_out = choose(run.streams(), named)
    if not chosen:
        raise SettingsError(f"no stream of the source can be read: {left_out or 'it has none'}")
    samples = run.sample(chosen)
    proposals = tuple(propose(stream, samples.get(stream["name"], []), now) for stream in chosen)
    connector = {"image": known.image, "version": known.version, "config": config}
    if known.image.startswith(OWN):
        connector = {key: value for key, value in connector.items() if value}
    text = contract_text(name, connector, proposals, owner, f"Read by {known.image}.")
    parse_source(text, f"{name}.yaml")  # an invalid proposal is a fault of ours, and is not written
    return NewSource(name, text, proposals, left_out)


def write_source(project: Project, new: NewSource) -> list[Path]:
    """Write the contract, its staging models, and all that is generated; models that exist stay as they are."""
    staging = project.dbt_project / "models" / "staging"
    files = {project.sources / f"{new.name}.yaml": new.text}
    for proposal in new.proposals:
        model = model_name(new.name, proposal.name)
        for path, text in (
            (staging / f"{model}.sql", staging_sql(new.name, proposal)),
            (staging / f"{model}.yml", staging_yaml(new.name, proposal)),
        ):
            if not path.exists():
                files[path] = text
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [*files, *write_generated(project.folder)]
