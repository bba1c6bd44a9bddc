"""The local servers reject what Terraform grants to no role of a caller, in Google's words; the platform says so."""

from collections.abc import Callable, Iterator

import pytest
from google.cloud import storage
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from millrace.access import channel, credentials
from millrace.domain import names
from millrace.domain.errors import AccessDenied, ObjectMissing, SecretError
from millrace.domain.events import IngestRequested
from millrace.events.bus import EventBus
from millrace.events.dead_letters import DeadLetters
from millrace.lake.gcs import GcsLake
from millrace.secrets import SecretManager, read_secret, secret_ages, unusable_secrets
from tests.support.rights import BUCKET, PROJECT, Identities, check_used, enforcing, identities

READER = "reader@example.com"
As = Callable[[str], None]
MANIFEST, RAW_FILE = "_manifests/airport_ops/flights/1.json", "raw/airport_ops/flights/1.parquet"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Identities]:
    with identities(tmp_path_factory.mktemp("rights"), scientists=[f"serviceAccount:{READER}"]) as own:
        own.accounts["reader"] = READER
        yield own


@pytest.fixture(scope="module")
def ports(own: Identities) -> Iterator[dict[str, int]]:
    with enforcing(own.folder, own, "storage", "pubsub", "secrets") as ports:
        yield ports


@pytest.fixture
def as_(own: Identities, monkeypatch: pytest.MonkeyPatch) -> As:
    return lambda role: own.act_as(role, monkeypatch)


@pytest.fixture
def lake_as(own: Identities, ports: dict[str, int], as_: As) -> Callable[[str], GcsLake]:
    """Return the lake as an account sees it, with two objects."""
    endpoint = f"http://127.0.0.1:{ports['storage']}"
    as_("operator")
    client = storage.Client(PROJECT, credentials=credentials(endpoint), client_options={"api_endpoint": endpoint})
    if not client.bucket(BUCKET).exists():
        client.bucket(BUCKET).create()
    lake = GcsLake(f"gs://{BUCKET}", endpoint)
    for name in (MANIFEST, RAW_FILE):
        lake.write(name, b"{}")

    def open_as(role: str) -> GcsLake:
        as_(role)
        return GcsLake(f"gs://{BUCKET}", endpoint)

    return open_as


@pytest.fixture
def secrets_as(own: Identities, ports: dict[str, int], as_: As) -> Callable[[str], SecretManager]:
    """Return Secret Manager as an account sees it, with three secrets."""
    endpoint = f"127.0.0.1:{ports['secrets']}"
    as_("operator")
    client = SecretManager(PROJECT, endpoint).get_secret_manager_client()
    for name in ("slack-webhook-url", "airport-ops-password", "prefect-api-auth-string"):
        parent = f"projects/{PROJECT}"
        if f"{parent}/secrets/{name}" not in [s.name for s in client.list_secrets(parent=parent)]:
            client.create_secret(parent=parent, secret_id=name, secret={"replication": {"automatic": {}}})
            client.add_secret_version(parent=f"{parent}/secrets/{name}", payload={"data": b"value"})

    def open_as(role: str) -> SecretManager:
        as_(role)
        return SecretManager(PROJECT, endpoint)

    return open_as


@pytest.fixture
def topics_as(own: Identities, ports: dict[str, int], as_: As) -> Callable[[str], tuple[EventBus, DeadLetters]]:
    """Return the topics and dead letters as an account sees them."""
    endpoint = f"127.0.0.1:{ports['pubsub']}"
    as_("operator")
    publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel(endpoint)))
    subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel(endpoint)))
    topic, dead = names.INGEST_REQUESTED, names.dead_letter_topic(names.INGEST_REQUESTED)
    if not list(publisher.list_topics(project=f"projects/{PROJECT}")):
        for name in (topic, dead):
            publisher.create_topic(name=f"projects/{PROJECT}/topics/{name}")
        subscription = f"projects/{PROJECT}/subscriptions/{names.dead_letter_subscription(topic)}"
        subscriber.create_subscription(name=subscription, topic=f"projects/{PROJECT}/topics/{dead}")

    def open_as(role: str) -> tuple[EventBus, DeadLetters]:
        as_(role)
        return EventBus(PROJECT, endpoint), DeadLetters(PROJECT, endpoint)

    return open_as


def test_denied_read_names_who_what_and_remedy(own: Identities, lake_as: Callable[[str], GcsLake]) -> None:
    email = own.accounts["airbyte"]
    with pytest.raises(AccessDenied) as denied:
        lake_as("airbyte").read(MANIFEST)
    assert str(denied.value) == (
        f"{email} lacks the permission storage.objects.get on gs://{BUCKET}/{MANIFEST}; grant it: gcloud storage"
        f" buckets add-iam-policy-binding gs://{BUCKET} --member=serviceAccount:{email}"
        f" --role=roles/storage.objectUser ({email} does not have storage.objects.get access to the Google Cloud"
        " Storage object. Permission 'storage.objects.get' denied on resource (or it may not exist).)"
    )


def test_airbyte_writes_and_lists_raw_files_only(lake_as: Callable[[str], GcsLake]) -> None:
    lake = lake_as("airbyte")
    lake.write("raw/test_connection", b"x")
    lake.write("raw/test_connection", b"y")
    assert [info.name for info in lake.list("raw/test")] == ["raw/test_connection"]
    lake.delete("raw/test_connection")
    for call in (lambda: lake.write("test_connection", b"x"), lambda: list(lake.list("")), lambda: lake.read(MANIFEST)):
        with pytest.raises(AccessDenied):
            call()


def test_reader_lists_what_it_may_read(lake_as: Callable[[str], GcsLake]) -> None:
    lake = lake_as("reader")
    assert [info.name for info in lake.list("raw/")] == [RAW_FILE]
    assert lake.read(RAW_FILE) == b"{}"
    assert list(lake.list("_site/")) == []
    for call in (
        lambda: lake.write(RAW_FILE, b""),
        lambda: list(lake.list("_manifests/")),
        lambda: lake.delete(RAW_FILE),
    ):
        with pytest.raises(AccessDenied):
            call()


def test_missing_object_is_hidden_without_list_right(lake_as: Callable[[str], GcsLake]) -> None:
    with pytest.raises(ObjectMissing):
        lake_as("flow").read("raw/none")
    with pytest.raises(AccessDenied, match=r"storage\.objects\.get on"):
        lake_as("gateway").read("raw/none")


@pytest.mark.parametrize(("role", "may"), [("flow", True), ("dbt", False), ("dataflow", True)])
def test_bucket_is_seen_by_submitters_and_workers(lake_as: Callable[[str], GcsLake], role: str, may: bool) -> None:
    lake = lake_as(role)
    if may:
        assert lake.notifications() == set()
    else:
        with pytest.raises(AccessDenied, match=r"storage\.buckets\.get .*roles/storage\.legacyBucketReader"):
            lake.notifications()


def test_replacing_an_object_needs_the_right_to_delete(lake_as: Callable[[str], GcsLake]) -> None:
    lake = lake_as("dataflow")
    lake.write("_staging/new", b"1")
    assert lake.write("_staging/new", b"2")  # as an object user, beside its worker's role


def test_anonymous_caller_is_rejected(ports: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    lake = GcsLake(f"gs://{BUCKET}", f"http://127.0.0.1:{ports['storage']}")
    with pytest.raises(AccessDenied, match=f"gs://{BUCKET} demands an identity, and this process has none"):
        list(lake.list("raw/"))


def test_slack_url_is_read_as_the_flows_account(secrets_as: Callable[[str], SecretManager]) -> None:
    assert read_secret(secrets_as("flow"), "slack-webhook-url") == "value"


def test_denied_secret_is_an_error_of_its_own(own: Identities, secrets_as: Callable[[str], SecretManager]) -> None:
    email = own.accounts["dbt"]
    with pytest.raises(AccessDenied) as denied:
        read_secret(secrets_as("dbt"), "slack-webhook-url")
    path = f"projects/{PROJECT}/secrets/slack-webhook-url/versions/latest"
    assert str(denied.value) == (
        f"{email} lacks the permission secretmanager.versions.access on {path}; grant it: gcloud secrets"
        f" add-iam-policy-binding slack-webhook-url --member=serviceAccount:{email}"
        " --role=roles/secretmanager.secretAccessor (Permission 'secretmanager.versions.access' denied for resource"
        f" '{path}' (or it may not exist).)"
    )


def test_ages_of_secrets_are_seen_without_values(secrets_as: Callable[[str], SecretManager]) -> None:
    watched = ["slack-webhook-url", "airport-ops-password"]
    access = secrets_as("flow")
    assert [age.secret for age in secret_ages(access, watched)] == watched
    assert unusable_secrets(access, watched) == {}
    for call in (
        lambda: secret_ages(access, ["prefect-api-auth-string"]),
        lambda: read_secret(access, "prefect-api-auth-string"),
    ):
        with pytest.raises(AccessDenied):
            call()
    with pytest.raises(AccessDenied):
        secret_ages(secrets_as("gateway"), watched)


def test_unknown_secret_is_not_told_from_a_denied_one(secrets_as: Callable[[str], SecretManager]) -> None:
    with pytest.raises(AccessDenied, match=r"\(or it may not exist\)"):
        read_secret(secrets_as("flow"), "no-such-secret")
    with pytest.raises(SecretError, match="does not exist"):
        read_secret(secrets_as("operator"), "no-such-secret")


def test_message_is_published_only_by_a_publisher(
    own: Identities, topics_as: Callable[[str], tuple[EventBus, DeadLetters]]
) -> None:
    message, email = IngestRequested(source="airport_ops"), own.accounts["gateway"]
    assert topics_as("flow")[0].publish(message)
    with pytest.raises(AccessDenied) as denied:
        topics_as("gateway")[0].publish(message)
    assert str(denied.value) == (
        f"{email} lacks the permission pubsub.topics.publish on projects/{PROJECT}/topics/{message.topic}; grant it:"
        f" gcloud pubsub topics add-iam-policy-binding {message.topic} --member=serviceAccount:{email}"
        " --role=roles/pubsub.publisher (User not authorized to perform this action.)"
    )


def test_dead_letters_are_held_by_the_flows_account(
    own: Identities, topics_as: Callable[[str], tuple[EventBus, DeadLetters]]
) -> None:
    with topics_as("flow")[1].hold(names.INGEST_REQUESTED) as letters:
        assert letters == []
    denied = pytest.raises(AccessDenied, match=r"pubsub\.subscriptions\.consume on .*ingest-requested-dead-pull")
    with denied, topics_as("dbt")[1].hold(names.INGEST_REQUESTED):
        pass
    check_used("objects, messages and secrets", own.used())
