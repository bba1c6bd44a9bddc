"""Removes what runs left in a project, of any run that ended or died, and proves by listing that nothing is left."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from google.api_core import exceptions
from google.api_core.exceptions import GoogleAPICallError

from tests.cloud.checks.check import one_line
from tests.cloud.clients import Clients, reason
from tests.cloud.names import LABEL, owned, run_of

TIMEOUT_S = 30
LISTS_AGREE_S = 90.0  # lists of Pub/Sub and of jobs show a deletion after a while
DEAD = ("JOB_STATE_DONE", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_CANCELLING")


@dataclass(frozen=True)
class Leftover:
    """A resource with the name of a run; `ours` says whether it has the run's label too."""

    kind: str
    name: str
    ours: bool


@dataclass
class Cleaned:
    """What a clean-up removed, left alone, and could not remove."""

    removed: list[Leftover] = field(default_factory=list)
    foreign: list[Leftover] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: list[Leftover] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Return whether lists show that nothing of a run is left."""
        return not self.left and not self.failed


@dataclass(frozen=True)
class Kind:
    """A kind of resource: how its members are listed, and how one is removed."""

    name: str
    list_method: str
    delete_method: str
    listed: Callable[[Clients], Iterator[tuple[str, dict[str, str]]]]
    delete: Callable[[Clients, str], None]


def _jobs(clients: Clients) -> Iterator[tuple[str, dict[str, str]]]:
    target = clients.target
    path = f"/v1b3/projects/{target.project}/locations/{target.region}/jobs"
    for job in pages(clients, "dataflow", path, "jobs", filter="ACTIVE"):
        if job.get("currentState") not in DEAD:
            labels = job.get("labels") or {}
            own = f"millrace-smoke-{labels[LABEL]}-{job['id']}" if LABEL in labels else str(job.get("name", ""))
            yield own, labels


def _cancel(clients: Clients, name: str) -> None:
    job = name.split("-", 3)[3]
    path = f"/v1b3/projects/{clients.target.project}/locations/{clients.target.region}/jobs/{job}"
    clients.rest("dataflow", "PUT", path, {"requestedState": "JOB_STATE_CANCELLED"})


def _subscriptions(clients: Clients) -> Iterator[tuple[str, dict[str, str]]]:
    project = f"projects/{clients.target.project}"
    for resource in clients.subscriber.list_subscriptions(project=project, timeout=TIMEOUT_S):
        yield resource.name.rpartition("/")[2], dict(resource.labels)


def _topics(clients: Clients) -> Iterator[tuple[str, dict[str, str]]]:
    for resource in clients.publisher.list_topics(project=f"projects/{clients.target.project}", timeout=TIMEOUT_S):
        yield resource.name.rpartition("/")[2], dict(resource.labels)


def _secrets(clients: Clients) -> Iterator[tuple[str, dict[str, str]]]:
    for resource in clients.secrets.list_secrets(parent=f"projects/{clients.target.project}", timeout=TIMEOUT_S):
        yield resource.name.rpartition("/")[2], dict(resource.labels)


def _datasets(clients: Clients) -> Iterator[tuple[str, dict[str, str]]]:
    path = f"/bigquery/v2/projects/{clients.target.project}/datasets"
    for resource in pages(clients, "bigquery", path, "datasets"):
        yield resource["datasetReference"]["datasetId"], resource.get("labels") or {}


def _buckets(clients: Clients) -> Iterator[tuple[str, dict[str, str]]]:
    project = clients.target.project
    for resource in pages(clients, "storage", "/storage/v1/b", "items", project=project, prefix="millrace-smoke-"):
        yield resource["name"], resource.get("labels") or {}


def pages(clients: Clients, service: str, path: str, field_: str, **query: Any) -> Iterator[Any]:
    """Yield the items of all pages of a list."""
    token = ""
    while True:
        parameters: dict[str, Any] = query | ({"pageToken": token} if token else {})
        answer = clients.rest(service, "GET", path, **parameters)
        yield from answer.get(field_, [])
        token = answer.get("nextPageToken", "")
        if not token:
            return


def delete_bucket(clients: Clients, name: str) -> None:
    """Delete a bucket of a run with all generations of its objects, held and retained ones too."""
    path = f"/storage/v1/b/{name}"
    clients.rest("storage", "PATCH", path, {"retentionPolicy": None, "defaultEventBasedHold": False})
    for resource in list(pages(clients, "storage", f"{path}/o", "items", versions="true")):
        place = f"{path}/o/{quote(resource['name'], safe='')}"
        if resource.get("temporaryHold") or resource.get("eventBasedHold"):
            free = {"temporaryHold": False, "eventBasedHold": False}
            clients.rest("storage", "PATCH", place, free, generation=resource["generation"])
        clients.delete("storage", place, generation=resource["generation"])
    clients.delete("storage", path)


def _delete_dataset(clients: Clients, name: str) -> None:
    path = f"/bigquery/v2/projects/{clients.target.project}/datasets/{name}"
    clients.delete("bigquery", path, deleteContents="true")


def _delete_secret(clients: Clients, name: str) -> None:
    clients.secrets.delete_secret(name=clients.path("secrets", name), timeout=TIMEOUT_S)


def _delete_topic(clients: Clients, name: str) -> None:
    clients.publisher.delete_topic(topic=clients.path("topics", name), timeout=TIMEOUT_S)


def _delete_subscription(clients: Clients, name: str) -> None:
    path = clients.path("subscriptions", name)
    clients.subscriber.delete_subscription(subscription=path, timeout=TIMEOUT_S)


SECRETS = "secretmanager.SecretManagerService"
KINDS = (
    Kind("jobs", "dataflow.projects.locations.jobs.list", "dataflow.projects.locations.jobs.update", _jobs, _cancel),
    Kind(
        "subscriptions",
        "pubsub.Subscriber.ListSubscriptions",
        "pubsub.Subscriber.DeleteSubscription",
        _subscriptions,
        _delete_subscription,
    ),
    Kind("topics", "pubsub.Publisher.ListTopics", "pubsub.Publisher.DeleteTopic", _topics, _delete_topic),
    Kind("secrets", f"{SECRETS}.ListSecrets", f"{SECRETS}.DeleteSecret", _secrets, _delete_secret),
    Kind("datasets", "bigquery.datasets.list", "bigquery.datasets.delete", _datasets, _delete_dataset),
    Kind("buckets", "storage.buckets.list", "storage.buckets.delete", _buckets, delete_bucket),
)


def leftovers(clients: Clients, kind: Kind, run: str = "") -> Iterator[Leftover]:
    """Yield the resources of a kind that have the name of a run, or of one run."""
    for name, labels in kind.listed(clients):
        if run_of(name) and run in ("", run_of(name)):
            yield Leftover(kind.name, name, owned(name, labels))


def clean_up(clients: Clients, run: str = "", wait_s: float = LISTS_AGREE_S) -> Cleaned:
    """Remove all resources of a run ('': of all runs), then list until none is left, or the time is over."""
    cleaned = Cleaned()
    for kind in KINDS:
        _clean_kind(clients, kind, run, cleaned)
    deadline = time.monotonic() + wait_s
    while True:
        cleaned.left = [
            resource for kind in KINDS for resource in _listed(clients, kind, run, cleaned) if resource.ours
        ]
        if not cleaned.left or time.monotonic() > deadline:
            return cleaned
        time.sleep(min(3.0, wait_s / 5 + 0.01))


def _clean_kind(clients: Clients, kind: Kind, run: str, cleaned: Cleaned) -> None:
    resource = _listed(clients, kind, run, cleaned)
    cleaned.foreign += [leftover for leftover in resource if not leftover.ours]
    for leftover in resource:
        if not leftover.ours:
            continue
        try:
            kind.delete(clients, leftover.name)
            cleaned.removed.append(leftover)
        except exceptions.NotFound:
            continue
        except (GoogleAPICallError, OSError) as error:
            cleaned.failed[leftover.name] = f"{kind.name}/{leftover.name} can't be removed: {one_line(error)}"


def _listed(clients: Clients, kind: Kind, run: str, cleaned: Cleaned) -> list[Leftover]:
    """Return the resources of a kind; where its API is switched off there are none."""
    try:
        return list(leftovers(clients, kind, run))
    except (GoogleAPICallError, OSError) as error:
        if not isinstance(error, GoogleAPICallError) or reason(error) != "SERVICE_DISABLED":
            cleaned.failed[kind.name] = f"{kind.name} can't be listed: {one_line(error)}"
        return []
