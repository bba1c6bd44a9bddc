"""The blocks against real servers (Airbyte, Secret Manager, Pub/Sub), and the files of the automations."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from prefect.events import EventTrigger

from cli.deploy.automations import load, load_streams
from millrace.airbyte.client import AirbyteClient
from millrace.domain import names
from millrace.domain.batch import Balance
from millrace.domain.errors import AirbyteRefused, SecretError, ServiceUnavailable, SettingsError
from millrace.domain.events import IngestRequested, WarehouseMerged, attributes
from millrace.events import EventBus
from millrace.secrets import read_secret
from tests.support.servers import ROOT, free_port, server
from tests.support.shop import SHOP

if TYPE_CHECKING:
    from blocks.secrets import MillraceCredentials

PROJECT = "millrace-test"
CLIENT = ("the-client", "its-secret")
AIRBYTE_ENV = {"MILLRACE_AIRBYTE_CLIENT_ID": CLIENT[0], "MILLRACE_AIRBYTE_CLIENT_SECRET": CLIENT[1]}
NOWHERE = ("--storage", "http://127.0.0.1:1", "--bucket", "lake", "--secrets", "127.0.0.1:1")  # no sync is started
ROUTE = f"projects/{PROJECT}/topics/"


def airbyte_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/api/public/v1"


@pytest.fixture(scope="module")
def airbyte(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server("airbyte", tmp_path_factory.mktemp("airbyte") / "state", *NOWHERE, env=AIRBYTE_ENV) as port:
        yield airbyte_url(port)


def test_token_forgotten_by_airbyte_is_renewed(tmp_path: Path) -> None:
    port = free_port()
    with AirbyteClient(airbyte_url(port), *CLIENT) as client:
        with server("airbyte", tmp_path / "state", *NOWHERE, env=AIRBYTE_ENV, port=port):
            assert client.pages("/connections") == []
        with pytest.raises(ServiceUnavailable, match=f"Airbyte at {airbyte_url(port)} did not answer GET /connections"):
            client.pages("/connections")
        with server("airbyte", tmp_path / "state", *NOWHERE, env=AIRBYTE_ENV, port=port):
            assert client.pages("/connections") == []


def test_token_is_renewed_before_it_ends(tmp_path: Path) -> None:
    """A token is due after four fifths of its lifetime; the server is gone by then."""
    clock, port = [0.0], free_port()
    with AirbyteClient(airbyte_url(port), *CLIENT, now=lambda: clock[0]) as client:
        with server("airbyte", tmp_path / "state", *NOWHERE, env=AIRBYTE_ENV, port=port):
            client.pages("/connections")
        clock[0] = 719
        with pytest.raises(ServiceUnavailable, match="did not answer GET /connections"):
            client.pages("/connections")
        clock[0] = 721
        with pytest.raises(ServiceUnavailable, match="gave no token"):
            client.pages("/connections")


def test_wrong_credentials_are_named_by_secret(airbyte: str) -> None:
    with (
        AirbyteClient(airbyte, "the-client", "another-secret") as client,
        pytest.raises(AirbyteRefused, match="airbyte-client-id and airbyte-client-secret") as refused,
    ):
        client.pages("/connections")
    assert "another-secret" not in str(refused.value)


def test_missing_airbyte_object_is_named(airbyte: str) -> None:
    with AirbyteClient(airbyte, *CLIENT) as client:
        with pytest.raises(SettingsError, match=r"no connection 'shop'; run `millrace connections apply shop`"):
            client.connection("shop")
        with pytest.raises(AirbyteRefused, match=r"POST /jobs answered 404: .*connection nope does not exist"):
            client.start_job("nope")
        with pytest.raises(AirbyteRefused, match="GET /jobs/7 answered 404"):
            client.job(7)


def test_listings_are_read_to_their_end(airbyte: str) -> None:
    with AirbyteClient(airbyte, *CLIENT) as client:
        workspace = client.call("GET", "/workspaces")["data"][0]["workspaceId"]
        path = f"/workspaces/{workspace}/definitions/sources"
        for number in range(5):
            client.call("POST", path, json={"name": f"s{number}", "dockerRepository": f"shop/s{number}"})
        assert sorted(d["name"] for d in client.pages(path, limit=2)) == [f"s{n}" for n in range(5)]


def test_unpaged_listing_is_read_once(airbyte: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for items in ([{"id": n} for n in range(5)], [{"id": n} for n in range(2)]):
        with AirbyteClient(airbyte, *CLIENT) as client:
            monkeypatch.setattr(client, "call", lambda *_, items=items, **__: {"data": items})
            assert client.pages("/workspaces/w/definitions/sources", limit=2) == items


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Iterator["MillraceCredentials"]:
    from blocks.secrets import MillraceCredentials  # imports Google's AI libraries, which takes seconds

    with server("secrets", tmp_path_factory.mktemp("secrets") / "state") as port:
        yield MillraceCredentials(project=PROJECT, endpoint=f"127.0.0.1:{port}")


def secret(credentials: "MillraceCredentials", *values: bytes) -> str:
    """Create a secret with a version for each value, and return its name."""
    client, name = credentials.get_secret_manager_client(), f"secret-{uuid.uuid4().hex[:8]}"
    parent = f"projects/{PROJECT}"
    client.create_secret(parent=parent, secret_id=name, secret={"replication": {"automatic": {}}})
    for value in values:
        client.add_secret_version(parent=f"{parent}/secrets/{name}", payload={"data": value})
    return name


def test_secret_block_reads_newest_version_only(credentials: "MillraceCredentials") -> None:
    from blocks.secrets import MillraceSecret

    name = secret(credentials, b"old", b"new")
    block = MillraceSecret(secret_name=name, gcp_credentials=credentials)
    assert block.value() == "new"
    assert read_secret(credentials, name, "1") == "old"
    assert "new" not in block.model_dump_json()


def test_rotated_secret_is_read_again(credentials: "MillraceCredentials") -> None:
    name = secret(credentials, b"old")
    assert read_secret(credentials, name) == "old"
    parent = f"projects/{PROJECT}/secrets/{name}"
    credentials.get_secret_manager_client().add_secret_version(parent=parent, payload={"data": b"new"})
    assert read_secret(credentials, name) == "new"


@pytest.mark.parametrize(
    ("values", "reason"), [((), "does not exist or has no version"), ((b"",), "is empty")], ids=["versionless", "empty"]
)
def test_secret_without_value_is_named_with_a_fix(
    credentials: "MillraceCredentials", values: tuple[bytes, ...], reason: str
) -> None:
    name = secret(credentials, *values)
    with pytest.raises(SecretError, match=f"secret '{name}' {reason} .*millrace secrets add {name}"):
        read_secret(credentials, name)


def test_missing_secret_is_named(credentials: "MillraceCredentials") -> None:
    with pytest.raises(SecretError, match="secret 'nope' does not exist"):
        read_secret(credentials, "nope")


@pytest.mark.parametrize("change", ["disable_secret_version", "destroy_secret_version"])
def test_disabled_or_destroyed_secret_is_named(credentials: "MillraceCredentials", change: str) -> None:
    name = secret(credentials, b"value")
    client = credentials.get_secret_manager_client()
    getattr(client, change)(name=f"projects/{PROJECT}/secrets/{name}/versions/1")
    with pytest.raises(SecretError, match=f"secret '{name}': version latest is disabled or destroyed"):
        read_secret(credentials, name)


def test_unreachable_secret_manager_is_transient() -> None:
    from blocks.secrets import MillraceCredentials

    unreachable = MillraceCredentials(project=PROJECT, endpoint=f"127.0.0.1:{free_port()}")
    with pytest.raises(ServiceUnavailable, match=r"Secret Manager did not answer for .*secrets/slack"):
        read_secret(unreachable, "slack", timeout_s=1)


@pytest.fixture(scope="module")
def pubsub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server("pubsub", tmp_path_factory.mktemp("pubsub") / "state") as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture
def project(pubsub: str) -> str:
    """Return a new project with a topic for merges and a subscription to it."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    topic = f"projects/{name}/topics/{names.WAREHOUSE_MERGED}"
    channel = grpc.insecure_channel(pubsub)
    PublisherClient(transport=PublisherGrpcTransport(channel=channel)).create_topic(name=topic)
    subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
    subscriber.create_subscription(name=f"projects/{name}/subscriptions/all", topic=topic)
    return name


def merge_event() -> WarehouseMerged:
    balance = Balance(rows_in=1, merged=1, superseded=0, stale=0, quarantined=0)
    return WarehouseMerged(source="shop", stream="orders", batch_id="b1", balance=balance)


def test_message_keeps_its_attributes(pubsub: str, project: str) -> None:
    message_id = EventBus(project, pubsub).publish(merge_event())
    subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=grpc.insecure_channel(pubsub)))
    answer = subscriber.pull(subscription=f"projects/{project}/subscriptions/all", max_messages=2)
    (received,) = [r.message for r in answer.received_messages]
    assert received.message_id == message_id
    assert WarehouseMerged.model_validate_json(received.data) == merge_event()
    assert dict(received.attributes) == attributes(merge_event())


def test_unknown_topic_is_a_permanent_error(pubsub: str, project: str) -> None:
    with pytest.raises(SettingsError, match=f"project '{project}' has no topic 'ingest-requested'"):
        EventBus(project, pubsub).publish(IngestRequested(source="shop"))


def test_unreachable_pubsub_is_transient(tmp_path: Path) -> None:
    port = free_port()
    bus = EventBus(PROJECT, f"127.0.0.1:{port}", timeout_s=1)
    with pytest.raises(ServiceUnavailable, match=f"{ROUTE}{names.WAREHOUSE_MERGED}: not published"):
        bus.publish(merge_event())
    with server("pubsub", tmp_path / "state", port=port):
        publisher = PublisherClient(
            transport=PublisherGrpcTransport(channel=grpc.insecure_channel(f"127.0.0.1:{port}"))
        )
        publisher.create_topic(name=ROUTE + names.WAREHOUSE_MERGED)
        assert EventBus(PROJECT, f"127.0.0.1:{port}").publish(merge_event())


AUTOMATIONS = ROOT / "automations"
VALUES = {
    "slack": str(uuid.uuid4()),
    "ui": "http://127.0.0.1:4200",
    "runbook": "docs",
    "published_every_s": "0",
    "channel": "default",
}


def test_every_automation_loads_with_its_values() -> None:
    loaded = load(sorted(AUTOMATIONS.glob("*.yaml")), VALUES)
    assert len(loaded) == len(list(AUTOMATIONS.glob("*.yaml"))) > 0
    assert len({automation.name for automation in loaded}) == len(loaded)
    for automation in loaded:
        assert automation.description, automation.name
        assert "${" not in automation.model_dump_json()


def test_stream_with_freshness_has_an_automation() -> None:
    streams = SHOP.streams.values()
    automations = load_streams(sorted((AUTOMATIONS / "streams").glob("*.yaml")), VALUES, streams)
    assert [a.name for a in automations] == [f"Millrace: no new data of shop.{s}" for s in ("orders", "visits")]
    for automation in automations:
        trigger = automation.trigger
        assert isinstance(trigger, EventTrigger)
        assert trigger.within == timedelta(hours=36)
        assert "${" not in automation.model_dump_json()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: x", "trigger"),
        ("name: [", "while parsing"),
        ("", "valid dictionary"),
        ("name: ${nothing}", r"no value for \${nothing}; expected one of slack, ui, runbook, published_every_s"),
        ("name: costs $ 5", "Invalid placeholder"),
        ("name: x\ntrigger: {type: event, posture: Reactive, threshold: 1}\nactions: [{type: explode}]", "explode"),
    ],
)
def test_invalid_automation_names_its_file(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "fine.txt").write_text("no automation")
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(SettingsError, match=f"(?s){tmp_path}/broken.yaml: .*{reason}"):
        load(sorted(tmp_path.glob("*.yaml")), VALUES)
