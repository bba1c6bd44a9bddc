"""Topics and rotation of secrets in the local Secret Manager.

Not run on Google Cloud: Google asks the topic whether its agent may publish, and its messages' words are not known for
certain.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud.secretmanager import SecretManagerServiceClient

from tests.support.clients import PROJECT, secrets_client, unique
from tests.support.servers import server

PARENT = f"projects/{PROJECT}"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretManagerServiceClient]:
    """Return a local Secret Manager for this module."""
    with server("secrets", tmp_path_factory.mktemp("secrets") / "state") as port:
        yield secrets_client(port)


def test_topics_and_rotation_are_kept_and_changed(client: SecretManagerServiceClient) -> None:
    topics, period = [{"name": f"projects/{PROJECT}/topics/secret-rotated"}], timedelta(days=90)
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(days=90)
    rotation = {"rotation_period": period, "next_rotation_time": due}
    own = {"replication": {"automatic": {}}, "topics": topics, "rotation": rotation}
    name = client.create_secret(parent=PARENT, secret_id=unique("secret"), secret=own).name
    client.update_secret(secret={"name": name, "labels": {"a": "b"}}, update_mask={"paths": ["labels"]})
    read = client.get_secret(name=name)
    assert [topic.name for topic in read.topics] == [topics[0]["name"]]
    assert (read.rotation.rotation_period, read.rotation.next_rotation_time) == (period, due)
    assert read.labels == {"a": "b"}
    client.update_secret(secret={"name": name}, update_mask={"paths": ["rotation"]})
    assert "rotation" not in client.get_secret(name=name)
    assert client.get_secret(name=name).topics


@pytest.mark.parametrize(
    ("topics", "days", "period_s", "message"),
    [
        ([], 90, 7776000, "Secret.topics must be set to configure rotation"),
        (["secret-rotated"], 90, 7776000, "must be projects/"),
        (["projects/p/topics/t"], -1, 7776000, "next_rotation_time must be at least 300s in the future"),
        (["projects/p/topics/t"], 90, 60, "rotation_period must be 3600s"),
    ],
)
def test_rotation_without_topic_or_future_is_rejected(
    client: SecretManagerServiceClient, topics: list[str], days: int, period_s: int, message: str
) -> None:
    rotation = {
        "rotation_period": timedelta(seconds=period_s),
        "next_rotation_time": datetime.now(UTC) + timedelta(days=days),
    }
    own = {"replication": {"automatic": {}}, "topics": [{"name": name} for name in topics], "rotation": rotation}
    with pytest.raises(InvalidArgument, match=message):
        client.create_secret(parent=PARENT, secret_id=unique("secret"), secret=own)
