"""What the gateway tells, from a fixed vocabulary of events; `millrace/observability/lines.py` writes the lines."""

import logging

EVENTS = {
    "gateway.accepted": logging.INFO,  # Prefect has the event, or Pub/Sub what Airbyte told
    "gateway.ignored": logging.INFO,  # the message means nothing to the platform
    "gateway.refused": logging.WARNING,  # it can never succeed: Pub/Sub dead-letters it
    "gateway.unauthenticated": logging.WARNING,  # whoever called is not our push account, or lacks the webhook's token
    "gateway.unavailable": logging.WARNING,  # it can't be taken now: Pub/Sub keeps it
    "gateway.prefect_away": logging.ERROR,  # Prefect did not take events; told once
    "gateway.prefect_back": logging.INFO,  # it does again
    "gateway.certificates_away": logging.ERROR,  # Google's certificates could not be fetched
    "gateway.token_away": logging.ERROR,  # the secret of the webhook's address could not be read
    "gateway.pulling": logging.INFO,  # a subscription is listened to
    "gateway.pull_ended": logging.ERROR,  # a subscription can't be listened to
}
LONGEST = 500  # what a stranger sends must not fill the log

log = logging.getLogger("gateway")


def tell(event: str, **fields: object) -> None:
    """Log one fact; texts are cut at `LONGEST` characters."""
    short = {key: value[:LONGEST] if isinstance(value, str) else value for key, value in fields.items()}
    log.log(EVENTS[event], event, extra={"event": event, "fields": short})
