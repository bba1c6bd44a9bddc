"""Trees of Terraform's expressions and a scope in; values out, with a marker for values that only Google knows."""

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

from local.servers.rights.functions import call
from local.servers.rights.hcl import Node
from local.servers.rights.values import Unknown, as_list, is_known, member, pairs

Scope = Callable[[str], Any]


def evaluate(node: Node, scope: Scope) -> Any:
    """Return the value of an expression; `scope` returns the values of first names, or raises KeyError."""
    return _KINDS[node[0]](node, scope)


def _template(node: Node, scope: Scope) -> Any:
    values = [part if kind == "text" else evaluate(part, scope) for kind, part in node[1]]
    given = [value for value in values if value != ""]
    if len(given) == 1 and not isinstance(given[0], str):
        return given[0]
    text = "".join(_text(value) for value in values)
    return text if is_known(values) else Unknown(text)


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) or value is None else str(value)


def _get(node: Node, scope: Scope) -> Any:
    return member(evaluate(node[1], scope), evaluate(node[2], scope))


def _each(node: Node, scope: Scope) -> Any:
    values = as_list(evaluate(node[1][1], scope))
    key = evaluate(node[2], scope)
    return member(values, key) if isinstance(values, Unknown) else [member(value, key) for value in values]


def _if(node: Node, scope: Scope) -> Any:
    condition = evaluate(node[1], scope)
    return condition if isinstance(condition, Unknown) else evaluate(node[2] if condition else node[3], scope)


def _binary(node: Node, scope: Scope) -> Any:
    _, sign, left, right = node
    a = evaluate(left, scope)
    if sign in STOPS and a is STOPS[sign]:
        return a  # Terraform's `&&` and `||` need not know the other side
    b = evaluate(right, scope)
    return OPERATORS[sign](a, b) if is_known([a, b]) else Unknown(sign)


def _unary(node: Node, scope: Scope) -> Any:
    value = evaluate(node[2], scope)
    if isinstance(value, Unknown):
        return value
    return not value if node[1] == "!" else -value


def _object(node: Node, scope: Scope) -> Any:
    return {evaluate(key, scope): evaluate(value, scope) for key, value in node[1]}


def _for(node: Node, scope: Scope) -> Any:
    _, names, source, first, value, condition, grouped = node
    result: dict[Any, Any] = {}
    items: list[Any] = []
    collection = evaluate(source, scope)
    if isinstance(collection, Unknown):
        return collection
    for key, item in pairs(collection):
        inner = _with(scope, dict(zip(names, [key, item] if len(names) == 2 else [item], strict=True)))
        holds = True if condition is None else evaluate(condition, inner)
        if isinstance(holds, Unknown):
            return holds
        if not holds:
            continue
        if value is None:
            items.append(evaluate(first, inner))
        elif grouped:
            result.setdefault(evaluate(first, inner), []).append(evaluate(value, inner))
        else:
            result[evaluate(first, inner)] = evaluate(value, inner)
    return items if value is None else result


def _with(scope: Scope, own: Mapping[str, Any]) -> Scope:
    return lambda name: own[name] if name in own else scope(name)


def _call(node: Node, scope: Scope) -> Any:
    _, name, arguments, spread = node
    if name in ("can", "try"):
        return _attempt(name, arguments, scope)
    values = [evaluate(argument, scope) for argument in arguments]
    if spread:
        values = [*values[:-1], *(values[-1:] if isinstance(values[-1], Unknown) else values[-1])]
    return call(name, values)


def _attempt(name: str, arguments: list[Node], scope: Scope) -> Any:
    for argument in arguments:
        try:
            value = evaluate(argument, scope)
        except (KeyError, IndexError, TypeError):
            continue
        return True if name == "can" else value
    return False


STOPS = {"&&": False, "||": True}
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "&&": lambda a, b: a and b,
    "||": lambda a, b: a or b,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
}
_KINDS: dict[str, Callable[[Node, Scope], Any]] = {
    "value": lambda node, _: node[1],
    "template": _template,
    "name": lambda node, scope: scope(node[1]),
    "get": _get,
    "each": _each,
    "splat": lambda node, scope: as_list(evaluate(node[1], scope)),
    "if": _if,
    "binary": _binary,
    "unary": _unary,
    "list": lambda node, scope: [evaluate(item, scope) for item in node[1]],
    "object": _object,
    "for": _for,
    "call": _call,
}
