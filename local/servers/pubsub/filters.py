"""The filter language of subscriptions: an expression in, a test of a message's attributes out.

https://cloud.google.com/pubsub/docs/subscription-message-filter
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from local.servers.rpc import RpcError

MAX_BYTES = 256
TOKEN = re.compile(r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[\w-]+)|(?P<sign>!=|[():=.,]))')
WORDS = ("AND", "OR", "NOT")

Attributes = Mapping[str, str]
Test = Callable[[Attributes], bool]


@lru_cache(maxsize=1024)
def parse_filter(expression: str) -> Test:
    """The test that an expression describes; an empty one lets everything through.

    Raises:
        RpcError: it is malformed or longer than 256 bytes.
    """
    if len(expression.encode()) > MAX_BYTES:
        raise RpcError("INVALID_ARGUMENT", f"a filter has at most {MAX_BYTES} bytes")
    return _Parser(expression).whole() if expression.strip() else lambda _: True


class _Parser:
    """Recursive descent over terms that are joined by one operator: AND and OR need parentheses to mix."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = _tokens(expression)
        self._place = 0

    def whole(self) -> Test:
        """The test of the whole expression."""
        test = self._joined()
        if self._peek():
            raise self._malformed(f"at {self._peek()!r}")
        return test

    def _joined(self) -> Test:
        tests, operator = [self._term()], self._peek()
        if operator not in ("AND", "OR"):
            return tests[0]
        while self._peek() == operator:
            self._take(operator)
            tests.append(self._term())
        if self._peek() in ("AND", "OR"):
            raise self._malformed("AND and OR need parentheses to be used together")
        decide = all if operator == "AND" else any
        return lambda attributes: decide(test(attributes) for test in tests)

    def _term(self) -> Test:
        if self._peek() == "NOT" or self._peek()[:1] == "-":
            self._negation()
            negated = self._term()
            return lambda attributes: not negated(attributes)
        if self._peek() == "(":
            self._take("(")
            test = self._joined()
            self._take(")")
            return test
        return self._prefix() if self._peek() == "hasPrefix" else self._attribute()

    def _negation(self) -> None:
        token = self._take()
        if token not in ("NOT", "-"):  # `-attributes` is one word to the scanner
            self._place -= 1
            self._tokens[self._place] = token[1:]

    def _prefix(self) -> Test:
        for token in ("hasPrefix", "(", "attributes", "."):
            self._take(token)
        key = self._key()
        self._take(",")
        prefix = self._string()
        self._take(")")
        return lambda attributes: attributes.get(key, "").startswith(prefix) and key in attributes

    def _attribute(self) -> Test:
        self._take("attributes")
        if self._peek() == ":":
            self._take(":")
            key = self._key()
            return lambda attributes: key in attributes
        self._take(".")
        key, operator = self._key(), self._take()
        if operator not in ("=", "!="):
            raise self._malformed(f"{operator!r} is not an operator")
        value = self._string()
        return lambda attributes: (attributes.get(key) == value) == (operator == "=")

    def _key(self) -> str:
        token = self._take()
        if token.startswith('"'):
            return _unquoted(token)
        if token in WORDS or not re.fullmatch(r"[\w-]+", token):
            raise self._malformed(f"{token!r} is not a key")
        return token

    def _string(self) -> str:
        token = self._take()
        if not token.startswith('"'):
            raise self._malformed(f"{token!r} is not a string")
        return _unquoted(token)

    def _peek(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _take(self, expected: str = "") -> str:
        token = self._peek()
        if not token or expected not in ("", token):
            raise self._malformed(f"{expected or 'more'} is missing before {token or 'its end'!r}")
        self._place += 1
        return token

    def _malformed(self, reason: str) -> RpcError:
        return RpcError("INVALID_ARGUMENT", f"filter {self._expression!r} is malformed: {reason}")


def _tokens(expression: str) -> list[str]:
    tokens, position, text = [], 0, expression.rstrip()
    while position < len(text):
        match = TOKEN.match(text, position)
        if not match:
            raise RpcError("INVALID_ARGUMENT", f"filter {expression!r} is malformed at {text[position:]!r}")
        tokens.append(match[match.lastgroup or 0])
        position = match.end()
    return tokens


def _unquoted(literal: str) -> str:
    try:
        return str(json.loads(literal))  # the escapes that both languages have
    except ValueError:
        raise RpcError("INVALID_ARGUMENT", f"{literal} is not a string: write its escapes as in JSON") from None
