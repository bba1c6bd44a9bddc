"""Why a dead letter was not taken, found out anew: Pub/Sub keeps no answer with it."""

from pydantic import ValidationError

from millrace.domain.alerts import tidy
from millrace.domain.errors import EventRefused
from millrace.events.dead_letters import DeadLetter
from millrace.events.message import Incoming
from millrace.events.translate import translate

TAKEN = "nothing any more: it would be taken now; the gateway or Prefect was away, or was mended"
MEANINGLESS = "nothing any more: it means nothing to the platform, and would be ignored"


def why_refused(letter: DeadLetter) -> str:
    """The reason for which the gateway would refuse a dead letter now."""
    try:
        message = Incoming(
            message_id=letter.id, publish_time=letter.published, attributes=letter.attributes, data=letter.data
        )
        return TAKEN if translate(letter.topic, message) else MEANINGLESS
    except (EventRefused, ValidationError) as error:
        return tidy(str(error))
