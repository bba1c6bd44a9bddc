"""The command line: its parsing, its error messages and its start-up time."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cli import codes
from cli.checks.machine import installed, pins
from cli.environment import Environment
from cli.errors import StackDown, sentence
from cli.main import app
from cli.parameters import parameters
from millrace.domain.errors import EventRefused, SettingsError, UnknownStream
from tests.support.servers import ROOT

COMMANDS = (
    "up",
    "down",
    "run",
    "status",
    "doctor",
    "open",
    "start",
    "backfill",
    "redrive",
    "dead-letters list",
    "dead-letters redrive",
    "dead-letters drop",
    "merge",
    "raise-epoch",
    "pending",
    "find",
    "erase",
    "migrate",
    "sql",
    "retry",
    "pause",
    "resume",
    "lake ls",
    "lake cat",
    "lake rm",
    "request",
    "explain",
    "quality validate",
    "freshness",
    "dashboards draw",
    "repair",
    "deploy",
    "contracts write",
    "contracts check",
    "contracts release",
    "connections plan",
    "connections apply",
    "secrets list",
    "secrets add",
    "secrets rotate",
)
HEAVY = (
    "prefect",
    "google.auth",
    "google.api_core",
    "grpc",
    "duckdb",
    "pyarrow",
    "altair",
    "pydantic_settings",
    "httpx",
    "yaml",
)


@pytest.fixture(autouse=True)
def _no_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Select no platform by environment variables."""
    for name in [name for name in os.environ if name.startswith(("MILLRACE_", "PREFECT_API"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")


def millrace(*arguments: str | Path) -> "tuple[int, str]":
    """Return exit code and output without colours."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", result.output)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_an_example(command: str) -> None:
    code, output = millrace(*command.split(), "--help")
    assert code == codes.OK
    assert f"millrace {command}" in output.partition("Example")[2]


def test_command_list_is_complete_with_exit_codes() -> None:
    code, output = millrace("--help")
    assert code == codes.OK
    assert {command.split()[0] for command in COMMANDS} <= set(re.findall(r"^│ ([a-z-]+) ", output, re.M))
    assert "3 the stack on this machine is down" in output


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["run", "--days", "0"],
        ["run", "--days", "many"],
        ["backfill", "--marts", "airport_ops"],
        ["backfill", "airport_ops.flights", "--dry-run"],
        ["redrive", "--object", "a"],
        ["dead-letters", "drop"],
        ["start"],
        ["erase", "airport_ops.planes", "--reason", "r"],
        ["find", "airport_ops.planes", "--key", "N1"],
        ["deploy", "everything"],
        ["sql", "SELECT 1", "--format", "xml"],
        ["sql", "SELECT 1", "--limit", "-1"],
    ],
    ids=" ".join,
)
def test_invalid_usage_exits_with_2(tmp_path: Path, arguments: list[str]) -> None:
    assert millrace("--state", tmp_path, *arguments)[0] == codes.USAGE


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["start", "merge"],
        ["redrive", "--dry-run"],
        ["repair", "blocks"],
        ["lake", "ls"],
        ["sql", "SELECT 1"],
    ],
    ids=" ".join,
)
def test_command_without_stack_says_how_to_start(tmp_path: Path, arguments: list[str]) -> None:
    code, output = millrace("--state", tmp_path / "none", *arguments)
    assert code == codes.DOWN
    up = f"millrace --state {tmp_path / 'none'} up"
    assert output == f"error: the stack is down (state in {tmp_path / 'none'}); start it with `{up}`\n"
    assert not (tmp_path / "none").exists()


def test_doctor_says_how_to_start_the_stack(tmp_path: Path) -> None:
    code, output = millrace("--state", tmp_path, "doctor", "--json")
    findings = json.loads(output)
    assert code == codes.WRONG
    assert findings[0]["message"] == f"the stack is down (state in {tmp_path}); start it with `millrace up`"
    assert findings[0]["repair"] == f"millrace --state {tmp_path} up"
    assert [finding["check"] for finding in findings[1:]] == ["versions", "project"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--environment", "gcp", "status"],
            "but PREFECT_API_URL is not set; export the address of its Prefect server",
        ),
        (["--environment", "gcp", "up"], "the stack runs on this machine, and the settings are those of 'gcp'"),
        (["repair", "teeth"], "no step is named 'teeth'; expected one of resources, pools, blocks"),
        (["start", "merge", "-p", "source"], "'source' is not a parameter; write NAME=VALUE"),
    ],
    ids=["no server", "no stack elsewhere", "no such step", "no value"],
)
def test_error_is_one_sentence_with_a_fix(arguments: list[str], expected: str) -> None:
    code, output = millrace(*arguments)
    assert code == codes.WRONG
    assert expected in output
    assert output.startswith("error: ")
    assert output.count("\n") == 1


def test_debug_shows_the_traceback() -> None:
    result = CliRunner().invoke(app, ["--debug", "repair", "teeth"])
    assert isinstance(result.exception, SettingsError)


def test_unexpected_error_shows_its_type() -> None:
    assert sentence(KeyError("rows")) == ("KeyError: 'rows'; `millrace --debug …` shows the traceback", codes.WRONG)
    assert sentence(StackDown("it is down")) == ("it is down", codes.DOWN)
    assert sentence(UnknownStream("no stream x")) == ("UnknownStream: no stream x", codes.WRONG)


def test_parameters_are_json_or_text() -> None:
    values = parameters(
        ["source=airport_ops", "full=true", "job_id=7", 'objects=["a"]', "reason=a=b", "day=2013-01-01"]
    )
    assert values == {
        "source": "airport_ops",
        "full": True,
        "job_id": 7,
        "objects": ["a"],
        "reason": "a=b",
        "day": "2013-01-01",
    }
    with pytest.raises(EventRefused, match="write NAME=VALUE"):
        parameters(["=x"])


def test_option_overrides_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_STATE", "/nowhere/at/all")
    monkeypatch.setenv("MILLRACE_CONFIG", "config/local.toml")
    assert "state in /nowhere/at/all" in millrace("status")[1]
    assert "those of 'gcp'" in millrace("--environment", "gcp", "status")[1]


def test_fix_commands_name_their_environment() -> None:
    assert Environment(ROOT, ROOT / ".millrace").command == "millrace"
    assert Environment(ROOT, Path("/tmp/second")).command == "millrace --state /tmp/second"
    assert Environment(ROOT, None, "gcp").command == "millrace --environment gcp"


def test_doctor_checks_the_locked_packages(tmp_path: Path) -> None:
    packages = dict(pins(ROOT / "requirements.txt"))
    assert len(packages) > 100
    assert installed("prefect") == packages["prefect"]
    assert installed("no-such-package") == ""
    lock = tmp_path / "requirements.txt"
    lock.write_text("a==1 \\\n    --hash=sha256:0\nb==2 ; python_version < '3'\n# c==3\n-e .\n")
    assert list(pins(lock)) == [("a", "1")]


@pytest.mark.demo
def test_completion_offers_streams_and_flows() -> None:
    def completed(words: str) -> list[str]:
        values = {
            **os.environ,
            "_MILLRACE_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        program = [sys.executable, "-m", "cli"]
        return subprocess.run(program, env=values, cwd=ROOT, capture_output=True, text=True).stdout.split()

    assert completed("millrace redrive airport_ops.fl") == ["airport_ops.flights"]
    assert completed("millrace start mo") == ["model"]
    assert completed("millrace open dash") == ["dashboards"]


def test_commands_import_big_packages_lazily() -> None:
    program = f"import sys, cli.main; print([name for name in {HEAVY} if name in sys.modules])"
    process = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"


def test_explain_finds_alerts_and_errors(tmp_path: Path) -> None:
    code, text = millrace("explain", "HeadMoved")
    assert (code, text.splitlines()[0]) == (codes.OK, "HeadMoved")
    assert "fix: " in text
    for name in ("Millrace: a flow run failed", "a flow run FAILED"):
        code, text = millrace("explain", name)
        assert (code, text.splitlines()[0]) == (codes.OK, "### Millrace: a flow run failed")
        assert "### Millrace: a flow run crashed" not in text
    assert millrace("explain", "Millrace: no new data of shop.orders")[1].startswith("### Millrace: no new data of")
    assert millrace("explain", "Millrace: customer_totals is late")[1].startswith("### Millrace: a mart is late")
    routed = millrace("explain", "Millrace: rows were quarantined (slack-sales)")[1]
    assert routed.startswith("### Millrace: rows were quarantined")


def test_explain_lists_all_and_suggests_similar() -> None:
    code, text = millrace("explain")
    assert code == codes.OK
    assert {"HeadMoved", "SettingsError", "Millrace: a flow run failed"} <= set(text.splitlines())
    code, text = millrace("explain", "HeadMovd")
    assert code == codes.WRONG
    assert text.startswith("error: SettingsError: no alert or error is named 'HeadMovd'; did you mean 'HeadMoved'")
    assert text.count("\n") == 1


def test_every_alert_and_error_can_be_explained() -> None:
    from cli.runbook import explain
    from millrace.domain import errors

    automations = [yaml.safe_load(path.read_text())["name"] for path in (ROOT / "automations").glob("*.yaml")]
    groups = ("MillraceError", "Retryable", "Fatal", "DataQuality")
    kinds = [name for name, kind in vars(errors).items() if isinstance(kind, type) and name not in groups]
    assert len(automations) > 10
    assert len(kinds) > 10
    for name in (*automations, *kinds):
        assert explain(ROOT, name)[0] == name


@pytest.mark.parametrize(
    ("name", "alert"),
    [
        ("row.type", "Millrace: rows were quarantined"),
        ("file.unreadable", "Millrace: rows were quarantined"),
        ("merge.stale_storm", "Cloud: most rows of a batch are old"),
        ("merge.replacement_blocked", "Cloud: a replacement is blocked"),
    ],
)
def test_events_and_reasons_can_be_explained(name: str, alert: str) -> None:
    from cli.runbook import explain

    assert explain(ROOT, name)[0] == alert


def test_explain_without_docs_says_so(tmp_path: Path) -> None:
    from cli.runbook import entries

    with pytest.raises(SettingsError, match=r"has no operations docs"):
        entries(tmp_path)
