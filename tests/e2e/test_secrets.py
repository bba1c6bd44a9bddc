"""No secret is stored or printed but where it must be: everything that the stack left is searched for every value."""

import base64
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from local.stack.credentials import load_credentials
from tests.e2e.stack import Stack, processes_of
from tests.support.servers import wait_until

pytestmark = [pytest.mark.demo, pytest.mark.slow]

HOLDERS = ("credentials.json", "secrets/secrets.json")  # the administrator's own list, and Secret Manager


def forms(value: bytes) -> Iterator[bytes]:
    """A value as it may stand in a file: plain, quoted, as hex, inside base64."""
    yield value
    yield value.hex().encode()
    if (quoted := quote(value, safe="").encode()) != value:
        yield quoted
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + value).rstrip(b"=")
        yield encoded[(0, 2, 3)[before] : len(encoded) - ((before + len(value)) % 3 > 0)]


def search(folder: Path, values: dict[str, list[bytes]], patterns: Path) -> set[tuple[str, str]]:
    """Files that hold one of the values, with its name; grep finds the files, as it looks for all values at once."""
    patterns.write_bytes(b"\n".join(form for forms in values.values() for form in forms))
    command = ["grep", "-rlZaF", "--devices=skip", "-f", str(patterns), str(folder)]
    found = subprocess.run(command, capture_output=True, env={**os.environ, "LC_ALL": "C"}).stdout
    matches = set()
    for file in (Path(os.fsdecode(name)) for name in found.split(b"\0") if name):
        data = file.read_bytes() if file.exists() else b""  # a server tidied up meanwhile
        for name, needles in values.items():
            if any(needle in data for needle in needles):
                matches.add((str(file.relative_to(folder)), name))
    return matches


def test_no_secret_is_stored_or_printed(stack: Stack, tmp_path: Path) -> None:
    values = load_credentials(stack.local)
    assert stack.run("rotation/rotation").state == "COMPLETED"
    printed = stack.administer("deploy", "blocks") + stack.administer("connections", "plan")
    printed += "".join(processes_of(stack.state))
    encodings = {name: list(forms(value.encode())) for name, value in values.items()}
    matches = search(stack.state, encodings, tmp_path / "patterns")
    holders = {file for file, _ in matches if file in HOLDERS}
    assert holders == set(HOLDERS), "the search finds stored values"
    assert {place for place in matches if place[0] not in HOLDERS} == set()
    assert [name for name, value in values.items() if value in printed] == []


def test_secrets_reach_only_verifying_servers(stack: Stack) -> None:
    values = load_credentials(stack.local)
    pids = stack.pids()
    wait_until(lambda: all(psutil.pid_exists(pid) for pid in pids.values()), "all parts run")
    for service, pid in pids.items():
        variables = psutil.Process(pid).environ().values()
        held = {name for name, value in values.items() if any(value in variable for variable in variables)}
        airbyte = {"airbyte-client-id", "airbyte-client-secret", "airbyte-webhook-token"}
        expected = {"airbyte": airbyte, "slack": {"slack-token"}}
        assert held == expected.get(service, set()), service
