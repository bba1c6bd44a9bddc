"""What people are told of runs: which failures have one cause, and where the runbook speaks of them; pure."""

import re

OUTAGES = ("ServiceUnavailable", "WarehouseBusy")
EXCEPTION = re.compile(r"exception:? (\w+): ")
HINT = re.compile(r"\s*For further information visit https://errors\.pydantic\.dev/[\w./]*\w")
OTHER = "Failure"
CRASHED = "Crashed"
DONE = " · "


def kind(message: str) -> str:
    """Name of the error in the message of a failed run."""
    found = EXCEPTION.search(message)
    return found[1] if found else OTHER


def tidy(message: str) -> str:
    """A run's message without what Prefect and pydantic put around an error, on one line."""
    found = EXCEPTION.search(message)
    return " ".join(HINT.sub("", message[found.end() :] if found else message).split())


def cause(run_name: str, kind: str) -> str:
    """What groups failures: an outage whatever it hits, else a run's name (flow and stream) with the error."""
    return kind if kind in OUTAGES else f"{run_name}: {kind}"


def work(run_name: str) -> str:
    """What a run is at, by its name: what it did is told after a ` · `."""
    return run_name.split(DONE)[0]


def slug(text: str) -> str:
    """A text as a part of a resource id."""
    return re.sub(r"[^a-z0-9_.]+", "-", text.lower()).strip("-")
