"""Terraform's files and the values of variables in; the resources that they make out, as far as no cloud is needed.

Attributes that only Google knows are left out, but for those by which resources refer to each other.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.servers.rights import attributes
from local.servers.rights.terraform import Module, read_variables
from local.servers.rights.values import is_known


@dataclass(frozen=True)
class Resource:
    """A resource that Terraform makes: its type, name, key of `for_each`, and known attributes."""

    kind: str
    name: str
    key: str
    values: dict[str, Any] = field(default_factory=dict)


def variables_of(folder: Path, project: str, location: str, region: str) -> dict[str, Any]:
    """Return the variables' values: of the files that Terraform reads too, and of the target."""
    return read_variables(folder) | {"project": project, "location": location, "region": region}


def resources_of(folder: Path, values: Mapping[str, Any], number: str, kinds: Collection[str]) -> Iterator[Resource]:
    """Yield the resources of some types that Terraform makes; `number` is the project's."""
    for resource in Module(folder, values, number).resources():
        if resource.kind in kinds:
            yield Resource(resource.kind, resource.name, str(resource.key or ""), _values(resource))


def _values(block: attributes.Resource | attributes.Body) -> dict[str, Any]:
    """Return the values of a block's arguments that are known, and its inner blocks as lists by kind."""
    values = {name: value for name, value in block.arguments.items() if is_known(value)}
    for inner in block.blocks:
        values.setdefault(inner.kind, []).append(_values(inner))
    return values
