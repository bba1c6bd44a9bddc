"""Rotation: the next use reads the added version, the old one is disabled; and secrets that should be rotated."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocks import MillraceAirbyte, MillraceCredentials, MillraceSecret
from local.demo.airport_ops.replay import create, hash_password
from millrace.contracts.source import load_sources
from millrace.domain.errors import AirbyteRefused
from millrace.lake.store import Lake
from millrace.secrets import SecretAge, secret_ages, unusable_secrets
from tests.support.connections import apply
from tests.support.scripted_airbyte import (
    CREDENTIALS,
    PROJECT,
    SECRETS,
    ScriptedAirbyte,
    airbyte_command,
    scripted_airbyte,
    secret_manager,
    secrets_server,
)
from tests.support.servers import ROOT, free_port, server

PASSWORD = "airport-ops-password"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
QUARTER = timedelta(days=90)


@pytest.fixture(scope="module")
def airbyte(tmp_path_factory: pytest.TempPathFactory, storage_port: int) -> Iterator[ScriptedAirbyte]:
    with scripted_airbyte(tmp_path_factory.mktemp("airbyte"), storage_port) as scripted:
        create(scripted.folder / "airport_ops.sqlite", SECRETS[PASSWORD])
        yield scripted


def rotate(secrets_port: int, name: str, value: str) -> None:
    """Add a version and disable all before it."""
    secret = f"projects/{PROJECT}/secrets/{name}"
    with secret_manager(secrets_port) as manager:
        old = [version.name for version in manager.list_secret_versions(parent=secret)]
        manager.add_secret_version(parent=secret, payload={"data": value.encode()})
        for version in old:
            manager.disable_secret_version(name=version)


@pytest.mark.demo
def test_next_sync_uses_the_rotated_password(airbyte: ScriptedAirbyte, lake: Lake) -> None:
    source = load_sources(ROOT / "sources")["airport_ops"]
    apply(airbyte.client, source, lake.url)
    connection = airbyte.client.connection("airport_ops")["connectionId"]
    assert airbyte.run(connection).status == "succeeded"
    with closing(sqlite3.connect(airbyte.folder / "airport_ops.sqlite")) as db, db:
        db.execute("UPDATE _users SET salt = 's', hash = ?", (hash_password("rotated", "s"),))
    assert airbyte.run(connection).status == "failed", "the owner has another value already"
    rotate(airbyte.secrets_port, PASSWORD, "rotated")
    assert airbyte.run(connection).status == "succeeded"
    assert "rotated" not in airbyte.log(airbyte.client.newest_jobs(connection)[0].id)


def test_next_use_takes_rotated_api_credentials(tmp_path: Path, storage_port: int) -> None:
    port = free_port()
    with secrets_server(tmp_path) as secrets_port, secret_manager(secrets_port) as manager:
        for name in ("airbyte-client-id", "airbyte-client-secret"):
            secret = {"replication": {"automatic": {}}}
            manager.create_secret(parent=f"projects/{PROJECT}", secret_id=name, secret=secret)
        google = MillraceCredentials(project=PROJECT, endpoint=f"127.0.0.1:{secrets_port}")
        client_id, client_secret = (
            MillraceSecret(secret_name=name, gcp_credentials=google)
            for name in ("airbyte-client-id", "airbyte-client-secret")
        )
        block = MillraceAirbyte(
            url=f"http://127.0.0.1:{port}/api/public/v1", client_id=client_id, client_secret=client_secret
        )
        options, environment = airbyte_command(tmp_path, storage_port, secrets_port)
        for credentials in (CREDENTIALS, ("another-client", "another-secret")):
            named = {"MILLRACE_AIRBYTE_CLIENT_ID": credentials[0], "MILLRACE_AIRBYTE_CLIENT_SECRET": credentials[1]}
            with server("airbyte", tmp_path / "airbyte", *options, env=environment | named, port=port):
                if credentials != CREDENTIALS:
                    with block.open() as client, pytest.raises(AirbyteRefused, match="rejected the client id"):
                        client.pages("/connections")
                rotate(secrets_port, "airbyte-client-id", credentials[0])
                rotate(secrets_port, "airbyte-client-secret", credentials[1])
                with block.open() as client:
                    assert client.pages("/connections") == []
        assert not any(value in block.model_dump_json() for value in (*CREDENTIALS, "another-secret"))


@pytest.mark.parametrize(
    ("age", "expires", "reason"),
    [
        (timedelta(days=90), None, ""),
        (timedelta(days=91), None, "is 91 days old, 90 are allowed"),
        (timedelta(days=1), NOW + timedelta(days=15), ""),
        (timedelta(days=1), NOW + timedelta(days=13), "expires at 2026-06-14 00:00 UTC"),
        (timedelta(days=91), NOW - timedelta(days=1), "expires at 2026-05-31 00:00 UTC"),
    ],
)
def test_old_or_expiring_secret_should_be_rotated(age: timedelta, expires: datetime | None, reason: str) -> None:
    assert SecretAge("s", NOW - age, expires).due_reason(NOW, QUARTER) == reason


def test_no_age_is_too_old_when_none_is_set() -> None:
    assert SecretAge("s", NOW - timedelta(days=9999), None).due_reason(NOW, timedelta()) == ""


def test_secret_age_is_of_its_newest_version(airbyte: ScriptedAirbyte) -> None:
    google = MillraceCredentials(project=PROJECT, endpoint=f"127.0.0.1:{airbyte.secrets_port}")
    expires = datetime(2999, 1, 1, tzinfo=UTC)
    with secret_manager(airbyte.secrets_port) as manager:
        settings = {"replication": {"automatic": {}}, "expire_time": expires}
        manager.create_secret(parent=f"projects/{PROJECT}", secret_id="dated", secret=settings)
    began = datetime.now(UTC)
    airbyte.set_secret("dated", "x")
    (age,) = secret_ages(google, ["dated", "never-made"])
    assert began <= age.created_at <= datetime.now(UTC)
    assert age.expires_at == expires
    assert unusable_secrets(google, ["dated", "never-made"]) == {"never-made": "does not exist or has no version"}
