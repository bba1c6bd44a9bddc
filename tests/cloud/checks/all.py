"""All checks of a project, in the order in which a deployment needs their parts."""

from collections.abc import Iterator

from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException

from tests.cloud.checks.accounts import account_checks
from tests.cloud.checks.check import Check
from tests.cloud.checks.events import event_checks
from tests.cloud.checks.lake import lake_checks
from tests.cloud.checks.project import project_checks
from tests.cloud.checks.secrets import secret_checks
from tests.cloud.checks.warehouse import warehouse_checks
from tests.cloud.clients import Clients
from tests.cloud.expected import Expected
from tests.cloud.target import Target

UNKNOWN_NUMBER = "NUMBER"


def all_checks(expected: Expected, target: Target, *, suites: bool) -> Iterator[Check]:
    """Yield every check."""
    yield from project_checks(expected, target, suites=suites)
    yield from account_checks(expected, target)
    yield from lake_checks(expected)
    yield from event_checks(expected)
    yield from secret_checks(expected)
    yield from warehouse_checks(expected, target)


def project_number(clients: Clients) -> str:
    """Return the project's number, by which Google names its own accounts; a placeholder when it is not told."""
    try:
        response = clients.rest("cloudresourcemanager", "GET", f"/v3/projects/{clients.target.project}")
    except (GoogleAPICallError, GoogleAuthError, RequestException, ConnectionError):
        return UNKNOWN_NUMBER
    return str(response.get("name", "")).rpartition("/")[2] or UNKNOWN_NUMBER
