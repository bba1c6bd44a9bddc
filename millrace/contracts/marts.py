"""Promises of marts: the `meta` of a dbt project's models in; the freshness of each mart and who is told out.

models:
  - name: orders_daily
    config: {meta: {freshness: 26h, owner: sales, channel: slack-sales}}
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from millrace.contracts.stream import DURATION, SECONDS
from millrace.domain.errors import ContractError
from millrace.domain.types import Frozen

SECRET = re.compile(r"^[A-Za-z0-9_-]{1,255}$")


class MartPromise(Frozen):
    """The longest time between publications in which a mart is built, and the secret of the channel that is told."""

    mart: str
    freshness: str
    owner: str = ""
    channel: str = ""

    @property
    def freshness_s(self) -> int:
        """Return the seconds within which the mart is built again."""
        match = DURATION.match(self.freshness)
        return int(match[1]) * SECONDS[match[2]] if match else 0


def mart_promises(dbt_project: Path) -> list[MartPromise]:
    """Return the marts whose models promise a freshness, by name.

    Raises:
        ContractError: a promise is malformed; the message names the model.
    """
    promises = []
    for path in sorted((dbt_project / "models").rglob("*.y*ml")):
        promises += [_promise(path, model) for model in _models(path) if "freshness" in _meta(model)]
    return sorted(promises, key=lambda promise: promise.mart)


def _models(path: Path) -> Iterator[dict[str, Any]]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return  # dbt refuses the file, and says why
    models = document.get("models") if isinstance(document, dict) else None
    yield from (model for model in models or () if isinstance(model, dict) and model.get("name"))


def _meta(model: dict[str, Any]) -> dict[str, Any]:
    """Return a model's `meta`, in its `config` or, as older dbt projects have it, beside it."""
    config = model.get("config")
    metas = [model.get("meta"), config.get("meta") if isinstance(config, dict) else None]
    return {key: value for meta in metas if isinstance(meta, dict) for key, value in meta.items()}


def _promise(path: Path, model: dict[str, Any]) -> MartPromise:
    meta, name = _meta(model), str(model["name"])
    freshness, channel = str(meta["freshness"]), str(meta.get("channel") or "")
    if not DURATION.match(freshness):
        raise ContractError(f"{path.name}: model {name}: meta.freshness is {freshness!r}; write 90m, 36h or 7d")
    if channel and not SECRET.match(channel):
        raise ContractError(f"{path.name}: model {name}: meta.channel is {channel!r}; write the name of a secret")
    return MartPromise(mart=name, freshness=freshness, owner=str(meta.get("owner") or ""), channel=channel)
