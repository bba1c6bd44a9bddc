"""Roles and RoleBindings of `k8s/base` in; bindings for the table of rights, and Kubernetes' words for a denial, out.

A permission is a verb and a resource, as `kubectl auth can-i` takes them: "create jobs.batch", "list pods".
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from local.servers.rights.policy import Denial, make_jwt, read_jwt

ACCOUNTS = Path(__file__).resolve().parents[3] / "k8s" / "base" / "accounts.yaml"
USER = "system:serviceaccount:"
Json = dict[str, Any]


def user_of(namespace: str, account: str) -> str:
    """Return the name of a service account as a user of Kubernetes."""
    return f"{USER}{namespace}:{account}"


def make_account_token(user: str) -> str:
    """Return a token as Kubernetes projects it into the pods of a service account."""
    return make_jwt({"iss": "https://kubernetes.default.svc", "sub": user})


def token_user(authorization: str) -> str:
    """Return the user of a bearer token; Kubernetes' anonymous one without a token.

    Raises:
        ValueError: the token is none of Kubernetes.
    """
    kind, _, token = authorization.partition(" ")
    if kind.lower() != "bearer" or not token:
        return "system:anonymous"
    try:
        subject = read_jwt(token).get("sub", "")
    except ValueError:
        subject = ""
    if not str(subject).startswith(USER):
        raise ValueError("Unauthorized")
    return str(subject)


def permission(verb: str, resource: str, group: str) -> str:
    """Return the name of a permission."""
    return f"{verb} {resource}.{group}" if group else f"{verb} {resource}"


def kubernetes_bindings(file: Path = ACCOUNTS) -> list[Json]:
    """Return the bindings of all service accounts, in the form of Terraform's.

    Raises:
        ValueError: a binding is of another kind than a namespace's own role and service accounts.
    """
    documents = [document for document in yaml.safe_load_all(file.read_text()) if document]
    if wide := sorted(o["kind"] for o in documents if o["kind"].startswith("Cluster")):
        raise ValueError(f"{file.name}: {', '.join(wide)}: only roles of a namespace are known here")
    roles = {_name(o): o["rules"] for o in documents if o["kind"] == "Role"}
    bindings = [o for o in documents if o["kind"] == "RoleBinding"]
    return [_binding(o, subject, roles) for o in bindings for subject in o["subjects"]]


def _name(o: Json) -> tuple[str, str]:
    return o["metadata"]["namespace"], o["metadata"]["name"]


def _binding(o: Json, subject: Json, roles: Mapping[tuple[str, str], Iterable[Json]]) -> Json:
    namespace, role = o["metadata"]["namespace"], o["roleRef"]["name"]
    if subject["kind"] != "ServiceAccount" or o["roleRef"]["kind"] != "Role":
        raise ValueError(f"RoleBinding {o['metadata']['name']}: only a Role for a ServiceAccount is known here")
    granted = [
        permission(verb, resource, group)
        for rule in roles[namespace, role]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    return {
        "member": f"serviceAccount:{user_of(subject['namespace'], subject['name'])}",
        "role": role,
        "permissions": granted,
        "resource": f"namespaces/{namespace}",
        "condition": "",
    }


def kubernetes_accounts(file: Path = ACCOUNTS) -> dict[str, str]:
    """Return the service accounts that have a binding, by name."""
    users = [binding["member"].partition(":")[2] for binding in kubernetes_bindings(file)]
    return {user.rpartition(":")[2]: user for user in users}


def forbidden(denial: Denial, name: str = "") -> str:
    """Return the message of Kubernetes' API for a denial; `name` is that of the object, if the request has one."""
    verb, _, full = denial.permission.partition(" ")
    resource, _, group = full.partition(".")
    what = f'{full} "{name}"' if name else full
    namespace = denial.resource.partition("/")[2]
    return (
        f'{what} is forbidden: User "{denial.email}" cannot {verb} resource "{resource}" in API group "{group}"'
        f' in the namespace "{namespace}"'
    )
