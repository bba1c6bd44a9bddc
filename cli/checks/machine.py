"""Checks of this machine: installed versions, and the ports of the stack's servers."""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from cli.checks.finding import Finding, Target, bad, good, look
from millrace.project import PLATFORM

SUPPORTED = ((3, 11), (3, 14))
LOCK = "requirements.txt"
MOST_NAMED = 5


def versions(target: Target) -> Iterator[Finding]:
    """Compare Python and every installed package with the lock."""
    python = ".".join(map(str, sys.version_info[:3]))
    repair, (low, high) = target.repair("packages"), SUPPORTED
    if not low <= sys.version_info[:2] < high:
        yield bad("versions", f"Python {python} is not supported; use 3.11, 3.12 or 3.13", repair)
    lock = PLATFORM / LOCK
    if not lock.exists():
        yield look("versions", f"Python {python}; {PLATFORM} has no {LOCK} to compare packages with")
        return
    others = [
        f"{name} {current or 'is not installed'}{f', and {pinned} is locked' if current else f' ({pinned})'}"
        for name, pinned in pins(lock)
        if (current := installed(name)) != pinned
    ]
    if others:
        rest = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        yield bad("versions", f"installed packages differ from {LOCK}: {'; '.join(others[:MOST_NAMED])}{rest}", repair)
    else:
        yield good("versions", f"Python {python}, {len(list(pins(lock)))} packages as in {LOCK}")


def pins(lock: Path) -> Iterator[tuple[str, str]]:
    """Yield the packages of a lock with their versions, for this Python and system only."""
    for line in lock.read_text().splitlines():
        if line[:1].isalnum():
            try:
                requirement = Requirement(line.rstrip("\\ "))
            except InvalidRequirement:
                continue
            if requirement.marker is None or requirement.marker.evaluate():
                yield requirement.name, str(next(iter(requirement.specifier)).version)


def installed(name: str) -> str:
    """Return the version of a package, '' when it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def ports(target: Target) -> Iterator[Finding]:
    """Check that the servers and the worker of the local stack answer; skipped for other environments."""
    if target.environment.state is None:
        return
    process = target.environment.read_local("status", "--json")
    servers = json.loads(process.stdout)
    silent = [server for server in servers if not server["answers"]]
    for server in silent:
        address = server["address"] or "its process"
        message = f"{server['server']} does not answer at {address}; its log is {server['log']}"
        yield bad("ports", message, target.repair("servers"))
    if not silent:
        yield good("ports", ", ".join(f"{s['server']} {s['address'][10:]}".strip() for s in servers))
