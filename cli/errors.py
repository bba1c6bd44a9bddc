"""An exception in; one sentence that says what, which and what to do, and an exit code, out."""

from cli import codes
from millrace.domain.errors import Fatal, MillraceError

DOCTOR = "`millrace doctor` says what is wrong"


class StackDown(Fatal):
    """The stack on this machine is down."""


def sentence(problem: Exception) -> tuple[str, int]:
    """What to tell a person, and how the command ends."""
    if isinstance(problem, StackDown):
        return str(problem), codes.DOWN
    if isinstance(problem, MillraceError):
        return f"{type(problem).__name__}: {problem}", codes.WRONG
    kinds = {kind.__name__ for kind in type(problem).__mro__}
    text = " ".join(str(problem).split()) or "no words were given"
    if kinds & {"ConnectError", "TimeoutException"}:
        return f"a server did not answer ({type(problem).__name__}: {text}); {DOCTOR}", codes.WRONG
    if "PrefectHTTPStatusError" in kinds:
        return f"Prefect did not do it ({text}); {DOCTOR}", codes.WRONG
    return f"{type(problem).__name__}: {text}; `millrace --debug …` shows where", codes.WRONG
