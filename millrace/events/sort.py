"""Dead letters and an action in: list, redrive or drop; the outcome of each letter out."""

import logging
from collections.abc import Callable, Iterable, Sequence

from millrace.domain.dead_letters import Action, DeadLetterOutcome, Done
from millrace.domain.errors import EventRefused
from millrace.domain.names import TOPICS
from millrace.events.dead_letters import DeadLetter, DeadLetters
from millrace.observability.events import log_event

log = logging.getLogger(__name__)

Reason = Callable[[DeadLetter], str]
SHOWN = 2000


def settle_letters(
    dead: DeadLetters,
    action: Action,
    find_reason: Reason,
    *,
    topics: Sequence[str] = (),
    ids: Sequence[str] = (),
    reason: str = "",
    dry_run: bool = False,
) -> list[DeadLetterOutcome]:
    """Apply an action to the dead letters of `topics` (else all) with these `ids` (else all); log each change.

    Raises:
        EventRefused: a topic or letter does not exist, or a drop lacks its reason.
    """
    if unknown := [topic for topic in topics if topic not in TOPICS]:
        raise EventRefused(f"no topic {', '.join(unknown)}; there are {', '.join(TOPICS)}")
    if action == "drop" and not reason.strip():
        raise EventRefused("a dropped message can't be restored; give a reason")
    outcomes: list[DeadLetterOutcome] = []
    for topic in topics or TOPICS:
        with dead.hold(topic) as letters:
            outcomes += [
                settle_letter(dead, letter, action, find_reason, reason, dry_run=dry_run)
                for letter in _select(letters, ids)
            ]
    if missing := set(ids) - {outcome.id for outcome in outcomes}:
        raise EventRefused(
            f"no dead letter {', '.join(sorted(missing))} (the other ids are handled); list the dead letters"
        )
    return outcomes


def _select(letters: Iterable[DeadLetter], ids: Sequence[str]) -> Iterable[DeadLetter]:
    return (letter for letter in letters if not ids or letter.id in ids)


def settle_letter(
    dead: DeadLetters,
    letter: DeadLetter,
    action: Action,
    find_reason: Reason,
    reason: str = "",
    *,
    dry_run: bool = False,
) -> DeadLetterOutcome:
    """Apply an action to a held letter; log the change.

    Raises:
        SettingsError: the topic is gone.
        ServiceUnavailable: Pub/Sub did not answer; the letter stays.
    """
    status: Done = "kept"
    if action == "redrive":
        status = "would be redriven" if dry_run else "redriven"
    elif action == "drop":
        status = "would be dropped" if dry_run else "dropped"
    outcome = DeadLetterOutcome(
        topic=letter.topic,
        id=letter.id,
        done=status,
        published=letter.published,
        attempts=letter.attempts,
        why=find_reason(letter),
        attributes=letter.attributes,
        data=letter.data[:SHOWN].decode(errors="replace"),
    )
    if action == "list" or dry_run:
        return outcome
    fields = outcome.model_dump() | ({"reason": reason} if action == "drop" else {"origin": letter.origin})
    if action == "redrive":
        fields["new_id"] = dead.redrive(letter)
    event = "dead_letter.redriven" if action == "redrive" else "dead_letter.dropped"
    log_event(log, logging.INFO, event, **fields)
    if action == "drop":
        dead.drop(letter)  # after the log has the message
    return outcome
