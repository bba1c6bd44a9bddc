"""The layout of the project: few folders, few import roots, no import circle, and a sentence in each package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import ROOT

PACKAGES = ("millrace", "beam_job", "blocks", "tasks", "flows", "cli", "local", "bench")
TOP_FOLDERS, IMPORT_ROOTS = 20, 8
USERS_FOLDERS = ("sources", "dbt_project", "expectations", "dashboards", "automations", "config")


def modules() -> dict[str, Path]:
    """Return every module of ours with its file."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    dotted = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}
    return dict(sorted(dotted.items()))


def imports(path: Path, paths: dict[str, Path]) -> Iterator[str]:
    """Yield modules of ours that a file imports when it is loaded: those within functions and for types are not."""
    for node in _loaded(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield from (candidate for candidate in (name, node.module) if candidate in paths)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in paths)


def _loaded(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _loaded(node)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            groups.append(group)

    for node in graph:
        if node not in index:
            visit(node)
    return [sorted(group) for group in groups if len(group) > 1]


def test_no_module_imports_itself_in_a_circle() -> None:
    paths = modules()
    graph = {name: set(imports(path, paths)) - {name} for name, path in paths.items()}
    assert sum(map(len, graph.values())) > 500
    assert circles(graph) == []


def test_search_for_circles_finds_one() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def holds_files(folder: Path) -> bool:
    """Return whether a folder has more than what an older checkout left compiled."""
    return any(path.is_file() and "__pycache__" not in path.parts for path in folder.rglob("*"))


def test_there_are_few_folders_and_import_roots() -> None:
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._" and holds_files(path)]
    folders = [path for path in folders if path.name != "millrace.egg-info"]
    assert len(folders) <= TOP_FOLDERS, sorted(path.name for path in folders)
    roots = [path.name for path in folders if (path / "__init__.py").exists() and path.name != "tests"]
    assert sorted(roots) == sorted(PACKAGES)
    assert len(roots) <= IMPORT_ROOTS
    assert [name for name in USERS_FOLDERS if not (ROOT / name).is_dir()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_has_one_sentence(package: str) -> None:
    for path in sorted((ROOT / package).rglob("__init__.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert text.split("\n\n")[0].endswith("."), f"{path.relative_to(ROOT)}: {text!r}"
