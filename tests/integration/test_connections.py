"""Connections as code: plans, their application, and no secret in either."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.servers.airbyte.destination import path_format
from millrace.airbyte.connections import Change, Connections, by_reference, destination
from millrace.airbyte.differences import differences
from millrace.contracts.source import SecretReference, SourceContract, parse_source
from millrace.domain.errors import SecretError, ServiceUnavailable, SettingsError
from millrace.domain.names import RAW
from tasks.upkeep.agreement import check_secrets
from tests.support.scripted_airbyte import PROJECT, ScriptedAirbyte, airbyte_server, secret_manager, secrets_server
from tests.support.servers import free_port

SHOP = """
source: {name}
connector:
  image: {image}
  version: '{version}'
  config:
    host: {host}
    login: {{user: reader, password: {{secret: airport-ops-password}}}}
    tables: [orders, items]
schedule: {schedule}
streams:
  orders:
    mode: append
    key: [id]
    order: [at]
    columns: {{id: {{type: int64, nullable: false}}, at: {{type: timestamp}}}}
"""
LAKE = "gs://lake"


def shop(name: str, **changes: str) -> SourceContract:
    fields = {"image": f"test/{name}", "version": "1", "host": "db.one", "schedule": "manual"} | changes
    return parse_source(SHOP.format(name=name, **fields), f"{name}.yaml")


@pytest.fixture(scope="module")
def airbyte(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedAirbyte]:
    """Yield an Airbyte that runs no syncs, and a Secret Manager."""
    folder = tmp_path_factory.mktemp("airbyte")
    with secrets_server(folder) as secrets_port, airbyte_server(folder, 1, secrets_port) as port:
        scripted = ScriptedAirbyte(folder, port, secrets_port)
        with scripted.client:
            yield scripted


def plan_of(airbyte: ScriptedAirbyte, source: SourceContract, **options: Any) -> dict[str, Change]:
    """Return the plan of one source by kind, without matching objects."""
    changes = Connections(airbyte.client, LAKE).plan([source], **options)
    return {change.kind: change for change in changes if change.action != "keep"}


def apply(airbyte: ScriptedAirbyte, *sources: SourceContract, lake: str = LAKE, **options: Any) -> None:
    connections = Connections(airbyte.client, lake)
    connections.apply(connections.plan(sources, **options), sources)


def test_applied_plan_leaves_an_empty_plan(airbyte: ScriptedAirbyte) -> None:
    source = shop("planned")
    for _ in range(2):
        assert {k: c.action for k, c in plan_of(airbyte, source).items() if k != "destination"} == {
            "definition": "create",
            "source": "create",
            "connection": "create",
        }
    apply(airbyte, source)
    assert plan_of(airbyte, source) == {}
    connection = airbyte.client.connection("planned")
    assert (connection["status"], connection["namespaceFormat"], connection["schedule"]) == (
        "active",
        "planned",
        {"scheduleType": "manual"},
    )
    assert connection["configurations"]["streams"] == [
        {"name": "orders", "syncMode": "incremental_append", "cursorField": ["at"], "primaryKey": [["id"]]}
    ]


def test_airbyte_writes_nothing_at_the_root() -> None:
    """The connector's check writes at the bucket path, and Airbyte's account may write below `raw/` only."""
    config = destination("gs://lake")["configuration"]
    assert config["gcs_bucket_path"] == "raw"
    assert path_format(config) == RAW + "${NAMESPACE}/${STREAM_NAME}/sync_id=${SYNC_ID}/"


def test_differences_are_described_and_repaired(airbyte: ScriptedAirbyte) -> None:
    apply(airbyte, shop("changed"))
    connection = airbyte.client.connection("changed")["connectionId"]
    extra = {"streams": [{"name": "strange", "syncMode": "incremental_append"}]}
    airbyte.client.call("PATCH", f"/connections/{connection}", json={"status": "inactive", "configurations": extra})
    source = shop("changed", host="db.two", version="2", schedule="0 0 * * * ? UTC")
    plan = plan_of(airbyte, source)
    assert str(plan["definition"]) == '~ definition test/changed\n    dockerImageTag: "1" → "2"'
    assert str(plan["source"]) == '~ source changed\n    configuration.host: "db.one" → "db.two"'
    assert str(plan["connection"]).splitlines() == [
        "~ connection changed",
        '    status: "inactive" → "active"',
        '    schedule.scheduleType: "manual" → "cron"',
        '    schedule.cronExpression: (none) → "0 0 * * * ? UTC"',
        "    configurations.streams[strange]: removed",
        "    configurations.streams[orders]: added",
    ]
    apply(airbyte, source)
    assert plan_of(airbyte, source) == {}


def test_no_secret_is_shown(airbyte: ScriptedAirbyte) -> None:
    source = shop("secretive")
    apply(airbyte, source)
    (existing,) = [s for s in airbyte.client.pages("/sources") if s["name"] == "secretive"]
    assert existing["configuration"]["login"]["password"] == "secret_coordinate::airport-ops-password"
    typed = existing["configuration"] | {
        "login": {"user": "reader", "password": "marked-secret"},
        "token": "marked-secret",
    }
    airbyte.client.call("PATCH", f"/sources/{existing['sourceId']}", json={"configuration": typed})
    plan = plan_of(airbyte, source)
    assert plan["source"].lines == ("configuration.login.password: (hidden) → secret airport-ops-password",)
    assert "marked-secret" not in str(list(plan.values())) + repr(plan)


@pytest.mark.parametrize(
    ("existing", "line"),
    [
        (None, "password: (none) → secret s"),
        ("typed in", "password: (hidden) → secret s"),
        ("secret_coordinate::other", "password: (hidden) → secret s"),
        ("secret_coordinate::s", None),
        ("**********", None),
    ],
)
def test_secret_matches_if_reference_or_hidden(existing: str | None, line: str | None) -> None:
    lines = list(differences({"password": existing}, {"password": SecretReference(secret="s")}, by_reference))
    assert lines == ([line] if line else [])


def test_values_of_secret_fields_are_hidden() -> None:
    existing = {"api_key": "old", "login": {"token": "old"}, "hosts": ["a"]}
    declared = {"api_key": "new", "login": "none", "hosts": ["a", "b"]}
    assert list(differences(existing, declared, by_reference)) == [
        "api_key: (hidden) → (hidden)",
        'login: (hidden) → "none"',
        'hosts: ["a"] → ["a", "b"]',
    ]


def test_matching_objects_are_resent_if_forced(airbyte: ScriptedAirbyte) -> None:
    source = shop("forced")
    apply(airbyte, source)
    assert plan_of(airbyte, source) == {}
    assert {c.action for c in plan_of(airbyte, source, force=True).values()} == {"update"}
    apply(airbyte, source, force=True)


def test_secret_values_are_sent_if_unresolvable(airbyte: ScriptedAirbyte) -> None:
    source = shop("by_value")
    connections = Connections(airbyte.client, "gs://by-value", lambda name: f"the value of {name}")
    connections.apply(connections.plan([source]), [source])
    (existing,) = [s for s in airbyte.client.pages("/sources") if s["name"] == "by_value"]
    assert existing["configuration"]["login"]["password"] == "the value of airport-ops-password"
    apply(airbyte, source)


def test_only_own_undeclared_objects_are_deleted(airbyte: ScriptedAirbyte) -> None:
    declared, gone = shop("kept"), shop("gone")
    apply(airbyte, declared, gone)
    source = airbyte.client.connection("gone")["sourceId"]
    other = airbyte.client.call("POST", "/destinations", json={"name": "other", "configuration": {}})["destinationId"]
    foreign = {"name": "foreign", "sourceId": source, "destinationId": other}
    foreign_id = airbyte.client.call("POST", "/connections", json=foreign)["connectionId"]
    apply(airbyte, declared)
    assert airbyte.client.connection("gone")["status"] == "active"
    doomed = [c.name for c in Connections(airbyte.client, LAKE).plan([declared], prune=True) if c.action == "delete"]
    assert "gone" in doomed
    assert {"foreign", "kept"}.isdisjoint(doomed)
    apply(airbyte, declared, prune=True)
    assert {c["name"] for c in airbyte.client.pages("/connections")} == {"kept", "foreign"}
    assert airbyte.client.call("GET", f"/sources/{source}")["name"] == "gone", "the foreign connection reads it"
    airbyte.client.call("DELETE", f"/connections/{foreign_id}")


def test_source_cannot_change_a_shared_connector(airbyte: ScriptedAirbyte) -> None:
    pair = [shop("one_of_two", image="test/shared"), shop("two_of_two", image="test/shared")]
    apply(airbyte, *pair)
    definitions = [
        d for d in airbyte.client.pages(airbyte_definitions(airbyte)) if d["dockerRepository"] == "test/shared"
    ]
    assert len(definitions) == 1
    with pytest.raises(SettingsError, match=r"'one_of_two' has the connector 'test/shared', .* names 'test/another'"):
        plan_of(airbyte, shop("one_of_two", image="test/another"))


def airbyte_definitions(airbyte: ScriptedAirbyte) -> str:
    workspace = airbyte.client.call("GET", "/workspaces")["data"][0]["workspaceId"]
    return f"/workspaces/{workspace}/definitions/sources"


def test_all_secrets_are_checked_before_changes(airbyte: ScriptedAirbyte) -> None:
    from blocks.secrets import MillraceCredentials  # imports Google's AI libraries, which takes seconds

    credentials = MillraceCredentials(project=PROJECT, endpoint=f"127.0.0.1:{airbyte.secrets_port}")
    check_secrets(credentials, [shop("checked")])
    version = airbyte.set_secret("airbyte-hmac-id", "id")
    with secret_manager(airbyte.secrets_port) as manager:
        manager.disable_secret_version(name=version)
    missing = shop("checked").model_copy(
        update={
            "connector": shop("checked").connector.model_copy(
                update={"config": {"keys": [{"deep": SecretReference(secret="never-made")}]}}
            )
        }
    )
    with pytest.raises(SecretError) as refused:
        check_secrets(credentials, [missing])
    assert "'never-made' (for sources/checked.yaml) does not exist or has no version" in str(refused.value)
    assert "'airbyte-hmac-id' (for the lake's destination) has its newest version disabled" in str(refused.value)
    airbyte.set_secret("airbyte-hmac-id", "id")


def test_secret_check_of_unreachable_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    from blocks.secrets import MillraceCredentials  # imports Google's AI libraries, which takes seconds

    monkeypatch.setattr("millrace.secrets.unusable_secrets.__kwdefaults__", {"timeout_s": 0.5})
    unreachable = MillraceCredentials(project=PROJECT, endpoint=f"127.0.0.1:{free_port()}")
    with pytest.raises(ServiceUnavailable):
        check_secrets(unreachable, [shop("checked")])


def test_source_file_may_nest_its_configuration(tmp_path: Path) -> None:
    assert shop("nested").connector.secrets == ("airport-ops-password",)
    assert shop("nested").connector.config["tables"] == ["orders", "items"]
