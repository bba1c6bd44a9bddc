"""Terraform's files in; what a deployed project has, as far as the kit checks it, out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cloud.plan import Resource, resources_of, variables_of
from tests.cloud.target import Target
from tests.support.servers import ROOT

# Types of grants: the argument that names the resource, and the resource's kind as in addresses.
GRANTS = {
    "google_project_iam_member": ("project", "projects"),
    "google_service_account_iam_member": ("service_account_id", "serviceAccounts"),
    "google_storage_bucket_iam_member": ("bucket", "buckets"),
    "google_pubsub_topic_iam_member": ("topic", "topics"),
    "google_pubsub_subscription_iam_member": ("subscription", "subscriptions"),
    "google_secret_manager_secret_iam_member": ("secret_id", "secrets"),
    "google_bigquery_dataset_iam_member": ("dataset_id", "datasets"),
}
RESOURCES = {
    "google_project_service": "services",
    "google_service_account": "serviceAccounts",
    "google_storage_bucket": "buckets",
    "google_storage_notification": "notifications",
    "google_pubsub_topic": "topics",
    "google_pubsub_subscription": "subscriptions",
    "google_secret_manager_secret": "secrets",
    "google_bigquery_dataset": "datasets",
}
NAMES = {
    "services": "service",
    "serviceAccounts": "account_id",
    "buckets": "name",
    "notifications": "bucket",
    "topics": "name",
    "subscriptions": "name",
    "secrets": "secret_id",
    "datasets": "dataset_id",
}


@dataclass(frozen=True)
class Grant:
    """A role that a member has on a resource; `condition` is its expression, '' without one."""

    kind: str
    name: str
    role: str
    member: str
    condition: str = ""


@dataclass(frozen=True)
class Expected:
    """Resources by kind and name, and the grants on them."""

    resources: dict[str, dict[str, dict[str, Any]]]
    grants: tuple[Grant, ...]

    def names(self, kind: str) -> list[str]:
        """Return the names of a kind's resources."""
        return list(self.resources.get(kind, {}))

    def on(self, kind: str, name: str) -> list[Grant]:
        """Return the grants on a resource."""
        return [grant for grant in self.grants if (grant.kind, grant.name) == (kind, name)]


def expected_of(target: Target, number: str, domain: str = "", folder: Path = ROOT / "terraform") -> Expected:
    """Return what Terraform makes in a project with this number; `domain` overrides the variables' file."""
    values = variables_of(folder, target.project, target.location, target.region)
    values |= {"domain": domain} if domain or "domain" not in values else {}
    terraform = list(resources_of(folder, values, number, {*GRANTS, *RESOURCES}))
    resources: dict[str, dict[str, dict[str, Any]]] = {}
    for resource in terraform:
        if kind := RESOURCES.get(resource.kind):
            resources.setdefault(kind, {})[str(resource.values[NAMES[kind]])] = resource.values
    return Expected(resources, tuple(dict.fromkeys(_grants(terraform))))


def _grants(terraform: list[Resource]) -> Iterator[Grant]:
    for resource in terraform:
        if resource.kind not in GRANTS:
            continue
        argument, kind = GRANTS[resource.kind]
        values = resource.values
        missing = {argument, "role", "member"} - set(values)
        if missing:
            raise ValueError(f"Terraform's {resource.kind}.{resource.name}: can't read {', '.join(sorted(missing))}")
        condition = (values.get("condition") or [{}])[0].get("expression", "")
        yield Grant(kind, str(values[argument]).rpartition("/")[2], values["role"], values["member"], condition)
