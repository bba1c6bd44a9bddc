"""Dead letters of a topic in; those whose cause is gone, as after an outage of Prefect, published again, out."""

from millrace.domain import names
from millrace.domain.dead_letters import Action, DeadLetterOutcome
from millrace.events.dead_letters import DeadLetter, DeadLetters
from millrace.events.reasons import ACCEPTED, IGNORED, rejection_reason
from millrace.events.sort import settle_letter


def redrive_deliverable(dead: DeadLetters, topic: str, *, dry_run: bool = False) -> list[DeadLetterOutcome]:
    """Publish letters again that the gateway would accept now; return the outcome of all.

    Each message is published again once: if it comes back, its cause is unknown here, and a person must decide.

    Raises:
        SettingsError: the topic has no dead-letter subscription.
        ServiceUnavailable: Pub/Sub did not answer.
    """
    with dead.hold(topic) as letters:
        return [settle_letter(dead, letter, _action(letter), rejection_reason, dry_run=dry_run) for letter in letters]


def _action(letter: DeadLetter) -> Action:
    is_first = names.ORIGIN_ATTRIBUTE not in letter.attributes
    return "redrive" if is_first and rejection_reason(letter) in (ACCEPTED, IGNORED) else "list"
