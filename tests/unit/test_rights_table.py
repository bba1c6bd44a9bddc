"""Terraform's bindings as a table: expressions are evaluated, conditions hold or not, and each role is known."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.servers.rights import attributes
from local.servers.rights.bindings import predefined_roles, read_rights, write_rights
from local.servers.rights.page import PAGE, STAYS, page, unused_roles
from local.servers.rights.policy import (
    LIST_PREFIX,
    Binding,
    Policy,
    UnknownCondition,
    bearer_email,
    is_met,
    make_token,
    read_journal,
)
from local.servers.rights.terraform import Module

PROJECT = "millrace-test"
LAKE = f"projects/_/buckets/{PROJECT}-lake"
RAW = f'resource.name.startsWith("{LAKE}/objects/raw/") || api.getAttribute("{LIST_PREFIX}", "").startsWith("raw/")'


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    file = tmp_path_factory.mktemp("rights") / "rights.json"
    write_rights(file, PROJECT)
    return Policy.load(file)


def account(role: str) -> str:
    return f"millrace-{role}@{PROJECT}.iam.gserviceaccount.com"


OUTER = """variable "project" {}
module "inner" {
  source = "./inner"
  names  = toset(["a", "b"])
}
resource "google_pubsub_topic" "t" {
  name = module.inner.emails["b"]
}
"""
INNER = """variable "names" {}
resource "google_service_account" "role" {
  for_each   = var.names
  account_id = "x-${each.key}"
}
output "emails" {
  value = { for key, account in google_service_account.role : key => account.email }
}
"""


def test_resources_follow_modules_and_their_outputs(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "main.tf").write_text(OUTER)
    (tmp_path / "inner" / "main.tf").write_text(INNER)
    resources = list(Module(tmp_path, {"project": PROJECT}).resources())
    assert [(r.name, r.key) for r in resources] == [("t", None), ("role", "a"), ("role", "b")]
    assert resources[0].arguments["name"] == f"x-b@{PROJECT}.iam.gserviceaccount.com"


def test_condition_compares_names_and_listed_prefixes() -> None:
    assert is_met(RAW, f"{LAKE}/objects/raw/a", {})
    assert not is_met(RAW, f"{LAKE}/objects/_manifests/a", {})
    assert is_met(RAW, LAKE, {LIST_PREFIX: "raw/airport"})
    assert not is_met(RAW, LAKE, {LIST_PREFIX: ""})
    with pytest.raises(UnknownCondition, match="extend is_met"):
        is_met('request.time < timestamp("2030-01-01T00:00:00Z")', LAKE, {})


def test_binding_reaches_into_its_resource_only() -> None:
    binding = Binding("serviceAccount:a", "r", frozenset({"bigquery.tables.get"}), f"projects/{PROJECT}/datasets/raw")
    assert binding.grants("bigquery.tables.get", f"projects/{PROJECT}/datasets/raw/tables/t", {})
    for resource in (f"projects/{PROJECT}/datasets/raw_other/tables/t", f"projects/{PROJECT}"):
        assert not binding.grants("bigquery.tables.get", resource, {})
    assert not binding.grants("bigquery.tables.create", f"projects/{PROJECT}/datasets/raw", {})


@pytest.mark.parametrize(
    ("role", "permission", "resource", "may"),
    [
        ("flow", "storage.buckets.get", LAKE, True),
        ("dbt", "storage.buckets.get", LAKE, False),
        ("flow", "bigquery.datasets.create", f"projects/{PROJECT}", False),
        ("dbt", "bigquery.datasets.create", f"projects/{PROJECT}", True),
        ("dbt", "bigquery.tables.update", f"projects/{PROJECT}/datasets/raw_airport_ops/tables/flights", False),
        ("flow", "bigquery.tables.list", f"projects/{PROJECT}/datasets/marts", True),
        ("flow", "bigquery.tables.getData", f"projects/{PROJECT}/datasets/marts/tables/fct_flights", False),
        ("flow", "secretmanager.versions.access", f"projects/{PROJECT}/secrets/slack-webhook-url", True),
        ("flow", "secretmanager.secrets.get", f"projects/{PROJECT}/secrets/airbyte-hmac-id", True),
        ("flow", "secretmanager.versions.access", f"projects/{PROJECT}/secrets/prefect-api-auth-string", False),
        ("dataflow", "bigquery.tables.get", f"projects/{PROJECT}/datasets/ops/tables/ledger", False),
        ("push", "pubsub.topics.publish", f"projects/{PROJECT}/topics/lake-landed", False),
    ],
)
def test_terraform_grants_each_role_its_part(
    policy: Policy, role: str, permission: str, resource: str, may: bool
) -> None:
    assert policy.allows(account(role), permission, resource) is may


def test_creator_owns_its_dataset(policy: Policy) -> None:
    candidate = f"projects/{PROJECT}/datasets/candidate_1"
    assert not policy.allows(account("dbt"), "bigquery.datasets.delete", candidate)
    policy.owners[candidate] = account("dbt")
    assert policy.allows(account("dbt"), "bigquery.datasets.delete", candidate)
    assert policy.allows(account("dbt"), "bigquery.tables.create", candidate)
    assert not policy.allows(account("flow"), "bigquery.datasets.delete", candidate)


def test_roles_and_types_without_a_rule_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    from local.servers.rights import bindings

    monkeypatch.delitem(bindings.BOUND, "google_bigquery_dataset_iam_member")
    with pytest.raises(ValueError, match=r"google_bigquery_dataset_iam_member.*add one to BOUND"):
        read_rights(PROJECT)
    monkeypatch.undo()
    fewer = {role: p for role, p in predefined_roles().items() if role != "roles/dataflow.worker"}
    monkeypatch.setattr(bindings, "predefined_roles", lambda: fewer)
    with pytest.raises(ValueError, match=r"roles/dataflow\.worker is not in roles\.yaml"):
        read_rights(PROJECT)


def test_member_that_only_google_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(attributes.GIVEN, "google_service_account")
    with pytest.raises(
        ValueError, match=r"google_service_account\.role\.\w+\) is known to Google only; add it to GIVEN"
    ):
        read_rights(PROJECT)


def test_repository_at_github_acts_as_the_ci_account_alone() -> None:
    without, rights = read_rights(PROJECT)["bindings"], read_rights(PROJECT, github_repository="example/platform")
    added = [binding for binding in rights["bindings"] if binding not in without]
    assert [(b["role"], b["resource"].split("/")[-1].split("@")[0]) for b in added] == [
        ("roles/iam.workloadIdentityUser", account("ci").split("@")[0])
    ]
    assert added[0]["member"].endswith("workloadIdentityPools/millrace-github/attribute.repository/example/platform")


def test_token_says_whose_it_is_and_use_is_noted(tmp_path: Path) -> None:
    assert bearer_email(f"Bearer {make_token('a@b.c')}") == "a@b.c"
    assert bearer_email("") == ""
    with pytest.raises(ValueError, match="invalid authentication credentials"):
        bearer_email("Bearer opaque")
    file = tmp_path / "rights.json"
    write_rights(file, PROJECT)
    policy = Policy.load(file)
    for _ in range(2):
        policy.allows(account("flow"), "storage.buckets.get", LAKE)
    policy.allows(account("push"), "storage.buckets.get", LAKE)
    assert [(line["identity"], line["outcome"]) for line in read_journal(file)] == [
        (account("flow"), "granted"),
        (account("push"), "denied"),
    ]
    assert json.loads(file.read_text())["project"] == PROJECT


def test_role_without_recorded_use_has_a_reason() -> None:
    assert unused_roles() == set(STAYS) & unused_roles(), "use it in a test, remove it, or give the reason in STAYS"
    known = {(role, binding["role"]) for role, binding in granted()}
    assert set(STAYS) <= known, "a reason for a role that is not granted"


def granted() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each binding with the short name of its account."""
    rights = read_rights(PROJECT)
    roles = {f"serviceAccount:{email}": role for role, email in rights["accounts"].items()}
    yield from ((roles.get(binding["member"], ""), binding) for binding in rights["bindings"])


def test_page_follows_terraform_and_the_recorded_use() -> None:
    assert PAGE.read_text() == page(), "python -m local.servers.rights"
