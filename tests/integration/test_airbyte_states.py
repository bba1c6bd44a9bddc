"""States of syncs on the local Airbyte: kept once their rows are in the lake, dropped with them, and by their type."""

from collections.abc import Iterator

import pytest

from millrace.lake.store import Lake
from tests.support.scripted_airbyte import (
    ScriptedAirbyte,
    files,
    ids,
    rows,
    scripted_airbyte,
    table,
)


@pytest.fixture(scope="module")
def airbyte(tmp_path_factory: pytest.TempPathFactory, storage_port: int) -> Iterator[ScriptedAirbyte]:
    with scripted_airbyte(tmp_path_factory.mktemp("airbyte"), storage_port) as scripted:
        yield scripted


READ_ON = """
for id in range(position() + 1, 12_001):
    record(id)
    if id % 1_000 == 0:
        state(id)
state(12_000)
complete()
"""


def test_many_states_make_few_files(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake, READ_ON)
    assert airbyte.run(connection).rows == 12_000
    assert [table(lake, name).num_rows for name in files(lake, airbyte.name(connection))] == [5_000, 5_000, 2_000]


def test_state_is_dropped_when_rows_are_lost(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake, READ_ON, destination={"gcs_bucket_name": "nowhere"})
    failed = airbyte.run(connection)
    assert failed.status == "failed"
    assert "nowhere" in failed.error
    destination = airbyte.client.call("GET", f"/connections/{connection}")["destinationId"]
    configuration = airbyte.client.call("GET", f"/destinations/{destination}")["configuration"]
    repaired = configuration | {"gcs_bucket_name": lake.url.removeprefix("gs://")}
    airbyte.client.call("PATCH", f"/destinations/{destination}", json={"configuration": repaired})
    assert airbyte.run(connection).status == "succeeded"
    assert ids(lake, airbyte.name(connection)) == list(range(1, 12_001))


def test_global_state_covers_all_streams(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    read = """
shared = next((s["global"]["shared_state"]["at"] for s in states if s["type"] == "GLOBAL"), 0)
record(shared + 1)
emit("STATE", state={"type": "GLOBAL", "global": {"shared_state": {"at": shared + 1}, "stream_states": []}})
complete()
"""
    connection = airbyte.connect(lake, read)
    assert [airbyte.run(connection).status for _ in range(2)] == ["succeeded", "succeeded"]
    assert ids(lake, airbyte.name(connection)) == [1, 2]


def test_global_state_omits_full_refresh_streams(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    read = """
given = [s["stream_descriptor"]["name"] for state in states for s in state["global"]["stream_states"]]
record(len(states), text=" ".join(given))
both = [descriptor(name) | {"stream_state": {}} for name in ("orders", "items")]
emit("STATE", state={"type": "GLOBAL", "global": {"shared_state": {}, "stream_states": both}})
complete("orders"); complete("items")
"""
    streams = {"orders": {"id": {"type": "integer"}, "text": {"type": "string"}}, "items": {}}
    connection = airbyte.connect(lake, read, streams=streams)

    def given_streams() -> list[str]:
        job = airbyte.run(connection).id
        return [row["text"] for row in rows(lake, airbyte.name(connection)) if row["_airbyte_meta"]["sync_id"] == job]

    assert [given_streams(), given_streams()] == [[""], ["orders items"]]
    modes = [{"name": "orders", "syncMode": "incremental_append"}, {"name": "items", "syncMode": "full_refresh_append"}]
    airbyte.client.call("PATCH", f"/connections/{connection}", json={"configurations": {"streams": modes}})
    assert given_streams() == ["orders"]
    again = [mode | {"syncMode": "incremental_append"} for mode in modes]
    airbyte.client.call("PATCH", f"/connections/{connection}", json={"configurations": {"streams": again}})
    assert given_streams() == ["orders"], "the full read in between left no state of items"


def test_switch_of_state_type_drops_older_states(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    count, whole = "record(len(states))\ncomplete()\n", {"type": "GLOBAL", "global": {"shared_state": {}}}
    connection = airbyte.connect(lake, count)
    for statement in ("state(7)", f"emit('STATE', state={whole})", "state(8)", ""):
        airbyte.rewrite(connection, count + statement)
        airbyte.run(connection)
    assert ids(lake, airbyte.name(connection)) == [0, 1, 1, 1]


def test_full_refresh_stream_has_no_state(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    connection = airbyte.connect(lake, "record(position())\nstate(7)\ncomplete()")
    read: list[int] = []
    for mode in ("incremental_append", "full_refresh_append", "incremental_append", "incremental_append"):
        changed = {"streams": [{"name": "orders", "syncMode": mode}]}
        airbyte.client.call("PATCH", f"/connections/{connection}", json={"configurations": changed})
        job = airbyte.run(connection).id
        read += [row["id"] for row in rows(lake, airbyte.name(connection)) if row["_airbyte_meta"]["sync_id"] == job]
    assert read == [0, 0, 0, 7]
