"""The name and message of a run in; the parts of its alert out: its error, its cause and its work."""

import re

OUTAGES = ("ServiceUnavailable", "WarehouseBusy")
EXCEPTION = re.compile(r"exception:? (\w+): ")
HINT = re.compile(r"\s*For further information visit https://errors\.pydantic\.dev/[\w./]*\w")
OTHER = "Failure"
CRASHED = "Crashed"
REJECTED = "Rejected"  # the final state of a run with a mistyped parameter, which did nothing
SUMMARY_MARK = " · "


def kind(message: str) -> str:
    """Return the name of the error in the message of a failed run."""
    match = EXCEPTION.search(message)
    return match[1] if match else OTHER


def tidy(message: str) -> str:
    """Return a run's message on one line, without the text that Prefect and pydantic put around an error."""
    match = EXCEPTION.search(message)
    return " ".join(HINT.sub("", message[match.end() :] if match else message).split())


def cause(run_name: str, kind: str) -> str:
    """Return the key that groups failures: an outage's name, else the run's name (flow and stream) and its error."""
    return kind if kind in OUTAGES else f"{run_name}: {kind}"


def work(run_name: str) -> str:
    """Return the work of a run: its name without the summary after ` · `."""
    return run_name.split(SUMMARY_MARK)[0]


def slug(text: str) -> str:
    """Return a text as a part of a resource id."""
    return re.sub(r"[^a-z0-9_.]+", "-", text.lower()).strip("-")
