"""Commands that people are told to run: each is one `millrace` command that the command line's own parser accepts."""

import ast
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from cli.environment import Environment, program
from cli.main import app
from millrace.command_line import command_line
from millrace.domain import errors
from millrace.domain.remedies import OF_ERROR, Remedy, of_run, rooted
from tests.support.servers import ROOT

PLATFORM = ("millrace", "cli", "tasks", "flows", "blocks", "beam_job")
CODE = (*PLATFORM, "local")
TEXTS = ("automations/**/*.yaml", "millrace/status/templates/*.j2", "docs/**/*.md", "README.md", "CONTRIBUTING.md")
SHOWN = re.compile(r"`millrace ([a-z-][^`\n]*?)(?: > [\w./]+)?`")
FOREIGN = re.compile(r"\b(?:run|with) `(?:make|prefect|terraform|kubectl|gcloud|python)\b")
EXAMPLE = "1"
EAGER = ("--install-completion", "--version", "--help")  # which the parser would carry out
COMMANDS = typer.main.get_command(app)
ALLOWED = {"cli/deploy/pools.py", "cli/deploy/checks.py", "tasks/ingest/await_landing.py"}


def parse(command: str, *, mention: bool = False) -> None:
    """Parse the words after `millrace` as a shell would pass them, without running anything.

    A `mention` names a command without its arguments.
    """
    words = shlex.split(re.sub(r"<[^>]*>|\{\{.*?\}\}|\$\{?\w+\}?", EXAMPLE, command))
    assert words, "a command has words"
    if words[-1] == "…" or words[0] in EAGER:
        return
    group = COMMANDS
    context = group.make_context("millrace", words)
    while isinstance(group, TyperGroup):
        left = [*context._protected_args, *context.args]
        if not left:
            return
        name, command_, rest = group.resolve_command(context, left)
        assert command_ is not None
        if rest == ["--help"] or (mention and not rest):
            return
        context = command_.make_context(name, rest, parent=context)
        group = command_


def strings(path: Path) -> Iterator[str]:
    """Yield the texts of a module; an expression in one becomes an example of a value."""
    tree = ast.parse(path.read_text())
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else EXAMPLE for part in node.values]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def is_docstring_list(command: str) -> bool:
    """Return True for a list of commands in the head of a module: `millrace up | down`."""
    return " | " in command and "<" not in command


def modules(folders: Iterable[str], word: str) -> Iterator[Path]:
    """Yield the modules whose text has a word."""
    for folder in folders:
        yield from (path for path in sorted((ROOT / folder).rglob("*.py")) if word in path.read_text())


def shown() -> Iterator[tuple[str, str]]:
    for path in modules(CODE, "`millrace "):
        for text in strings(path):
            yield from ((str(path.relative_to(ROOT)), command) for command in SHOWN.findall(text))
    for pattern in TEXTS:
        for path in sorted(ROOT.glob(pattern)):
            yield from ((str(path.relative_to(ROOT)), command) for command in SHOWN.findall(path.read_text()))


@pytest.mark.parametrize("remedy", Remedy, ids=lambda remedy: remedy.name)
def test_every_remedy_is_a_command(remedy: Remedy) -> None:
    names = re.findall(r"\{(\w+)\}", remedy.value)
    command = remedy.filled(**dict.fromkeys(names, EXAMPLE))
    assert command.startswith("millrace ")
    parse(command.removeprefix("millrace "))


def test_every_command_in_a_text_can_be_pasted() -> None:
    commands = [(file, command) for file, command in shown() if not is_docstring_list(command)]
    assert len(commands) > 100
    wrong = {}
    for file, command in commands:
        try:
            parse(command, mention=True)
        except Exception as error:
            wrong[file, command] = f"{type(error).__name__}: {error}"
    assert not wrong, "\n".join(f"{key}: {why}" for key, why in wrong.items())


def test_no_error_names_another_tool() -> None:
    foreign = {
        f"{path.relative_to(ROOT)}: {text}"
        for path in modules(PLATFORM, " `")
        if FOREIGN.search(path.read_text())
        for text in strings(path)
        if FOREIGN.search(text) and str(path.relative_to(ROOT)) not in ALLOWED
    }
    assert foreign == set()


def test_remedies_of_errors_name_errors() -> None:
    assert [name for name in OF_ERROR if not hasattr(errors, name)] == []


@pytest.mark.parametrize(
    ("flow", "parameters", "error", "command"),
    [
        ("ingest", {"source": "a b", "streams": None}, "SyncFailed", "millrace start ingest -p 'source=a b'"),
        ("ingest", {"source": "shop", "streams": ["x"]}, "SyncFailed", "millrace retry r-1"),
        ("erase", {"source": "s", "stream": "t", "keys": [{"id": 7}]}, "HeadMoved", "millrace retry r-1"),
        ("ingest", {"source": "shop"}, "AirbyteRefused", "millrace connections apply shop"),
        ("connections", {}, "AirbyteRefused", "millrace connections apply"),
        ("digest", {}, "AlertFailed", "millrace start digest"),
        ("merge", {"source": "s", "stream": "t"}, "UnknownStream", "millrace explain UnknownStream"),
        ("merge", {"source": "s", "stream": "t"}, "Crashed", "millrace start merge -p source=s -p stream=t"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_failed_run_has_a_command(flow: str, parameters: dict[str, object], error: str, command: str) -> None:
    assert of_run("r-1", flow, parameters, error) == command
    parse(command.removeprefix("millrace "))


def test_commands_are_rooted_in_their_environment() -> None:
    text = "run `millrace deploy blocks`, not millrace deploy or `millrace`"
    assert rooted(text, "millrace --env gcp") == text.replace("`millrace deploy", "`millrace --env gcp deploy")
    assert rooted("millrace up", "millrace --state /a") == "millrace --state /a up"
    assert rooted("millraces up", "x") == "millraces up"


def test_program_is_named_as_it_was_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    typed = tmp_path / "a b" / "millrace"
    typed.parent.mkdir()
    typed.write_text("#!/bin/sh\n")
    typed.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(typed), "status"])
    monkeypatch.setenv("PATH", "/usr/bin")
    assert program() == f"'{typed}'"
    assert Environment(ROOT, ROOT / ".millrace").command == f"'{typed}'"
    monkeypatch.setenv("PATH", str(typed.parent))
    assert program() == "millrace"


def test_page_names_its_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MILLRACE_STATE", "MILLRACE_CONFIG", "MILLRACE_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    assert command_line() == "millrace"
    monkeypatch.setenv("MILLRACE_CONFIG", "gcp")
    assert command_line() == "millrace --environment gcp"
    monkeypatch.setenv("MILLRACE_STATE", str(ROOT / ".millrace"))
    assert command_line() == "millrace"
    monkeypatch.setenv("MILLRACE_STATE", str(tmp_path))
    assert command_line() == f"millrace --state {tmp_path}"
    monkeypatch.setenv("MILLRACE_PROJECT", str(tmp_path))
    monkeypatch.setenv("MILLRACE_STATE", str(tmp_path / ".millrace"))
    assert command_line() == f"millrace --project {tmp_path}"
    parse(f"--project {tmp_path} status")
