"""Terraform's bindings and the permissions that tests use in; the page of both, docs/rights.md, out."""

from collections.abc import Iterable, Mapping
from typing import Any

from local.servers.rights.bindings import ROOT, read_rights
from local.servers.rights.used import Used, read_used

PAGE = ROOT / "docs" / "rights.md"
PROJECT = "PROJECT"
HEAD = """# Rights

Generated from `terraform/`, `k8s/base/accounts.yaml`, `local/servers/rights/roles.yaml` and the permissions that tests
use, by `python -m local.servers.rights`. Each account of the platform with its roles, and the permissions of these
roles on the services that it calls. The local servers, the BigQuery emulator and the stand-ins for Dataflow, Cloud Run
and Kubernetes' API enforce this table in tests, with the services' words for a rejection; that they decide alike was
not tried on Google Cloud.

A permission is **used** if a test that records it needed it, as that account. A predefined role brings more than is
needed: these are listed as unused. A whole role without a recorded use stands in the last section, with the reason.
"""
NOT_CHECKED = {
    "roles/iam.workloadIdentityUser": "Google exchanges a pod's or a workflow's token by it",
    "roles/iam.serviceAccountTokenCreator": "Pub/Sub signs its pushes by it",
    "roles/artifactregistry.reader": "images are pulled by it",
    "roles/artifactregistry.writer": "images are pushed by it",
    "roles/container.defaultNodeServiceAccount": "nodes write logs and metrics by it",
}

# Roles whose use no short test records: the way of all processes (`make test-long`) uses them, or nothing here can.
STAYS = {
    ("dbt", "roles/bigquery.resourceViewer"): "the page of costs reads what jobs billed; the emulator has no such view",
    ("dbt", "roles/pubsub.publisher"): "`model` announces published marts: `make test-long`",
    ("dbt", "roles/storage.objectUser"): "`model` writes results, `show` pages: `make test-long`",
    (
        "flow",
        "roles/bigquery.resourceViewer",
    ): "the page of costs reads what jobs billed; the emulator has no such view",
    ("gateway", "roles/pubsub.publisher"): "Airbyte's webhook publishes what it got: `make test-long`",
    ("gateway", "roles/secretmanager.secretAccessor"): "the webhook's token: `make test-long`",
    (
        "secrets",
        "roles/secretmanager.secretAccessor",
    ): "External Secrets reads by it; that operator does not run in tests",
    ("storage-agent", "roles/pubsub.publisher"): "Cloud Storage announces objects by it: `make test-long`",
    ("worker-kubernetes", "flow-runs"): "the worker makes and watches Jobs: `make test-kubernetes`",
}


def page() -> str:
    """Return the text of the page."""
    rights, used = read_rights(PROJECT), read_used()
    rows = _rows(rights, _by_role(used))
    lines = [HEAD, *_tables(rows), "## Tests\n", "| scenario | accounts |", "|---|---|"]
    lines += [f"| {scenario} | {', '.join(f'`{role}`' for role in roles)} |" for scenario, roles in used.items()]
    lines += ["\n## Roles that no test uses\n", "| account | role | why it stays |", "|---|---|---|"]
    lines += [
        f"| `{account}` | `{role}` | {NOT_CHECKED.get(role) or STAYS.get((account, role), '**unknown**')} |"
        for (account, role), row in rows.items()
        if not row["used"]
    ]
    return "\n".join(lines) + "\n"


def unused_roles() -> set[tuple[str, str]]:
    """Return (account, role) of which no test uses any permission, but for roles that no local server can check."""
    rows = _rows(read_rights(PROJECT), _by_role(read_used()))
    return {key for key, row in rows.items() if not row["used"] and key[1] not in NOT_CHECKED}


def _by_role(used: Used) -> dict[str, set[str]]:
    names: dict[str, set[str]] = {}
    for roles in used.values():
        for role, permissions in roles.items():
            names.setdefault(role, set()).update(permissions)
    return names


def _rows(rights: Mapping[str, Any], used: Mapping[str, set[str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return by account and role its resources, and its used and unused permissions."""
    roles = {f"serviceAccount:{email}": role for role, email in rights["accounts"].items()}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for binding in rights["bindings"]:
        account = roles.get(binding["member"], "")
        if not account or account == "operator":
            continue
        row = rows.setdefault((account, binding["role"].rpartition(f"{PROJECT}/")[2]), {"on": [], "used": set()})
        row["on"].append(_resource(binding))
        names = set(binding["permissions"])
        row["used"] |= names & used.get(account, set())
        row["unused"] = names - row["used"]
    return dict(sorted(rows.items()))


def _resource(binding: Mapping[str, Any]) -> tuple[str, str]:
    """Return kind and name of a binding's resource."""
    parts = binding["resource"].split("/")
    if len(parts) == 2:
        return ("the project", "") if parts[0] == "projects" else (parts[0], parts[1])
    name = parts[3].partition("@")[0].removeprefix(f"{PROJECT}-")
    return parts[2], f"{name} (objects of a prefix)" if binding["condition"] else name


def _resources(listed: Iterable[tuple[str, str]]) -> str:
    kinds: dict[str, list[str]] = {}
    for kind, name in listed:
        kinds.setdefault(kind, []).append(name)
    return "; ".join(f"{kind} {', '.join(dict.fromkeys(names))}".strip() for kind, names in kinds.items())


def _tables(rows: Mapping[tuple[str, str], Mapping[str, Any]]) -> Iterable[str]:
    for account in dict.fromkeys(key[0] for key in rows):
        yield f"## `{account}`\n\n| role | on | used | unused |\n|---|---|---|---|"
        for (_, role), row in ((key, row) for key, row in rows.items() if key[0] == account):
            yield f"| `{role}` | {_resources(row['on'])} | {_names(row['used'])} | {_names(row['unused'])} |"
        yield ""


def _names(permissions: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in sorted(permissions)) or "–"
