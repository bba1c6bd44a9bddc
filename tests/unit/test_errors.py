"""The drawn tree of errors names every error of the repository, with its parent."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from millrace.domain import errors

ROOT = Path(__file__).parents[2]
GROUPS = ("MillraceError", "Retryable", "Fatal", "DataQuality")
LINE = re.compile(r"^([│ ]*)(?:├── |└── )?([A-Z]\w+)\b")
INDENT = 4


def drawn() -> dict[str, str]:
    """Return each error of the drawn tree with its parent; the root's parent is `Exception`."""
    parents, path = {}, ["Exception"]
    for line in (errors.__doc__ or "").splitlines()[2:]:
        match = LINE.match(line)
        if match is None:
            continue
        depth = 0 if line.startswith(match[2]) else len(match[1]) // INDENT + 1
        path = [*path[: depth + 1], match[2]]
        parents[match[2]] = path[-2]
    return parents


@cache
def modules() -> dict[str, ast.Module]:
    """Return the syntax trees of the repository's modules, the tests' aside."""
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT, text=True)
    paths = [path for path in listed.split() if not path.startswith("tests/") and (ROOT / path).exists()]
    return {path: ast.parse((ROOT / path).read_text()) for path in paths}


def defined() -> dict[str, str]:
    """Return each subclass of MillraceError that any module defines, with its parent."""
    classes = [n for tree in modules().values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.bases]
    parents, size = {"MillraceError": "Exception"}, 0
    while len(parents) > size:
        size = len(parents)
        for node in classes:
            base = ast.unparse(node.bases[0]).rpartition(".")[2]
            if base in parents:
                parents[node.name] = base
    return parents


def test_tree_names_every_error_and_its_parent() -> None:
    assert len(drawn()) > len(GROUPS)
    assert drawn() == defined()


def test_tree_reads_indents() -> None:
    assert (drawn()["MillraceError"], drawn()["SettingsError"]) == ("Exception", "Fatal")
    assert (drawn()["UnknownStream"], drawn()["FileVanished"]) == ("ContractError", "FileRejected")


@pytest.mark.parametrize("group", GROUPS)
def test_no_one_raises_a_group(group: str) -> None:
    raised = [
        f"{path}:{node.lineno}"
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and node.exc is not None
        and ast.unparse(node.exc).partition("(")[0].rpartition(".")[2] == group
    ]
    assert raised == []
