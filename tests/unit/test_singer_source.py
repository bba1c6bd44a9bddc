"""A Singer tap as a connector: its catalog, exact numbers, log columns, and its state after the records before it."""

import sys
from pathlib import Path

import pytest

from local.connectors.singer.__main__ import Singer
from tests.support.connector_run import Json, Run, catalog, failure, records, runner, states

TAP = """
import json, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2])) if "--discover" not in sys.argv else {}
config = json.load(open(options.get("--config") or sys.argv[sys.argv.index("--config") + 1]))
if config.get("token") != "right":
    print("401 for the token", file=sys.stderr)
    sys.exit(3)

def stream(name, properties, **metadata):
    return {"tap_stream_id": name, "stream": name, "key_properties": ["id"],
            "schema": {"properties": {"id": {"type": "integer"}, **properties}},
            "metadata": [{"breadcrumb": [], "metadata": metadata}]}

if "--discover" in sys.argv:
    print(json.dumps({"streams": [
        stream("public-orders",
               {"total": {"type": ["null", "number"], "multipleOf": 0.0001}, "rate": {"type": "number"},
               "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": ["string", "null"]}]}},
               **{"replication-key": "at"}),
        stream("logged", {"_sdc_lsn": {"type": "integer"}, "_sdc_deleted_at": {"type": "string"}},
               **{"replication-method": "LOG_BASED"}),
        stream("unused", {}, **{"forced-replication-method": "FULL_TABLE"})]}))
    sys.exit()
state = json.load(open(options["--state"])) if "--state" in options else {"bookmarks": {}}
for entry in json.load(open(options["--catalog"]))["streams"]:
    name, chosen = entry["tap_stream_id"], entry["metadata"][0]["metadata"]
    if not chosen["selected"]:
        continue
    print("a line that is no message")
    since = state["bookmarks"].get(name, 0)
    print(json.dumps({"type": "SCHEMA", "stream": name, "schema": entry["schema"], "key_properties": ["id"]}))
    extra = {"_sdc_lsn": 7, "_sdc_deleted_at": None} if name == "logged" else {"rate": 0.5}
    if name != "logged":
        extra["method"] = chosen["replication-method"] + " " + str(chosen.get("replication-key"))
    for number in range(since + 1, 4):
        line = json.dumps({"type": "RECORD", "stream": name, "record": {"id": number, "total": "T", **extra}})
        print(line.replace('"T"', "12345678906488.1672"))
    state["bookmarks"][name] = 3
    print(json.dumps({"type": "STATE", "value": state}))
"""
CONFIG = {"token": "right"}


@pytest.fixture
def connector(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    script = tmp_path / "tap.py"
    script.write_text(TAP)
    return runner(Singer([sys.executable, str(script)]), tmp_path, capsys)


def discovered(connector: Run) -> dict[str, Json]:
    (message,) = connector("discover", config=CONFIG)
    return {stream["name"]: stream for stream in message["catalog"]["streams"]}


def test_catalog_is_translated(connector: Run) -> None:
    streams = discovered(connector)
    orders, logged = streams["public_orders"], streams["logged"]
    properties = orders["json_schema"]["properties"]
    assert properties["total"]["contract_type"] == "decimal(38,4)"
    assert properties["at"] == {"type": ["null", "string"], "format": "date-time"}
    assert (orders["source_defined_primary_key"], orders["default_cursor_field"]) == ([["id"]], ["at"])
    assert set(logged["json_schema"]["properties"]) == {"id", "_ab_cdc_lsn", "_ab_cdc_updated_at", "_ab_cdc_deleted_at"}
    assert streams["unused"]["supported_sync_modes"] == ["full_refresh"]


def test_records_and_state_are_translated(connector: Run) -> None:
    streams = discovered(connector)
    chosen = catalog([streams["public_orders"], streams["logged"]], cursor="at")
    first = connector("read", config=CONFIG, catalog=chosen)
    assert records(first, "public_orders")[0] == {
        "id": 1,
        "total": "12345678906488.1672",
        "rate": 0.5,
        "method": "INCREMENTAL at",
    }
    assert records(first, "logged")[0]["_ab_cdc_lsn"] == 7
    kinds = [m["type"] for m in first if m["type"] in ("RECORD", "STATE")]
    assert kinds == ["RECORD"] * 3 + ["STATE"] + ["RECORD"] * 3 + ["STATE"]
    assert records(connector("read", config=CONFIG, catalog=chosen, state=states(first))) == []


def test_full_refresh_reads_all_again(connector: Run) -> None:
    stream = discovered(connector)["public_orders"]
    first = connector("read", config=CONFIG, catalog=catalog([stream], cursor="at"))
    again = connector("read", config=CONFIG, catalog=catalog([stream], "full_refresh"), state=states(first))
    assert [row["method"] for row in records(again)] == ["FULL_TABLE at"] * 3
    assert states(again) == []


def test_failing_tap_is_an_error_with_its_words(connector: Run) -> None:
    assert failure(connector("discover", config={"token": "x"})) == "the tap ended with code 3: 401 for the token"
    (status,) = connector("check", config={"token": "x"})
    assert status["connectionStatus"]["status"] == "FAILED"
