"""The rules of the code that a program can check."""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.support.servers import ROOT

MOST_LINES = 400
SKIPPED = {"build", "dist", "target", "node_modules", "__pycache__"}
ENVIRONMENT_CHECK = re.compile(
    r"\bis_(local|gcp|cloud|prod|production|dev)\b|\bif (not )?(local|gcp|cloud|prod)\b"
    r"|(==|!=|\bin\b) *[(\[]?['\"](local|gcp|cloud|prod|dev)['\"]|K_SERVICE|KUBERNETES_SERVICE_HOST"
    r"|MILLRACE_(ENV|PLACE|CONFIG)|127\.0\.0\.1|localhost|socket\.gethostname|platform\.(node|system)"
)
SQL = re.compile(r"\b(SELECT\b.+\bFROM|INSERT INTO|DELETE FROM|UPDATE\b.+\bSET|CREATE TABLE|MERGE INTO)\b", re.I | re.S)
MAY_IMPORT = re.compile(r"prefect|tasks(\.\w+)+|millrace\.domain(\.\w+)?|blocks\.names")
LIGHT = (
    *(
        f"millrace/{room}"
        for room in ("domain", "contracts", "settings", "lake", "events", "warehouse", "quality", "gateway")
    ),
    "beam_job",
)
HEAVY = {"millrace.quality.engine", "beam_job.engines.pipeline"}  # these import Great Expectations and Beam


class Imported(NamedTuple):
    """What a process has imported after flows, gateway with automations, and secrets; the flows it then loads."""

    with_flows: list[str]
    with_gateway: list[str]
    with_secrets: list[str]
    flows: list[str]


def python_files(*folders: str) -> Iterator[Path]:
    own = [path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    for folder in folders or sorted(own):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            if not any(part in SKIPPED or part.startswith(".") for part in parts):
                yield path


def matching_lines(pattern: re.Pattern[str], *folders: str) -> list[str]:
    """Return the lines of a folder's files that match, with their positions."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in python_files(*folders)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def python(program: str, cwd: Path, **environment: str) -> str:
    """Return the output of a Python subprocess."""
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout.strip()


def header(path: Path) -> str:
    """Return a file's docstring, read up to there only."""
    with tokenize.open(path) as text:
        for token in tokenize.generate_tokens(text.readline):
            if token.type not in (tokenize.COMMENT, tokenize.NL):
                value = ast.literal_eval(token.string) if token.type == tokenize.STRING else ""
                return value if isinstance(value, str) else ""
    return ""


DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
BIG = ("apache_beam", "great_expectations", "dbt", "prefect_dbt", "google.cloud.bigquery", "google.cloud.storage")
FLOWS = ", ".join(f"flows.{path.stem}" for path in python_files("flows") if path.stem != "__init__")
IMPORTS = f"""
import json, sys, {FLOWS}
with_flows = [name for name in {BIG} if name in sys.modules]
import millrace.gateway.app, cli.deploy.automations
with_gateway = [name for name in {BIG} if name in sys.modules]
import blocks.secrets
with_secrets = [name for name in sys.modules if name.startswith("google.cloud.aiplatform")]
from prefect.flows import load_flow_from_entrypoint as load
entrypoints = {[f"{ROOT}/{d['entrypoint']}" for d in DEPLOYMENTS]}
loaded = [load(e, use_placeholder_flow=False).name for e in entrypoints]
print(json.dumps([with_flows, with_gateway, with_secrets, loaded]))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """Import all in one new process, as each import of Prefect takes seconds; its folder is not the project's."""
    folder = tmp_path_factory.mktemp("imported")
    output = python(IMPORTS, folder, PREFECT_HOME=str(folder), PREFECT_LOGGING_TO_API_ENABLED="false")
    return Imported(*json.loads(output))


def test_code_never_asks_where_it_runs() -> None:
    assert matching_lines(ENVIRONMENT_CHECK, "flows", "tasks", "beam_job") == []


@pytest.mark.parametrize(
    "line",
    [
        "if local:",
        "if settings.is_local:",
        "if place == 'local':",
        'if env in ("gcp", "x"):',
        "os.environ['K_SERVICE']",
        'url = "http://localhost:80"',
    ],
)
def test_check_detects_environment_branches(line: str) -> None:
    assert ENVIRONMENT_CHECK.search(line)


@pytest.mark.parametrize("path", [*python_files("flows")], ids=lambda p: p.name)
def test_flows_import_tasks_only_and_hold_no_sql(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    }
    assert [name for name in names if not MAY_IMPORT.fullmatch(name)] == []
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert [text for text in texts if SQL.search(text)] == []
    assert "open" not in {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def test_no_flow_shadows_another_module() -> None:
    """Prefect puts `flows/` first on `sys.path`: `flows/dbt.py` would hide dbt."""
    own = {path.stem for path in python_files("flows")} - {"__init__"}
    others = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    others |= {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert own & others == set()
    assert {"dbt", "json", "tasks"} <= others


def test_no_file_is_long() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in python_files()}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}
    assert "beam_job/steps/keys.py" in lengths


def test_every_file_has_a_header() -> None:
    silent = [p.relative_to(ROOT).as_posix() for p in python_files() if not header(p)]
    assert [name for name in silent if not (name.startswith("tests/") and name.endswith("__init__.py"))] == []


def test_header_is_the_files_first_string(tmp_path: Path) -> None:
    texts = {'#!x\n\n"""A."""\nb = 1': "A.", 'b = 1\n"""A."""': "", "": "", 'b"A"': "", '""': ""}
    for text, expected in texts.items():
        file = tmp_path / "a.py"
        file.write_text(text)
        assert header(file) == expected == (ast.get_docstring(ast.parse(text)) or "")


def test_every_deployment_names_an_existing_flow(imported: Imported) -> None:
    entrypoints = [d["entrypoint"] for d in DEPLOYMENTS]
    assert [d["name"] for d in DEPLOYMENTS if "millrace" not in d["tags"]] == [], "reconcile looks after those it knows"
    assert {e.split(":")[0] for e in entrypoints} == {
        f"flows/{path.name}" for path in python_files("flows") if path.stem != "__init__"
    }
    assert imported.flows == [d["name"] for d in DEPLOYMENTS]


def test_lower_layers_import_no_prefect() -> None:
    paths = [p for p in python_files(*LIGHT) if p.stem not in ("__init__", "__main__")]
    modules = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in paths]
    light = [m for m in modules if m not in HEAVY]
    assert set(modules) - set(light) == HEAVY
    program = (
        f"import importlib, sys\nfor name in {light}: importlib.import_module(name)\n"
        "print(sorted({'prefect', 'apache_beam', 'great_expectations', 'dbt', 'local'} & set(sys.modules)))"
    )
    assert python(program, ROOT) == "[]"


def test_tasks_import_big_packages_lazily(imported: Imported) -> None:
    assert imported.with_flows == []


def test_gateway_imports_big_packages_lazily(imported: Imported) -> None:
    assert imported.with_gateway == []


def test_secrets_import_no_client_of_vertex_ai(imported: Imported) -> None:
    assert imported.with_secrets == []
