"""The command line: what it parses, what it says when something is wrong, and how fast it is there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import codes
from cli.checks.machine import installed, pins
from cli.errors import StackDown, sentence
from cli.main import app
from cli.parameters import parameters
from cli.place import Where
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
    "replay list",
    "replay send",
    "replay drop",
    "mend",
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
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No platform is named by the environment."""
    for name in [name for name in os.environ if name.startswith(("MILLRACE_", "PREFECT_API"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")


def millrace(*arguments: str | Path) -> "tuple[int, str]":
    """What a person sees, without colours, and the exit code."""
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    return done.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", done.output)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does_with_an_example(command: str) -> None:
    code, said = millrace(*command.split(), "--help")
    assert code == codes.OK
    assert f"millrace {command}" in said.partition("Example")[2]


def test_the_list_of_commands_is_whole_and_tells_the_exit_codes() -> None:
    code, said = millrace("--help")
    assert code == codes.OK
    assert {command.split()[0] for command in COMMANDS} <= set(re.findall(r"^│ ([a-z]+) ", said, re.M))
    assert "3 the stack on this machine is down" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["run", "--days", "0"],
        ["run", "--days", "many"],
        ["backfill", "--marts", "airport_ops"],
        ["backfill", "airport_ops.flights", "--dry-run"],
        ["redrive", "--object", "a"],
        ["replay", "drop"],
        ["start"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_makes_no_sense_ends_with_2(tmp_path: Path, arguments: list[str]) -> None:
    assert millrace("--state", tmp_path, *arguments)[0] == codes.USAGE


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["start", "merge"], ["redrive", "--dry-run"], ["mend", "blocks"]],
    ids=" ".join,
)
def test_without_a_stack_a_command_says_in_one_sentence_what_starts_it(tmp_path: Path, arguments: list[str]) -> None:
    code, said = millrace("--state", tmp_path / "none", *arguments)
    assert code == codes.DOWN
    assert said == f"error: the stack is down (state in {tmp_path / 'none'}); start it with `millrace up`\n"
    assert not (tmp_path / "none").exists()


def test_the_doctor_says_that_the_stack_is_down_and_what_starts_it(tmp_path: Path) -> None:
    code, said = millrace("--state", tmp_path, "doctor", "--json")
    found = json.loads(said)
    assert code == codes.WRONG
    assert found[0]["what"] == f"the stack is down (state in {tmp_path}); start it with `millrace up`"
    assert found[0]["mend"] == f"millrace --state {tmp_path} up"
    assert [one["check"] for one in found[1:]] == ["versions"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--place", "gcp", "status"], "but PREFECT_API_URL is not set; export the address of its Prefect server"),
        (["--place", "gcp", "up"], "the stack is one of this machine, and the settings are those of 'gcp'"),
        (["mend", "teeth"], "no step 'teeth'; there are resources, pools, blocks"),
        (["start", "merge", "-p", "source"], "'source' is no parameter; write NAME=VALUE"),
    ],
    ids=["no server", "no stack elsewhere", "no such step", "no value"],
)
def test_an_error_is_one_sentence_that_says_what_which_and_what_to_do(arguments: list[str], told: str) -> None:
    code, said = millrace(*arguments)
    assert code == codes.WRONG
    assert told in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_debug_shows_where_an_error_came_from() -> None:
    done = CliRunner().invoke(app, ["--debug", "mend", "teeth"])
    assert isinstance(done.exception, SettingsError)


def test_an_error_that_nobody_expected_is_told_with_its_kind() -> None:
    assert sentence(KeyError("rows")) == ("KeyError: 'rows'; `millrace --debug …` shows where", codes.WRONG)
    assert sentence(StackDown("it is down")) == ("it is down", codes.DOWN)
    assert sentence(UnknownStream("no stream x")) == ("UnknownStream: no stream x", codes.WRONG)


def test_parameters_are_json_or_text() -> None:
    given = parameters(["source=airport_ops", "full=true", "job_id=7", 'objects=["a"]', "reason=a=b", "day=2013-01-01"])
    assert given == {
        "source": "airport_ops",
        "full": True,
        "job_id": 7,
        "objects": ["a"],
        "reason": "a=b",
        "day": "2013-01-01",
    }
    with pytest.raises(EventRefused, match="write NAME=VALUE"):
        parameters(["=x"])


def test_the_place_on_the_command_line_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_STATE", "/nowhere/at/all")
    monkeypatch.setenv("MILLRACE_CONFIG", "config/local.toml")
    assert "state in /nowhere/at/all" in millrace("status")[1]
    assert "those of 'gcp'" in millrace("--place", "gcp", "status")[1]


def test_commands_that_mend_name_the_place_that_they_are_for() -> None:
    assert Where(ROOT, ROOT / ".millrace").command == "millrace"
    assert Where(ROOT, Path("/tmp/second")).command == "millrace --state /tmp/second"
    assert Where(ROOT, None, "gcp").command == "millrace --place gcp"


def test_the_doctor_knows_what_is_locked(tmp_path: Path) -> None:
    found = dict(pins(ROOT / "requirements.txt"))
    assert len(found) > 100
    assert installed("prefect") == found["prefect"]
    assert installed("no-such-package") == ""
    lock = tmp_path / "requirements.txt"
    lock.write_text("a==1 \\\n    --hash=sha256:0\nb==2 ; python_version < '3'\n# c==3\n-e .\n")
    assert list(pins(lock)) == [("a", "1")]


def test_completion_knows_streams_flows_and_pages() -> None:
    def completed(words: str) -> list[str]:
        given = {
            **os.environ,
            "_MILLRACE_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        program = [sys.executable, "-m", "cli"]
        return subprocess.run(program, env=given, cwd=ROOT, capture_output=True, text=True).stdout.split()

    assert completed("millrace redrive airport_ops.fl") == ["airport_ops.flights"]
    assert completed("millrace start mo") == ["model"]
    assert completed("millrace open dash") == ["dashboards"]


def test_what_is_big_is_imported_by_the_command_that_needs_it() -> None:
    program = f"import sys, cli.main; print([name for name in {HEAVY} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
