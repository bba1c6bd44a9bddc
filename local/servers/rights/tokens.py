"""Text of a Terraform file in; its tokens, with the lines they are on, out."""

import re
import textwrap
from typing import Any, NamedTuple

TOKEN = re.compile(
    r"""(?P<space>[ \t]+|\#[^\n]*|//[^\n]*)|(?P<newline>\r?\n)|(?P<heredoc><<(?P<dash>-?)(?P<mark>\w+)\n)
    |(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w-]*)|(?P<quote>")
    |(?P<operator>\.\.\.|=>|==|!=|<=|>=|&&|\|\||[-+*/%!<>=?:.,()\[\]{}])""",
    re.X,
)
ESCAPES = {"n": "\n", "t": "\t"}


class Unreadable(ValueError):
    """A text that is no HCL, or that this reader does not cover."""


class Token(NamedTuple):
    """A token: the parts of a template are its value; `source` is its text, with a blank after it if one follows."""

    kind: str
    value: Any
    line: int
    source: str


def tokens_of(text: str) -> list[Token]:
    """Return the tokens, without blanks and comments, and an end. Raises Unreadable with the line of an error."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        line, match = text.count("\n", 0, at) + 1, TOKEN.match(text, at)
        if match is None:
            raise Unreadable(f"line {line}: can't read {text[at : at + 20]!r}")
        start, at, kind = at, match.end(), str(match.lastgroup)
        if kind == "space":
            if tokens:
                tokens[-1] = tokens[-1]._replace(source=tokens[-1].source.rstrip(" ") + " ")
        elif kind == "quote":
            parts, at = template_parts(text, at, '"')
            tokens.append(Token("template", parts, line, text[start:at]))
        elif match["heredoc"]:
            parts, at = _heredoc(text, match, line)
            tokens += [Token("template", parts, line, text[start:at]), Token("newline", "\n", line, "\n")]
        else:
            value = _number(match[0]) if kind == "number" else match[0]
            tokens.append(Token(kind, value, line, match[0]))
    last = text.count("\n") + 1
    return [*tokens, Token("newline", "\n", last, ""), Token("end", "the end", last, "")]


def _number(text: str) -> float | int:
    return float(text) if "." in text else int(text)


def _heredoc(text: str, match: re.Match[str], line: int) -> tuple[list[tuple[str, str]], int]:
    """Return the parts of a heredoc and the index after its end; `<<-` takes the common indentation away."""
    end = re.compile(rf"^[ \t]*{match['mark']}[ \t]*$", re.M).search(text, match.end())
    if end is None:
        raise Unreadable(f"line {line}: a heredoc {match['mark']} does not end")
    lines = text[match.end() : end.start()]
    parts, _ = template_parts(textwrap.dedent(lines) if match["dash"] else lines, 0, "")
    return parts, end.end()


def template_parts(text: str, at: int, quote: str) -> tuple[list[tuple[str, str]], int]:
    """Return the parts of a template, `("text", …)` and `("code", …)`, and the index after its end."""
    parts: list[tuple[str, str]] = []
    plain = ""
    while at < len(text) and not (quote and text[at] == quote):
        if text.startswith("${", at):
            end = _closing(text, at + 2)
            parts += [("text", plain), ("code", text[at + 2 : end])]
            plain, at = "", end + 1
        elif quote and text[at] == "\\":
            plain, at = plain + ESCAPES.get(text[at + 1 : at + 2], text[at + 1 : at + 2]), at + 2
        else:
            plain, at = plain + text[at], at + 1
    if quote and at >= len(text):
        raise Unreadable(f"a text does not end: {text[-40:]!r}")
    return [*parts, ("text", plain)], at + len(quote)


def _closing(text: str, at: int) -> int:
    """Return the index of the brace that closes an interpolation."""
    depth = 0
    while at < len(text):
        if text[at] == '"':
            _, at = template_parts(text, at + 1, '"')
            continue
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth < 0:
            return at
        at += 1
    raise Unreadable("an interpolation does not end")
