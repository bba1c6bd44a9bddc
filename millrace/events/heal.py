"""Dead letters of a topic in; those that only met a gateway or a Prefect that was away published again, out."""

from millrace.domain import names
from millrace.domain.dead_letters import Sorted
from millrace.events.dead_letters import DeadLetter, DeadLetters
from millrace.events.reasons import MEANINGLESS, TAKEN, why_refused
from millrace.events.sort import deal_with


def heal(dead: DeadLetters, topic: str, *, dry_run: bool = False) -> list[Sorted]:
    """Publish those letters again that would be taken now; returns all, with what became of each.

    Each is published again once: one that comes back has a reason that is not known here, and is left to a person.

    Raises:
        SettingsError: the topic has no dead-letter subscription.
        ServiceUnavailable: Pub/Sub did not answer.
    """
    with dead.held(topic) as letters:
        return [
            deal_with(dead, letter, "redrive" if _would_pass(letter) else "list", why_refused, dry_run=dry_run)
            for letter in letters
        ]


def _would_pass(letter: DeadLetter) -> bool:
    return names.ORIGIN_ATTRIBUTE not in letter.attributes and why_refused(letter) in (TAKEN, MEANINGLESS)
