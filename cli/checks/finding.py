"""What a check found, and the command that mends it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from cli.place import Where
from millrace.domain.types import Frozen
from millrace.settings import Settings

Level = Literal["good", "look", "wrong"]


class Finding(Frozen):
    """One thing that was looked at; `look` is worth a look and breaks nothing, `mend` is a command or ''."""

    check: str
    level: Level
    what: str
    mend: str = ""


@dataclass(frozen=True)
class Patient:
    """The platform that is looked at: where it is, and its settings."""

    where: Where
    settings: Settings

    def mend(self, step: str) -> str:
        """The command that does one step of the set-up again."""
        if step == "resources" and self.where.state is None:
            return "terraform -chdir=terraform apply"
        return f"{self.where.command} mend {step}"


Check = Callable[[Patient], Iterator[Finding]]


def good(check: str, what: str) -> Finding:
    """All is as it should be."""
    return Finding(check=check, level="good", what=what)


def wrong(check: str, what: str, mend: str) -> Finding:
    """Something is not as it should be."""
    return Finding(check=check, level="wrong", what=what, mend=mend)


def look(check: str, what: str, mend: str = "") -> Finding:
    """Something is worth a look."""
    return Finding(check=check, level="look", what=what, mend=mend)
