"""A rejection of Google's in; the platform's error, with identity, permission, resource and remedy, out."""

from pathlib import Path

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Dataset

from millrace import access
from millrace.domain.errors import AccessDenied, BudgetExceeded, ServiceUnavailable, SettingsError, WarehouseRefused
from millrace.warehouse.bigquery.jobs import Jobs, translate
from millrace.warehouse.bigquery.schema import Schema
from millrace.warehouse.bigquery.sql import Namespace
from tests.support.google_api import Call, Json, listening
from tests.support.servers import free_port

ENDPOINT = "http://127.0.0.1:1"
WHO = "a@p.iam.gserviceaccount.com"


def forbidden(message: str, reason: str = "") -> exceptions.Forbidden:
    return exceptions.Forbidden(message, errors=[{"reason": reason}] if reason else ())


@pytest.fixture(autouse=True)
def _no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in access.IDENTITY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("message", "resource", "permission", "expected"),
    [
        (
            f"{WHO} does not have storage.buckets.get access to the Google Cloud Storage bucket.",
            "gs://lake/_staging",
            "storage.objects.create",
            f"{WHO} lacks the permission storage.buckets.get on gs://lake/_staging; grant it: gcloud storage buckets"
            f" add-iam-policy-binding gs://lake --member=serviceAccount:{WHO} --role=roles/storage.legacyBucketReader",
        ),
        (
            "Permission 'secretmanager.versions.get' denied for resource 'projects/p/secrets/s' (or it may not exist).",
            "projects/p/secrets/s/versions/latest",
            "secretmanager.versions.access",
            "the account of this process lacks the permission secretmanager.versions.get on"
            " projects/p/secrets/s/versions/latest; grant it: gcloud secrets add-iam-policy-binding s"
            " --member=serviceAccount:<account> --role=roles/secretmanager.viewer",
        ),
        (
            "User not authorized to perform this action.",
            "projects/p/subscriptions/s",
            "pubsub.subscriptions.consume",
            "the account of this process lacks the permission pubsub.subscriptions.consume on"
            " projects/p/subscriptions/s; grant it: gcloud pubsub subscriptions add-iam-policy-binding s"
            " --member=serviceAccount:<account> --role=roles/pubsub.subscriber",
        ),
        (
            "Permission 'dataflow.jobs.create' denied.",
            "projects/p",
            "dataflow.jobs.create",
            "the account of this process lacks the permission dataflow.jobs.create on projects/p; grant it: gcloud"
            " projects add-iam-policy-binding p --member=serviceAccount:<account> --role=roles/dataflow.developer",
        ),
    ],
)
def test_denial_names_who_what_and_remedy(message: str, resource: str, permission: str, expected: str) -> None:
    assert str(access.denied(forbidden(message), resource, permission, ENDPOINT)) == f"{expected} ({message})"


@pytest.mark.parametrize(
    ("message", "lacks"),
    [
        (
            "Access Denied: Project p: User does not have bigquery.datasets.create permission in project p.",
            "bigquery.datasets.create on p; grant it: gcloud projects add-iam-policy-binding p",
        ),
        (
            "Access Denied: Table p:raw.t: Permission bigquery.tables.update denied on table p:raw.t (or it may not"
            " exist).",
            "bigquery.tables.update on p:raw.t; grant it: bq query --use_legacy_sql=false 'GRANT"
            " `roles/bigquery.dataEditor` ON SCHEMA `p`.`raw`",
        ),
        (
            "Access Denied: Table p:raw.t: User does not have permission to query table p:raw.t, or perhaps it does"
            " not exist.",
            "bigquery.tables.getData on p:raw.t; grant it: bq query",
        ),
    ],
)
def test_bigquery_denies_as_an_error_of_its_own(message: str, lacks: str) -> None:
    error = translate(forbidden(message, "accessDenied"), "merge", ENDPOINT)
    assert isinstance(error, AccessDenied)
    assert f"lacks the permission {lacks}" in str(error)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("quotaExceeded", BudgetExceeded),
        ("rateLimitExceeded", ServiceUnavailable),
        ("billingNotEnabled", WarehouseRefused),
    ],
)
def test_other_reasons_of_403_are_no_denials(reason: str, kind: type[Exception]) -> None:
    assert type(translate(forbidden("no", reason), "merge", ENDPOINT)) is kind
    assert not access.is_denied(forbidden("Object is subject to a retention policy.", "retentionPolicyNotMet"))


def test_other_servers_get_no_identity_unnamed() -> None:
    assert isinstance(access.credentials(ENDPOINT), AnonymousCredentials)
    assert access.is_anonymous(ENDPOINT)


def test_key_that_is_not_there_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(SettingsError, match=r"no credentials for Google Cloud: .*none\.json"):
        access.credentials(ENDPOINT)


class Datasets:
    """BigQuery's answers for one dataset; `get` and `create` are statuses."""

    def __init__(self, get: int, create: int) -> None:
        self._statuses, self.calls = {"GET": get, "POST": create}, list[str]()

    def answer(self, call: Call) -> tuple[int, Json]:
        self.calls.append(call.method)
        status = self._statuses[call.method]
        words = {
            403: "Access Denied: Project p: User does not have bigquery.datasets.create permission in project p.",
            404: "Not found: Dataset p:ops",
        }
        if status >= 400:
            reason = {403: "accessDenied", 404: "notFound"}[status]
            return status, {"error": {"code": status, "message": words[status], "errors": [{"reason": reason}]}}
        return status, Dataset("millrace-test.ops").to_api_repr()


def create(datasets: Datasets) -> list[str]:
    port = free_port()
    with listening(port, datasets.answer):
        jobs = Jobs(Namespace.of("bigquery://millrace-test/EU"), f"http://127.0.0.1:{port}")
        try:
            Schema(jobs).create_dataset("ops")
        finally:
            jobs.close()
    return datasets.calls


def test_existing_dataset_is_not_created() -> None:
    assert create(Datasets(get=200, create=403)) == ["GET"]


@pytest.mark.parametrize("get", [403, 404])
def test_dataset_that_is_not_seen_is_created(get: int) -> None:
    assert create(Datasets(get=get, create=200)) == ["GET", "POST"]


def test_denied_creation_names_the_permission() -> None:
    with pytest.raises(AccessDenied, match=r"lacks the permission bigquery\.datasets\.create on p; grant it: gcloud"):
        create(Datasets(get=404, create=403))
