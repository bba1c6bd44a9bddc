"""Dead letters of some topics in; each listed, published again or dropped, with the reason, out."""

import logging
from collections.abc import Callable, Iterable, Sequence

from millrace.domain.dead_letters import Action, Done, Sorted
from millrace.domain.errors import EventRefused
from millrace.domain.names import TOPICS
from millrace.events.dead_letters import DeadLetter, DeadLetters

log = logging.getLogger(__name__)

Why = Callable[[DeadLetter], str]
SHOWN = 2000


def sort(
    dead: DeadLetters,
    action: Action,
    why: Why,
    *,
    topics: Sequence[str] = (),
    ids: Sequence[str] = (),
    reason: str = "",
    dry_run: bool = False,
) -> list[Sorted]:
    """Do one thing with the dead letters of some topics (else all), or with those of these ids; log what is dropped.

    Raises:
        EventRefused: no such topic or letter, or nothing says why to drop.
    """
    if unknown := [topic for topic in topics if topic not in TOPICS]:
        raise EventRefused(f"no topic {', '.join(unknown)}; there are {', '.join(TOPICS)}")
    if action == "drop" and not reason.strip():
        raise EventRefused("a message is dropped for good, so say why: give a reason")
    done: list[Sorted] = []
    for topic in topics or TOPICS:
        with dead.held(topic) as letters:
            done += [deal_with(dead, letter, action, why, reason, dry_run=dry_run) for letter in _chosen(letters, ids)]
    if missing := set(ids) - {one.id for one in done}:
        raise EventRefused(f"no dead letter {', '.join(sorted(missing))} (others of the ids given are done); list them")
    return done


def _chosen(letters: Iterable[DeadLetter], ids: Sequence[str]) -> Iterable[DeadLetter]:
    return (letter for letter in letters if not ids or letter.id in ids)


def deal_with(
    dead: DeadLetters, letter: DeadLetter, action: Action, why: Why, reason: str = "", *, dry_run: bool = False
) -> Sorted:
    """Do one thing with a held letter; the log keeps what was done.

    Raises:
        SettingsError: the topic is gone.
        ServiceUnavailable: Pub/Sub did not answer; the letter stays.
    """
    done: Done = "kept"
    if action == "redrive":
        done = "would be redriven" if dry_run else "redriven"
    elif action == "drop":
        done = "would be dropped" if dry_run else "dropped"
    one = Sorted(
        topic=letter.topic,
        id=letter.id,
        done=done,
        published=letter.published,
        attempts=letter.attempts,
        why=why(letter),
        attributes=letter.attributes,
        data=letter.data[:SHOWN].decode(errors="replace"),
    )
    if action == "list" or dry_run:
        return one
    fields = one.model_dump() | ({"reason": reason} if action == "drop" else {"origin": letter.origin})
    if action == "redrive":
        fields["new_id"] = dead.redrive(letter)
    event = "dead_letter.redriven" if action == "redrive" else "dead_letter.dropped"
    log.info(event, extra={"event": event, "fields": fields})
    if action == "drop":
        dead.drop(letter)  # after the line that keeps what it said
    return one
