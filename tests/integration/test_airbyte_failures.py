"""Failing syncs of the local Airbyte: the message of the job, and a next sync that loses no row."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from local.demo.airport_ops.replay import create
from millrace.contracts.source import load_sources, parse_source
from millrace.domain.landing import LandingManifest
from millrace.domain.sync import Sync
from millrace.lake.store import Lake
from tasks.ingest import await_landing
from tests.support.connections import apply
from tests.support.scripted_airbyte import (
    IMAGE,
    SECRETS,
    ScriptedAirbyte,
    airbyte_command,
    files,
    ids,
    query,
    scripted_airbyte,
    secret_manager,
    table,
)
from tests.support.servers import ROOT, free_port, listens, process, wait_until

PASSWORD = "airport-ops-password"


@pytest.fixture(scope="module")
def airbyte(tmp_path_factory: pytest.TempPathFactory, storage_port: int) -> Iterator[ScriptedAirbyte]:
    with scripted_airbyte(tmp_path_factory.mktemp("airbyte"), storage_port) as scripted:
        create(scripted.folder / "airport_ops.sqlite", SECRETS[PASSWORD])
        yield scripted


@pytest.fixture
def operations(airbyte: ScriptedAirbyte, lake: Lake) -> Iterator[str]:
    """Yield the demo's connection, and restore its password after the test."""
    source = load_sources(ROOT / "sources")["airport_ops"]
    apply(airbyte.client, source, lake.url)
    yield airbyte.client.connection(source.source)["connectionId"]
    airbyte.set_secret(PASSWORD, SECRETS[PASSWORD])


def reason(airbyte: ScriptedAirbyte, connection: str) -> str:
    """Run a sync that must fail, and return the reason."""
    job = airbyte.run(connection)
    assert job.status == "failed"
    return str(job.error)


@pytest.mark.demo
def test_wrong_password_fails_job_with_message(airbyte: ScriptedAirbyte, operations: str) -> None:
    assert airbyte.run(operations).status == "succeeded"
    airbyte.set_secret(PASSWORD, "wrong")
    assert reason(airbyte, operations) == "password authentication failed for user 'millrace'"
    airbyte.set_secret(PASSWORD, SECRETS[PASSWORD])
    assert airbyte.run(operations).status == "succeeded"


@pytest.mark.demo
def test_disabled_secret_fails_job_until_rotated(airbyte: ScriptedAirbyte, operations: str) -> None:
    version = airbyte.set_secret(PASSWORD, SECRETS[PASSWORD])
    with secret_manager(airbyte.secrets_port) as manager:
        manager.disable_secret_version(name=version)
    assert "secret 'airport-ops-password' can't be read" in reason(airbyte, operations)
    airbyte.set_secret(PASSWORD, SECRETS[PASSWORD])
    assert airbyte.run(operations).status == "succeeded"


def test_missing_secret_fails_job_by_name(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    config = {"keys": [{"private": "secret_coordinate::never-made"}]}
    assert "'never-made'" in reason(airbyte, airbyte.connect(lake, config=config))


@pytest.mark.demo
def test_missing_table_fails_job_by_name(airbyte: ScriptedAirbyte, lake: Lake, tmp_path: Path) -> None:
    database = tmp_path / "operations.sqlite"
    create(database, SECRETS[PASSWORD])
    query(database, "DROP TABLE weather")
    source = load_sources(ROOT / "sources")["airport_ops"]
    connector = source.connector.model_copy(update={"config": source.connector.config | {"database": str(database)}})
    source = source.model_copy(update={"source": "missing_table", "connector": connector})
    apply(airbyte.client, source, lake.url)
    connection = airbyte.client.connection("missing_table")["connectionId"]
    assert reason(airbyte, connection) == "stream weather: no such table: weather"


@pytest.mark.parametrize(
    ("read", "words"),
    [
        ("record(1)", "the connector ended without completing orders"),
        ("complete()\nsys.exit(3)", "the connector ended with code 3 before it was done"),
        ("complete()\nerror('the source is closed')", "the source is closed"),
        ("record(1, stream='ghosts')\ncomplete()", "a record of stream 'ghosts', which is not among orders"),
        ("state(1, stream='ghosts')\ncomplete()", "a state of stream 'ghosts', which is not among orders"),
        ("emit('RECORD', record={'stream': 'orders'})\ncomplete()", "a malformed RECORD message: KeyError 'data'"),
        ("emit('STATE', state={'type': 'LEGACY', 'data': {}})\ncomplete()", "a STATE of type LEGACY"),
    ],
)
def test_incomplete_sync_fails(airbyte: ScriptedAirbyte, lake: Lake, read: str, words: str) -> None:
    assert words in reason(airbyte, airbyte.connect(lake, read))


@pytest.mark.parametrize(
    ("discover", "words"),
    [
        ("error('no such host')\nsys.exit(1)", "no such host"),
        ("sys.exit(4)", "discover ended with code 4 and no catalog"),
        ("emit('CATALOG', catalog={'streams': []})", "the source has no stream orders"),
    ],
)
def test_undiscoverable_source_fails_the_job(airbyte: ScriptedAirbyte, lake: Lake, discover: str, words: str) -> None:
    assert words in reason(airbyte, airbyte.connect(lake, discover=discover))


def test_deleted_object_fails_job_by_name(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake)
    source = airbyte.client.call("GET", f"/connections/{connection}")["sourceId"]
    airbyte.client.call("DELETE", f"/sources/{source}")
    assert reason(airbyte, connection) == f"the connection refers to source {source}, which is gone"


def test_unsupported_format_fails_the_job(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake, destination={"format": {"format_type": "CSV"}})
    assert "format 'CSV' is unknown; expected Parquet or Avro" in reason(airbyte, connection)


DIES = """
for id in range(position() + 1, 12_001):
    record(id)
    if id % 1_000 == 0:
        state(id)
    if id == 8_500:
        {end}
"""
READS_ON = """
for id in range(position() + 1, 12_001):
    record(id)
state(12_000)
complete()
"""


def test_sync_resumes_after_a_connector_died(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake, DIES.format(end="die()"))
    assert reason(airbyte, connection) == "the connector ended with code -9 before it was done"
    assert ids(lake, airbyte.name(connection)) == list(range(1, 8_501))
    airbyte.rewrite(connection, READS_ON)
    job = airbyte.run(connection)
    assert (job.status, job.rows) == ("succeeded", 4_000)
    assert ids(lake, airbyte.name(connection)) == sorted([*range(1, 12_001), *range(8_001, 8_501)])


def test_dead_job_and_successor_land_every_row(
    airbyte: ScriptedAirbyte, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = airbyte.connect(lake, DIES.format(end="die()"))
    orders = {"orders": {"mode": "append", "columns": {"id": {"type": "int64"}}}}
    contract = {"source": airbyte.name(connection), "connector": {"image": IMAGE, "version": "1"}, "streams": orders}
    source = parse_source(json.dumps(contract), "scripted.yaml")
    monkeypatch.setattr(await_landing, "open_lake", lambda: lake)
    monkeypatch.setattr(await_landing, "airbyte_block", lambda: SimpleNamespace(landing_timeout_s=5))
    monkeypatch.setattr(await_landing, "source_contract", lambda name: source)
    landed: set[int] = set()
    for outcome in ("failed", "succeeded"):
        job = airbyte.run(connection)
        sync = Sync(
            source=source.source,
            connection_id=connection,
            job_id=job.id,
            created_at=job.created_at,
            outcome=job.status,
            rows=job.rows,
        )
        (landing,) = await_landing.await_landing.fn(sync)
        manifest = LandingManifest.model_validate_json(lake.read(landing.manifest))
        assert manifest.outcome == outcome
        landed |= {row["id"] for obj in manifest.objects for row in table(lake, obj.name).to_pylist()}
        airbyte.rewrite(connection, READS_ON)
    assert landed == set(range(1, 12_001))


def test_rows_before_a_malformed_message_are_kept(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake, "record(1)\nstate(1)\nrecord(2, stream='ghosts')\ncomplete()")
    assert "ghosts" in reason(airbyte, connection)
    airbyte.rewrite(connection, "record(position() + 1)\ncomplete()")
    assert airbyte.run(connection).status == "succeeded"
    assert ids(lake, airbyte.name(connection)) == [1, 2]


def test_cancelled_sync_is_resumed_by_the_next(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake, DIES.format(end="hang()"))
    job = airbyte.client.start_job(connection)
    airbyte.waiting(connection)
    airbyte.client.cancel_job(job)
    assert airbyte.ended(job).status == "cancelled"
    airbyte.rewrite(connection, READS_ON)
    assert airbyte.run(connection).rows == 4_000
    assert set(ids(lake, airbyte.name(connection))) == set(range(1, 12_001))


def test_cancel_during_discover_reads_nothing(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake, "record(1)\ncomplete()", discover="hang()")
    job = airbyte.client.start_job(connection)
    (connector,) = airbyte.waiting(connection)
    airbyte.client.cancel_job(job)
    assert airbyte.ended(job).status == "cancelled"
    assert not is_running(connector)
    assert files(lake, airbyte.name(connection)) == []


def test_cancel_ends_stubborn_child_processes(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    read = """
if os.fork():
    time.sleep(600)
hang(ignore_sigterm=True)
"""
    connection = airbyte.connect(lake, read)
    job = airbyte.client.start_job(connection)
    (child,) = airbyte.waiting(connection)
    airbyte.client.cancel_job(job)
    assert airbyte.ended(job).status == "cancelled"
    wait_until(lambda: not is_running(child), "the connector's child has ended")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_stopped_server_loses_nothing(
    airbyte: ScriptedAirbyte, lake: Lake, storage_port: int, tmp_path: Path, number: signal.Signals
) -> None:
    options, environment = airbyte_command(tmp_path, storage_port, airbyte.secrets_port)
    port = free_port()
    command = ("-m", "local.servers.airbyte", "--port", str(port), "--state", str(tmp_path / "airbyte"), *options)
    scripted = ScriptedAirbyte(tmp_path, port, airbyte.secrets_port)
    with process(*command, env=environment, log=tmp_path / "first.log") as first:
        wait_until(lambda: listens(port), "Airbyte answers")
        stubborn = f"hang(ignore_sigterm={number == signal.SIGKILL})"
        connection = scripted.connect(lake, DIES.format(end=stubborn))
        job = scripted.client.start_job(connection)
        (connector,) = scripted.waiting(connection)
        wait_until(lambda: files(lake, scripted.name(connection)), "the first rows are in the lake")
        first.send_signal(number)
        first.wait(15)
    wait_until(lambda: not is_running(connector), "the connector has ended with its server")
    with process(*command, env=environment, log=tmp_path / "second.log"):
        wait_until(lambda: listens(port), "Airbyte answers again")
        ended = scripted.client.job(job)
        assert (ended.status, ended.error) == ("failed", "the Airbyte server ended during the sync")
        scripted.rewrite(connection, READS_ON)
        again = scripted.run(connection)
        assert (again.status, again.rows < 12_000) == ("succeeded", True)
        assert set(ids(lake, scripted.name(connection))) == set(range(1, 12_001))


def is_running(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
