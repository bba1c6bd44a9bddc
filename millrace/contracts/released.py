"""The last released contract of each source: what may not be broken without a new version."""

from pathlib import Path
from typing import Any

import yaml

from millrace.contracts.source import SourceContract, load_sources, parse_source
from millrace.contracts.stream import StreamContract
from millrace.contracts.widening import wider
from millrace.domain.errors import ContractError
from millrace.domain.types import Column

FOLDER = ".released"
PROMISES = ("mode", "key", "order", "partition", "deletes")


def released(sources: Path) -> dict[str, SourceContract]:
    """What was released, by source; a file is a contract as it was. Raises ContractError when one is wrong."""
    return load_sources(sources / FOLDER)


def snapshot(source: SourceContract) -> str:
    """A contract as a file of released ones holds it: what readers rely on, and no words."""
    streams = {name: _promise(stream) for name, stream in source.streams.items()}
    body = {"source": source.source, "version": source.version, "connector": {"image": "-", "version": "-"}}
    text = yaml.safe_dump(body | {"streams": streams}, sort_keys=False, width=120)
    parse_source(text, f"{source.source}.yaml")
    return text


def _promise(stream: StreamContract) -> dict[str, Any]:
    kept = stream.model_dump(mode="json", include={*PROMISES, "columns"}, exclude_defaults=True)
    kept["columns"] = {
        n: c.model_dump(exclude={"description"}, exclude_defaults=True) for n, c in stream.columns.items()
    }
    return kept | ({} if stream.key else {"key": "position"})


def breaking(before: SourceContract, now: SourceContract) -> list[str]:
    """Changes that break what readers rely on, in words."""
    found = [f"stream {name} is gone" for name in before.streams if name not in now.streams]
    for name, old in before.streams.items():
        new = now.streams.get(name)
        if new is not None:
            found += [f"{name}: {change}" for change in [*_promises(old, new), *_columns(old, new)]]
    return found


def _promises(old: StreamContract, new: StreamContract) -> list[str]:
    changed = [name for name in PROMISES if getattr(old, name) != getattr(new, name)]
    return [f"{name} was {_short(getattr(old, name))} and is {_short(getattr(new, name))}" for name in changed]


def _columns(old: StreamContract, new: StreamContract) -> list[str]:
    found = []
    for name, was in old.columns.items():
        now = new.columns.get(name)
        if now is None:
            found.append(f"column {name} is gone")
        elif why := _narrowed(was, now):
            found.append(f"column {name} {why}")
    return found


def _narrowed(was: Column, now: Column) -> str:
    if was.type != now.type and wider(was.type, now.type) != now.type:
        return f"was {was.type} and is {now.type}, which does not hold all of its values"
    if was.any_type and not now.any_type:
        return "took values of any type and does not any more"
    return "was never null and may be now" if now.nullable and not was.nullable else ""


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def refuse_breaking(sources: Path) -> None:
    """Hold each contract against the one released last.

    Raises:
        ContractError: one breaks what was released, and its `version` did not go up; or its version went down.
    """
    now = load_sources(sources)
    wrong = []
    for name, before in released(sources).items():
        new = now.get(name)
        if new is None:
            wrong.append(f"{name}.yaml is gone; when its readers know, delete {FOLDER}/{name}.yaml too")
            continue
        if new.version < before.version:
            wrong.append(f"{name}.yaml: version {new.version} is below the released {before.version}")
        elif new.version == before.version:
            wrong += [f"{name}.yaml: {change}" for change in breaking(before, new)]
    if wrong:
        raise ContractError(
            "; ".join(wrong) + ". Readers rely on it: take it back, or raise the file's `version`, tell them, and run"
            " `python -m millrace.contracts release`"
        )
