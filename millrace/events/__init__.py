"""The event bus: messages of millrace/domain/events.py in, Pub/Sub topics and Prefect events out."""

from millrace.events.bus import EventBus

__all__ = ["EventBus"]
