"""A request of the JSON or XML API in; the permissions that Cloud Storage demands for it, or its 401 and 403, out.

https://cloud.google.com/storage/docs/access-control/iam-json and …/iam-xml list the permissions of each method.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.requests import Request

from local.servers.rights.policy import LIST_PREFIX, Denial, Policy, Required, bearer_email, first_denied
from local.servers.storage.rules import StorageError
from local.servers.storage.uploads import split_multipart

API = re.compile(r"(?:/download)?(?:/storage/v1)?/b(?:/([^/]+)(/.*)?)?$")
UPLOAD = re.compile(r"(?:/resumable)?/upload/storage/v1/b/([^/]+)/o$")
OBJECT = re.compile(r"/o/([^/]+)(?:/(rewriteTo|copyTo|compose)(?:/b/([^/]+)/o/([^/]+))?)?$")
WRITE = {"PATCH": "update", "PUT": "update", "DELETE": "delete", "GET": "get", "HEAD": "get"}
ANONYMOUS = "Anonymous caller"
OPEN = ("/_local/", "/batch/")
Exists = Callable[[str, str], bool]


@dataclass
class Guard:
    """Rejects requests whose bearer lacks a permission; `exists` tells whether an object is there."""

    policy: Policy
    exists: Exists

    async def check(self, request: Request) -> None:
        """Raise the error that Cloud Storage answers, for the first permission that the bearer, or signer, lacks."""
        path = request.scope["raw_path"].decode().split("?")[0]
        if path.startswith(OPEN) or "upload_id" in request.query_params:
            return  # parts of an upload belong to the session that its first request was granted
        try:
            signer = request.query_params.get("X-Goog-Credential", "").partition("/")[0]
            email = signer or bearer_email(request.headers.get("authorization", ""))
        except ValueError as error:
            raise StorageError(401, "authError", str(error)) from None
        prefix = {LIST_PREFIX: request.query_params.get("prefix", "")}
        denial = first_denied(self.policy, email, await self._required(request, path), prefix)
        if denial:
            raise _rejection(denial)
        self._check_missing(email, request.method, path)

    async def _required(self, request: Request, path: str) -> list[Required]:
        if match := UPLOAD.match(path):
            return list(self._creation(unquote(match[1]), await _uploaded_name(request)))
        if match := API.match(path):
            return list(await self._of_api(request, unquote(match[1] or ""), match[2] or ""))
        bucket, _, name = path.lstrip("/").partition("/")
        if request.method == "PUT":
            return list(self._creation(bucket, unquote(name)))
        return [(f"storage.objects.{WRITE[request.method]}", _object(bucket, unquote(name)))]

    async def _of_api(self, request: Request, bucket: str, rest: str) -> list[Required]:
        method, whole = request.method, f"projects/_/buckets/{bucket}"
        if not bucket:
            return [("storage.buckets.create" if method == "POST" else "storage.buckets.list", self._project)]
        if rest == "/o":
            return [("storage.objects.list", whole)]
        if match := OBJECT.match(rest):
            return await self._of_object(request, bucket, match)
        if rest.startswith("/notificationConfigs"):
            return [("storage.buckets.get" if method == "GET" else "storage.buckets.update", whole)]
        return [(f"storage.buckets.{WRITE.get(method, 'update')}", whole)]

    async def _of_object(self, request: Request, bucket: str, match: re.Match[str]) -> list[Required]:
        name = unquote(match[1])
        if match[2] == "compose":
            listed = json.loads(await request.body() or b"{}").get("sourceObjects") or []
            sources = [("storage.objects.get", _object(bucket, source["name"])) for source in listed]
            return [*sources, *self._creation(bucket, name)]
        if match[2]:
            created = self._creation(unquote(match[3]), unquote(match[4]))
            return [("storage.objects.get", _object(bucket, name)), *created]
        return [(f"storage.objects.{WRITE[request.method]}", _object(bucket, name))]

    def _creation(self, bucket: str, name: str) -> Iterator[Required]:
        """Yield the permissions to write an object; replacing one also deletes it."""
        yield "storage.objects.create", _object(bucket, name)
        if self.exists(bucket, name):
            yield "storage.objects.delete", _object(bucket, name)

    def _check_missing(self, email: str, method: str, path: str) -> None:
        """Reject reading an object that does not exist, for bearers that may not know which objects exist."""
        match = API.match(path)
        item = OBJECT.match(match[2] or "") if match else None
        if match is None or item is None or item[2] or method not in ("GET", "HEAD"):
            return
        bucket, name = unquote(match[1]), unquote(item[1])
        if not self.exists(bucket, name):
            required = [("storage.objects.list", f"projects/_/buckets/{bucket}")]
            if denial := first_denied(self.policy, email, required, {LIST_PREFIX: name}):
                raise _rejection(denial)

    @property
    def _project(self) -> str:
        return f"projects/{self.policy.project}"


async def _uploaded_name(request: Request) -> str:
    if "name" in request.query_params:
        return request.query_params["name"]
    body = await request.body()
    if request.query_params.get("uploadType") == "multipart":
        return str(split_multipart(request.headers.get("content-type", ""), body)[0].get("name", ""))
    return str(json.loads(body or b"{}").get("name", ""))


def _object(bucket: str, name: str) -> str:
    return f"projects/_/buckets/{bucket}/objects/{name}"


def _rejection(denial: Denial) -> StorageError:
    kind = "Storage object" if "/objects/" in denial.resource else "Storage bucket"
    kind = "project" if denial.resource.count("/") == 1 else kind
    message = (
        f"{denial.email or ANONYMOUS} does not have {denial.permission} access to the Google Cloud {kind}."
        f" Permission '{denial.permission}' denied on resource (or it may not exist)."
    )
    return StorageError(403 if denial.email else 401, "forbidden" if denial.email else "required", message)
