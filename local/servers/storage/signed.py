"""Signed URLs (V4): whether one is still good, and whether the local identity signed it.

https://cloud.google.com/storage/docs/authentication/canonical-requests
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

from google.auth.crypt import RSAVerifier

from local.servers.storage.rules import StorageError

ALGORITHM = "GOOG4-RSA-SHA256"
LONGEST_S = 7 * 86_400
NEEDED = ("Credential", "Date", "Expires", "SignedHeaders", "Signature")


def check_signed(
    method: str, path: str, query: str, headers: Mapping[str, str], now: datetime, certificate: str | None
) -> None:
    """Reject a signed URL that is malformed, expired or, with a certificate, not signed by its key.

    A URL without a signature passes: every client of this server has all permissions. `path` and `query` are raw.
    """
    values = {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}
    if "x-goog-algorithm" not in values:
        return
    parameters = {name: values.get(f"x-goog-{name.lower()}", "") for name in NEEDED}
    if values["x-goog-algorithm"] != ALGORITHM or not all(parameters.values()):
        raise StorageError(400, "AuthenticationRequired", f"a signed URL has {ALGORITHM} and X-Goog-{'/'.join(NEEDED)}")
    try:
        signed_at = datetime.strptime(parameters["Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        expires = int(parameters["Expires"])
    except ValueError:
        raise StorageError(400, "InvalidArgument", "X-Goog-Date or X-Goog-Expires is malformed") from None
    if not 0 < expires <= LONGEST_S:
        raise StorageError(400, "InvalidArgument", f"X-Goog-Expires must be from 1 to {LONGEST_S}")
    if signed_at + timedelta(seconds=expires) < now:
        raise StorageError(400, "ExpiredToken", f"the URL was valid for {expires} s from {parameters['Date']}")
    if certificate is not None:
        text = string_to_sign(method, path, query, headers, parameters)
        if not _verifies(certificate, text, parameters["Signature"]):
            raise StorageError(403, "SignatureDoesNotMatch", f"another signature is needed for: {text}")


def string_to_sign(
    method: str, path: str, query: str, headers: Mapping[str, str], parameters: Mapping[str, str]
) -> str:
    """Return the text that the holder of the key signed."""
    pairs = [
        (name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name.lower() != "x-goog-signature"
    ]
    canonical_query = "&".join(f"{quote(n, safe='~')}={quote(v, safe='~')}" for n, v in sorted(pairs))
    names = parameters["SignedHeaders"].split(";")
    canonical_headers = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names)
    payload = headers.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD")
    request = "\n".join([method, path, canonical_query, canonical_headers, parameters["SignedHeaders"], payload])
    scope = parameters["Credential"].partition("/")[2]
    return "\n".join([ALGORITHM, parameters["Date"], scope, hashlib.sha256(request.encode()).hexdigest()])


def _verifies(certificate: str, text: str, signature: str) -> bool:
    try:
        return bool(RSAVerifier.from_string(certificate).verify(text.encode(), bytes.fromhex(signature)))
    except ValueError:
        return False
