"""Terraform's files, Kubernetes' roles and a project in; all bindings, with permissions and full names, out.

`python -m local.servers.rights --project PROJECT FILE` writes them as a file that the local servers enforce.
"""

import json
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from local.servers.rights.attributes import Project, Resource
from local.servers.rights.kubernetes import kubernetes_accounts, kubernetes_bindings
from local.servers.rights.terraform import NUMBER, Module
from local.servers.rights.values import Unknown

ROOT = Path(__file__).resolve().parents[3]
TERRAFORM = ROOT / "terraform"
ROLES = Path(__file__).with_name("roles.yaml")
OPERATOR = "operator@example.com"  # who deploys, with the project's role of an owner
OWNER = "roles/bigquery.dataOwner"  # of a dataset's creator
DOMAIN = "gateway.millrace.test"
# The argument that names a binding's resource, and the full name that Google gives it in conditions and messages.
BOUND = {
    "google_project_iam_member": ("project", "projects/{name}"),
    "google_storage_bucket_iam_member": ("bucket", "projects/_/buckets/{name}"),
    "google_pubsub_topic_iam_member": ("topic", "{name}"),
    "google_pubsub_subscription_iam_member": ("subscription", "{name}"),
    "google_secret_manager_secret_iam_member": ("secret_id", "{name}"),
    "google_bigquery_dataset_iam_member": ("dataset_id", "projects/{project}/datasets/{name}"),
    "google_service_account_iam_member": ("service_account_id", "{name}"),
    "google_artifact_registry_repository_iam_member": ("repository", "projects/{project}/repositories/{name}"),
}


@cache
def predefined_roles() -> Mapping[str, tuple[str, ...]]:
    """Return Google's roles with their permissions, as far as the platform's services need them."""
    return {role: tuple(permissions) for role, permissions in yaml.safe_load(ROLES.read_text())["roles"].items()}


def read_rights(project: str, **variables: Any) -> dict[str, Any]:
    """Return the bindings of a project as JSON: `{"project", "accounts", "bindings"}`.

    Raises:
        ValueError: a binding has a type or a role that this does not know.
    """
    given = json.loads((TERRAFORM / "names.auto.tfvars.json").read_text())
    module = Module(TERRAFORM, {"project": project, "domain": DOMAIN} | given | variables)
    resources = list(module.resources())
    custom = {
        f"projects/{project}/roles/{r.arguments['role_id']}": tuple(r.arguments["permissions"])
        for r in resources
        if r.kind == "google_project_iam_custom_role"
    }
    roles = dict(predefined_roles()) | custom
    bindings = [_binding(r, project, roles) for r in resources if _binds(r)]
    accounts = {r.key: r.arguments["account_id"] for r in resources if r.kind == "google_service_account" and r.key}
    emails = {str(key): f"{account}@{project}.iam.gserviceaccount.com" for key, account in accounts.items()}
    owner = list(predefined_roles()[OWNER])
    return {
        "project": project,
        "accounts": emails
        | {"operator": OPERATOR, "storage-agent": Project(project, NUMBER).storage_agent}
        | kubernetes_accounts(),
        "bindings": [*bindings, *kubernetes_bindings(), _owner(project)],
        "owner_permissions": owner,
    }


def _owner(project: str) -> dict[str, Any]:
    """Return the binding of the person who deploys."""
    return {
        "member": f"serviceAccount:{OPERATOR}",
        "role": "roles/owner",
        "permissions": ["*"],
        "resource": f"projects/{project}",
        "condition": "",
    }


def _binds(resource: Resource) -> bool:
    if not resource.kind.endswith(("_iam_member", "_iam_binding", "_iam_policy")):
        return False
    if resource.kind not in BOUND:
        raise ValueError(f"{resource.kind}.{resource.name}: no rule for bindings of this type; add one to BOUND")
    return True


def _binding(resource: Resource, project: str, roles: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    argument, template = BOUND[resource.kind]
    own = resource.arguments
    role = str(own["role"])
    if role not in roles:
        raise ValueError(f"{resource.kind}.{resource.name}: {role} is not in {ROLES.name}; add its permissions")
    condition = next((block.arguments["expression"] for block in resource.blocks if block.kind == "condition"), "")
    name, member = own.get(argument, project), own["member"]
    if unknown := [value for value in (name, member, condition) if isinstance(value, Unknown)]:
        raise ValueError(f"{resource.kind}.{resource.name}: {unknown[0]} is known to Google only; add it to GIVEN")
    return {
        "member": str(member),
        "role": role,
        "permissions": list(roles[role]),
        "resource": template.format(name=name, project=project),
        "condition": str(condition),
    }


def write_rights(
    file: Path, project: str, bucket: str = "", *, without: Collection[str] = (), **variables: Any
) -> dict[str, Any]:
    """Write the bindings of a project to a file, and return them.

    Args:
        file: the path of the file.
        project: the project's id.
        bucket: another name of the lake's bucket.
        without: permissions that no role has.
        variables: values of Terraform's variables.
    """
    rights = read_rights(project, **variables)
    for binding in rights["bindings"]:
        binding["permissions"] = [p for p in binding["permissions"] if p not in without]
    if bucket:
        rights = json.loads(json.dumps(rights).replace(f"{project}-lake", bucket))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rights, indent=1))
    return rights
