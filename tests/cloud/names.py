"""A run's id in; names, labels and prefixes of its resources out, and whose a resource is.

A run's resources have its id in their names and as a label; only those with both are ever changed or deleted. The last
two digits of an id are a checksum, so that no name that a person chooses passes for a run's.
"""

import re
import secrets
import zlib
from collections.abc import Mapping

LABEL = "millrace-smoke"
PREFIX = "millrace-smoke"
ID = re.compile(r"[0-9a-f]{8}")
NAME = re.compile(r"millrace([-_])smoke\1([0-9a-f]{8})(?:[-_][\w.-]*)?")
EXPIRY_S = 86_400  # no resource of a run is of use after a day


def new_run() -> str:
    """Return the id of a new run."""
    return with_checksum(secrets.token_hex(3))


def with_checksum(digits: str) -> str:
    """Append the checksum to six random digits."""
    return f"{digits}{zlib.crc32(f'{PREFIX}-{digits}'.encode()) & 0xFF:02x}"


def is_run(text: str) -> bool:
    """Return whether a text is the id of a run."""
    return bool(ID.fullmatch(text)) and with_checksum(text[:6]) == text


def run_of(name: str) -> str:
    """Return the id of the run in the last part of a resource's name, '' when it is not the name of a run's."""
    match = NAME.fullmatch(name.rpartition("/")[2])
    return match[2] if match and is_run(match[2]) else ""


def owned(name: str, labels: Mapping[str, str] | None) -> bool:
    """Return whether a resource is a run's: its name and its label have the same id."""
    run = run_of(name)
    return bool(run) and (labels or {}).get(LABEL) == run


def resource_name(run: str, kind: str, digits: str) -> str:
    """Return the name of a bucket, topic, subscription or secret of a run."""
    return f"{PREFIX}-{run}-{kind}-{digits}"


def dataset_prefix(run: str, digits: str) -> str:
    """Return the prefix of a test's datasets, whose names have no hyphens."""
    return f"millrace_smoke_{run}_{digits}"
