"""An event and its fields in, one log record out, as in `log_event(log, logging.INFO, "merge.opened", files=3)`."""

import logging


def log_event(log: logging.Logger, level: int, event: str, message: str = "", /, **fields: object) -> None:
    """Log an event of `events.yaml` with its fields; the text is `event: message`, or the event alone.

    Args:
        log: the caller's logger.
        level: `logging.INFO`, or the level that the event deserves.
        event: a name from `events.yaml`.
        message: a sentence for people.
        fields: values that filters and metrics use, by name.
    """
    text = f"{event}: {message}" if message else event
    log.log(level, "%s", text, extra={"event": event, "fields": fields}, stacklevel=2)
