"""This machine: the versions of what is installed, and the servers of the stack at their ports."""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from cli.checks.finding import Finding, Patient, good, look, wrong

SUPPORTED = ((3, 11), (3, 14))
LOCK = "requirements.txt"
INSTALL = "rm -f .venv/ready && make setup"
NAMED = 5


def versions(patient: Patient) -> Iterator[Finding]:
    """Python, and every package beside the lock."""
    python = ".".join(map(str, sys.version_info[:3]))
    low, high = SUPPORTED
    if not low <= sys.version_info[:2] < high:
        yield wrong("versions", f"Python {python}, and 3.11, 3.12 or 3.13 is needed", "make PYTHON=python3.12 setup")
    lock = patient.where.root / LOCK
    if not lock.exists():
        yield look("versions", f"Python {python}; {patient.where.root} has no {LOCK} to compare packages with")
        return
    others = [
        f"{name} {there or 'is not installed'}{f', and {pinned} is locked' if there else f' ({pinned})'}"
        for name, pinned in pins(lock)
        if (there := installed(name)) != pinned
    ]
    if others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        yield wrong("versions", f"other packages than {LOCK} says: {'; '.join(others[:NAMED])}{more}", INSTALL)
    else:
        yield good("versions", f"Python {python}, {len(list(pins(lock)))} packages as {LOCK} says")


def pins(lock: Path) -> Iterator[tuple[str, str]]:
    """Packages of a lock with their versions, those for this Python and system only."""
    for line in lock.read_text().splitlines():
        if line[:1].isalnum():
            try:
                wanted = Requirement(line.rstrip("\\ "))
            except InvalidRequirement:
                continue
            if wanted.marker is None or wanted.marker.evaluate():
                yield wanted.name, str(next(iter(wanted.specifier)).version)


def installed(name: str) -> str:
    """Version of a package, '' when it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def ports(patient: Patient) -> Iterator[Finding]:
    """The stack's servers at their addresses, and its worker; nothing to look at elsewhere."""
    if patient.where.state is None:
        return
    said = patient.where.ask_local("status", "--json")
    servers = json.loads(said.stdout)
    silent = [one for one in servers if not one["answers"]]
    for one in silent:
        what = f"{one['server']} does not answer at {one['address'] or 'its process'}; its log is {one['log']}"
        yield wrong("ports", what, f"{patient.where.command} down && {patient.where.command} up")
    if not silent:
        yield good("ports", ", ".join(f"{one['server']} {one['address'][10:]}".strip() for one in servers))
