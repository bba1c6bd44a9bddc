"""The gateway's events and their fields in; lines of the log, cut to a safe length, out."""

import logging

from millrace.observability import events

EVENTS = {
    "gateway.accepted": logging.INFO,  # Prefect has the event, or Pub/Sub has Airbyte's notification
    "gateway.ignored": logging.INFO,  # the message has no meaning to the platform
    "gateway.refused": logging.WARNING,  # the message can never succeed: Pub/Sub dead-letters it
    "gateway.unauthenticated": logging.WARNING,  # the caller is not our push account, or lacks the webhook's token
    "gateway.unavailable": logging.WARNING,  # the message can't be accepted now: Pub/Sub keeps it
    "gateway.prefect_away": logging.ERROR,  # Prefect did not accept events; logged once
    "gateway.prefect_back": logging.INFO,  # Prefect accepts events again
    "gateway.runs_unknown": logging.WARNING,  # Prefect did not say which runs are active: events start a run each
    "gateway.certificates_away": logging.ERROR,  # Google's certificates could not be fetched
    "gateway.token_away": logging.ERROR,  # the secret of the webhook's address could not be read
    "gateway.pulling": logging.INFO,  # the gateway listens to a subscription
    "gateway.pull_ended": logging.ERROR,  # the gateway can't listen to a subscription
}
LONGEST = 500  # so that a stranger's message can't fill the log

log = logging.getLogger("gateway")


def log_event(event: str, **fields: object) -> None:
    """Log an event at its level; cut its texts to `LONGEST` characters."""
    short = {key: value[:LONGEST] if isinstance(value, str) else value for key, value in fields.items()}
    events.log_event(log, EVENTS[event], event, **short)
