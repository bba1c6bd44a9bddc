"""A block with the project of the topics; opened, a publisher or the dead letters."""

from prefect.blocks.core import Block
from pydantic import Field

from millrace.events.bus import EventBus
from millrace.events.dead_letters import DeadLetters


class MillraceEventBus(Block):
    """The topics of one project on Pub/Sub."""

    _block_type_name = "Millrace Event Bus"
    _block_type_slug = "millrace-event-bus"

    project: str = Field(description="Project of the topics.")
    endpoint: str = Field(default="", description="Address of a server other than Google's.")

    def open(self) -> EventBus:
        """Return a publisher."""
        return EventBus(self.project, self.endpoint)

    def open_dead_letters(self) -> DeadLetters:
        """Return a client of the dead letters."""
        return DeadLetters(self.project, self.endpoint)
