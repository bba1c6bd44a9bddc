"""What the kit may touch: only resources with a run's name and label, within limits; everything else is not sent."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from google.cloud.secretmanager_v1.types import AccessSecretVersionRequest, CreateSecretRequest
from google.pubsub_v1.types import PublishRequest, Subscription, Topic

from tests.cloud import sql
from tests.cloud.budget import Limits, OverBudget
from tests.cloud.calls import Call, grpc_call, http_call
from tests.cloud.guard import Guard, NotAdmitted
from tests.cloud.journal import Journal
from tests.cloud.methods import OWN, READS
from tests.cloud.names import LABEL, dataset_prefix, is_run, new_run, owned, resource_name, run_of, with_checksum
from tests.cloud.stamp import stamp_message, stamped
from tests.cloud.target import Target
from tests.cloud.transport import guarded
from tests.support.google_front import http_front

RUN, OTHER = with_checksum("abcdef"), with_checksum("123456")
TARGET = Target("shop-prod", "EU", "europe-west1", {})
MINE, FOREIGN = resource_name(RUN, "bucket", "0" * 12), "shop-prod-lake"
STORAGE, BIGQUERY = "https://storage.googleapis.com/storage/v1", "https://bigquery.googleapis.com/bigquery/v2"
DATASET = f"{dataset_prefix(RUN, '0' * 6)}_ops"


def guard(folder: Path, *, writes: bool = True, run: str = RUN, **limits: Any) -> Guard:
    journal = Journal(folder)
    datasets = ["ops", "marts", "raw_airport_ops", DATASET]
    return Guard(TARGET, journal, Limits(**limits), step="test", writes=writes, run=run, datasets=datasets)


def http(verb: str, url: str, body: Any = None) -> Call:
    return http_call(TARGET, verb, url, None if body is None else json.dumps(body))


def query(text: str, **extra: Any) -> Call:
    body = {"configuration": {"query": {"query": text}} | extra}
    return http("POST", f"{BIGQUERY}/projects/shop-prod/jobs", body)


def rpc(method: str, message: Any) -> Call:
    return grpc_call(method, type(message).pb(message))


def topic(name: str) -> str:
    return f"projects/shop-prod/topics/{name}"


@pytest.mark.parametrize(
    ("name", "run"),
    [
        (MINE, RUN),
        (f"projects/p/topics/{MINE}", RUN),
        (DATASET, RUN),
        (f"millrace-smoke-{RUN}", RUN),
        ("millrace-smoke-production", ""),
        ("millrace-smoke-00000000-bucket-0", ""),  # the checksum is not that of the digits
        (f"x-millrace-smoke-{RUN}-bucket", ""),
        (f"millrace_smoke-{RUN}-bucket", ""),
        ("shop-prod-lake", ""),
    ],
)
def test_only_a_name_with_a_checksum_is_a_runs(name: str, run: str) -> None:
    assert run_of(name) == run


def test_resource_is_owned_by_name_and_label() -> None:
    assert owned(MINE, {LABEL: RUN})
    assert not owned(MINE, {})
    assert not owned(MINE, {LABEL: OTHER})
    assert not owned(FOREIGN, {LABEL: RUN})


def test_new_runs_have_valid_ids_of_their_own() -> None:
    runs = {new_run() for _ in range(200)}
    assert len(runs) > 195
    assert all(is_run(run) for run in runs)


@pytest.mark.parametrize(
    "call",
    [
        http("POST", f"{STORAGE}/b?project=shop-prod", {"name": MINE}),
        http("DELETE", f"{STORAGE}/b/{MINE}"),
        http("GET", f"{STORAGE}/b/{FOREIGN}"),
        http("GET", f"{STORAGE}/b/{MINE}/o/a?alt=media"),
        http("DELETE", f"{BIGQUERY}/projects/shop-prod/datasets/{DATASET}"),
        query(f"MERGE `shop-prod`.`{DATASET}`.`t` USING s ON s.ops = t.ops"),
        query(f"SELECT o.x FROM {DATASET}.t AS o, UNNEST(o.marts) WHERE o.s = 'ops.ledger' -- ops.ledger"),
        query("SELECT * FROM `shop-prod`.`region-eu`.INFORMATION_SCHEMA.JOBS"),
        rpc("/google.pubsub.v1.Publisher/CreateTopic", Topic(name=topic(MINE))),
        rpc("/google.cloud.secretmanager.v1.SecretManagerService/CreateSecret", CreateSecretRequest(secret_id=MINE)),
    ],
    ids=lambda call: call.method,
)
def test_calls_on_own_resources_are_admitted(tmp_path: Path, call: Call) -> None:
    own = guard(tmp_path)
    own.admit(call)
    (line,) = own.journal.lines()
    assert (line["method"], line["step"]) == (call.method, "test")


@pytest.mark.parametrize(
    "call",
    [
        http("DELETE", f"{STORAGE}/b/{FOREIGN}"),
        http("PATCH", f"{STORAGE}/b/{FOREIGN}", {"labels": {LABEL: RUN}}),
        http("DELETE", f"{STORAGE}/b/{resource_name(OTHER, 'bucket', '0' * 12)}"),
        http("GET", f"{STORAGE}/b/{FOREIGN}/o/raw%2Fa?alt=media"),
        http("POST", f"{STORAGE}/b/{MINE}/o/a/rewriteTo/b/{FOREIGN}/o/b"),
        http("POST", f"{STORAGE}/b/{FOREIGN}/o/a/rewriteTo/b/{MINE}/o/b"),
        http_call(
            TARGET, "POST", "https://storage.googleapis.com/batch/storage/v1", f"DELETE /storage/v1/b/{FOREIGN}/o/a"
        ),
        http("DELETE", f"{BIGQUERY}/projects/shop-prod/datasets/ops"),
        query("DROP TABLE ops.ledger"),
        query("DROP TABLE `shop-prod`.`ops`.`ledger`"),
        query("DROP TABLE `shop-prod.ops.ledger`"),
        query("SELECT 1 FROM `shop-prod`.unlisted.t"),
        query(f"EXPORT DATA OPTIONS (uri='gs://{FOREIGN}/x') AS SELECT 1"),
        query("SELECT 1", load={"destinationTable": {"datasetId": "ops", "tableId": "ledger"}}),
        rpc("/google.pubsub.v1.Publisher/Publish", PublishRequest(topic=topic("lake-landed"))),
        rpc(
            "/google.pubsub.v1.Subscriber/CreateSubscription",
            Subscription(name=f"projects/shop-prod/subscriptions/{MINE}", topic=topic("lake-landed")),
        ),
        rpc(
            "/google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion",
            AccessSecretVersionRequest(name="projects/shop-prod/secrets/slack-webhook-url/versions/latest"),
        ),
        http("POST", "https://iam.googleapis.com/v1/projects/shop-prod/serviceAccounts", {}),
        http("POST", "https://cloudresourcemanager.googleapis.com/v3/projects/shop-prod:setIamPolicy", {}),
        http("GET", "https://example.com/"),
    ],
    ids=lambda call: call.method,
)
def test_calls_on_what_is_not_the_runs_are_refused(tmp_path: Path, call: Call) -> None:
    own = guard(tmp_path)
    with pytest.raises(NotAdmitted):
        own.admit(call)
    assert list(own.journal.lines()) == []


def test_check_may_not_change_even_own_resources(tmp_path: Path) -> None:
    with pytest.raises(NotAdmitted, match="only reads"):
        guard(tmp_path, writes=False).admit(http("DELETE", f"{STORAGE}/b/{MINE}"))


def test_clean_up_of_all_runs_admits_any_run(tmp_path: Path) -> None:
    own = guard(tmp_path, run="")
    own.admit(http("DELETE", f"{STORAGE}/b/{resource_name(OTHER, 'bucket', '0' * 12)}"))
    with pytest.raises(NotAdmitted):
        own.admit(http("DELETE", f"{STORAGE}/b/{FOREIGN}"))


def test_every_method_names_its_permission() -> None:
    assert set(READS) & set(OWN) == set()
    assert [m for m, p in (READS | OWN).items() if not p and not m.endswith("testIamPermissions")] == []


@pytest.mark.parametrize(
    ("limits", "message"),
    [({"calls": 3}, "4 calls"), ({"cost": 0.000035}, r"\$0.00"), ({"objects": 3}, "4 objects")],
)
def test_limit_stops_writes_and_never_the_clean_up(tmp_path: Path, limits: dict[str, Any], message: str) -> None:
    own = guard(tmp_path, **limits)
    upload = http("POST", f"https://storage.googleapis.com/upload/storage/v1/b/{MINE}/o?uploadType=multipart")
    for _ in range(3):
        own.admit(upload)
    with pytest.raises(OverBudget, match=message):
        own.admit(upload)
    own.admit(http("DELETE", f"{STORAGE}/b/{MINE}/o/a"))
    own.admit(http("GET", f"{STORAGE}/b/{MINE}"))
    assert Journal(tmp_path).use().objects == 3


def test_query_is_counted_by_its_tables(tmp_path: Path) -> None:
    own = guard(tmp_path, scanned_bytes=25 * 1024**2)
    own.admit(query(f"SELECT 1 FROM {DATASET}.a JOIN {DATASET}.b USING (id)"))
    assert own.use.scanned_bytes == 20 * 1024**2
    own.admit(query(f"SELECT 1 FROM {DATASET}.a", dryRun=True))
    with pytest.raises(OverBudget, match="scanned bytes"):
        own.admit(query("SELECT 1"))


def test_limits_go_on_where_a_killed_process_ended(tmp_path: Path) -> None:
    first = guard(tmp_path, calls=2)
    first.admit(http("DELETE", f"{STORAGE}/b/{MINE}/o/a"))
    with (tmp_path / "calls.jsonl").open("a") as file:
        file.write('{"half')
    again = guard(tmp_path, calls=2)
    assert again.use.calls == 1


def test_created_resources_get_label_and_expiry() -> None:
    bucket = stamped("storage.buckets.insert", {"name": MINE, "labels": {"a": "b"}}, RUN, "EU", 10)
    assert bucket["labels"] == {"a": "b", LABEL: RUN}
    assert bucket["lifecycle"]["rule"] == [{"action": {"type": "Delete"}, "condition": {"age": 1}}]
    assert (bucket["location"], bucket["softDeletePolicy"]) == ("EU", {"retentionDurationSeconds": "0"})
    dataset = stamped("bigquery.datasets.insert", {}, RUN, "EU", 10)
    assert (dataset["labels"], dataset["defaultTableExpirationMs"]) == ({LABEL: RUN}, "86400000")
    job = stamped("bigquery.jobs.insert", {"configuration": {"query": {"maximumBytesBilled": "99"}}}, RUN, "EU", 10)
    assert job["configuration"] == {"labels": {LABEL: RUN}, "query": {"maximumBytesBilled": "10"}}
    subscription = Subscription.pb(Subscription(name="s"))
    stamp_message("pubsub.Subscriber.CreateSubscription", subscription, RUN)
    assert (subscription.labels[LABEL], subscription.expiration_policy.ttl.seconds) == (RUN, 86_400)
    secret = CreateSecretRequest.pb(CreateSecretRequest(secret_id=MINE))
    stamp_message("secretmanager.SecretManagerService.CreateSecret", secret, RUN)
    assert secret.secret.labels[LABEL] == RUN
    assert secret.secret.HasField("expire_time")


def test_refused_call_never_leaves_the_process(tmp_path: Path) -> None:
    with http_front(lambda _: (200, {})) as front:
        target = Target("shop-prod", "EU", "europe-west1", {"storage": front.address})
        own = Guard(target, Journal(tmp_path), Limits(), step="test", writes=True, run=RUN)
        with guarded(own):
            with pytest.raises(NotAdmitted):
                requests.delete(f"{front.address}/storage/v1/b/{FOREIGN}", timeout=5)
            assert front.calls == []
            requests.delete(f"{front.address}/storage/v1/b/{MINE}", timeout=5)
        assert front.calls == [f"DELETE /storage/v1/b/{MINE}"]
        requests.delete(f"{front.address}/storage/v1/b/{FOREIGN}", timeout=5)
    assert len(front.calls) == 2


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("SELECT a.b FROM `shop-prod`.`ops`.t a", ["ops"]),
        ("INSERT INTO marts.x SELECT 1", ["marts"]),
        ("SELECT 'ops.ledger', \"marts.x\" /* ops.t */ -- marts.t", []),
        ("SELECT t.id FROM t", []),
    ],
)
def test_foreign_datasets_in_sql_are_found(text: str, foreign: list[str]) -> None:
    assert sql.foreign_names(text, "shop-prod", ["ops", "marts"]) == foreign
