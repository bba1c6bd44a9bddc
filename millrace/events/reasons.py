"""A dead letter in; the reason for which the gateway would reject it now, out: Pub/Sub does not store the answer."""

from pydantic import ValidationError

from millrace.domain.alerts import tidy
from millrace.domain.errors import EventRefused
from millrace.events.dead_letters import DeadLetter
from millrace.events.message import Incoming
from millrace.events.translate import translate

ACCEPTED = "none: the message would now be accepted; the gateway or Prefect was unavailable, or has been fixed"
IGNORED = "none: the message has no meaning to the platform and would be ignored"


def rejection_reason(letter: DeadLetter) -> str:
    """Return the reason for which the gateway would reject a dead letter now."""
    try:
        message = Incoming(
            message_id=letter.id, publish_time=letter.published, attributes=letter.attributes, data=letter.data
        )
        return ACCEPTED if translate(letter.topic, message) else IGNORED
    except (EventRefused, ValidationError) as error:
        return tidy(str(error))
