"""Identity through google-auth: a persistent key, tokens that verify or fail, and tokens for accounts."""

import json
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from google.auth import jwt
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.auth.transport.requests import Request
from google.oauth2 import id_token, service_account

from local.servers.identity.tokens import sign_oidc
from tests.support.clients import killable
from tests.support.servers import server

pytest_plugins = ["tests.support.stand_ins"]
AUDIENCE, ACCOUNT = "https://gateway.example/push", "pubsub-push@millrace-test.iam.gserviceaccount.com"
Identity = tuple[int, Path]


def certificates(identity: Identity) -> str:
    return f"http://127.0.0.1:{identity[0]}/certs"


def key_file(identity: Identity) -> str:
    return str(identity[1] / "service_account.json")


@contextmanager
def another(folder: Path) -> Iterator[Identity]:
    with server("identity", folder / "another") as port:
        yield port, folder / "another"


def test_token_verifies_against_the_certificates(identity: Identity) -> None:
    token = sign_oidc(identity[1], AUDIENCE, ACCOUNT, time.time())
    claims = id_token.verify_token(token, Request(), AUDIENCE, certificates(identity), clock_skew_in_seconds=10)
    assert (claims["email"], claims["email_verified"]) == (ACCOUNT, True)
    assert claims["exp"] - claims["iat"] == 3600


def test_altered_or_expired_token_is_invalid(identity: Identity, tmp_path: Path) -> None:
    good = sign_oidc(identity[1], AUDIENCE, ACCOUNT, time.time())
    head, claims, signature = good.split(".")
    with another(tmp_path) as (_, directory):
        forged = sign_oidc(directory, AUDIENCE, ACCOUNT, time.time())
    expired = sign_oidc(identity[1], AUDIENCE, ACCOUNT, time.time() - 7200)
    for token in (forged, expired, f"{head}.{claims[:-4]}AAAA.{signature}", good[:-8] + "AAAAAAAA"):
        with pytest.raises((GoogleAuthError, ValueError)):
            id_token.verify_token(token, Request(), AUDIENCE, certificates(identity), clock_skew_in_seconds=10)


def test_service_account_gets_an_access_token(identity: Identity) -> None:
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    credentials = service_account.Credentials.from_service_account_file(key_file(identity), scopes=scopes)
    credentials.refresh(Request())
    assert credentials.valid
    assert credentials.token


def test_service_account_gets_an_id_token(identity: Identity) -> None:
    credentials = service_account.IDTokenCredentials.from_service_account_file(
        key_file(identity), target_audience=AUDIENCE
    )
    credentials.refresh(Request())
    claims = id_token.verify_token(
        credentials.token, Request(), AUDIENCE, certificates(identity), clock_skew_in_seconds=10
    )
    assert claims["email"] == credentials.service_account_email


def test_foreign_service_account_gets_no_token(identity: Identity, tmp_path: Path) -> None:
    with another(tmp_path) as foreign:
        key = json.loads(Path(key_file(foreign)).read_text())
    key["token_uri"] = f"http://127.0.0.1:{identity[0]}/token"
    credentials = service_account.Credentials.from_service_account_info(key, scopes=["x"])
    with pytest.raises(RefreshError, match="invalid_grant"):
        credentials.refresh(Request())


@pytest.mark.parametrize("form", [{}, {"grant_type": "password"}, "junk", b"\xff\xfe"])
def test_request_without_the_grant_is_rejected(identity: Identity, form: object) -> None:
    answer = requests.post(f"http://127.0.0.1:{identity[0]}/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


def test_key_files_are_private(identity: Identity) -> None:
    for name in ("key.pem", "service_account.json"):
        assert stat.S_IMODE((identity[1] / name).stat().st_mode) == 0o600


def test_identity_survives_a_restart_and_a_kill(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with killable("identity", state) as (port, kill):
        before = requests.get(f"http://127.0.0.1:{port}/certs").json()
        kill()
    token = sign_oidc(state, AUDIENCE, ACCOUNT, time.time())
    for _ in range(2):
        with server("identity", state) as port:
            certs = requests.get(f"http://127.0.0.1:{port}/certs").json()
            assert certs == before
            assert json.loads((state / "service_account.json").read_text())["token_uri"].endswith(f":{port}/token")
    assert jwt.decode(token, certs=certs, audience=AUDIENCE, clock_skew_in_seconds=10)["email"] == ACCOUNT
