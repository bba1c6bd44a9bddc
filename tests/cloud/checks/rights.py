"""Policies of resources in; grants of Terraform that they lack, and others that our accounts have, out."""

from collections.abc import Iterator
from typing import Any

from tests.cloud.checks.check import Check, Project, Unknown
from tests.cloud.discovery import Json
from tests.cloud.expected import Grant

PUBLIC = ("allUsers", "allAuthenticatedUsers")
# The names by which BigQuery's access lists still call roles:
# https://cloud.google.com/bigquery/docs/reference/rest/v2/datasets#Dataset.Access
DATASET_ROLES = {
    "READER": "roles/bigquery.dataViewer",
    "WRITER": "roles/bigquery.dataEditor",
    "OWNER": "roles/bigquery.dataOwner",
}
DATASET_MEMBERS = {"userByEmail": "user", "groupByEmail": "group", "domain": "domain", "iamMember": ""}
VERSION = 3  # policies with conditions
METHODS = {
    "projects": "cloudresourcemanager.projects.getIamPolicy",
    "serviceAccounts": "iam.projects.serviceAccounts.getIamPolicy",
    "buckets": "storage.buckets.getIamPolicy",
    "topics": "pubsub.IAMPolicy.GetIamPolicy",
    "subscriptions": "pubsub.IAMPolicy.GetIamPolicy",
    "secrets": "secretmanager.SecretManagerService.GetIamPolicy",
    "datasets": "bigquery.datasets.get",
}


def rights_check(area: str, kind: str, name: str) -> Check:
    """Return the check that a resource's policy has the grants of Terraform."""

    def look(project: Project) -> Iterator[str]:
        response = set(policy(project, kind, name))
        yield from compare(project.expected.on(kind, name), response, project)

    title = f"rights on {kind}/{name}"
    return Check(
        area, title, METHODS[kind], f"{kind}/{name}", look, "Exactly the roles of Terraform are granted on it."
    )


def compare(expected: list[Grant], response: set[Grant], project: Project) -> Iterator[str]:
    """Yield a sentence for each grant that is missing, or that our accounts have and Terraform does not give."""
    unsure = [grant for grant in expected if "NUMBER" in grant.member and grant not in response]
    for grant in expected:
        if grant not in response and grant not in unsure:
            yield f"{grant.member} lacks {grant.role}{_under(grant)}."
    ours = {f"serviceAccount:{email}" for email in accounts(project)}
    for grant in sorted(response - set(expected), key=str):
        if grant.member in PUBLIC:
            yield f"{grant.member}, which is everybody, has {grant.role}."
        elif grant.member in ours:
            yield f"{grant.member} has {grant.role}{_under(grant)}, which Terraform does not grant."
    if unsure:
        roles = ", ".join(sorted({grant.role for grant in unsure}))
        message = f"The project's number is not known, so the grants of {roles} to Google's accounts were not compared."
        raise Unknown(message, "grant the caller resourcemanager.projects.get")


def _under(grant: Grant) -> str:
    return f" under the condition {grant.condition}" if grant.condition else ""


def accounts(project: Project) -> list[str]:
    """Return the addresses of our service accounts."""
    host = f"{project.clients.target.project}.iam.gserviceaccount.com"
    return [f"{name}@{host}" for name in project.expected.names("serviceAccounts")]


def policy(project: Project, kind: str, name: str) -> Iterator[Grant]:
    """Yield the grants on a resource."""
    if kind == "datasets":
        yield from dataset_grants(name, dataset(project, name))
        return
    for binding in _bindings(project, kind, name):
        condition = (binding.get("condition") or {}).get("expression", "")
        for member in binding.get("members", ()):
            yield Grant(kind, name, binding["role"], member, condition)


def _bindings(project: Project, kind: str, name: str) -> list[Json]:
    clients = project.clients
    if kind == "projects":
        body = {"options": {"requestedPolicyVersion": VERSION}}
        response = clients.rest("cloudresourcemanager", "POST", f"/v3/projects/{name}:getIamPolicy", body)
    elif kind == "serviceAccounts":
        path = f"/v1/projects/{clients.target.project}/serviceAccounts/{name}:getIamPolicy"
        query: dict[str, Any] = {"options.requestedPolicyVersion": VERSION}
        response = clients.rest("iam", "POST", path, **query)
    elif kind == "buckets":
        response = clients.rest("storage", "GET", f"/storage/v1/b/{name}/iam", optionsRequestedPolicyVersion=VERSION)
    else:
        client = clients.secrets if kind == "secrets" else clients.publisher
        request = {"resource": clients.path(kind, name), "options": {"requested_policy_version": VERSION}}
        answer = client.get_iam_policy(request=request, timeout=20)
        return [
            {"role": b.role, "members": list(b.members), "condition": {"expression": b.condition.expression}}
            for b in answer.bindings
        ]
    return list(response.get("bindings", []))


def dataset(project: Project, name: str) -> Json:
    """Return a dataset as BigQuery's API describes it."""
    path = f"/bigquery/v2/projects/{project.clients.target.project}/datasets/{name}"
    return project.clients.rest("bigquery", "GET", path)


def dataset_grants(name: str, resource: Json) -> Iterator[Grant]:
    """Yield the grants in a dataset's access list; those of views and of the project's own roles are left out."""
    for entry in resource.get("access", []):
        for field, prefix in DATASET_MEMBERS.items():
            if field not in entry or "role" not in entry:
                continue
            member = entry[field]
            if prefix == "user" and member.endswith(".gserviceaccount.com"):
                prefix = "serviceAccount"
            role = DATASET_ROLES.get(entry["role"], entry["role"])
            yield Grant("datasets", name, role, f"{prefix}:{member}" if prefix else member)
        if entry.get("specialGroup") == "allAuthenticatedUsers":
            yield Grant("datasets", name, entry["role"], "allAuthenticatedUsers")
