"""Checks of the project: the version it is written for, and the files that follow from its contracts."""

from collections.abc import Iterator

from cli.checks.finding import Finding, Target, bad, good, look
from cli.upgrade import installed, needs, written_for
from millrace.contracts.generated import stale
from millrace.domain.errors import ContractError, SettingsError
from millrace.project import current_project


def project(target: Target) -> Iterator[Finding]:
    """Compare `millrace.toml` with the installed platform, and generated files with the contracts."""
    own, command = current_project(), target.environment.command
    if own.marker.exists():
        yield from _version(target)
    try:
        outdated = [path.relative_to(own.folder).as_posix() for path in stale(own.folder)]
    except ContractError as error:
        yield bad("project", str(error), f"{command} contracts check")
        return
    if outdated:
        yield bad("project", f"stale: {', '.join(outdated)}", f"{command} contracts write")
    else:
        yield good("project", f"{own.folder}: generated files follow from the contracts")


def _version(target: Target) -> Iterator[Finding]:
    own, command, now = current_project(), target.environment.command, installed()
    try:
        before = written_for(own)
    except SettingsError as error:
        yield bad("project", str(error), "")
        return
    if before > now:
        message = f"the project is written for millrace {before}, and {now} is installed"
        yield bad("project", message, f"uv tool install 'millrace>={before}'")
    elif before < now:
        yield look("project", f"the project is written for millrace {before}, {now} is installed", f"{command} upgrade")
        yield from (look("project", sentence) for sentence in needs(own))
    else:
        yield good("project", f"written for millrace {now}, which is installed")
