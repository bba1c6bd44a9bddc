"""The identity of this process at Google, for every client; and a rejection for lack of a permission, as one error.

Each environment names its identity as Google's libraries read it: a metadata server (`GCE_METADATA_HOST`; on Google
Cloud it needs no variable) or a key file (`GOOGLE_APPLICATION_CREDENTIALS`).
"""

import os
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import google.auth
import grpc
from google.api_core.exceptions import Forbidden
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.auth.transport.requests import Request

from millrace.domain.errors import AccessDenied, ServiceUnavailable, SettingsError

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
IDENTITY_VARIABLES = ("GCE_METADATA_HOST", "GOOGLE_APPLICATION_CREDENTIALS")
DENIED_REASONS = frozenset({"forbidden", "accessDenied", "insufficientPermissions", "IAM_PERMISSION_DENIED"})
UNKNOWN = "the account of this process"
PERMISSION = re.compile(
    r"(?<![\w.@-])((?:storage|bigquery|pubsub|secretmanager|dataflow|iam|run)\.[a-zA-Z]+\.[a-zA-Z]+)\b"
)
INNER = re.compile(r'"message": ?"([^"]+)"')  # Google's own words, in messages that quote its answer
REQUEST = re.compile(r"^[A-Z]+ https?://\S+: ")  # that the client puts before Google's words
ACT_AS = re.compile(r"act as service account ([\w.@-]+[\w])")
SPEAKER = re.compile(r"\b([\w.+-]+@[\w.-]+\.[a-z]{2,})\b does not have")
# The role that grants a permission, the narrowest that Terraform gives to any identity.
ROLES = {
    "storage.buckets.get": "roles/storage.legacyBucketReader",
    "storage": "roles/storage.objectUser",
    "bigquery.jobs.create": "roles/bigquery.jobUser",
    "bigquery.jobs.listAll": "roles/bigquery.resourceViewer",
    "bigquery": "roles/bigquery.dataEditor",
    "pubsub.topics.publish": "roles/pubsub.publisher",
    "pubsub": "roles/pubsub.subscriber",
    "secretmanager.versions.access": "roles/secretmanager.secretAccessor",
    "secretmanager": "roles/secretmanager.viewer",
    "dataflow": "roles/dataflow.developer",
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser",
}
# The command that grants a role on the resource of a permission; without one, a role on the project.
COMMANDS = {
    "storage": "gcloud storage buckets add-iam-policy-binding gs://{name} --member={member} --role={role}",
    "pubsub.topics": "gcloud pubsub topics add-iam-policy-binding {name} --member={member} --role={role}",
    "pubsub.subscriptions": "gcloud pubsub subscriptions add-iam-policy-binding {name} --member={member} --role={role}",
    "secretmanager": "gcloud secrets add-iam-policy-binding {name} --member={member} --role={role}",
    "iam.serviceAccounts": "gcloud iam service-accounts add-iam-policy-binding {name} --member={member} --role={role}",
    "bigquery.tables": "bq query --use_legacy_sql=false 'GRANT `{role}` ON SCHEMA {name} TO \"{member}\"'",
}
COMMANDS["bigquery.datasets.get"] = COMMANDS["bigquery.tables"]
PROJECT_COMMAND = "gcloud projects add-iam-policy-binding {name} --member={member} --role={role}"


def credentials(endpoint: str = "") -> Any:
    """Return the environment's identity; at an `endpoint` other than Google's none, unless a variable names one.

    Raises:
        SettingsError: Google's own address needs an identity, and there is none.
    """
    named = tuple(os.environ.get(name, "") for name in IDENTITY_VARIABLES)
    return AnonymousCredentials() if endpoint and not any(named) else _default(named)


def is_anonymous(endpoint: str) -> bool:
    """Return True if a client at an address has no identity."""
    return isinstance(credentials(endpoint), AnonymousCredentials)


@lru_cache(maxsize=8)
def _default(_named: tuple[str, ...]) -> Any:
    try:
        return google.auth.default(scopes=SCOPES)[0]
    except DefaultCredentialsError as error:
        raise SettingsError(f"no credentials for Google Cloud: {error}") from error


def channel(endpoint: str) -> grpc.Channel:
    """Return a channel to a server other than Google's, whose calls carry the environment's identity, if any."""
    plain = grpc.insecure_channel(endpoint)
    return plain if is_anonymous(endpoint) else grpc.intercept_channel(plain, _Bearer(credentials(endpoint)))


class _Bearer(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):  # type: ignore[misc]  # untyped
    """Adds the identity's token to calls: gRPC's own call credentials demand TLS, which a local server lacks."""

    def __init__(self, identity: Any) -> None:
        self._identity, self._request = identity, Request()

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """Add the token to a single call."""
        return continuation(self._with_token(details), request)

    def intercept_stream_stream(self, continuation: Callable[..., Any], details: Any, requests: Any) -> Any:
        """Add the token to a stream."""
        return continuation(self._with_token(details), requests)

    def _with_token(self, details: Any) -> Any:
        headers: dict[str, str] = {}
        self._identity.before_request(self._request, details.method, "", headers)
        bearer = [("authorization", value) for name, value in headers.items() if name.lower() == "authorization"]
        return _Details(
            details.method,
            details.timeout,
            [*(details.metadata or []), *bearer],
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )


class _Details(grpc.ClientCallDetails):  # type: ignore[misc]  # untyped
    def __init__(self, *values: Any) -> None:
        self.method, self.timeout, self.metadata, self.credentials, self.wait_for_ready, self.compression = values


def identity_of(used: Any) -> str:
    """Return the email of an identity, as far as its credentials say it."""
    email = str(getattr(used, "service_account_email", "") or getattr(used, "account", "") or "")
    return email if "@" in email else UNKNOWN


def is_denied(error: Exception) -> bool:
    """Return True if Google rejected a call for lack of a permission, not for a quota, billing or a retention rule."""
    if not isinstance(error, Forbidden):
        return False
    reasons = {str(e.get("reason")) for e in error.errors or () if isinstance(e, dict)}
    return not reasons or bool(reasons & DENIED_REASONS)


def denied(error: Exception, resource: str, permission: str, endpoint: str = "") -> AccessDenied:
    """Return the platform's error for a rejection with 403 or PERMISSION_DENIED.

    Args:
        error: Google's; its message names permission and identity, or neither.
        resource: the resource of the call: a bucket, topic, subscription, secret, project or dataset.
        permission: the permission of the call, should the message name none.
        endpoint: the address of the client, which selects its identity.
    """
    message = " ".join(str(getattr(error, "message", "") or error).split())
    quoted = INNER.search(message)
    message = quoted[1] if quoted else REQUEST.sub("", message)
    named, account = PERMISSION.findall(message), ACT_AS.search(message)
    if account:
        permission, resource = "iam.serviceAccounts.actAs", account[1]
    permission = named[0] if named else permission
    speaker = SPEAKER.search(message)
    identity = speaker[1] if speaker else identity_of(credentials(endpoint))
    return AccessDenied(
        f"{identity} lacks the permission {permission} on {resource}; grant it: {grant(identity, permission, resource)}"
        f" ({message})"
    )


def unidentified(error: GoogleAuthError, resource: str) -> AccessDenied | ServiceUnavailable:
    """Return the platform's error for an identity that has no token, or for a server that demands one."""
    if isinstance(error, TransportError) or error.retryable:
        return ServiceUnavailable(f"no access token could be had for {resource}: {error}")
    return AccessDenied(
        f"{resource} demands an identity, and this process has none that is valid ({error}); name one by"
        f" {' or '.join(IDENTITY_VARIABLES)}, or enable its service account"
    )


def grant(identity: str, permission: str, resource: str) -> str:
    """Return the command that grants a permission to an identity on a resource."""
    kind, _, _ = permission.rpartition(".")
    service = kind.partition(".")[0]
    role = next((ROLES[key] for key in (permission, kind, service) if key in ROLES), f"a role with {permission}")
    template = next((COMMANDS[key] for key in (permission, kind, service) if key in COMMANDS), PROJECT_COMMAND)
    name = _project(resource) if template is PROJECT_COMMAND else _short(resource)
    member = f"serviceAccount:{identity}" if "@" in identity else "serviceAccount:<account>"
    return template.format(name=name, member=member, role=role)


def _short(resource: str) -> str:
    """Return the name by which a command finds a resource: a bucket without its objects, a dataset without tables."""
    if resource.startswith("gs://"):
        return resource.removeprefix("gs://").split("/")[0]
    if ":" in resource:
        project, _, dataset = resource.partition(":")
        return f"`{project}`.`{dataset.split('.')[0]}`"
    parts = resource.split("/")
    return parts[3] if len(parts) > 3 else parts[-1]


def _project(resource: str) -> str:
    return resource.removeprefix("projects/").split("/")[0].split(":")[0]
