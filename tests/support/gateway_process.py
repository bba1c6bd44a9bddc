"""A gateway as a process beside a small Prefect and an identity that it trusts."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
from google.auth import crypt, jwt

from local.servers.identity.tokens import identity_of, sign_oidc
from millrace.events.message import Incoming
from tests.support.prefect_server import PrefectServer
from tests.support.pushes import FORMS
from tests.support.servers import free_port, listens, process, wait_until

AUDIENCE, ACCOUNT = "https://gateway.test/push", "push@millrace-test.iam.gserviceaccount.com"
HTTP = httpx.Client(timeout=30, limits=httpx.Limits(max_keepalive_connections=0))


@dataclass
class Running:
    """A gateway, the Prefect it posts to and the identity it trusts."""

    url: str
    log: Path
    identity: Path
    prefect: PrefectServer
    process: "Popen[bytes]"

    def token(self, audience: str = AUDIENCE, account: str = ACCOUNT, age_s: float = 0) -> str:
        return sign_oidc(self.identity, audience, account, time.time() - age_s)

    def token_with(self, **claims: object) -> str:
        """A token of Google's key whose claims are others."""
        key = identity_of(self.identity)
        usual = {
            "iss": "https://accounts.google.com",
            "aud": AUDIENCE,
            "email": ACCOUNT,
            "email_verified": True,
            "iat": int(time.time()),
            "exp": int(time.time()) + 600,
        }
        signer = crypt.RSASigner.from_string(key.key, key_id=key.key_id)
        return str(jwt.encode(signer, {k: v for k, v in (usual | claims).items() if v is not None}).decode())

    def post(self, topic: str, body: bytes, token: str | None = None, **headers: str) -> httpx.Response:
        """Push bytes."""
        if token != "":
            headers["Authorization"] = f"Bearer {self.token() if token is None else token}"
        return HTTP.post(f"{self.url}/push/{topic}", content=body, headers=headers)

    def send(self, topic: str, pushed: Incoming | bytes, token: str | None = None, form: str = "wrapped") -> int:
        """Push a message, or bytes in the place of a body; returns the status."""
        headers, body = ({}, pushed) if isinstance(pushed, bytes) else FORMS[form](pushed)
        return self.post(topic, body, token, **headers).status_code

    def lines(self) -> list[dict[str, Any]]:
        """Its log: a line is written before the answer."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def last_line(self) -> dict[str, Any]:
        return self.lines()[-1]


@contextmanager
def gateway(
    folder: Path, prefect: PrefectServer, certs_url: str, identity: Path, *mode: str, **env: str
) -> Iterator[Running]:
    """Run a gateway until it answers; by default each landing is an event."""
    port, log = free_port(), folder / "gateway.log"
    env = {
        "MILLRACE_GATEWAY__LANDINGS_APART_S": "0",
        **env,
        "MILLRACE_GATEWAY__AUDIENCE": AUDIENCE,
        "MILLRACE_GATEWAY__PUSH_ACCOUNT": ACCOUNT,
        "MILLRACE_GATEWAY__CERTS_URL": certs_url,
        "PREFECT_API_URL": prefect.url,
        "PREFECT_API_KEY": "key",
    }
    with process("-m", "millrace.gateway", *mode, "--port", str(port), env=env, log=log) as started:
        wait_until(lambda: listens(port) or started.poll() is not None, "the gateway answers")
        assert started.poll() is None, log.read_text()
        yield Running(f"http://127.0.0.1:{port}", log, identity, prefect, started)
