"""The objects and the state that a sync of the local Airbyte leaves in the lake."""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from local.demo.airport_ops.replay import advance, create
from local.servers.airbyte.columns import META
from millrace.contracts.source import SourceContract, load_sources
from millrace.lake.store import Lake
from tests.support.clients import Endpoint
from tests.support.connections import apply
from tests.support.scripted_airbyte import (
    IMAGE,
    OFFLINE,
    SECRETS,
    ScriptedAirbyte,
    airbyte_server,
    files,
    ids,
    query,
    rows,
    scripted_airbyte,
    table,
)
from tests.support.servers import ROOT, wait_until

pytest_plugins = ["tests.support.stand_ins"]

KEY = ("flight_date", "carrier", "flight", "origin")
OWN = [
    ("_airbyte_raw_id", pa.string()),
    ("_airbyte_extracted_at", pa.int64()),
    ("_airbyte_generation_id", pa.int64()),
    ("_airbyte_meta", META),
]
INSTANT = pa.timestamp("us", "UTC")


@pytest.fixture(scope="module")
def airbyte(tmp_path_factory: pytest.TempPathFactory, storage_port: int) -> Iterator[ScriptedAirbyte]:
    with scripted_airbyte(tmp_path_factory.mktemp("airbyte"), storage_port) as scripted:
        yield scripted


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the operations database after day 1 and after day 2."""
    first, second = (tmp_path_factory.mktemp("operations") / f"{day}.sqlite" for day in (1, 2))
    create(first, SECRETS["airport-ops-password"])
    advance(first, 1)
    shutil.copy(first, second)
    advance(second, 2)
    return [first, second]


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path, days: list[Path]) -> SourceContract:
    """Create the demo's source under a unique name, over a copy of its database at the end of day 1."""
    database = tmp_path / "operations.sqlite"
    shutil.copy(days[0], database)
    contract = load_sources(ROOT / "sources")["airport_ops"]
    config = contract.connector.config | {"database": str(database)}
    connector = contract.connector.model_copy(update={"config": config})
    name = request.node.name.split("[")[0][5:55]
    return contract.model_copy(update={"source": name, "connector": connector})


def database_of(source: SourceContract) -> Path:
    return Path(str(source.connector.config["database"]))


def connect(airbyte: ScriptedAirbyte, source: SourceContract, lake: Lake) -> str:
    apply(airbyte.client, source, lake.url)
    return str(airbyte.client.connection(source.source)["connectionId"])


@pytest.mark.demo
def test_first_sync_is_a_snapshot_then_changes(
    airbyte: ScriptedAirbyte, lake: Lake, source: SourceContract, days: list[Path]
) -> None:
    connection, database = connect(airbyte, source, lake), database_of(source)
    first = airbyte.run(connection)
    ((head,),) = query(database, "SELECT max(lsn) FROM _changes")
    landed = {name: rows(lake, source.source, name) for name in source.streams}
    assert {name: len(rows_of_stream) for name, rows_of_stream in landed.items()} == {
        name: query(database, f"SELECT count(*) FROM {name}")[0][0] for name in source.streams
    }
    assert {row["_ab_cdc_lsn"] for rows_of_stream in landed.values() for row in rows_of_stream} == {head}
    assert first.rows == sum(len(rows_of_stream) for rows_of_stream in landed.values())

    shutil.copy(days[1], database)
    second = airbyte.run(connection)
    changes = query(database, "SELECT lsn FROM _changes WHERE table_name = 'flights' AND lsn > ?", head)
    folder = f"raw/{source.source}/flights/sync_id={second.id}/"
    (name,) = [name for name in files(lake, source.source, "flights") if name.startswith(folder)]
    rows_of_stream = table(lake, name).to_pylist()
    assert [row["_ab_cdc_lsn"] for row in rows_of_stream] == [lsn for (lsn,) in changes]
    deletes = [row for row in rows_of_stream if row["_ab_cdc_deleted_at"] is not None]
    gone = query(database, "SELECT count(*) FROM _changes WHERE op = 'DELETE' AND lsn > ?", head)[0][0]
    assert len(deletes) == gone > 0
    for row in deletes:
        columns = {column for column, value in row.items() if value is not None and not column.startswith("_airbyte")}
        assert columns == {*KEY, "_ab_cdc_lsn", "_ab_cdc_updated_at", "_ab_cdc_deleted_at"}

    third = airbyte.run(connection)
    assert (third.status, third.rows) == ("succeeded", 0)
    assert not any(f"sync_id={third.id}/" in name for name in files(lake, source.source, "flights"))


@pytest.mark.demo
def test_files_have_airbyte_columns_and_types(airbyte: ScriptedAirbyte, lake: Lake, source: SourceContract) -> None:
    job = airbyte.run(connect(airbyte, source, lake))
    (flights,) = files(lake, source.source, "flights")
    assert flights == f"raw/{source.source}/flights/sync_id={job.id}/0.parquet"
    rows_of_file = table(lake, flights)
    types = [(field.name, field.type) for field in rows_of_file.schema]
    assert types[:4] == OWN
    columns = dict(types)
    assert columns["flight_date"] == pa.date32()
    assert columns["scheduled_departure"] == columns["updated_at"] == INSTANT
    assert columns["flight"] == columns["_ab_cdc_lsn"] == pa.int64()
    assert columns["carrier"] == columns["_ab_cdc_updated_at"] == pa.string()
    assert table(lake, files(lake, source.source, "weather")[0]).schema.field("temp").type == pa.float64()
    assert {meta["sync_id"] for meta in rows_of_file.column("_airbyte_meta").to_pylist()} == {job.id}
    assert len(set(rows_of_file.column("_airbyte_raw_id").to_pylist())) == rows_of_file.num_rows
    info = lake.stat(flights)
    assert info is not None
    assert info.metadata == {"ab-generation-id": "0"}


TYPED: dict[str, Any] = {
    "id": {"type": "integer"},
    "day": {"type": ["null", "string"], "format": "date"},
    "at": {"type": "string", "format": "date-time"},
    "share": {"type": "number"},
    "is_on": {"type": "boolean"},
    "inner": {"type": "object"},
    "text": {"type": "string"},
}


@pytest.mark.parametrize(
    "format",
    [
        {"format_type": "Parquet"},
        {"format_type": "Avro"},
        {"format_type": "Avro", "compression_codec": {"codec": "Deflate"}},
    ],
)
def test_values_round_trip_and_unfit_become_null(airbyte: ScriptedAirbyte, lake: Lake, format: dict[str, Any]) -> None:
    read = """
record(1, at=1.7e12 + 0.5, day="2013-01-02", share=2, is_on=True, inner={"a": [1]}, text="ü")
record("x", day=20130102, share="much", is_on="false", text="\\ud800")
record(2**63, day="2013-02-30", share=10**400)
complete()
"""
    connection = airbyte.connect(lake, read, streams={"orders": TYPED}, destination={"format": format})
    job = airbyte.run(connection)
    assert job.status == "succeeded", job
    good, *bad = rows(lake, airbyte.name(connection))
    assert good["_airbyte_extracted_at"] == 1_700_000_000_000
    assert (good["id"], str(good["day"]), good["share"], good["is_on"]) == (1, "2013-01-02", 2.0, True)
    assert (good["inner"], good["text"], good["_airbyte_meta"]["changes"]) == ('{"a": [1]}', "ü", [])
    lost = [[change["field"] for change in row["_airbyte_meta"]["changes"]] for row in bad]
    assert lost == [["id", "day", "share", "is_on", "text"], ["id", "day", "share"]]
    assert all(row[field] is None for row, fields in zip(bad, lost, strict=True) for field in fields)


def test_overwrite_replaces_only_after_success(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake, "record(1)\ncomplete()", mode="full_refresh_overwrite")
    name = airbyte.name(connection)
    airbyte.run(connection)
    airbyte.rewrite(connection, "record(2)")
    airbyte.run(connection)
    assert [row["_airbyte_generation_id"] for row in rows(lake, name)] == [1, 2]
    airbyte.rewrite(connection, "record(3)\ncomplete()")
    airbyte.run(connection)
    assert ids(lake, name) == [3]
    info = lake.stat(files(lake, name)[0])
    assert info is not None
    assert info.metadata == {"ab-generation-id": "3"}


def test_existing_object_is_never_overwritten(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(
        lake, "record(1)\ncomplete()", destination={"gcs_path_format": "raw/${NAMESPACE}/${STREAM_NAME}/"}
    )
    for _ in range(3):
        airbyte.run(connection)
    folder = f"raw/{airbyte.name(connection)}/orders/"
    assert files(lake, airbyte.name(connection)) == [f"{folder}0.parquet{ending}" for ending in ("", "-1", "-2")]


def test_talkative_connector_is_no_bottleneck(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    read = """
sys.stderr.write("chatter\\n" * 100_000)
print("no JSON"); print('"a text"'); print()
emit("LOG", log={"level": "WARN", "message": "take care"})
record(1)
complete()
"""
    connection = airbyte.connect(lake, read)
    job = airbyte.run(connection)
    assert (job.status, job.rows) == ("succeeded", 1)
    wait_until(lambda: "ended: succeeded" in airbyte.log(job.id), "the log ends")
    log = airbyte.log(job.id).splitlines()
    assert log.count("stderr: chatter") == 100_000
    assert {"stdout: no JSON", 'stdout: "a text"', "WARN: take care"} <= set(log)


def test_connector_inherits_no_secrets(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    read = """
import stat
record(1, text=" ".join(os.environ))
for name in files.values():
    record(stat.S_IMODE(os.stat(name).st_mode), text=name)
complete()
"""
    streams = {"orders": {"id": {"type": "integer"}, "text": {"type": "string"}}}
    connection = airbyte.connect(lake, read, streams=streams)
    airbyte.run(connection)
    environment, *inputs = rows(lake, airbyte.name(connection))
    assert "PATH" in environment["text"].split()
    assert not [name for name in environment["text"].split() if name.startswith(("MILLRACE", "GOOGLE"))]
    assert [row["id"] for row in inputs] == [0o600] * 3
    assert not any(Path(row["text"]).exists() for row in inputs)


@pytest.mark.connectors
def test_third_party_connector_lands_its_rows(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    workspace = airbyte.client.call("GET", "/workspaces")["data"][0]["workspaceId"]
    faker = {"name": "faker", "dockerRepository": "airbyte/source-faker", "dockerImageTag": "7.2.1"}
    definition = airbyte.client.call("POST", f"/workspaces/{workspace}/definitions/sources", json=faker)
    connection = airbyte.connect(lake, streams={"users": {}})
    source = airbyte.client.call("GET", f"/connections/{connection}")["sourceId"]
    config = {"count": 150, "seed": 7, "always_updated": False, "parallelism": 1}
    airbyte.client.call("PATCH", f"/sources/{source}", json={"definitionId": definition["id"], "configuration": config})
    job = airbyte.run(connection)
    assert job.status == "succeeded", job
    assert ids(lake, airbyte.name(connection), "users") == list(range(1, 151))


def test_connector_without_hosts_has_no_network(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    read = f"""
import socket
try:
    socket.create_connection(("127.0.0.1", {airbyte.port}), 5)
    record(1)
except OSError as error:
    record(error.errno)
complete()
"""
    open_, closed = (airbyte.connect(lake, read, image=image) for image in (IMAGE, OFFLINE))
    airbyte.run(open_)
    assert ids(lake, airbyte.name(open_)) == [1]
    job = airbyte.run(closed).id
    if "does not let the connector be without network" in airbyte.log(job):
        pytest.skip("this machine lets no process be without network: unshare(2) is refused")
    assert ids(lake, airbyte.name(closed)) == [errno.ENETUNREACH]


def test_job_end_is_sent_to_the_webhook(
    tmp_path: Path, storage_port: int, airbyte: ScriptedAirbyte, lake: Lake, endpoint: Endpoint
) -> None:
    with airbyte_server(tmp_path, storage_port, airbyte.secrets_port, "--webhook", endpoint.url) as port:
        scripted = ScriptedAirbyte(tmp_path, port, airbyte.secrets_port)
        connection = scripted.connect(lake, "record(1)\ncomplete()")
        job = scripted.run(connection)
        scripted.rewrite(connection, "record(1)\nerror('the source is closed')")
        failed = scripted.run(connection)
        scripted.rewrite(connection, "hang()")
        cancelled = scripted.client.start_job(connection)
        scripted.waiting(connection)
        scripted.client.cancel_job(cancelled)
        scripted.ended(cancelled)
        wait_until(lambda: len(endpoint.bodies) == 2, "both ends are notified")
    good, bad = (body["data"] for body in endpoint.bodies)
    assert good["connection"]["id"] == connection
    assert (good["jobId"], good["success"], good["recordsCommitted"]) == (job.id, True, 1)
    assert (bad["jobId"], bad["success"], bad["errorMessage"]) == (failed.id, False, "the source is closed")
    assert good["bytesCommitted"] == job.bytes > 0
