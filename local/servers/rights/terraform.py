"""The folder of Terraform's files and values of its variables in; its resources with evaluated arguments out."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from local.servers.rights.attributes import Attributes, Body, Project, Resource
from local.servers.rights.evaluate import Scope, evaluate
from local.servers.rights.hcl import Block, Node, parse, read_module
from local.servers.rights.tokens import Unreadable
from local.servers.rights.values import pairs

NUMBER = "123456789012"  # of a project that is on this machine only
META = {"count", "for_each", "depends_on", "provider", "lifecycle", "providers", "provisioner"}


class Module:
    """A folder of Terraform's files with values of its variables; `project` is given to those that it calls."""

    def __init__(
        self, folder: Path, variables: Mapping[str, Any], number: str = NUMBER, project: Project | None = None
    ) -> None:
        self._folder, self._given, module = folder, dict(variables), read_module(folder)
        self._variables = {block.labels[0]: block for block in module.of("variable")}
        self._locals = {name: node for block in module.of("locals") for name, node in block.arguments.items()}
        self._calls = {block.labels[0]: block for block in module.of("module")}
        self._outputs = {block.labels[0]: block for block in module.of("output")}
        self._blocks = {block.labels: block for block in module.of("resource")}
        self._cache: dict[Any, Any] = {}
        self._project = project or Project(str(self._variable("project")), number)

    def resources(self) -> Iterator[Resource]:
        """Yield every instance of every resource of this module and of those that it calls."""
        for (kind, name), block in self._blocks.items():
            for key, value in self._instances(block):
                yield self._resource(kind, name, key, value, block)
        for name in self._calls:
            if (module := self._module(name)) is not None:
                yield from module.resources()

    def output(self, name: str) -> Any:
        """Return the value of an output."""
        return evaluate(self._outputs[name].arguments["value"], self._name)

    def _resource(self, kind: str, name: str, key: Any, value: Any, block: Block) -> Resource:
        scope = self._with("each", key, value)
        own = {argument: node for argument, node in block.arguments.items() if argument not in META}
        return Resource(kind, name, key, _Arguments(own, scope), self._bodies(block, scope))

    def _bodies(self, block: Block, scope: Scope) -> tuple[Body, ...]:
        """Return the inner blocks; those of a `dynamic` one are its content, once for each item."""
        bodies: list[Body] = []
        for inner in block.blocks:
            if inner.kind == "dynamic":
                [label], [content] = inner.labels, inner.of("content")
                for key, value in pairs(evaluate(inner.arguments["for_each"], scope)):
                    bodies.append(self._body(label, content, self._with(label, key, value, scope)))
            elif inner.kind not in META:
                bodies.append(self._body(inner.kind, inner, scope))
        return tuple(bodies)

    def _body(self, kind: str, block: Block, scope: Scope) -> Body:
        return Body(kind, _Arguments(block.arguments, scope), self._bodies(block, scope))

    def _with(self, name: str, key: Any, value: Any, outer: Scope | None = None) -> Scope:
        own = {"key": key, "value": value}
        return lambda asked: own if asked == name else (outer or self._name)(asked)

    def _instances(self, block: Block) -> list[tuple[Any, Any]]:
        """Return key and value of each instance; of an unknown `for_each` or `count` one that is unknown."""
        if "for_each" in block.arguments:
            return list(pairs(evaluate(block.arguments["for_each"], self._name)))
        count = evaluate(block.arguments["count"], self._name) if "count" in block.arguments else 1
        return [(None, None)] * (count if isinstance(count, int) else 1)

    def _name(self, name: str) -> Any:
        roots = {
            "var": _Lazy(self._variable),
            "local": _Lazy(self._local),
            "module": _Lazy(self._module_outputs),
            "path": {"root": str(self._folder), "module": str(self._folder)},
            "data": _Lazy(self._project.data),
        }
        if name in roots:
            return roots[name]
        return _Lazy(lambda own: self._attributes(name, own))

    def _variable(self, name: str) -> Any:
        if name in self._given:
            return self._given[name]
        if name not in self._variables or "default" not in self._variables[name].arguments:
            raise ValueError(f"{self._folder}: the variable {name} has no value; give one")
        return evaluate(self._variables[name].arguments["default"], constants)

    def _local(self, name: str) -> Any:
        return self._once(("local", name), lambda: evaluate(self._locals[name], self._name))

    def _module(self, name: str) -> "Module | None":
        def called() -> "Module | None":
            block = self._calls[name]
            if "count" in block.arguments and not evaluate(block.arguments["count"], self._name):
                return None
            values = {k: evaluate(node, self._name) for k, node in block.arguments.items() if k not in META}
            return Module(self._folder / str(values.pop("source")), values, project=self._project)

        return self._once(("module", name), called)  # type: ignore[no-any-return]  # as `called` says

    def _module_outputs(self, name: str) -> Any:
        module = self._module(name)
        return None if module is None else _Lazy(module.output)

    def _attributes(self, kind: str, name: str) -> Any:
        """Return the attributes of a resource: by key, in a list, or of the single one."""

        def described() -> Any:
            block = self._blocks[kind, name]
            of = [
                (key, Attributes(self._resource(kind, name, key, value, block), self._project))
                for key, value in self._instances(block)
            ]
            if "for_each" in block.arguments:
                return dict(of)
            return [attributes for _, attributes in of] if "count" in block.arguments else of[0][1]

        return self._once((kind, name), described)

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]


def read_variables(folder: Path) -> dict[str, Any]:
    """Return the variables' values in the files that Terraform reads by itself. Raises Unreadable for no constant."""
    values: dict[str, Any] = {}
    for path in sorted(folder.glob("*.auto.tfvars.json")):
        values |= json.loads(path.read_text())
    own = folder / "terraform.tfvars"
    variables = parse(own.read_text()).arguments if own.exists() else {}
    return values | {name: evaluate(node, constants) for name, node in variables.items()}


def constants(name: str) -> Any:
    """Give an expression no names: its value is a constant, or Unreadable is raised."""
    raise Unreadable(f"a value must be constant, and has the name {name} in it")


class _Lazy(dict[str, Any]):
    """Values that are evaluated when they are asked for."""

    def __init__(self, find: Callable[[str], Any]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, name: str) -> Any:
        return self._find(name)


class _Arguments(Mapping[str, Any]):
    """Arguments of a block, each evaluated when it is asked for."""

    def __init__(self, nodes: Mapping[str, Node], scope: Scope) -> None:
        self._nodes, self._scope = nodes, scope

    def __getitem__(self, name: str) -> Any:
        return evaluate(self._nodes[name], self._scope)

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)
