"""Lineage of the marts: the text of the dbt project in, streams and description of each mart out, without dbt."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

REF = re.compile(r"\bref\(\s*['\"](\w+)['\"]\s*\)")
SOURCE = re.compile(r"\b(?:source|live_rows|deleted_rows)\(\s*['\"](\w+)['\"]\s*,\s*['\"](\w+)['\"]\s*\)")


@dataclass(frozen=True)
class MartLineage:
    """A mart's description and its upstream streams (`<source>.<stream>`)."""

    description: str
    streams: tuple[str, ...]


@lru_cache(maxsize=4)
def mart_lineage(project: Path) -> dict[str, MartLineage]:
    """Return the lineage of every mart of a dbt project, by name."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (project / "models").rglob("*.sql")}
    marts = [path for path in sorted((project / "models" / "marts").glob("*.sql"))]
    return {path.stem: MartLineage(_description(path), tuple(sorted(_streams(path.stem, texts)))) for path in marts}


def _streams(model: str, texts: dict[str, str], visited: frozenset[str] = frozenset()) -> set[str]:
    if model in visited or model not in texts:
        return set()
    streams = {f"{source}.{stream}" for source, stream in SOURCE.findall(texts[model])}
    for parent in REF.findall(texts[model]):
        streams |= _streams(parent, texts, visited | {model})
    return streams


def _description(path: Path) -> str:
    """Return a model's description from its .yml file."""
    try:
        text = path.with_suffix(".yml").read_text(encoding="utf-8")
        properties: Any = yaml.load(text, Loader=_Loader)  # noqa: S506  safe
        models = properties.get("models") or []
    except (OSError, yaml.YAMLError, AttributeError):
        return ""
    return next((str(m.get("description") or "") for m in models if m.get("name") == path.stem), "")


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
