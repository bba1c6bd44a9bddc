"""PostgreSQL through the local Airbyte into the lake: each type of value, by cursor, and by logical replication."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.contracts.proposal import propose
from millrace.contracts.stream import StreamContract
from millrace.lake.store import Lake
from tests.support.merging import Merging
from tests.support.pg_source import config, logical_postgres
from tests.support.postgres import Postgres
from tests.support.scripted_airbyte import ScriptedAirbyte, files, rows, scripted_airbyte, table

pytest.importorskip("psycopg", reason="psycopg is not installed: nothing was run against PostgreSQL")
PostgresSource = pytest.importorskip("local.connectors.postgres.__main__").Postgres
pytestmark = pytest.mark.slow

IMAGE = "airbyte/source-postgres"
HARD = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN cents AS numeric(12,2);
CREATE TABLE hard (id bigint PRIMARY KEY, exact numeric(18,8), loose numeric, small real, big float8, u uuid,
  a int[], words text[], j jsonb, e mood, span interval, clock timetz, late time, b bytea, ip inet, m money, c cents,
  wall timestamp, at timestamptz, day date, yes bool, txt text);
INSERT INTO hard VALUES (1, 1234567890.12345678, 1.5, 1.1, 'Infinity', '6f9619ff-8b86-d011-b42d-00c04fc964ff',
  '{1,2,NULL}', '{"a,b","c\\"d"}', '{"k": [1, 2.50]}', 'ok', '1 day 02:03:04.5', '12:00:00+02', '24:00:00',
  '\\xdeadbeef', '10.0.0.1/8', '$1,234.56', 1.5, '2024-01-01 00:00:00.5', '2024-01-01 12:00+02', '2024-02-29', true,
  '');
INSERT INTO hard (id, wall, at, day) VALUES (2, 'infinity', '-infinity', 'infinity');
INSERT INTO hard (id, day) VALUES (3, '0044-01-01 BC');
"""
BAD = "INSERT INTO hard (id, loose) VALUES (4, 'NaN'), (5, 0.333333333333)"


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with logical_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def airbyte(tmp_path_factory: pytest.TempPathFactory, storage_port: int) -> Iterator[ScriptedAirbyte]:
    with scripted_airbyte(tmp_path_factory.mktemp("airbyte"), storage_port) as scripted:
        yield scripted


def connect(airbyte: ScriptedAirbyte, lake: Lake, settings: dict[str, Any], stream: str, **chosen: Any) -> str:
    """A connection of one table."""
    connection = airbyte.connect(lake, image=IMAGE, streams={stream: {}}, config=settings)
    streams = [{"name": stream, "syncMode": "incremental_append", **chosen}]
    airbyte.client.call("PATCH", f"/connections/{connection}", json={"configurations": {"streams": streams}})
    return connection


def synced(airbyte: ScriptedAirbyte, connection: str) -> None:
    job = airbyte.run(connection)
    assert job.status == "succeeded", job


def test_each_type_lands_exactly(airbyte: ScriptedAirbyte, lake: Lake, database: Postgres) -> None:
    database.query(HARD)
    connection = connect(airbyte, lake, config(database), "hard", syncMode="full_refresh_overwrite")
    synced(airbyte, connection)
    (name,) = files(lake, airbyte.name(connection), "hard")
    landed = table(lake, name)
    kinds = {item.name: item.type for item in landed.schema}
    assert (kinds["exact"], kinds["loose"], kinds["m"], kinds["c"]) == (
        pa.decimal128(18, 8),
        pa.decimal128(38, 9),
        pa.decimal128(19, 2),
        pa.decimal128(12, 2),
    )
    assert (kinds["b"], kinds["at"], kinds["wall"]) == (pa.binary(), pa.timestamp("us", "UTC"), pa.timestamp("us"))
    first, second = landed.slice(0, 2).drop(["at", "wall", "day"]).to_pylist()
    assert (first["exact"], first["m"], first["c"]) == (
        Decimal("1234567890.12345678"),
        Decimal("1234.56"),
        Decimal("1.50"),
    )
    assert json.loads(first["a"]) == [1, 2, None]
    assert json.loads(first["words"]) == ["a,b", 'c"d']
    assert (first["small"], first["big"], first["b"], first["yes"]) == (1.1, float("inf"), b"\xde\xad\xbe\xef", True)
    texts = ("u", "e", "span", "clock", "late", "ip", "txt")
    assert [first[name] for name in texts] == [
        "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        "ok",
        "P1DT2H3M4.5S",
        "12:00:00+02",
        "24:00:00",
        "10.0.0.1/8",
        "",
    ]
    assert second["txt"] is None
    times = [landed.column(name).cast(pa.string()).to_pylist() for name in ("wall", "at", "day")]
    assert times[0][:2] == ["2024-01-01 00:00:00.500000", "9999-12-31 23:59:59.999999"]
    assert times[1][:2] == ["2024-01-01 10:00:00.000000Z", "0001-01-01 00:00:00.000000Z"]
    assert times[2][:2] == ["2024-02-29", "9999-12-31"]
    assert landed.column("day").cast(pa.int32()).to_pylist()[2] == 2**31 - 1  # BC: no table takes it


def test_values_reach_the_table_or_quarantine(
    airbyte: ScriptedAirbyte, lake: Lake, database: Postgres, tmp_path: Path
) -> None:
    database.query("DROP TABLE IF EXISTS hard; DROP TYPE IF EXISTS mood; DROP DOMAIN IF EXISTS cents")
    database.query(HARD + BAD)
    connection = connect(airbyte, lake, config(database), "hard", syncMode="full_refresh_overwrite")
    synced(airbyte, connection)
    (name,) = files(lake, airbyte.name(connection), "hard")
    (stream,) = [s for s in PostgresSource().discover(config(database)) if s["name"] == "hard"]
    sample = [{"loose": "0.333333333333"}]
    proposed = propose(stream, sample, datetime.now(UTC)).contract | {"source": "shop", "stream": "hard"}
    merging = Merging(lake, tmp_path, StreamContract.model_validate(proposed))
    merging.land(merging.put(lake.read(name)))
    (balance,) = merging.merge()
    assert (balance.merged, balance.quarantined) == (3, 2)
    columns = "id, exact, loose, m, c, a->>2, j::text, span, u, wall, day, yes"
    assert merging.query(f"SELECT {columns} FROM raw_shop.hard_live ORDER BY id")[0] == (
        1,
        Decimal("1234567890.12345678"),
        Decimal("1.5"),
        Decimal("1234.56"),
        Decimal("1.50"),
        None,
        '{"k": [1, 2.50]}',
        "P1DT2H3M4.5S",
        "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        datetime(2024, 1, 1, 0, 0, 0, 500000, UTC),
        date(2024, 2, 29),
        True,
    )
    (kept,) = merging.query("SELECT loose FROM raw_shop.hard_live WHERE id = 5")
    assert kept == (Decimal("0.333333333333"),)
    reasons = merging.query("SELECT detail FROM ops.quarantine ORDER BY detail")
    assert [str(detail).split(", which")[0] for (detail,) in reasons] == [
        'day is "+5881580-07-11" (date32[day])',
        'loose is "NaN" (string)',
    ]


def test_cursor_reads_new_and_open_rows(airbyte: ScriptedAirbyte, lake: Lake, database: Postgres) -> None:
    import psycopg

    database.query("CREATE TABLE visits (id int PRIMARY KEY, updated_at timestamptz DEFAULT now())")
    database.query("INSERT INTO visits SELECT g, now() - interval '1 day' FROM generate_series(1, 3) g")
    connection = connect(airbyte, lake, config(database), "visits", cursorField=["updated_at"])
    with psycopg.connect(f"host=127.0.0.1 port={database.port} user=prefect dbname=postgres") as slow:
        slow.execute("INSERT INTO visits VALUES (4)")  # its time is older than that of row 5, which is seen first
        database.query("INSERT INTO visits VALUES (5)")
        synced(airbyte, connection)
        assert {row["id"] for row in rows(lake, airbyte.name(connection), "visits")} == {1, 2, 3, 5}
        slow.commit()
    synced(airbyte, connection)
    assert {row["id"] for row in rows(lake, airbyte.name(connection), "visits")} == {1, 2, 3, 4, 5}


def newest(lake: Lake, namespace: str, stream: str, key: str) -> dict[Any, dict[str, Any]]:
    """The rows as a merge by the log's position leaves them."""
    live: dict[Any, dict[str, Any]] = {}
    for row in sorted(rows(lake, namespace, stream), key=lambda row: row["_ab_cdc_lsn"]):
        before = live.get(row[key], {})
        merged = {k: before.get(k) if v == "__debezium_unavailable_value" else v for k, v in row.items()}
        live[row[key]] = merged
    return {k: row for k, row in live.items() if row["_ab_cdc_deleted_at"] is None}


def test_log_carries_every_kind_of_change(airbyte: ScriptedAirbyte, lake: Lake, database: Postgres) -> None:
    database.query("CREATE TABLE notes (id int PRIMARY KEY, body text, scan bytea, tags int[], price numeric(9,4))")
    database.query("ALTER TABLE notes ALTER body SET STORAGE EXTERNAL, ALTER scan SET STORAGE EXTERNAL")
    big = "repeat('x', 5000), decode(repeat('ab', 5000), 'hex')"
    database.query(f"INSERT INTO notes SELECT g, {big}, ARRAY[g], g / 3.0 FROM generate_series(1, 4) g")
    settings = config(database, cdc=True, replication_slot="notes", publication="notes")
    connection = connect(airbyte, lake, settings, "notes")
    synced(airbyte, connection)
    database.query("UPDATE notes SET price = 7 WHERE id = 1")  # the large values are not in the log
    database.query("UPDATE notes SET id = 20 WHERE id = 2")
    database.query("DELETE FROM notes WHERE id = 3")
    database.query(f"INSERT INTO notes VALUES (5, {big}, '{{5,NULL}}', 5)")
    synced(airbyte, connection)
    synced(airbyte, connection)
    live = newest(lake, airbyte.name(connection), "notes", "id")
    assert set(live) == {1, 20, 4, 5}
    assert {(row["body"], row["scan"]) for row in live.values()} == {("x" * 5000, b"\xab" * 5000)}
    assert (live[1]["price"], live[5]["tags"]) == (Decimal("7.0000"), "[5,null]")
    assert len(rows(lake, airbyte.name(connection), "notes")) == 4 + 5  # a third sync has nothing new


def test_lost_slot_is_an_error_not_a_gap(airbyte: ScriptedAirbyte, lake: Lake, database: Postgres) -> None:
    database.query("CREATE TABLE lost (id int PRIMARY KEY)")
    settings = config(database, cdc=True, replication_slot="lost", publication="lost")
    connection = connect(airbyte, lake, settings, "lost")
    synced(airbyte, connection)
    database.query("SELECT pg_drop_replication_slot('lost')")
    assert "replication slot 'lost' is gone" in str(airbyte.run(connection).error)


def test_unknown_image_says_what_to_do(airbyte: ScriptedAirbyte, lake: Lake, tmp_path: Path) -> None:
    connection = airbyte.connect(lake, image="airbyte/source-oracle")
    error = str(airbyte.run(connection).error)
    assert '[airbyte.connectors."airbyte/source-oracle"]' in error
    assert "airbyte/source-postgres" in error
