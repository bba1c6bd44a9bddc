"""The commands that fix problems: the one table from which the status, the doctor, alerts and pages take theirs.

Each is one command of `millrace`. `rooted` makes a text's commands work in the shell or page that shows it.
"""

import re
import shlex
from enum import StrEnum

PROGRAM = "millrace"
QUOTED = re.compile(r"`millrace (?=[^`\n]*`)")
BARE = re.compile(r"^millrace(?= |$)")


class Remedy(StrEnum):
    """A command, with the names of the values that it takes."""

    UP = "millrace up"
    STATUS = "millrace status"
    DOCTOR = "millrace doctor"
    EXPLAIN = "millrace explain {name}"
    REPAIR = "millrace repair {step}"
    START = "millrace start {flow}"
    RETRY = "millrace retry {run}"
    RESUME = "millrace resume {name}"
    REDRIVE = "millrace redrive {stream}"
    DEAD_LETTERS = "millrace dead-letters list"
    CHECK_CONTRACTS = "millrace contracts check"
    APPLY_CONNECTION = "millrace connections apply {source}"
    APPLY_CONNECTIONS = "millrace connections apply"
    DEPLOY_BLOCKS = "millrace deploy blocks"
    ADD_SECRET = "millrace secrets add {secret}"
    ROTATE = "millrace secrets rotate"

    def filled(self, *words: str, **values: str) -> str:
        """Return the command with its values, and further words at its end, quoted for a shell."""
        command = self.value.format(**{name: shlex.quote(value) for name, value in values.items()})
        return " ".join([command, *map(shlex.quote, words)])


OF_ERROR: dict[str, Remedy] = {
    "AirbyteRefused": Remedy.APPLY_CONNECTION,
    "ContractError": Remedy.CHECK_CONTRACTS,
    "UnknownStream": Remedy.EXPLAIN,
    "SettingsError": Remedy.DEPLOY_BLOCKS,
    "SecretError": Remedy.DOCTOR,
    "ServiceUnavailable": Remedy.DOCTOR,
}
"""The remedy of an error that starting the run again would only repeat."""
AGAIN = frozenset({"source", "stream"})


def of_run(run_id: str, flow: str, parameters: dict[str, object], error: str) -> str:
    """Return the command that fixes the cause of a run's error, else the one that runs its work again after a fix.

    A run with other parameters than source and stream is continued, as they may be personal or long.
    """
    given = {name: str(value) for name, value in parameters.items() if value}
    match OF_ERROR.get(error):
        case None:
            pass
        case Remedy.APPLY_CONNECTION if "source" not in given:
            return Remedy.APPLY_CONNECTIONS.filled()
        case remedy:
            return remedy.filled(source=given.get("source", ""), name=error)
    if set(given) - AGAIN:
        return Remedy.RETRY.filled(run=run_id)
    return Remedy.START.filled(*(word for name in sorted(given) for word in ("-p", f"{name}={given[name]}")), flow=flow)


def rooted(text: str, command: str) -> str:
    """Return a text whose commands begin with `command`: the program and the options that select an environment."""
    return BARE.sub(lambda _: command, QUOTED.sub(lambda _: f"`{command} ", text))
