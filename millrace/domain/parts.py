"""dbt's graph in; its independent parts out: models that depend on each other through merged streams.

One part cannot stop another: its marts are published, or stay as they were, together.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from millrace.domain.types import Frozen

MODELS = ("model", "seed", "snapshot")
OUTSIDE = ("exposure", "metric", "semantic_model", "saved_query", "group", "function")  # users of the models


class Part(Frozen):
    """The streams of a part, its models, what these leave in a candidate (`tables`), and the marts among them.

    A model that reads no stream, such as a calendar, joins nothing: it is a part without streams, and the parts that
    read it name it in `reads`. `nodes` are dbt's unique ids, tests included.
    """

    streams: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    marts: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return its first stream, or its first model: no two parts of one project have the same name."""
        return self.streams[0] if self.streams else f"model:{self.models[0]}" if self.models else ""

    @property
    def selectors(self) -> list[str]:
        """Return dbt's selectors of all that the part has."""
        return [f"source:{stream}+" for stream in self.streams] or list(self.models)


class RefusedPart(Frozen):
    """A part that is not published, and why; `by_gate` is False when dbt could not build it."""

    part: Part
    reason: str
    by_gate: bool = True


def parts_of(manifest: Mapping[str, Any]) -> tuple[Part, ...]:
    """Return the parts of a project, from dbt's `manifest.json`, in the order of their names.

    Two models belong together when one reads the other, when both read a stream, or when a test reads both.
    """
    nodes: dict[str, Any] = {**manifest["sources"], **manifest["nodes"], **manifest.get("unit_tests", {})}
    parents = {name: [p for p in nodes[name].get("depends_on", {}).get("nodes", []) if p in nodes] for name in nodes}
    reading = _downstream(manifest["sources"], parents)
    groups = _groups(nodes, parents, reading)
    parts = [_part(group, nodes) for group in groups]
    owner = {node: part.name for part in parts for node in part.nodes}
    named = [
        part.model_copy(update={"reads": tuple(sorted(_read_by(part, parents, owner)))})
        for part in parts
        if part.streams or part.models
    ]
    return tuple(sorted(named, key=lambda part: part.name))


def _downstream(sources: Collection[str], parents: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the sources and all that reads them, directly or through others."""
    reached = set(sources)
    while added := {name for name, above in parents.items() if name not in reached and reached.intersection(above)}:
        reached |= added
    return reached


def _groups(
    nodes: Collection[str], parents: Mapping[str, Sequence[str]], reading: Collection[str]
) -> Iterable[list[str]]:
    """Return the connected nodes; an edge between one that reads streams and one that does not connects nothing."""
    leader = {name: name for name in nodes}

    def lead(name: str) -> str:
        while leader[name] != name:
            leader[name] = name = leader[leader[name]]
        return name

    for name, above in parents.items():
        for parent in above:
            if (name in reading) == (parent in reading):
                leader[lead(name)] = lead(parent)
    groups: dict[str, list[str]] = {}
    for name in sorted(nodes):
        groups.setdefault(lead(name), []).append(name)
    return groups.values()


def _part(group: Sequence[str], nodes: Mapping[str, Any]) -> Part:
    models = [nodes[name] for name in group if nodes[name]["resource_type"] in MODELS]
    built = [node for node in models if node.get("config", {}).get("materialized") != "ephemeral"]
    sources = [nodes[name] for name in group if nodes[name]["resource_type"] == "source"]
    return Part(
        streams=tuple(sorted(f"{node['source_name']}.{node['name']}" for node in sources)),
        models=tuple(sorted(node["name"] for node in models)),
        tables=tuple(sorted(node.get("alias") or node["name"] for node in built)),
        marts=tuple(sorted(node["name"] for node in models if "marts" in node["fqn"])),
        nodes=tuple(group),
    )


def _read_by(part: Part, parents: Mapping[str, Sequence[str]], owner: Mapping[str, str]) -> set[str]:
    return {owner[p] for node in part.nodes for p in parents[node] if owner.get(p, "") not in ("", part.name)}


def refuse_parts(parts: Sequence[Part], reasons: Mapping[str, str], *, by_gate: bool) -> tuple[RefusedPart, ...]:
    """Return the parts that have a reason, by the part's name, and those that read one of them."""
    refused = {
        part.name: RefusedPart(part=part, reason=reasons[part.name], by_gate=by_gate)
        for part in parts
        if part.name in reasons
    }
    while readers := {
        part.name: RefusedPart(
            part=part, reason=f"it reads {above[0].removeprefix('model:')}, which is not published", by_gate=by_gate
        )
        for part in parts
        if part.name not in refused and (above := [name for name in part.reads if name in refused])
    }:
        refused |= readers
    return tuple(refused.values())
