"""Secret Manager through Google's client: versions, their states, and the meaning of `latest`."""

import stat
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import pytest
from google.api_core.exceptions import AlreadyExists, FailedPrecondition, NotFound
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1.types import SecretVersion

from tests.cloud.place import RUNNING, clients
from tests.support.clients import PROJECT, killable, secrets_client, unique, write_until_killed
from tests.support.servers import free_port, server

State = SecretVersion.State
PARENT = f"projects/{PROJECT}"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretManagerServiceClient]:
    """Return a Secret Manager for this module; in a run of `make cloud-smoke` the project's."""
    if RUNNING:
        yield clients(RUNNING).secrets
        return
    with server("secrets", tmp_path_factory.mktemp("secrets") / "state") as port:
        yield secrets_client(port)


def secret(client: SecretManagerServiceClient, *values: bytes) -> str:
    """Create a secret with versions."""
    replication = {"replication": {"automatic": {}}}
    name = client.create_secret(parent=PARENT, secret_id=unique("secret"), secret=replication).name
    for value in values:
        client.add_secret_version(parent=name, payload={"data": value})
    return str(name)


def access(client: SecretManagerServiceClient, secret: str, version: object = "latest") -> bytes:
    return bytes(client.access_secret_version(name=f"{secret}/versions/{version}").payload.data)


def states(client: SecretManagerServiceClient, secret: str) -> list[tuple[str, State]]:
    """Return number and state of each version, newest first."""
    return [(v.name.split("/")[-1], v.state) for v in client.list_secret_versions(parent=secret)]


def test_secret_is_created_listed_and_deleted(client: SecretManagerServiceClient) -> None:
    name = secret(client, b"x")
    assert client.get_secret(name=name).name == name
    assert name in [s.name for s in client.list_secrets(parent=PARENT)]
    with pytest.raises(AlreadyExists):
        client.create_secret(parent=PARENT, secret_id=name.split("/")[-1], secret={"replication": {"automatic": {}}})
    client.delete_secret(name=name)
    for call in (client.get_secret, client.delete_secret):
        with pytest.raises(NotFound):
            call(name=name)
    with pytest.raises(NotFound):
        access(client, name)
    with pytest.raises(NotFound):
        client.add_secret_version(parent=name, payload={"data": b"x"})


def test_lists_of_secrets_are_paged_to_their_end(client: SecretManagerServiceClient) -> None:
    parent = f"projects/{unique('project')}"
    for number in range(5):
        client.create_secret(parent=parent, secret_id=f"s{number}", secret={"labels": {"n": str(number)}})
    listed = list(client.list_secrets(request={"parent": parent, "page_size": 2}))
    assert [s.labels["n"] for s in listed] == ["0", "1", "2", "3", "4"]


def test_versions_are_numbered_in_order(client: SecretManagerServiceClient) -> None:
    name = secret(client, b"one", b"two")
    added = client.add_secret_version(parent=name, payload={"data": b"\x00\xffthree"})
    assert (added.name, added.state) == (f"{name}/versions/3", State.ENABLED)
    answer = client.access_secret_version(name=f"{name}/versions/latest")
    assert (answer.name, answer.payload.data) == (added.name, b"\x00\xffthree")
    assert answer.payload.data_crc32c == google_crc32c.value(b"\x00\xffthree")
    assert [access(client, name, number) for number in (1, 2)] == [b"one", b"two"]
    assert states(client, name) == [("3", State.ENABLED), ("2", State.ENABLED), ("1", State.ENABLED)]


def test_missing_version_is_not_found(
    client: SecretManagerServiceClient,
) -> None:
    empty, single = secret(client), secret(client, b"x")
    for name, version in ((empty, "latest"), (empty, 1), (single, 0), (single, 2), (single, "newest")):
        with pytest.raises(NotFound):
            access(client, name, version)
    assert states(client, empty) == []


@pytest.mark.parametrize("end", ["disable_secret_version", "destroy_secret_version"])
def test_latest_is_the_newest_in_any_state(client: SecretManagerServiceClient, end: str) -> None:
    # https://cloud.google.com/secret-manager/docs/reference/rpc/google.cloud.secretmanager.v1: `latest` is an alias
    # of the most recently created version, so it does not fall back to the one before.
    name = secret(client, b"old", b"new")
    getattr(client, end)(name=f"{name}/versions/latest")
    for version in ("latest", 2):
        with pytest.raises(FailedPrecondition):
            access(client, name, version)
    assert client.get_secret_version(name=f"{name}/versions/latest").name == f"{name}/versions/2"
    assert access(client, name, 1) == b"old"
    client.add_secret_version(parent=name, payload={"data": b"rotated"})
    assert access(client, name) == b"rotated"


def test_disabled_version_can_be_enabled_again(client: SecretManagerServiceClient) -> None:
    name = secret(client, b"x")
    assert client.disable_secret_version(name=f"{name}/versions/1").state == State.DISABLED
    assert states(client, name) == [("1", State.DISABLED)]
    assert client.enable_secret_version(name=f"{name}/versions/1").state == State.ENABLED
    assert access(client, name) == b"x"


def test_destroyed_version_cannot_be_restored(client: SecretManagerServiceClient) -> None:
    name = secret(client, b"x")
    assert client.destroy_secret_version(name=f"{name}/versions/1").state == State.DESTROYED
    for call in (client.enable_secret_version, client.disable_secret_version, client.destroy_secret_version):
        with pytest.raises(FailedPrecondition):
            call(name=f"{name}/versions/1")
    assert states(client, name) == [("1", State.DESTROYED)]


def test_restart_keeps_all_but_destroyed_values(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with server("secrets", state) as port:
        client = secrets_client(port)
        name = secret(client, b"destroyed", b"disabled", b"kept")
        client.destroy_secret_version(name=f"{name}/versions/1")
        client.disable_secret_version(name=f"{name}/versions/2")
        before = states(client, name)
    with server("secrets", state) as port:
        client = secrets_client(port)
        assert states(client, name) == before
        assert access(client, name) == b"kept"
    file = state / "secrets.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "ZGVzdHJveWVk" not in file.read_text()  # base64 of the destroyed value


def test_kill_amid_writes_loses_no_version(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    with killable("secrets", state, port=port) as (_, kill):
        client = secrets_client(port)
        name = secret(client)

        def write(thread: int, number: int) -> str:
            data = f"{thread}-{number}".encode()
            added = client.add_secret_version(parent=name, payload={"data": data}, retry=None, timeout=5)
            return f"{added.name.split('/')[-1]}={data.decode()}"

        acknowledged = write_until_killed(write, kill)
    with server("secrets", state, port=port):
        client = secrets_client(port)
        stored = {f"{number}={access(client, name, number).decode()}" for number, _ in states(client, name)}
    assert set(acknowledged) <= stored
