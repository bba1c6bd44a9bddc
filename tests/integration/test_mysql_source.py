"""MariaDB as a source: each type of value exactly, and rows by a cursor."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.connectors.mysql.__main__ import MySql
from tests.support.connector_run import Json, Run, catalog, failure, records, runner, states
from tests.support.mariadb import MariaDb, mariadb

pytestmark = pytest.mark.slow

HARD = """
CREATE TABLE shop.hard (id bigint unsigned PRIMARY KEY, exact decimal(30,10) NOT NULL COMMENT 'All digits.',
  yes boolean, bits bit(4), small float, big double, j json, b varbinary(9), day date, wall datetime(6),
  at timestamp(6) NULL, t time, e enum('sad', 'ok'), y year, txt text CHARACTER SET utf8mb4) COMMENT 'Hard values.'
"""
VALUES = """
INSERT INTO shop.hard VALUES (18446744073709551615, 12345678901234567890.1234567891, true, b'101', 1.5, 0.1, '{"k": 1}',
  x'00ff', '2024-02-29', '2024-01-01 00:00:00.5', '2024-01-01 10:00:00', '-12:00:00', 'ok', 2024, 'é😀'),
 (2, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '')
"""


@pytest.fixture(scope="module")
def database() -> Iterator[MariaDb]:
    with mariadb() as server:
        server.query("SET GLOBAL time_zone = '+02:00'")
        yield server


@pytest.fixture
def connector(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(MySql(), tmp_path, capsys)


def discovered(connector: Run, database: MariaDb, name: str) -> list[Json]:
    (message,) = connector("discover", config=database.config)
    return [stream for stream in message["catalog"]["streams"] if stream["name"] == name]


def test_each_type_is_read_exactly(connector: Run, database: MariaDb) -> None:
    database.query("SET time_zone = '+00:00'", HARD, VALUES)
    (stream,) = discovered(connector, database, "hard")
    properties = stream["json_schema"]["properties"]
    assert {name: p["contract_type"] for name, p in properties.items()} == {
        "id": "decimal(20,0)",
        "exact": "decimal(30,10)",
        "yes": "bool",
        "bits": "int64",
        "small": "float64",
        "big": "float64",
        "j": "string",  # MariaDB's JSON is a text; MySQL says json
        "b": "bytes",
        "day": "date",
        "wall": "timestamp",
        "at": "timestamp",
        "t": "string",
        "e": "string",
        "y": "int64",
        "txt": "string",
    }
    assert properties["exact"] == {"type": "string", "contract_type": "decimal(30,10)", "description": "All digits."}
    assert (stream["source_defined_primary_key"], stream["description"]) == ([["id"]], "Hard values.")
    small, first = sorted(
        records(connector("read", config=database.config, catalog=catalog([stream], "full_refresh"))),
        key=lambda row: len(row["id"]),
    )
    assert first == {
        "id": "18446744073709551615",
        "exact": "12345678901234567890.1234567891",
        "yes": True,
        "bits": 5,
        "small": 1.5,
        "big": 0.1,
        "j": '{"k": 1}',
        "b": "AP8=",
        "day": "2024-02-29",
        "wall": "2024-01-01T00:00:00.500000",
        "at": "2024-01-01T10:00:00.000000Z",
        "t": "-12:00:00",
        "e": "ok",
        "y": 2024,
        "txt": "é😀",
    }
    assert (small["txt"], small["yes"], small["b"]) == ("", None, None)


def test_cursor_reads_new_rows_and_its_own_again(connector: Run, database: MariaDb) -> None:
    database.query("CREATE TABLE shop.visits (id int PRIMARY KEY, updated_at datetime(6))")
    database.query("INSERT INTO shop.visits VALUES (1, '2024-01-01'), (2, '2024-01-02')")
    chosen = catalog(discovered(connector, database, "visits"), cursor="updated_at")
    first = connector("read", config=database.config, catalog=chosen)
    assert [row["id"] for row in records(first)] == [1, 2]
    database.query("INSERT INTO shop.visits VALUES (3, '2024-01-02'), (4, '2024-01-03')")
    second = connector("read", config=database.config, catalog=chosen, state=states(first))
    assert [row["id"] for row in records(second)] == [2, 3, 4]


def test_wrong_password_is_named(connector: Run, database: MariaDb) -> None:
    error = failure(connector("discover", config=database.config | {"password": "wrong"}))
    assert f"127.0.0.1:{database.port}: Access denied for user 'reader'" in error
