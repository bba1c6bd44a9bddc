"""A reader of Terraform files as `terraform fmt` writes them: blocks and argument names, without values' meaning.

Terraform itself can check no argument without its provider, which comes from a registry only.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = re.compile(r'([a-z_]+)((?: "[^"]+")*) \{(\s*\})?')
ARGUMENT = re.compile(r'("[^"]+"|[\w.-]+)\s*= ?(.*)')
HEREDOC = re.compile(r"<<-?(\w+)$")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
COMMENT = re.compile(r"(?<!\S)#.*$")


@dataclass
class Block:
    """A block: its kind, labels, arguments (name → text of the value) and blocks."""

    kind: str
    labels: tuple[str, ...] = ()
    arguments: dict[str, str] = field(default_factory=dict)
    blocks: list["Block"] = field(default_factory=list)

    def of(self, kind: str) -> list["Block"]:
        return [block for block in self.blocks if block.kind == kind]

    @property
    def text(self) -> str:
        """Values of all arguments, those of inner blocks as well."""
        return "\n".join([*self.arguments.values(), *(block.text for block in self.blocks)])


def read(path: Path) -> Block:
    """All blocks of a file, in one block without a name."""
    lines = path.read_text().splitlines()
    root, rest = Block("file"), _body(lines, 0)
    root.arguments, root.blocks, end = rest
    assert end >= len(lines), f"{path}:{end + 1}: a brace too many"
    return root


def read_module(folder: Path) -> Block:
    """All files of a folder as one."""
    whole = Block("module", (folder.name,))
    for path in sorted(folder.glob("*.tf")):
        whole.blocks += read(path).blocks
    return whole


def _body(lines: list[str], at: int) -> tuple[dict[str, str], list[Block], int]:
    arguments: dict[str, str] = {}
    blocks: list[Block] = []
    while at < len(lines):
        line = COMMENT.sub("", lines[at]).strip()
        at += 1
        if line == "}":
            break
        if match := BLOCK.fullmatch(line):
            block = Block(match[1], tuple(re.findall(r'"([^"]+)"', match[2])))
            if not match[3]:
                block.arguments, block.blocks, at = _body(lines, at)
            blocks.append(block)
        elif match := ARGUMENT.fullmatch(line):
            arguments[match[1].strip('"')], at = _value(match[2], lines, at)
        elif line:
            raise AssertionError(f"line {at}: can't read {line!r}")
    return arguments, blocks, at


def _value(first: str, lines: list[str], at: int) -> tuple[str, int]:
    """An expression: it goes on while brackets are open."""
    text = first
    if heredoc := HEREDOC.search(first):
        while lines[at].strip() != heredoc[1]:
            text, at = f"{text}\n{lines[at]}", at + 1
        return text, at + 1
    while _open(text):
        text, at = f"{text}\n{COMMENT.sub('', lines[at])}", at + 1
    return text, at


def _open(text: str) -> bool:
    bare = STRING.sub("", text)
    return sum(bare.count(c) for c in "([{") > sum(bare.count(c) for c in ")]}")
