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
    """Refuse a signed URL that is malformed, out of its time or, with a certificate, signed by someone else.

    A URL without a signature passes: whoever reaches this server may do all. `path` and `query` are as they were sent.
    """
    values = {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}
    if "x-goog-algorithm" not in values:
        return
    given = {name: values.get(f"x-goog-{name.lower()}", "") for name in NEEDED}
    if values["x-goog-algorithm"] != ALGORITHM or not all(given.values()):
        raise StorageError(400, "AuthenticationRequired", f"a signed URL has {ALGORITHM} and X-Goog-{'/'.join(NEEDED)}")
    try:
        signed_at = datetime.strptime(given["Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        expires = int(given["Expires"])
    except ValueError:
        raise StorageError(400, "InvalidArgument", "X-Goog-Date or X-Goog-Expires is malformed") from None
    if not 0 < expires <= LONGEST_S:
        raise StorageError(400, "InvalidArgument", f"X-Goog-Expires must be from 1 to {LONGEST_S}")
    if signed_at + timedelta(seconds=expires) < now:
        raise StorageError(400, "ExpiredToken", f"the URL was good for {expires} s from {given['Date']}")
    if certificate is not None:
        text = string_to_sign(method, path, query, headers, given)
        if not _verifies(certificate, text, given["Signature"]):
            raise StorageError(403, "SignatureDoesNotMatch", f"another signature is needed for: {text}")


def string_to_sign(method: str, path: str, query: str, headers: Mapping[str, str], given: Mapping[str, str]) -> str:
    """What the holder of the key signed."""
    pairs = [
        (name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name.lower() != "x-goog-signature"
    ]
    canonical_query = "&".join(f"{quote(n, safe='~')}={quote(v, safe='~')}" for n, v in sorted(pairs))
    names = given["SignedHeaders"].split(";")
    canonical_headers = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names)
    payload = headers.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD")
    request = "\n".join([method, path, canonical_query, canonical_headers, given["SignedHeaders"], payload])
    scope = given["Credential"].partition("/")[2]
    return "\n".join([ALGORITHM, given["Date"], scope, hashlib.sha256(request.encode()).hexdigest()])


def _verifies(certificate: str, text: str, signature: str) -> bool:
    try:
        return bool(RSAVerifier.from_string(certificate).verify(text.encode(), bytes.fromhex(signature)))
    except ValueError:
        return False
