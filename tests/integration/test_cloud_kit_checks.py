"""The kit's checks on a project of local servers that has all that Terraform makes, then with one thing wrong."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.budget import Limits
from tests.cloud.checks.all import all_checks
from tests.cloud.checks.check import Project, Result, evaluate
from tests.cloud.clients import Clients
from tests.cloud.dry_run import rows
from tests.cloud.expected import Expected, Grant
from tests.cloud.guard import Guard
from tests.cloud.journal import Journal
from tests.cloud.options import Options
from tests.cloud.results import Report
from tests.cloud.run import Run
from tests.cloud.transport import guarded
from tests.support.deployed import DOMAIN, deploy
from tests.support.google_project import NUMBER, Cloud, GoogleProject, cloud

pytestmark = pytest.mark.slow

LAKE, FLOW = "shop-prod-lake", "serviceAccount:millrace-flow@shop-prod.iam.gserviceaccount.com"
Change = Callable[["Place"], Any]


class Place:
    """A deployed project, which each test gets as it was deployed."""

    def __init__(self, servers: Cloud, expected: Expected, folder: Path) -> None:
        self.cloud, self.expected, self.folder = servers, expected, folder
        self.google, self.clients = servers.google, Clients(servers.target)
        self.own = Clients(servers.target)  # not guarded

    def check(self, title: str) -> Result:
        """Return the outcome of one check."""
        project = Project(self.clients, self.expected, NUMBER, DOMAIN)
        (check,) = (c for c in all_checks(self.expected, self.cloud.target, suites=True) if c.title == title)
        with guarded(Guard(self.cloud.target, Journal(self.folder), Limits(), step="check", writes=False)):
            return evaluate(check, project)

    def bucket(self, **changes: Any) -> None:
        self.own.rest("storage", "PATCH", f"/storage/v1/b/{LAKE}", changes)

    def subscription(self, **changes: Any) -> None:
        name = self.own.path("subscriptions", "lake-landed-gateway")
        request = {"subscription": {"name": name} | changes, "update_mask": {"paths": list(changes)}}
        self.own.subscriber.update_subscription(request=request)

    def secret(self, name: str, state: str) -> None:
        version = f"{self.own.path('secrets', name)}/versions/1"
        getattr(self.own.secrets, state)(name=version)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("cloud")
    with cloud(folder) as servers:
        patch = pytest.MonkeyPatch()
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(servers.credentials))
        yield Place(servers, deploy(servers), folder)
        patch.undo()


@pytest.fixture
def place(deployed: Place) -> Iterator[Place]:
    before = deepcopy(deployed.google.__dict__)
    yield deployed
    deployed.google.__dict__.update(before)


@dataclass(frozen=True)
class Whole:
    """A run of all checks: its report, what it said, and the calls that came at the servers."""

    report: Report
    spoken: list[Result]
    calls: list[str]
    methods: list[str]
    planned: list[str]


@pytest.fixture(scope="module")
def whole(deployed: Place) -> Whole:
    target = deployed.cloud.target
    options = Options(target, Limits(), deployed.folder / "results", suites=(), domain=DOMAIN)
    deployed.cloud.forget_calls()
    planned = [row.method for row in rows(options)]
    assert deployed.cloud.calls == [], "a dry run calls nothing"
    spoken: list[Result] = []
    run = Run(options, spoken.append)
    report = run()
    return Whole(report, spoken, deployed.cloud.calls, [line["method"] for line in run.journal.lines()], planned)


def test_deployed_project_passes_every_check(whole: Whole) -> None:
    assert [r for r in whole.report.results if r.outcome != "pass"] == []
    assert (whole.report.code, whole.report.state) == (0, "ended")
    assert whole.spoken == whole.report.results
    assert len(whole.spoken) > 100


def test_checks_are_the_calls_of_the_dry_run(whole: Whole) -> None:
    uncounted = {"oauth2.tokeninfo"}  # a call about the credentials
    assert sorted(whole.methods) == sorted(method for method in whole.planned if method not in uncounted)


def test_checks_only_read(whole: Whole) -> None:
    posts = (":getIamPolicy", ":testIamPermissions", "/token", "/tokeninfo")
    rest = [call for call in whole.calls if " " in call]
    assert [call for call in rest if not call.startswith("GET ") and not call.endswith(posts)] == []
    verbs = {call.rpartition("/")[2] for call in whole.calls if " " not in call}
    assert verbs == {"GetTopic", "GetSubscription", "GetSecret", "ListSecretVersions", "GetIamPolicy"}


def test_results_have_no_secret_and_no_token(whole: Whole) -> None:
    path = whole.report.path
    text = path.read_text() + (path.with_suffix("") / "calls.jsonl").read_text()
    assert "slack-webhook-url" in text
    assert [word for word in ("a secret value", "Bearer", "PRIVATE KEY") if word in text] == []


def drop(role: str, kind: str) -> Change:
    """Return the change that takes a role on a kind of resource from everyone."""
    return lambda p: p.google.grants.__setitem__(
        slice(None), [g for g in p.google.grants if (g.role, g.kind) != (role, kind)]
    )


def add(grant: Grant) -> Change:
    return lambda p: p.google.grants.append(grant)


@pytest.mark.parametrize(
    ("title", "change", "message"),
    [
        ("project", lambda p: setattr(p.google, "state", "DELETE_REQUESTED"), "state is DELETE_REQUESTED"),
        ("billing", lambda p: setattr(p.google, "billing", False), "has no billing account"),
        ("APIs storage to sts", lambda p: p.google.services.discard("sts.googleapis.com"), "sts.googleapis.com"),
        ("rights of the caller to check", lambda p: p.google.lacks.add("iam.serviceAccounts.get"), "lacks iam.serv"),
        ("rights on projects/shop-prod", drop("roles/bigquery.jobUser", "projects"), f"{FLOW} lacks roles/bigquery"),
        (
            "rights on projects/shop-prod",
            add(Grant("projects", "shop-prod", "roles/owner", FLOW)),
            f"{FLOW} has roles/owner, which Terraform does not grant",
        ),
        (
            f"rights on buckets/{LAKE}",
            add(Grant("buckets", LAKE, "roles/storage.objectViewer", "allUsers")),
            "allUsers, which is everybody",
        ),
        (f"rights on buckets/{LAKE}", drop("roles/storage.objectUser", "buckets"), "under the condition resource.name"),
        ("rights on topics/lake-landed-dead", drop("roles/pubsub.publisher", "topics"), "gcp-sa-pubsub"),
        ("rights on datasets/ops", drop("roles/bigquery.dataEditor", "datasets"), f"{FLOW} lacks"),
        (
            "account millrace-flow@shop-prod.iam.gserviceaccount.com",
            lambda p: p.google.accounts.update({f"{FLOW.partition(':')[2]}": {"disabled": True}}),
            "It is disabled",
        ),
        (
            "keys of millrace-flow@shop-prod.iam.gserviceaccount.com",
            lambda p: p.google.keys.update({FLOW.partition(":")[2]: [{"name": "k"}]}),
            "It has 1 keys",
        ),
        ("dataset ops", lambda p: p.google.datasets["ops"].update(location="US"), "location is 'US', not 'EU'"),
        ("dataset staging", lambda p: p.google.datasets["staging"].pop("defaultTableExpirationMs"), "not 604800000"),
        ("dataset audit", lambda p: p.google.datasets.pop("audit"), "datasets/audit does not exist"),
        ("quotas of europe-west1", lambda p: p.google.quotas.update(CPUS=(24, 8)), "16 of 24 are free, and"),
        ("secret slack-webhook-url", lambda p: p.google.secrets["slack-webhook-url"].pop("topics"), "topics is []"),
    ],
)
def test_difference_fails_its_check(place: Place, title: str, change: Change, message: str) -> None:
    assert place.check(title).outcome == "pass"
    change(place)
    result = place.check(title)
    assert (result.outcome, message in result.message) == ("fail", True), result
    assert result.message.endswith(".")
    assert result.repair


@pytest.mark.parametrize(
    ("title", "wrong", "right", "message"),
    [
        (
            f"bucket {LAKE}",
            lambda p: p.bucket(versioning={"enabled": False}),
            lambda p: p.bucket(versioning={"enabled": True}),
            "versioning is False, not True",
        ),
        (
            "subscription lake-landed-gateway",
            lambda p: p.subscription(push_config={"push_endpoint": "https://other.example.com/push/lake-landed"}),
            lambda p: p.subscription(push_config=push_of(p)),
            "account of pushes is '', not 'millrace-push@",
        ),
        (
            "subscription lake-landed-gateway",
            lambda p: p.subscription(dead_letter_policy={}),
            lambda p: p.subscription(dead_letter_policy=dead_of(p)),
            "dead-letter topic is ''",
        ),
        (
            "versions of slack-webhook-url",
            lambda p: p.secret("slack-webhook-url", "disable_secret_version"),
            lambda p: p.secret("slack-webhook-url", "enable_secret_version"),
            "None of its 1 versions is enabled",
        ),
    ],
)
def test_changed_setting_fails_its_check(place: Place, title: str, wrong: Change, right: Change, message: str) -> None:
    wrong(place)
    result = place.check(title)
    right(place)
    assert (result.outcome, message in result.message) == ("fail", True), result
    assert place.check(title).outcome == "pass"


def push_of(place: Place) -> dict[str, Any]:
    config = place.expected.resources["subscriptions"]["lake-landed-gateway"]["push_config"][0]
    return {"push_endpoint": config["push_endpoint"], "oidc_token": config["oidc_token"][0]}


def dead_of(place: Place) -> dict[str, Any]:
    policy: dict[str, Any] = place.expected.resources["subscriptions"]["lake-landed-gateway"]["dead_letter_policy"][0]
    return policy


@pytest.mark.parametrize(
    ("title", "place_", "error", "outcome", "message"),
    [
        ("billing", "billingInfo", (403, "forbidden"), "unknown", "lacks resourcemanager.projects.get on"),
        ("billing", "billingInfo", (403, "SERVICE_DISABLED"), "fail", "cloudbilling.googleapis.com is not switched on"),
        ("billing", "billingInfo", (429, "rateLimitExceeded"), "unknown", "A quota of the project stops"),
        ("billing", "billingInfo", (503, "backendError"), "unknown", "does not answer"),
        ("billing", "billingInfo", (401, "authError"), "unknown", "does not accept the credentials"),
        (f"bucket {LAKE}", f"/b/{LAKE}", (404, "notFound"), "fail", f"buckets/{LAKE} does not exist"),
        (f"bucket {LAKE}", f"/b/{LAKE}", (403, "forbidden"), "unknown", "lacks storage.buckets.get"),
        ("topic lake-landed", "/GetTopic", ("PERMISSION_DENIED", "no"), "unknown", "lacks pubsub.topics.get"),
        ("topic lake-landed", "/GetTopic", ("NOT_FOUND", "no"), "fail", "topics/lake-landed does not exist"),
        ("topic lake-landed", "/GetTopic", ("RESOURCE_EXHAUSTED", "quota"), "unknown", "A quota of the project"),
        (
            "topic lake-landed",
            "/GetTopic",
            ("UNIMPLEMENTED", "no"),
            "unknown",
            "does not have pubsub.Publisher.GetTopic",
        ),
        ("topic lake-landed", "/GetTopic", ("UNAUTHENTICATED", "no"), "unknown", "does not accept the credentials"),
        (
            "rights on topics/lake-landed",
            "/GetIamPolicy",
            ("PERMISSION_DENIED", "no"),
            "unknown",
            "topics.getIamPolicy",
        ),
        ("rights on datasets/ops", "/datasets/ops", (403, "accessDenied"), "unknown", "lacks bigquery.datasets.get"),
        ("credentials", "/tokeninfo", (400, "invalid_token"), "unknown", "does not know the credentials' token"),
    ],
)
def test_error_of_a_service_is_explained(
    place: Place, title: str, place_: str, error: tuple[int | str, str], outcome: str, message: str
) -> None:
    place.google.fails[place_] = error
    result = place.check(title)
    assert (result.outcome, message in result.message) == (outcome, True), result
    assert result.repair
    assert result.message.endswith(".")


def test_unreachable_service_is_unknown(place: Place) -> None:
    target = replace(place.cloud.target, endpoints={**place.cloud.target.endpoints, "apis": "http://127.0.0.1:9"})
    project = Project(Clients(target), place.expected, NUMBER, DOMAIN)
    (check,) = (c for c in all_checks(place.expected, target, suites=False) if c.title == "billing")
    result = evaluate(check, project)
    assert (result.outcome, "does not answer" in result.message) == ("unknown", True), result


def test_unknown_number_leaves_agents_undecided(place: Place) -> None:
    unsure = deepcopy(place.expected)
    grants = tuple(replace(g, member=g.member.replace(NUMBER, "NUMBER")) for g in unsure.grants)
    place.expected = Expected(unsure.resources, grants)
    try:
        result = place.check("rights on topics/lake-landed-dead")
    finally:
        place.expected = unsure
    assert (result.outcome, "number is not known" in result.message) == ("unknown", True), result


def test_own_account_of_the_platform_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.google_project.CALLER", FLOW.partition(":")[2])
    result = place.check("credentials")
    assert (result.outcome, "platform's own account" in result.message) == ("fail", True), result


def test_fake_project_is_restored_between_tests(place: Place) -> None:
    assert isinstance(place.google, GoogleProject)
    assert (place.google.fails, place.google.state) == ({}, "ACTIVE")
