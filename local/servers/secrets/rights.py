"""The permissions of Secret Manager's methods, and the words of a rejection.

https://cloud.google.com/secret-manager/docs/access-control
"""

from local.servers.rights.calls import Requires, on
from local.servers.rights.policy import Denial

METHODS: dict[str, Requires] = {
    "CreateSecret": on("parent", "secretmanager.secrets.create"),
    "GetSecret": on("name", "secretmanager.secrets.get"),
    "UpdateSecret": on("secret.name", "secretmanager.secrets.update"),
    "ListSecrets": on("parent", "secretmanager.secrets.list"),
    "DeleteSecret": on("name", "secretmanager.secrets.delete"),
    "AddSecretVersion": on("parent", "secretmanager.versions.add"),
    "GetSecretVersion": on("name", "secretmanager.versions.get"),
    "ListSecretVersions": on("parent", "secretmanager.versions.list"),
    "AccessSecretVersion": on("name", "secretmanager.versions.access"),
    "EnableSecretVersion": on("name", "secretmanager.versions.enable"),
    "DisableSecretVersion": on("name", "secretmanager.versions.disable"),
    "DestroySecretVersion": on("name", "secretmanager.versions.destroy"),
}


def rejection(denial: Denial) -> str:
    """Return Secret Manager's message."""
    return f"Permission '{denial.permission}' denied for resource '{denial.resource}' (or it may not exist)."
