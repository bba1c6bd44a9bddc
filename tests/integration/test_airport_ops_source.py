"""The demo's Airbyte connector, run as the subprocess that Airbyte starts."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.demo.airport_ops.replay import advance, create
from millrace.contracts.source import load_sources
from tests.support.scripted_airbyte import query
from tests.support.servers import ROOT

pytestmark = pytest.mark.demo

Messages = list[dict[str, Any]]
CONFIG = {"database": "airport_ops", "username": "millrace", "password": "right"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the operations database at the end of day 1."""
    file = tmp_path_factory.mktemp("operations") / "ops?.sqlite"  # a name that a URI would misread
    create(file, "right")
    advance(file, 1)
    return file


@pytest.fixture
def connector(database: Path, tmp_path: Path) -> Callable[..., tuple[int, Messages]]:
    """Return a function that runs one protocol command, with its inputs in files."""

    def run(verb: str, **inputs: Any) -> tuple[int, Messages]:
        command = [sys.executable, "-m", "local.demo.airport_ops.connector", verb]
        for name, content in inputs.items():
            (tmp_path / name).write_text(json.dumps(content))
            command += [f"--{name}", str(tmp_path / name)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "AIRPORT_OPS_DATABASE": str(database)}
        process = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
        return process.returncode, [json.loads(line) for line in process.stdout.splitlines()]

    return run


Run = Callable[..., tuple[int, Messages]]


def catalog(*streams: str, mode: str = "incremental") -> dict[str, Any]:
    return {"streams": [{"stream": {"name": name}, "sync_mode": mode} for name in streams]}


def states(**positions: int) -> list[dict[str, Any]]:
    return [
        {"type": "STREAM", "stream": {"stream_descriptor": {"name": name}, "stream_state": {"lsn": lsn}}}
        for name, lsn in positions.items()
    ]


def records(messages: Messages) -> Messages:
    return [m["record"]["data"] for m in messages if m["type"] == "RECORD"]


def test_spec_has_a_secret_password(connector: Run) -> None:
    code, (message,) = connector("spec")
    properties = message["spec"]["connectionSpecification"]["properties"]
    assert (code, message["type"]) == (0, "SPEC")
    assert properties["password"]["airbyte_secret"]


def test_check_succeeds_with_the_right_password(connector: Run) -> None:
    code, (message,) = connector("check", config=CONFIG)
    assert (code, message["connectionStatus"]) == (0, {"status": "SUCCEEDED"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "wrong"}, "password authentication failed for user 'millrace'"),
        ({"username": "nobody"}, "password authentication failed for user 'nobody'"),
        ({"password": ""}, "the configuration lacks password"),
        ({"database": "/no/such.sqlite"}, "database /no/such.sqlite does not exist"),
        ({"database": str(ROOT / "pyproject.toml")}, "file is not a database"),
    ],
)
def test_check_reports_why_it_cannot_connect(connector: Run, change: dict[str, str], words: str) -> None:
    code, (message,) = connector("check", config=CONFIG | change)
    assert (code, message["type"]) == (0, "CONNECTION_STATUS")
    assert message["connectionStatus"] == {"status": "FAILED", "message": words}


@pytest.mark.parametrize("verb", ["discover", "read"])
def test_wrong_password_is_a_connector_error(connector: Run, verb: str) -> None:
    inputs = {"catalog": catalog("planes")} if verb == "read" else {}
    code, (message,) = connector(verb, config=CONFIG | {"password": "wrong"}, **inputs)
    assert (code, message["trace"]["type"]) == (1, "ERROR")
    assert message["trace"]["error"]["failure_type"] == "config_error"


def test_catalog_matches_the_contract(connector: Run) -> None:
    _, (message,) = connector("discover", config=CONFIG)
    source = load_sources(ROOT / "sources")["airport_ops"]
    streams = {stream["name"]: stream for stream in message["catalog"]["streams"]}
    assert streams.keys() == source.streams.keys()
    for name, contract in source.streams.items():
        cdc = {"_ab_cdc_lsn", "_ab_cdc_updated_at", "_ab_cdc_deleted_at"}
        assert streams[name]["json_schema"]["properties"].keys() == contract.columns.keys() | cdc
        assert streams[name]["source_defined_primary_key"] == [[column] for column in contract.key]


def test_first_read_is_a_snapshot_at_log_head(connector: Run, database: Path) -> None:
    code, messages = connector("read", config=CONFIG, catalog=catalog("flights", "planes"))
    ((head,),) = query(database, "SELECT max(lsn) FROM _changes")
    rows = records(messages)
    ((flights,), (planes,)) = query(database, "SELECT count(*) FROM flights UNION ALL SELECT count(*) FROM planes")
    assert code == 0
    assert len(rows) == flights + planes
    assert {row["_ab_cdc_lsn"] for row in rows} == {head}
    stream_states = [m["state"]["stream"]["stream_state"] for m in messages if m["type"] == "STATE"]
    assert stream_states == [{"lsn": head}] * 2
    statuses = [m["trace"]["stream_status"] for m in messages if m["type"] == "TRACE"]
    assert [s["stream_descriptor"]["name"] for s in statuses if s["status"] == "COMPLETE"] == ["flights", "planes"]


def test_read_from_state_emits_each_change_once(connector: Run, database: Path) -> None:
    code, messages = connector("read", config=CONFIG, catalog=catalog("flights"), state=states(flights=5_000))
    expected = query(database, "SELECT lsn FROM _changes WHERE table_name = 'flights' AND lsn > 5000 ORDER BY lsn")
    assert code == 0
    assert [row["_ab_cdc_lsn"] for row in records(messages)] == [lsn for (lsn,) in expected]
    head = [m["state"]["stream"]["stream_state"]["lsn"] for m in messages if m["type"] == "STATE"][-1]
    _, messages = connector("read", config=CONFIG, catalog=catalog("flights"), state=states(flights=head))
    assert records(messages) == []


def test_full_refresh_ignores_the_state(connector: Run, database: Path) -> None:
    full = catalog("airlines", mode="full_refresh")
    _, messages = connector("read", config=CONFIG, catalog=full, state=states(airlines=5_000))
    assert len(records(messages)) == query(database, "SELECT count(*) FROM airlines")[0][0] > 0


def test_state_beyond_the_log_is_an_error(connector: Run) -> None:
    code, messages = connector("read", config=CONFIG, catalog=catalog("planes"), state=states(planes=10**9))
    assert code == 1
    assert "the database was created again or restored" in messages[-1]["trace"]["error"]["message"]
    assert not [m for m in messages if m["type"] == "STATE"]


def test_missing_stream_is_an_error_by_name(connector: Run) -> None:
    code, (message,) = connector("read", config=CONFIG, catalog=catalog("ghosts"))
    assert code == 1
    assert "stream ghosts does not exist" in message["trace"]["error"]["message"]
