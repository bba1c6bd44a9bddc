"""The last released contract of each source and the present one in; breaking changes without a new version out."""

from pathlib import Path
from typing import Any

import yaml

from millrace.contracts.source import SourceContract, load_sources, parse_source
from millrace.contracts.stream import StreamContract
from millrace.contracts.widening import common_type
from millrace.domain.errors import ContractError
from millrace.domain.types import Column

FOLDER = ".released"
PROMISES = ("mode", "key", "order", "partition", "deletes")


def load_released(sources: Path) -> dict[str, SourceContract]:
    """Return the released contract of each source. Raises ContractError when a file is invalid."""
    return load_sources(sources / FOLDER)


def snapshot(source: SourceContract) -> str:
    """Return the text of a released contract: the parts that readers rely on, without descriptions."""
    streams = {name: _promise(stream) for name, stream in source.streams.items()}
    body = {"source": source.source, "version": source.version, "connector": {"image": "-", "version": "-"}}
    text = yaml.safe_dump(body | {"streams": streams}, sort_keys=False, width=120)
    parse_source(text, f"{source.source}.yaml")
    return text


def _promise(stream: StreamContract) -> dict[str, Any]:
    promise = stream.model_dump(mode="json", include={*PROMISES, "columns"}, exclude_defaults=True)
    promise["columns"] = {
        n: c.model_dump(exclude={"description"}, exclude_defaults=True) for n, c in stream.columns.items()
    }
    return promise | ({} if stream.key else {"key": "position"})


def breaking_changes(before: SourceContract, now: SourceContract) -> list[str]:
    """Return the changes that break the tables' readers, in words."""
    changes = [f"stream {name} is gone" for name in before.streams if name not in now.streams]
    for name, old in before.streams.items():
        new = now.streams.get(name)
        if new is not None:
            changes += [f"{name}: {change}" for change in [*_promises(old, new), *_columns(old, new)]]
    return changes


def _promises(old: StreamContract, new: StreamContract) -> list[str]:
    changed = [name for name in PROMISES if getattr(old, name) != getattr(new, name)]
    return [f"{name} was {_short(getattr(old, name))} and is {_short(getattr(new, name))}" for name in changed]


def _columns(old: StreamContract, new: StreamContract) -> list[str]:
    changes = []
    for name, was in old.columns.items():
        now = new.columns.get(name)
        if now is None:
            changes.append(f"column {name} is gone")
        elif change := _narrowed(was, now):
            changes.append(f"column {name} {change}")
    return changes


def _narrowed(was: Column, now: Column) -> str:
    if was.type != now.type and common_type(was.type, now.type) != now.type:
        return f"was {was.type} and is {now.type}, which does not hold all of its values"
    if was.any_type and not now.any_type:
        return "accepted values of any type and no longer does"
    return "was never null and may be now" if now.nullable and not was.nullable else ""


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def check_released(sources: Path) -> None:
    """Compare each contract with its last released version.

    Raises:
        ContractError: a contract has breaking changes without a higher `version`, or its version went down.
    """
    now = load_sources(sources)
    wrong = []
    for name, before in load_released(sources).items():
        new = now.get(name)
        if new is None:
            wrong.append(f"{name}.yaml is gone; inform its readers, then delete {FOLDER}/{name}.yaml too")
            continue
        if new.version < before.version:
            wrong.append(f"{name}.yaml: version {new.version} is below the released {before.version}")
        elif new.version == before.version:
            wrong += [f"{name}.yaml: {change}" for change in breaking_changes(before, new)]
    if wrong:
        raise ContractError(
            "; ".join(wrong)
            + ". Readers rely on it: revert the change, or raise the file's `version`, inform them, and run"
            " `millrace contracts release`"
        )
