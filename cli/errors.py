"""An exception in; one sentence that says what, which and what to do, and an exit code, out."""

from cli import codes
from contracts.errors import Fatal, MillraceError

PREFECT_AWAY = "Prefect did not answer ({}); `millrace doctor` says what is wrong"


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
    if kinds & {"ConnectError", "ConnectTimeout", "ReadTimeout", "PrefectHTTPStatusError"}:
        return PREFECT_AWAY.format(f"{type(problem).__name__}: {text}"), codes.WRONG
    return f"{type(problem).__name__}: {text}; `millrace --debug …` shows where", codes.WRONG
