"""A check with the call it makes, and what becomes of it: passed, failed or unknown, in a sentence, with a repair."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from google.api_core import exceptions
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException

from tests.cloud.clients import Clients, reason
from tests.cloud.discovery import Json
from tests.cloud.expected import Expected
from tests.cloud.methods import permission

Outcome = Literal["pass", "fail", "unknown"]
APPLY = "run `terraform -chdir=terraform apply`"
LOGIN = "run `gcloud auth application-default login`"
AGAIN = "run the check again in a few minutes"
QUOTA = (exceptions.TooManyRequests, exceptions.ResourceExhausted)
SILENT = (exceptions.ServerError, exceptions.RetryError, exceptions.DeadlineExceeded, RequestException, ConnectionError)


@dataclass(frozen=True)
class Project:
    """The project that is checked: clients for it, what Terraform makes, and the domain of the gateway, if known."""

    clients: Clients
    expected: Expected
    number: str = "NUMBER"
    domain: str = ""


@dataclass(frozen=True)
class Result:
    """The outcome of a check."""

    area: str
    title: str
    outcome: Outcome
    message: str
    repair: str = ""

    def dump(self) -> Json:
        """Return the result as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Check:
    """One check: the method that it calls, on which resource; `look` returns sentences about what is wrong."""

    area: str
    title: str
    method: str
    resource: str
    look: Callable[[Project], Iterable[str]]
    passed: str = "It is as Terraform makes it."
    repair: str = APPLY

    @property
    def permission(self) -> str:
        """Return the permission that the check needs."""
        if self.method == "pubsub.IAMPolicy.GetIamPolicy":
            return f"pubsub.{self.resource.split('/')[0]}.getIamPolicy"
        return permission(self.method)


class Unknown(Exception):
    """A check can't be decided; the message is a sentence, `repair` what to do."""

    def __init__(self, message: str, repair: str) -> None:
        super().__init__(message)
        self.repair = repair


def evaluate(check: Check, project: Project) -> Result:
    """Return the outcome of a check; no error of a service is let through."""
    problems: list[str] = []
    try:
        problems.extend(_until_unknown(check, project, problems))
    except Unknown as error:
        return _result(check, "unknown", str(error), error.repair)
    except exceptions.NotFound:
        return _result(check, "fail", f"{check.resource} does not exist.", check.repair)
    except GoogleAuthError as error:
        return _result(check, "unknown", f"Google does not accept the credentials: {one_line(error)}.", LOGIN)
    except QUOTA as error:
        message = f"A quota of the project stops {check.method}: {one_line(error)}."
        return _result(check, "unknown", message, AGAIN)
    except exceptions.MethodNotImplemented:
        message = f"The server at this address does not have {check.method}."
        return _result(check, "unknown", message, "let the kit call Google's own")
    except SILENT as error:
        return _result(check, "unknown", f"{check.method} does not answer: {one_line(error)}.", AGAIN)
    except GoogleAPICallError as error:
        return _rejected(check, project, error)
    if problems:
        return _result(check, "fail", " ".join(problems), check.repair)
    return _result(check, "pass", check.passed, "")


def _until_unknown(check: Check, project: Project, problems: list[str]) -> Iterable[str]:
    """Collect what is wrong; what can't be decided after that is one sentence more."""
    try:
        for problem in check.look(project):
            problems.append(problem)
    except Unknown as error:
        if not problems:
            raise
        return [str(error)]
    return []


def _rejected(check: Check, project: Project, error: GoogleAPICallError) -> Result:
    if reason(error) in ("SERVICE_DISABLED", "accessNotConfigured"):
        service = f"{check.method.split('.')[0]}.googleapis.com"
        enable = f"run `gcloud services enable {service} --project={project.clients.target.project}`"
        return _result(check, "fail", f"The API {service} is not switched on.", enable)
    if isinstance(error, exceptions.Unauthenticated | exceptions.Unauthorized):
        return _result(check, "unknown", f"Google does not accept the credentials: {one_line(error)}.", LOGIN)
    if isinstance(error, exceptions.Forbidden):
        message = f"This was not checked, as the caller lacks {check.permission or 'a permission'} on {check.resource}."
        grant = f"grant the caller a role that has {check.permission or 'it'}, for instance roles/viewer with"
        return _result(check, "unknown", message, f"{grant} roles/iam.securityReviewer")
    return _result(check, "unknown", f"{check.method} is answered by an error: {one_line(error)}.", AGAIN)


def _result(check: Check, outcome: Outcome, message: str, repair: str) -> Result:
    return Result(check.area, check.title, outcome, message, repair)


def one_line(error: Exception) -> str:
    """Return an error's message in one line, without a full stop at its end."""
    text = str(getattr(error, "message", "") or error) or type(error).__name__
    return " ".join(text.split())[:300].rstrip(".")


def differences(pairs: dict[str, tuple[object, object]]) -> list[str]:
    """Return a sentence for each setting, by name, whose expected and actual values differ."""
    return [f"Its {name} is {has!r}, not {wants!r}." for name, (wants, has) in pairs.items() if wants != has]
