"""The event bus: messages of millrace/domain/events.py on Pub/Sub topics."""

from millrace.events.bus import EventBus

__all__ = ["EventBus"]
