"""The result of a check, with the command that repairs what it found."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from cli.environment import Environment
from millrace.domain.remedies import Remedy, rooted
from millrace.domain.types import Frozen
from millrace.settings import Settings

Level = Literal["good", "look", "bad"]


class Finding(Frozen):
    """One result of a check; `look` needs attention but breaks nothing, `repair` is a command or ''."""

    check: str
    level: Level
    message: str
    repair: str = ""


@dataclass(frozen=True)
class Target:
    """The platform that is checked: its environment and settings."""

    environment: Environment
    settings: Settings

    def repair(self, step: str) -> str:
        """Return the command that runs one step of the set-up again."""
        return self.remedy(Remedy.REPAIR, step=step)

    def remedy(self, remedy: Remedy, **values: str) -> str:
        """Return a remedy as a command for this environment."""
        return rooted(remedy.filled(**values), self.environment.command)


Check = Callable[[Target], Iterator[Finding]]


def good(check: str, message: str) -> Finding:
    """Return the finding that a check passed."""
    return Finding(check=check, level="good", message=message)


def bad(check: str, message: str, repair: str) -> Finding:
    """Return the finding that a check failed."""
    return Finding(check=check, level="bad", message=message, repair=repair)


def look(check: str, message: str, repair: str = "") -> Finding:
    """Return the finding that something needs attention."""
    return Finding(check=check, level="look", message=message, repair=repair)
