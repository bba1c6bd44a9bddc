"""The event bus: messages of contracts/events.py on Pub/Sub topics."""

from events.bus import EventBus

__all__ = ["EventBus"]
