"""Local servers that enforce Terraform's rights, and the identities of the platform for clients of this process."""

import json
import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.servers.identity.tokens import identity_of, service_account
from local.servers.rights.bindings import write_rights
from local.servers.rights.policy import make_token, read_journal
from local.servers.rights.used import record, unrecorded
from tests.support.servers import server

PROJECT = "millrace-test"
BUCKET = f"{PROJECT}-lake"


@dataclass
class Identities:
    """The accounts that Terraform creates, as key files; `rights` is the file that the servers enforce."""

    folder: Path
    rights: Path
    accounts: dict[str, str]
    token_uri: str
    project: str = PROJECT

    def key(self, role: str) -> Path:
        """Return the key file of an account."""
        file = self.folder / f"{role}.json"
        key = service_account(identity_of(self.folder / "identity"), self.project, self.token_uri)
        file.write_text(json.dumps(key | {"client_email": self.accounts[role]}))
        return file

    def environment(self, role: str) -> dict[str, str]:
        """Return the variables by which Google's libraries take an account for theirs."""
        return {"GOOGLE_APPLICATION_CREDENTIALS": str(self.key(role)), "GOOGLE_CLOUD_PROJECT": self.project}

    def token(self, role: str) -> str:
        """Return an access token of an account."""
        return make_token(self.accounts[role])

    def act_as(self, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process have an account."""
        for name, value in self.environment(role).items():
            monkeypatch.setenv(name, value)

    def used(self, outcome: str = "granted") -> dict[str, set[str]]:
        """Return the permissions that were granted, or denied, by role."""
        return used_by(self.rights, outcome)


def used_by(rights: Path, outcome: str = "granted") -> dict[str, set[str]]:
    """Return the permissions that servers noted beside a file of rights, by role."""
    accounts = json.loads(rights.read_text())["accounts"]
    roles = {email: role for role, email in accounts.items()}
    used: dict[str, set[str]] = {}
    for line in read_journal(rights):
        if line["outcome"] == outcome:
            used.setdefault(roles.get(line["identity"], line["identity"]), set()).add(line["permission"])
    return used


def check_used(scenario: str, used: dict[str, set[str]]) -> None:
    """Compare the permissions that a scenario used with the recorded ones, or record them."""
    platform = {role: names for role, names in used.items() if role != "operator"}
    if os.environ.get("MILLRACE_RIGHTS_RECORD"):
        record(scenario, platform)
    assert unrecorded(scenario, platform) == {}, "record them: MILLRACE_RIGHTS_RECORD=yes, then write docs/rights.md"


@contextmanager
def identities(
    folder: Path, without: Collection[str] = (), project: str = PROJECT, **variables: Any
) -> Iterator[Identities]:
    """The accounts, and the server at which their keys become tokens; no role has the permissions `without`."""
    rights = folder / "rights.json"
    accounts = write_rights(rights, project, without=without, **variables)["accounts"]
    with server("identity", folder / "identity", "--project", project) as port:
        yield Identities(folder, rights, accounts, f"http://127.0.0.1:{port}/token", project)


@contextmanager
def enforcing(folder: Path, own: Identities, *names: str) -> Iterator[dict[str, int]]:
    """Local servers that check bearers; gives their ports by name."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(server(name, folder / name, "--rights", str(own.rights))) for name in names}
