"""An exception in; one sentence with the problem and its remedy, and an exit code, out."""

from cli import codes
from millrace.domain.errors import Fatal, MillraceError

DOCTOR = "run `millrace doctor`"


class StackDown(Fatal):
    """The stack on this machine is down."""


def sentence(problem: Exception) -> tuple[str, int]:
    """Return the message for people and the exit code of the command."""
    if isinstance(problem, StackDown):
        return str(problem), codes.DOWN
    if isinstance(problem, MillraceError):
        return f"{type(problem).__name__}: {problem}", codes.WRONG
    kinds = {kind.__name__ for kind in type(problem).__mro__}
    text = " ".join(str(problem).split()) or "no error message"
    if kinds & {"ConnectError", "TimeoutException"}:
        return f"a server did not answer ({type(problem).__name__}: {text}); {DOCTOR}", codes.WRONG
    if "PrefectHTTPStatusError" in kinds:
        return f"Prefect rejected the request ({text}); {DOCTOR}", codes.WRONG
    return f"{type(problem).__name__}: {text}; `millrace --debug …` shows the traceback", codes.WRONG
