"""Signs OpenID Connect tokens, in the form of Google's push and service accounts, with the key of a directory."""

import fcntl
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

ISSUER = "https://accounts.google.com"
KEY_FILE = "key.pem"
CERTIFICATE_FILE = "certificate.pem"
CERTIFICATE_DAYS = 3650


@dataclass(frozen=True)
class Identity:
    """A private key with its self-signed certificate, both as PEM."""

    key: str
    certificate: str

    @property
    def key_id(self) -> str:
        """Names the key in tokens and among certificates."""
        return hashlib.sha256(self.certificate.encode()).hexdigest()[:40]

    @property
    def certificates(self) -> dict[str, str]:
        """Certificates by key id, in the shape that Google publishes."""
        return {self.key_id: self.certificate}


@cache
def identity_of(directory: Path) -> Identity:
    """The directory's identity; the first caller of all processes makes it."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key, certificate = directory / KEY_FILE, directory / CERTIFICATE_FILE
    with (directory / ".identity.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (key.exists() and certificate.exists()):
            identity = _new_identity()
            write_private(certificate, identity.certificate)
            write_private(key, identity.key)
    return Identity(key.read_text(), certificate.read_text())


def sign_oidc(directory: Path, audience: str, email: str, now: float, lifetime_s: int = 3600) -> str:
    """An ID token of a service account for `audience`, as Pub/Sub sends it with a push.

    Verifies with `google.oauth2.id_token.verify_token` against the identity server's `/certs`.
    """
    from google.auth import jwt

    claims = {
        "iss": ISSUER,
        "aud": audience,
        "azp": email,
        "email": email,
        "email_verified": True,
        "sub": str(int(hashlib.sha256(email.encode()).hexdigest()[:16], 16)),
        "iat": int(now),
        "exp": int(now) + lifetime_s,
    }
    return bytes(jwt.encode(_signer(directory), claims)).decode()


def service_account(identity: Identity, project: str, token_uri: str) -> dict[str, str]:
    """The key file of a service account that exists only here, for clients that insist on credentials."""
    email = f"millrace@{project}.iam.gserviceaccount.com"
    return {
        "type": "service_account",
        "project_id": project,
        "private_key_id": identity.key_id,
        "private_key": identity.key,
        "client_email": email,
        "client_id": str(int(hashlib.sha256(email.encode()).hexdigest()[:16], 16)),
        "auth_uri": token_uri,
        "token_uri": token_uri,
    }


def write_service_account(directory: Path, project: str, token_uri: str) -> Path:
    """Write `service_account.json` whole, readable by its owner only."""
    file = directory / "service_account.json"
    write_private(file, json.dumps(service_account(identity_of(directory), project, token_uri), indent=1))
    return file


def write_private(file: Path, text: str) -> None:
    """Replace a file whole; only its owner can read it at any time."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


@cache
def _signer(directory: Path) -> Any:  # google-auth has no type stubs here
    from google.auth import crypt

    identity = identity_of(directory)
    return crypt.RSASigner.from_string(identity.key, key_id=identity.key_id)


def _new_identity() -> Identity:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "millrace local identity")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Identity(pem.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode())
