"""Checks of service accounts: each exists, is enabled, has no key, and only Terraform's grants."""

from collections.abc import Iterator

from tests.cloud.checks.check import Check, Project
from tests.cloud.checks.rights import rights_check
from tests.cloud.expected import Expected
from tests.cloud.target import Target

AREA = "service accounts"


def _exists(email: str) -> Check:
    def look(project: Project) -> Iterator[str]:
        response = project.clients.rest("iam", "GET", _path(project, email))
        if response.get("disabled"):
            yield "It is disabled."

    method = "iam.projects.serviceAccounts.get"
    return Check(AREA, f"account {email}", method, f"serviceAccounts/{email}", look, "It exists and is enabled.")


def _has_no_key(email: str) -> Check:
    def look(project: Project) -> Iterator[str]:
        response = project.clients.rest("iam", "GET", f"{_path(project, email)}/keys", keyTypes="USER_MANAGED")
        if keys := response.get("keys"):
            yield f"It has {len(keys)} keys that a person made; whoever has one acts as the account."

    repair = "delete its keys with `gcloud iam service-accounts keys delete`"
    title = f"keys of {email}"
    return Check(
        AREA,
        title,
        "iam.projects.serviceAccounts.keys.list",
        f"serviceAccounts/{email}",
        look,
        "It has no key.",
        repair,
    )


def _path(project: Project, email: str) -> str:
    return f"/v1/projects/{project.clients.target.project}/serviceAccounts/{email}"


def account_checks(expected: Expected, target: Target) -> Iterator[Check]:
    """Yield the checks of the platform's service accounts."""
    for name in expected.names("serviceAccounts"):
        email = f"{name}@{target.project}.iam.gserviceaccount.com"
        yield _exists(email)
        yield _has_no_key(email)
        yield rights_check(AREA, "serviceAccounts", email)
