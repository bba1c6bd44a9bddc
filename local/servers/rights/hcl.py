"""Text of Terraform files in; blocks with arguments, whose expressions are trees of tuples, out."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from local.servers.rights.tokens import Unreadable, tokens_of

Node = tuple[Any, ...]
BINARY = (("||",), ("&&",), ("==", "!="), ("<", ">", "<=", ">="), ("+", "-"), ("*", "/", "%"))
WORDS = {"true": True, "false": False, "null": None}


@dataclass
class Block:
    """A block: its kind, labels, arguments, their texts without comments, and inner blocks."""

    kind: str
    labels: tuple[str, ...] = ()
    arguments: dict[str, Node] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    blocks: list["Block"] = field(default_factory=list)

    def of(self, kind: str) -> list["Block"]:
        """Return the inner blocks of a kind."""
        return [block for block in self.blocks if block.kind == kind]

    @property
    def text(self) -> str:
        """Return the texts of all arguments, those of inner blocks as well."""
        return "\n".join([*self.texts.values(), *(block.text for block in self.blocks)])


def parse(text: str) -> Block:
    """Return a file's blocks, in one block without a name. Raises Unreadable with the line of an error."""
    return _Parser(text).body("file", (), "end")


def read_module(folder: Path) -> Block:
    """Return the blocks of all files of a folder as those of one. Raises Unreadable with file and line of an error."""
    module = Block("module", (folder.name,))
    for path in sorted(folder.glob("*.tf")):
        try:
            module.blocks += parse(path.read_text()).blocks
        except Unreadable as error:
            raise Unreadable(f"{path}: {error}") from error
    return module


@cache
def parse_expression(text: str) -> Node:
    """Return the tree of one expression. Raises Unreadable, also for a text that goes on after it."""
    return _Parser(text).whole_expression()


class _Parser:
    """A recursive descent over tokens; line ends count only outside of brackets."""

    def __init__(self, text: str) -> None:
        self._tokens, self._at, self._depth = tokens_of(text), 0, 0

    def _peek(self) -> tuple[str, Any]:
        while self._depth and self._tokens[self._at].kind == "newline":
            self._at += 1
        token = self._tokens[self._at]
        return token.kind, token.value

    def _take(self, *expected: str) -> Any:
        kind, value = self._peek()
        if kind == "end" or (expected and (kind != "operator" or value not in expected)):
            line = self._tokens[self._at].line
            raise Unreadable(f"line {line}: expected {' or '.join(expected) or 'more'}, read {value!r}")
        self._at += 1
        return value

    def _is(self, *operators: str) -> bool:
        kind, value = self._peek()
        return kind == "operator" and value in operators

    def _open(self, bracket: str) -> None:
        self._take(bracket)
        self._depth += 1

    def _close(self, bracket: str) -> None:
        self._peek()
        self._depth -= 1
        self._take(bracket)

    def body(self, kind: str, labels: tuple[str, ...], closing: str = "}") -> Block:
        """Return a block up to its closing brace, or the file up to its end."""
        block = Block(kind, labels)
        while not (self._is("}") if closing == "}" else self._peek()[0] == "end"):
            if self._peek()[0] == "newline":
                self._at += 1
            else:
                self._item(block)
        self._at += 1
        return block

    def _item(self, block: Block) -> None:
        if self._peek()[0] not in ("name", "template"):
            self._take("a name")
        name, names = _plain(self._take()), []
        while not self._is("=", "{"):
            names.append(_plain(self._take()))
        if self._is("="):
            self._take("=")
            first = self._at
            block.arguments[name] = self.expression()
            block.texts[name] = "".join(token.source for token in self._tokens[first : self._at]).strip()
        else:
            depth, self._depth = self._depth, 0
            self._take("{")
            block.blocks.append(self.body(name, tuple(names)))
            self._depth = depth

    def whole_expression(self) -> Node:
        """Return the tree of an expression that is the whole text, in which line ends do not count."""
        self._depth = 1
        tree = self.expression()
        token, value = self._peek()
        if token != "end":
            raise Unreadable(f"an expression goes on with {value!r}")
        return tree

    def expression(self) -> Node:
        """Return the tree of the next expression."""
        condition = self._binary(0)
        if not self._is("?"):
            return condition
        self._take("?")
        yes = self.expression()
        self._take(":")
        return ("if", condition, yes, self.expression())

    def _binary(self, level: int) -> Node:
        if level == len(BINARY):
            return self._unary()
        left = self._binary(level + 1)
        while self._is(*BINARY[level]):
            left = ("binary", self._take(), left, self._binary(level + 1))
        return left

    def _unary(self) -> Node:
        if self._is("!", "-"):
            return ("unary", self._take(), self._unary())
        return self._postfix(self._primary())

    def _postfix(self, node: Node) -> Node:
        while self._is(".", "["):
            if self._take() == ".":
                node = ("get", node, ("value", self._take()))
            else:
                self._depth += 1
                splat = self._is("*")
                index = ("value", self._take("*")) if splat else self.expression()
                self._close("]")
                node = ("splat", node) if splat else ("get", node, index)
        return ("each", node[1], node[2]) if node[0] == "get" and _is_splat(node[1]) else node

    def _primary(self) -> Node:
        kind, value = self._peek()
        if kind in ("number", "template"):
            self._at += 1
            return ("value", value) if kind == "number" else _template(value)
        if kind == "name":
            return self._named(self._take())
        if value == "(":
            self._open("(")
            inner = self.expression()
            self._close(")")
            return inner
        return self._list() if value == "[" else self._object()

    def _named(self, name: str) -> Node:
        if name in WORDS:
            return ("value", WORDS[name])
        if not self._is("("):
            return ("name", name)
        self._open("(")
        arguments, spread = [], False
        while not self._is(")"):
            arguments.append(self.expression())
            if self._is("..."):
                self._take()
                spread = True
            if self._is(","):
                self._take()
        self._close(")")
        return ("call", name, arguments, spread)

    def _list(self) -> Node:
        self._open("[")
        if self._peek() == ("name", "for"):
            return self._for("]")
        items = []
        while not self._is("]"):
            items.append(self.expression())
            if self._is(","):
                self._take()
        self._close("]")
        return ("list", items)

    def _object(self) -> Node:
        self._open("{")
        if self._peek() == ("name", "for"):
            return self._for("}")
        pairs = []
        while not self._is("}"):
            kind, value = self._peek()
            key = ("value", value) if kind == "name" else None
            key = key if key and self._take() is not None else key or self.expression()
            self._take("=", ":")
            pairs.append((key, self.expression()))
            if self._is(","):
                self._take()
        self._close("}")
        return ("object", pairs)

    def _for(self, closing: str) -> Node:
        self._take()
        names = [self._take()]
        if self._is(","):
            self._take()
            names.append(self._take())
        self._take()  # in
        source = self.expression()
        self._take(":")
        first = self.expression()
        value, condition, grouped = None, None, False
        if self._is("=>"):
            self._take()
            value = self.expression()
        if self._is("..."):
            grouped = bool(self._take())
        if self._peek() == ("name", "if"):
            self._take()
            condition = self.expression()
        self._close(closing)
        return ("for", names, source, first, value, condition, grouped)


def _is_splat(node: Node) -> bool:
    return bool(node[0] == "splat")


def _plain(label: Any) -> str:
    return "".join(part for _, part in label) if isinstance(label, list) else str(label)


def _template(parts: list[tuple[str, str]]) -> Node:
    """Return the tree of a template: its parts are `("text", …)` and `("tree", …)`."""
    return ("template", [("tree", parse_expression(t)) if kind == "code" else (kind, t) for kind, t in parts])
