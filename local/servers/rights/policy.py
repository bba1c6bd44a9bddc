"""Bindings and a bearer in; whether a permission is granted on a resource, and a journal of those that were used, out.

It needs the standard library only: the BigQuery emulator imports it in an environment of its own.
"""

import base64
import json
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

LIST_PREFIX = "storage.googleapis.com/objectListPrefix"
STARTS = re.compile(r"""(resource\.name|api\.getAttribute\("([^"]+)", ""\))\.startsWith\("([^"]*)"\)""")
BUCKETS = "projects/_/"
ANYONE = "anonymous"


class UnknownCondition(ValueError):
    """A condition uses words that this evaluator lacks."""


def bearer_email(authorization: str) -> str:
    """Return the email in the bearer token of a header; '' without one.

    Tokens are JSON web tokens, of the local metadata server or signed by a client with its key. Signatures are not
    checked: every process of this machine could ask the metadata server for a valid one.

    Raises:
        ValueError: the token is none of these.
    """
    kind, _, token = authorization.partition(" ")
    if kind.lower() != "bearer" or not token:
        return ""
    try:
        claims = read_jwt(token)
    except ValueError:
        raise ValueError("Request had invalid authentication credentials.") from None
    return str(claims.get("email") or claims.get("iss") or "")


def make_token(email: str) -> str:
    """Return an access token of an account, as the local metadata server gives it to its processes."""
    return make_jwt({"email": email})


def read_jwt(token: str) -> dict[str, Any]:
    """Return the claims of a JSON web token, without a check of its signature.

    Raises:
        ValueError: it is no such token.
    """
    _, _, rest = token.partition(".")
    payload = rest.partition(".")[0]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    if not isinstance(claims, dict):
        raise ValueError("a token's claims are no object")
    return claims


def make_jwt(claims: Mapping[str, str]) -> str:
    """Return an unsigned JSON web token."""
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


@dataclass(frozen=True)
class Binding:
    """A role that a member has on a resource and on all that is within it, under a condition."""

    member: str
    role: str
    permissions: frozenset[str]
    resource: str
    condition: str = ""

    def grants(self, permission: str, resource: str, attributes: Mapping[str, str]) -> bool:
        """Return True if it grants a permission on a resource."""
        if not self.permissions & {permission, "*"} or not self._covers(resource):
            return False
        return not self.condition or is_met(self.condition, resource, attributes)

    def _covers(self, resource: str) -> bool:
        whole_project = self.resource.startswith("projects/") and self.resource.count("/") == 1
        is_within = resource == self.resource or resource.startswith(f"{self.resource}/")
        return is_within or (whole_project and resource.startswith(BUCKETS))


def is_met(condition: str, resource: str, attributes: Mapping[str, str]) -> bool:
    """Return the value of a condition: comparisons of beginnings, joined by `||` and `&&`.

    Raises:
        UnknownCondition: the condition has another form.
    """
    return any(
        all(_starts(term, resource, attributes) for term in terms.split("&&")) for terms in condition.split("||")
    )


def _starts(term: str, resource: str, attributes: Mapping[str, str]) -> bool:
    match = STARTS.fullmatch(term.strip())
    if match is None:
        raise UnknownCondition(f"can't evaluate the condition {term.strip()!r}; extend is_met()")
    value = attributes.get(match[2], "") if match[2] else resource
    return value.startswith(match[3])


@dataclass
class Policy:
    """The bindings of a project; `owners` are resources whose creator may do everything, as BigQuery grants it."""

    project: str
    bindings: tuple[Binding, ...]
    owner_permissions: frozenset[str] = frozenset()
    journal: Path | None = None
    owners: dict[str, str] = field(default_factory=dict)
    _used: set[tuple[str, str, str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def load(cls, file: Path) -> "Policy":
        """Read the file that `local.servers.rights` writes; used permissions go to a file beside it."""
        rights = json.loads(file.read_text())
        bindings = tuple(
            Binding(b["member"], b["role"], frozenset(b["permissions"]), b["resource"], b["condition"])
            for b in rights["bindings"]
        )
        owner = frozenset(rights["owner_permissions"])
        return cls(rights["project"], bindings, owner, file.with_suffix(".used"))

    def allows(self, email: str, permission: str, resource: str, attributes: Mapping[str, str] | None = None) -> bool:
        """Return True if an account has a permission on a resource, and note that it was used."""
        granted = self._by_member.get(f"serviceAccount:{email}", ())
        allowed = any(binding.grants(permission, resource, attributes or {}) for binding in granted)
        if not allowed and permission in self.owner_permissions:
            dataset = "/".join(resource.split("/")[:4])
            allowed = self.owners.get(dataset) == email
        self._note(email, permission, "granted" if allowed else "denied")
        return allowed

    @cached_property
    def _by_member(self) -> Mapping[str, tuple[Binding, ...]]:
        members: dict[str, tuple[Binding, ...]] = {}
        for binding in self.bindings:
            members[binding.member] = (*members.get(binding.member, ()), binding)
        return members

    def _note(self, email: str, permission: str, outcome: str) -> None:
        with self._lock:
            if self.journal is None or (email, permission, outcome) in self._used:
                return
            self._used.add((email, permission, outcome))
            with self.journal.open("a") as file:
                file.write(json.dumps({"identity": email, "permission": permission, "outcome": outcome}) + "\n")


@dataclass(frozen=True)
class Denial:
    """A permission that an account lacks on a resource."""

    email: str
    permission: str
    resource: str


Required = tuple[str, str]


def first_denied(
    policy: Policy, email: str, required: Iterable[Required], attributes: Mapping[str, str] | None = None
) -> Denial | None:
    """Return the first of (permission, resource) that an account lacks, in the order in which Google checks them."""
    for permission, resource in required:
        if not policy.allows(email, permission, resource, attributes):
            return Denial(email, permission, resource)
    return None


def read_journal(file: Path) -> list[dict[str, Any]]:
    """Return what the servers noted beside a file of rights."""
    used = file.with_suffix(".used")
    return [json.loads(line) for line in used.read_text().splitlines()] if used.exists() else []
