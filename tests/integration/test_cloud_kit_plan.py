"""What the kit expects of a project: Terraform's own files, evaluated without Terraform."""

from pathlib import Path

import pytest

from local.servers.rights.hcl import read_module
from tests.cloud.expected import GRANTS, NAMES, RESOURCES, Expected, Grant, expected_of
from tests.cloud.plan import variables_of
from tests.cloud.target import Target
from tests.support.servers import ROOT

TARGET = Target("shop-prod", "EU", "europe-west1", {})
FLOW = "serviceAccount:millrace-flow@shop-prod.iam.gserviceaccount.com"
FOLDERS = [ROOT / "terraform", *sorted(p for p in (ROOT / "terraform" / "modules").iterdir() if p.is_dir())]


@pytest.fixture(scope="module")
def expected() -> Expected:
    return expected_of(TARGET, "42", "gateway.example.com")


def test_every_grant_of_terraform_is_expected(expected: Expected) -> None:
    kinds = {(f.name, b.labels[0], b.labels[1]) for f in FOLDERS for b in read_module(f).of("resource")}
    grants = {kind for _, kind, _ in kinds if kind.endswith("_iam_member")}
    assert grants - set(GRANTS) == {"google_artifact_registry_repository_iam_member"}, "the kit does not check images"
    assert {grant.kind for grant in expected.grants} == {kind for _, kind in GRANTS.values()}
    assert [grant for grant in expected.grants if "${" in str(grant) or "None" in str(grant)] == []


def test_grants_are_those_of_the_accounts(expected: Expected) -> None:
    agent = "serviceAccount:service-42@gcp-sa-pubsub.iam.gserviceaccount.com"
    assert Grant("projects", "shop-prod", "roles/bigquery.jobUser", FLOW) in expected.grants
    assert Grant("topics", "lake-landed-dead", "roles/pubsub.publisher", agent) in expected.grants
    conditional = [grant for grant in expected.on("buckets", "shop-prod-lake") if grant.condition]
    assert conditional
    assert all('objects/raw/")' in grant.condition for grant in conditional)


def test_resources_are_those_of_terraform(expected: Expected) -> None:
    assert set(expected.resources) == set(RESOURCES.values()) == set(NAMES)
    push = expected.resources["subscriptions"]["lake-landed-gateway"]["push_config"][0]
    assert push["push_endpoint"] == "https://gateway.example.com/push/lake-landed"
    assert len(expected.names("topics")) == 2 * len([n for n in expected.names("topics") if n.endswith("-dead")])
    assert expected.resources["datasets"]["staging"]["default_table_expiration_ms"] == 604_800_000


def test_own_variables_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.auto.tfvars.json").write_text('{"topics": {}, "project": "other"}')
    (tmp_path / "terraform.tfvars").write_text('domain = "g.example.com"\nanalysts = ["group:a@example.com"]\n')
    read_values = variables_of(tmp_path, "shop-prod", "EU", "europe-west1")
    assert (read_values["domain"], read_values["analysts"], read_values["project"]) == (
        "g.example.com",
        ["group:a@example.com"],
        "shop-prod",
    )
