"""The gRPC methods of Secret Manager over one private JSON file, replaced whole at each change."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import google_crc32c
from google.cloud.secretmanager_v1 import types
from google.protobuf.empty_pb2 import Empty

from local.servers.identity.tokens import write_private
from local.servers.rpc import Method, Proto, RpcError, page
from local.servers.secrets.rotation import describe, described

ENABLED, DISABLED, DESTROYED = "ENABLED", "DISABLED", "DESTROYED"


def pb(name: str) -> Proto:
    """Raw protobuf class of a Secret Manager type."""
    return getattr(types, name).pb()


def now() -> str:
    """This moment, as protobuf's JSON has it."""
    return datetime.now(UTC).isoformat()


class SecretService:
    """Secrets and their versions, numbered from 1."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._secrets: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
        for version in (v for secret in self._secrets.values() for v in secret["versions"]):
            version.setdefault("created", now())

    def methods(self) -> dict[str, Any]:
        """Return the handlers that gRPC registers."""
        secret, version = pb("Secret"), pb("SecretVersion")
        table = {
            "CreateSecret": Method(pb("CreateSecretRequest"), secret, self.create),
            "GetSecret": Method(pb("GetSecretRequest"), secret, self.get),
            "UpdateSecret": Method(pb("UpdateSecretRequest"), secret, self.update),
            "ListSecrets": Method(pb("ListSecretsRequest"), pb("ListSecretsResponse"), self.list),
            "DeleteSecret": Method(pb("DeleteSecretRequest"), Empty, self.delete),
            "AddSecretVersion": Method(pb("AddSecretVersionRequest"), version, self.add),
            "GetSecretVersion": Method(pb("GetSecretVersionRequest"), version, self.get_version),
            "ListSecretVersions": Method(
                pb("ListSecretVersionsRequest"), pb("ListSecretVersionsResponse"), self.list_versions
            ),
            "AccessSecretVersion": Method(
                pb("AccessSecretVersionRequest"), pb("AccessSecretVersionResponse"), self.access
            ),
            "EnableSecretVersion": Method(pb("EnableSecretVersionRequest"), version, self.enable),
            "DisableSecretVersion": Method(pb("DisableSecretVersionRequest"), version, self.disable),
            "DestroySecretVersion": Method(pb("DestroySecretVersionRequest"), version, self.destroy),
        }
        return {name: method.handler() for name, method in table.items()}

    def _save(self) -> None:
        write_private(self._file, json.dumps(self._secrets))

    def _known(self, name: str) -> dict[str, Any]:
        if name not in self._secrets:
            raise RpcError("NOT_FOUND", f"Secret [{name}] not found or has no versions.")
        return self._secrets[name]

    def _version(self, name: str) -> tuple[str, dict[str, Any]]:
        """A version by number or `latest`, with its full name."""
        secret, _, number = name.rpartition("/versions/")
        versions = self._known(secret)["versions"]
        number = str(len(versions)) if number == "latest" else number
        if not number.isdigit() or not 0 < int(number) <= len(versions):
            raise RpcError("NOT_FOUND", f"Secret Version [{name}] not found.")
        return f"{secret}/versions/{number}", versions[int(number) - 1]

    def _secret_pb(self, name: str) -> Proto:
        stored = self._secrets[name]
        secret = pb("Secret")(name=name, labels=stored["labels"], replication={"automatic": {}})
        if stored.get("expires"):
            secret.expire_time.FromJsonString(stored["expires"])
        describe(secret, stored)
        return secret

    @staticmethod
    def _version_pb(name: str, version: dict[str, Any]) -> Proto:
        message = pb("SecretVersion")(name=name, state=pb("SecretVersion").State.Value(version["state"]))
        message.create_time.FromJsonString(version["created"])
        return message

    async def create(self, request: Proto) -> Proto:
        """Make a secret without a version."""
        name = f"{request.parent}/secrets/{request.secret_id}"
        if name in self._secrets:
            raise RpcError("ALREADY_EXISTS", f"Secret [{name}] already exists.")
        expires = request.secret.expire_time
        expire_time = expires.ToJsonString() if expires.ByteSize() else ""
        own: dict[str, Any] = {"labels": dict(request.secret.labels), "versions": [], "expires": expire_time}
        self._secrets[name] = own | described(request.secret)
        self._save()
        return self._secret_pb(name)

    async def get(self, request: Proto) -> Proto:
        """A secret's description."""
        self._known(request.name)
        return self._secret_pb(request.name)

    async def update(self, request: Proto) -> Proto:
        """Change what the mask names: labels, topics, rotation; the mask's other fields stay as they are."""
        stored = self._known(request.secret.name)
        if not request.update_mask.paths:
            raise RpcError("INVALID_ARGUMENT", "update_mask must name the fields to change.")
        changed = self._secret_pb(request.secret.name)
        for path in {path.partition(".")[0] for path in request.update_mask.paths} & {"labels", "topics", "rotation"}:
            changed.ClearField(path)
            changed.MergeFrom(pb("Secret")(**{path: getattr(request.secret, path)}))
        stored |= {"labels": dict(changed.labels)} | described(changed)
        self._save()
        return self._secret_pb(request.secret.name)

    async def list(self, request: Proto) -> Proto:
        """Secrets of a project."""
        mine = [n for n in self._secrets if n.startswith(f"{request.parent}/")]
        names, token = page(mine, request.page_size, request.page_token)
        return pb("ListSecretsResponse")(secrets=[self._secret_pb(n) for n in names], next_page_token=token)

    async def delete(self, request: Proto) -> Proto:
        """Delete a secret with its versions."""
        self._known(request.name)
        del self._secrets[request.name]
        self._save()
        return Empty()

    async def add(self, request: Proto) -> Proto:
        """Add a version; it is the newest from now on."""
        versions = self._known(request.parent)["versions"]
        data = base64.b64encode(request.payload.data).decode()
        versions.append({"state": ENABLED, "data": data, "created": now()})
        self._save()
        return self._version_pb(f"{request.parent}/versions/{len(versions)}", versions[-1])

    async def get_version(self, request: Proto) -> Proto:
        """A version's state."""
        return self._version_pb(*self._version(request.name))

    async def list_versions(self, request: Proto) -> Proto:
        """Versions, newest first."""
        versions = self._known(request.parent)["versions"]
        listed = [self._version_pb(f"{request.parent}/versions/{i + 1}", v) for i, v in enumerate(versions)]
        return pb("ListSecretVersionsResponse")(versions=listed[::-1], total_size=len(listed))

    async def access(self, request: Proto) -> Proto:
        """A version's value."""
        name, version = self._version(request.name)
        if version["state"] != ENABLED:
            raise RpcError("FAILED_PRECONDITION", f"Secret Version [{name}] is in {version['state']} state.")
        data = base64.b64decode(version["data"])
        checksum = google_crc32c.value(data)
        return pb("AccessSecretVersionResponse")(name=name, payload={"data": data, "data_crc32c": checksum})

    async def enable(self, request: Proto) -> Proto:
        """Make a disabled version readable."""
        return self._change(request.name, ENABLED)

    async def disable(self, request: Proto) -> Proto:
        """Make a version unreadable for a while."""
        return self._change(request.name, DISABLED)

    async def destroy(self, request: Proto) -> Proto:
        """Delete a version's value irrevocably."""
        return self._change(request.name, DESTROYED)

    def _change(self, name: str, state: str) -> Proto:
        name, version = self._version(name)
        if version["state"] == DESTROYED:
            raise RpcError("FAILED_PRECONDITION", f"Secret Version [{name}] is in DESTROYED state.")
        version["state"] = state
        if state == DESTROYED:
            version["data"] = ""
        self._save()
        return self._version_pb(name, version)
