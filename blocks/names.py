"""The names of the registered blocks."""

LAKE = "lake"
RESULTS = "results"
WAREHOUSE = "warehouse"
EVENT_BUS = "event-bus"
AIRBYTE = "airbyte"
CREDENTIALS = "google"
SLACK = "slack"
RESULT_STORAGE = f"millrace-results/{RESULTS}"


def channel_block(channel: str) -> str:
    """Return the name of the block that posts to a channel of Slack."""
    return f"{SLACK}-{channel}"
