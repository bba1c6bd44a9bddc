"""The event bus as a block."""

from prefect.blocks.core import Block
from pydantic import Field

from millrace.events.bus import EventBus
from millrace.events.dead_letters import DeadLetters


class MillraceEventBus(Block):
    """Topics of one project on Pub/Sub."""

    _block_type_name = "Millrace Event Bus"
    _block_type_slug = "millrace-event-bus"

    project: str = Field(description="Project of the topics.")
    endpoint: str = Field(default="", description="Address of a server other than Google's.")

    def open(self) -> EventBus:
        """A publisher."""
        return EventBus(self.project, self.endpoint)

    def open_dead_letters(self) -> DeadLetters:
        """What could not be delivered."""
        return DeadLetters(self.project, self.endpoint)
