"""A resource that Terraform makes and the project's facts in; attributes, those that Google gives it too, out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from local.servers.rights.values import Unknown


@dataclass(frozen=True)
class Project:
    """The facts of a project by which Google names things: its id, and its number."""

    id: str
    number: str

    @property
    def storage_agent(self) -> str:
        """Return the account as which Cloud Storage announces objects."""
        return f"service-{self.number}@gs-project-accounts.iam.gserviceaccount.com"

    def agent(self, service: str) -> str:
        """Return Google's own account of a service, as `pubsub.googleapis.com`."""
        return f"service-{self.number}@gcp-sa-{service.partition('.')[0]}.iam.gserviceaccount.com"

    def data(self, kind: str) -> Any:
        """Return what Google answers for data sources of a type, by name."""
        if kind != "google_storage_project_service_account":
            return Unknown(f"data.{kind}")
        return {"this": {"member": f"serviceAccount:{self.storage_agent}", "email_address": self.storage_agent}}


@dataclass(frozen=True)
class Body:
    """An inner block of a resource: its type, evaluated arguments and blocks."""

    kind: str
    arguments: Mapping[str, Any]
    blocks: tuple["Body", ...]


@dataclass(frozen=True)
class Resource:
    """One instance of a resource: its type, name, key (None for a single one), evaluated arguments and blocks."""

    kind: str
    name: str
    key: Any
    arguments: Mapping[str, Any]
    blocks: tuple[Body, ...]


class Attributes(dict[str, Any]):
    """The attributes of one resource: its arguments, and those that Google gives it."""

    def __init__(self, resource: Resource, project: Project) -> None:
        super().__init__()
        self._resource, self._project = resource, project

    def __missing__(self, name: str) -> Any:
        if name in self._resource.arguments:
            return self._resource.arguments[name]
        return self._given.get(name) or Unknown(f"{self._resource.kind}.{self._resource.name}.{name}")

    @cached_property
    def _given(self) -> dict[str, Any]:
        make = GIVEN.get(self._resource.kind)
        return make(self._resource.arguments, self._project) if make else {}


Own = Mapping[str, Any]


def _account(own: Own, project: Project) -> dict[str, Any]:
    email = f"{own['account_id']}@{project.id}.iam.gserviceaccount.com"
    name = f"projects/{project.id}/serviceAccounts/{email}"
    return {"email": email, "member": f"serviceAccount:{email}", "name": name, "id": name}


def _identity(own: Own, project: Project) -> dict[str, Any]:
    email = project.agent(str(own["service"]))
    return {"email": email, "member": f"serviceAccount:{email}"}


def _id(collection: str, argument: str) -> Callable[[Own, Project], dict[str, Any]]:
    return lambda own, project: {"id": f"projects/{project.id}/{collection}/{own[argument]}"}


def _pool(own: Own, project: Project) -> dict[str, Any]:
    pool = own["workload_identity_pool_id"]
    return {"name": f"projects/{project.number}/locations/global/workloadIdentityPools/{pool}"}


GIVEN: dict[str, Callable[[Own, Project], dict[str, Any]]] = {
    "google_service_account": _account,
    "google_artifact_registry_repository": lambda own, _: {"name": own["repository_id"]},
    "google_project_service_identity": _identity,
    "google_pubsub_topic": _id("topics", "name"),
    "google_pubsub_subscription": _id("subscriptions", "name"),
    "google_secret_manager_secret": _id("secrets", "secret_id"),
    "google_project_iam_custom_role": _id("roles", "role_id"),
    "google_iam_workload_identity_pool": _pool,
}
