"""Checks of the caller and the project: credentials, clock, state, billing, APIs, rights."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import Request

from tests.cloud.checks.check import LOGIN, Check, Project, Unknown
from tests.cloud.checks.rights import rights_check
from tests.cloud.expected import Expected
from tests.cloud.methods import OWN, READS
from tests.cloud.target import Target

AREA = "project"
MOST_APART_S = 60  # Google refuses tokens that were signed by a clock that is further away
MOST_SERVICES = 20  # one request of services.batchGet takes at most 30
MOST_PERMISSIONS = 100  # of one request of testIamPermissions


def caller(project: Project) -> tuple[str, list[str]]:
    """Return the address and the scopes of the credentials. Raises Unknown."""
    clients = project.clients
    if isinstance(clients.credentials, AnonymousCredentials):
        raise Unknown("There are no credentials, so the caller is nobody.", LOGIN)
    if not clients.credentials.valid:
        clients.credentials.refresh(Request(clients.session))
    url = f"{clients.target.base('oauth2')}/tokeninfo"
    answer = clients.session.post(url, data={"access_token": clients.credentials.token}, timeout=20)
    if answer.status_code != 200:
        raise Unknown(f"Google does not know the credentials' token (status {answer.status_code}).", LOGIN)
    claims = answer.json()
    return str(claims.get("email") or claims.get("azp") or "an account without an address"), claims.get(
        "scope", ""
    ).split()


def _credentials(project: Project) -> Iterator[str]:
    email, scopes = caller(project)
    if not any(scope.endswith("/auth/cloud-platform") for scope in scopes):
        yield f"The credentials of {email} lack the scope cloud-platform."
    if email in _own_accounts(project):
        yield f"The kit runs as the platform's own account {email}; let a person or an account of its own run it."


def _own_accounts(project: Project) -> list[str]:
    host = f"{project.clients.target.project}.iam.gserviceaccount.com"
    return [f"{name}@{host}" for name in project.expected.names("serviceAccounts")]


def _clock(project: Project) -> Iterator[str]:
    path = f"/v3/projects/{project.clients.target.project}"
    answer = project.clients.answer("cloudresourcemanager", "GET", path)
    if "Date" not in answer.headers:
        raise Unknown("The answer has no date, so clocks were not compared.", "compare this clock with another")
    apart = (datetime.now(UTC) - parsedate_to_datetime(answer.headers["Date"])).total_seconds()
    if abs(apart) > MOST_APART_S:
        yield f"This machine's clock is {apart:+.0f} s from Google's, so its tokens are refused."


def _state(project: Project) -> Iterator[str]:
    described = project.clients.rest("cloudresourcemanager", "GET", f"/v3/projects/{project.clients.target.project}")
    if described.get("state") != "ACTIVE":
        yield f"The project's state is {described.get('state')}."


def _billing(project: Project) -> Iterator[str]:
    path = f"/v1/projects/{project.clients.target.project}/billingInfo"
    if not project.clients.rest("cloudbilling", "GET", path).get("billingEnabled"):
        yield "The project has no billing account, so most services refuse it."


def _services(names: list[str]) -> Check:
    def look(project: Project) -> Iterator[str]:
        parent = f"projects/{project.clients.target.project}"
        requested = [f"{parent}/services/{name}" for name in names]
        response = project.clients.rest("serviceusage", "GET", f"/v1/{parent}/services:batchGet", names=requested)
        on = {s["name"].rpartition("/")[2] for s in response.get("services", []) if s.get("state") == "ENABLED"}
        if missing := sorted(set(names) - on):
            yield f"These APIs are not switched on: {', '.join(missing)}."

    title = f"APIs {names[0].split('.')[0]} to {names[-1].split('.')[0]}"
    passed = f"All {len(names)} APIs are switched on."
    repair = "run `gcloud services enable` with these names, or `terraform -chdir=terraform apply`"
    return Check(AREA, title, "serviceusage.services.batchGet", f"services/{len(names)} names", look, passed, repair)


def permissions(methods: dict[str, str]) -> list[str]:
    """Return the permissions of methods, each once."""
    return sorted({p.strip() for listed in methods.values() for p in listed.split(",") if p.strip()})


def _own_rights(title: str, needed: list[str], repair: str) -> Check:
    def look(project: Project) -> Iterator[str]:
        path = f"/v3/projects/{project.clients.target.project}:testIamPermissions"
        held: set[str] = set()
        for at in range(0, len(needed), MOST_PERMISSIONS):
            requested = {"permissions": needed[at : at + MOST_PERMISSIONS]}
            held |= set(project.clients.rest("cloudresourcemanager", "POST", path, requested).get("permissions", []))
        if missing := sorted(set(needed) - held):
            yield f"The caller lacks {', '.join(missing)}."

    method = "cloudresourcemanager.projects.testIamPermissions"
    return Check(AREA, title, method, f"{len(needed)} permissions", look, "The caller has all of them.", repair)


def project_checks(expected: Expected, target: Target, *, suites: bool) -> Iterator[Check]:
    """Yield the checks of the caller and the project."""
    name, get = f"projects/{target.project}", "cloudresourcemanager.projects.get"
    yield Check(AREA, "credentials", "oauth2.tokeninfo", "the caller", _credentials, "They are valid.", LOGIN)
    yield Check(AREA, "project", get, name, _state, "It is active.", "check the name of the project")
    clock = "set the clock, for instance by `sudo timedatectl set-ntp true`"
    yield Check(AREA, "clock", get, name, _clock, "It is right.", clock)
    method, repair = "cloudbilling.projects.getBillingInfo", "link a billing account to the project"
    yield Check(AREA, "billing", method, name, _billing, "A billing account is linked.", repair)
    services = sorted(expected.names("services"))
    for at in range(0, len(services), MOST_SERVICES):
        yield _services(services[at : at + MOST_SERVICES])
    reviewer = "grant the caller roles/viewer and roles/iam.securityReviewer"
    yield _own_rights("rights of the caller to check", permissions(READS), reviewer)
    if suites:
        owner = "grant the caller roles/editor and roles/secretmanager.admin, or run the kit with --checks"
        yield _own_rights("rights of the caller to run the suites", permissions(OWN), owner)
    yield rights_check(AREA, "projects", target.project)
