"""Answers of Google, recorded or documented: local servers answer alike. And how answers are recorded and masked."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import Conflict, FailedPrecondition, NotFound

from tests.cloud.budget import Limits
from tests.cloud.clients import Clients
from tests.cloud.discovery import Json, document
from tests.cloud.guard import Guard
from tests.cloud.journal import Journal
from tests.cloud.names import new_run, resource_name
from tests.cloud.recording import Recorder
from tests.cloud.replay import Servers, differences, load, replay
from tests.cloud.target import Running, Target
from tests.cloud.transport import guarded
from tests.support.bigquery import BigQuery
from tests.support.google_project import Cloud, cloud
from tests.support.servers import ROOT

pytestmark = pytest.mark.slow

FIXTURES = ROOT / "tests" / "data" / "google"
PATHS = sorted(path for folder in ("documented", "recorded") for path in (FIXTURES / folder).glob("*.json"))
LOCAL = [path for path in PATHS if not path.name.startswith("bigquery")]
SECRET = b"a very secret value"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud")) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(running.credentials))
        yield running


@pytest.mark.parametrize("path", LOCAL, ids=lambda path: path.stem)
def test_local_server_answers_as_google(servers: Cloud, path: Path) -> None:
    assert list(replay(load(path), Servers(servers.target), servers.target.project, {})) == []


@pytest.mark.bigquery
@pytest.mark.parametrize("path", [path for path in PATHS if path not in LOCAL], ids=lambda path: path.stem)
def test_emulator_answers_as_google(bigquery: BigQuery, path: Path) -> None:
    target = Target(bigquery.project, bigquery.location, "", {"bigquery": bigquery.endpoint})
    assert list(replay(load(path), Servers(target), bigquery.project, {})) == []


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_fixture_names_its_source(path: Path) -> None:
    conversation = load(path)
    if conversation["source"] == "documented":
        assert path.parent.name == "documented"
        assert conversation["origin"].startswith("https://cloud.google.com/")
        assert conversation["note"]
    else:
        assert (conversation["source"], conversation["origin"], path.parent.name) == (
            "recorded",
            "Google Cloud",
            "recorded",
        )


def altered(change: Any) -> Json:
    conversation = load(FIXTURES / "documented" / "storage_bucket_exists.json")
    change(conversation["calls"][-1]["answer"])
    return conversation


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(status=410), "the status is 409, not 410"),
        (lambda a: a["body"]["error"]["errors"][0].update(reason="duplicate"), "reason is 'conflict', not 'duplicate'"),
        (lambda a: a["body"]["error"].update(code="409"), "code is of type int, not str"),
        (lambda a: a["body"]["error"].update(details=[]), "the field error.details is missing"),
        (lambda a: a["body"]["error"].update(message="Your throughput is low."), "without the words"),
    ],
)
def test_other_answer_is_reported(servers: Cloud, change: Any, message: str) -> None:
    conversation = list(replay(altered(change), Servers(servers.target), servers.target.project, {}))
    assert len(conversation) == 1
    assert message in conversation[0]


def converse(clients: Clients, run: str, project: str) -> None:
    """Make calls of three services, some of which fail."""
    name = resource_name(run, "bucket", "0" * 12)
    bucket = clients.storage.create_bucket(name)
    blob = bucket.blob("a/ü.txt")
    blob.upload_from_string(b"text", if_generation_match=0)
    assert bucket.blob("a/ü.txt", generation=blob.generation).exists()
    with pytest.raises(Conflict):
        clients.storage.create_bucket(name)
    topic = clients.path("topics", resource_name(run, "topic", "0" * 12))
    clients.publisher.create_topic(request={"name": topic})
    subscription = clients.path("subscriptions", resource_name(run, "sub", "0" * 12))
    clients.subscriber.create_subscription(request={"name": subscription, "topic": topic})
    clients.publisher.publish(topic=topic, messages=[{"data": b"x"}])
    (received,) = clients.subscriber.pull(subscription=subscription, max_messages=1).received_messages
    clients.subscriber.acknowledge(subscription=subscription, ack_ids=[received.ack_id])
    secret_id = resource_name(run, "secret", "0" * 12)
    secret = clients.secrets.create_secret(
        parent=f"projects/{project}", secret_id=secret_id, secret={"replication": {"automatic": {}}}
    )
    version = clients.secrets.add_secret_version(parent=secret.name, payload={"data": SECRET})
    assert clients.secrets.access_secret_version(name=version.name).payload.data == SECRET
    clients.secrets.destroy_secret_version(name=version.name)
    with pytest.raises(FailedPrecondition):
        clients.secrets.access_secret_version(name=version.name)
    with pytest.raises(NotFound):
        clients.secrets.get_secret(name=f"{secret.name}-none")


@pytest.fixture(scope="module")
def recorded(servers: Cloud, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Json, str]:
    """Return a recorded conversation as text and parsed, and the run's id."""
    folder, run = tmp_path_factory.mktemp("recorded"), new_run()
    recorder = Recorder(folder / "answers", Running(run, servers.target))
    guard = Guard(servers.target, Journal(folder), Limits(), step="test", writes=True, run=run)
    with guarded(guard, recorder.answered):
        recorder.begin("tests/x.py::test_conversation")
        converse(Clients(servers.target), run, servers.target.project)
        recorder.end()
    text = (folder / "answers" / "test_conversation.json").read_text()
    return text, json.loads(text), run


def test_recording_has_neither_secrets_nor_names(servers: Cloud, recorded: tuple[str, Json, str]) -> None:
    text, conversation, run = recorded
    assert len(conversation["calls"]) == 15
    assert conversation["origin"] == "local servers"
    private = ["a very secret", "YSB2ZXJ5IHNlY3JldC", servers.target.project, f"smoke-{run}", "Bearer", "authorization"]
    assert [word for word in private if word.lower() in text.lower()] == []
    assert "{ack_id:1}" in text
    assert "{generation:1}" in text


def test_recorded_conversation_can_be_held_again(servers: Cloud, recorded: tuple[str, Json, str]) -> None:
    conversation = deepcopy(recorded[1]) | {"id": "again"}
    held = Servers(servers.target)
    assert list(replay(conversation, held, servers.target.project, {})) == []
    changed = deepcopy(recorded[1]) | {"id": "changed"}
    changed["calls"][-1]["answer"]["message"] = "Secret Manager is on holiday."
    changed["calls"][1]["answer"]["body"]["size"] = 4
    report = list(replay(changed, held, servers.target.project, {}))
    assert [line.split(":")[0] for line in report] == [
        "call 2, storage.objects.insert",
        "call 15, secretmanager.SecretManagerService.GetSecret",
    ]


def test_field_known_to_be_lacking_is_accepted() -> None:
    recorded, actual = {"status": 200, "body": {"a": 1, "b": "x"}}, {"status": 200, "body": {"a": 2}}
    assert list(differences(recorded, actual)) == ["the field b is missing"]
    assert list(differences(recorded, actual, ("b",))) == []


KINDS = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict, "number": float}


def misfits(value: Json, schema: str) -> Iterator[str]:
    """Yield the fields of a resource that Google's description lacks or has with another type."""
    described = document("storage")["schemas"][schema]["properties"]
    for name, field in value.items():
        if name not in described:
            yield f"{schema}.{name} is not described"
        elif "$ref" in described[name]:
            yield from misfits(field, described[name]["$ref"])
        elif not isinstance(field, KINDS[described[name]["type"]]):
            yield f"{schema}.{name} is {type(field).__name__}, described as {described[name]['type']}"


def test_local_storage_has_only_described_fields(servers: Cloud) -> None:
    clients = Clients(servers.target)
    body = {"name": "described", "versioning": {"enabled": True}, "labels": {"a": "b"}}
    bucket = clients.rest("storage", "POST", "/storage/v1/b", body, project=servers.target.project)
    clients.storage.bucket("described").blob("a").upload_from_string(b"x")
    resource = clients.rest("storage", "GET", "/storage/v1/b/described/o/a")
    topic = {"topic": "//pubsub.googleapis.com/projects/p/topics/t", "payload_format": "JSON_API_V1"}
    notification = clients.rest("storage", "POST", "/storage/v1/b/described/notificationConfigs", topic)
    objects = clients.rest("storage", "GET", "/storage/v1/b/described/o")
    buckets = clients.rest("storage", "GET", "/storage/v1/b", project=servers.target.project)
    pairs = {"Bucket": bucket, "Object": resource, "Notification": notification, "Objects": objects, "Buckets": buckets}
    assert [wrong for schema, value in pairs.items() for wrong in misfits(value, schema)] == []
    assert list(misfits({"size": 1, "weight": "2"}, "Object")) == [
        "Object.size is int, described as string",
        "Object.weight is not described",
    ]
