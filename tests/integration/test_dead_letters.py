"""Dead letters on a real Pub/Sub server: listed with their reasons, redriven unchanged, or dropped."""

import json
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from google.pubsub_v1.types import DeadLetterPolicy, PubsubMessage, Subscription

from millrace.domain import names
from millrace.domain.dead_letters import DeadLetterOutcome
from millrace.domain.errors import EventRefused, ServiceUnavailable, SettingsError
from millrace.events.dead_letters import DeadLetters
from millrace.events.heal import redrive_deliverable
from millrace.events.reasons import ACCEPTED, IGNORED, rejection_reason
from millrace.events.sort import settle_letters
from tests.support.clients import PubSub, retry
from tests.support.command_line import millrace
from tests.support.servers import free_port, server, wait_until

TOPIC = names.INGEST_REQUESTED


@dataclass
class Place:
    """A project whose topics have dead-letter topics, and the client of its Pub/Sub server."""

    pubsub: PubSub
    project: str
    dead: DeadLetters

    def topic(self, name: str) -> str:
        return f"projects/{self.project}/topics/{name}"

    def subscription(self, name: str) -> str:
        return f"projects/{self.project}/subscriptions/{name}"

    def kill(self, data: bytes = b"{}", topic: str = TOPIC, ordering_key: str = "", **attributes: str) -> str:
        """Publish a message that no subscriber takes, and return the id of its dead letter."""
        message = PubsubMessage(data=data, attributes=attributes, ordering_key=ordering_key)
        self.pubsub.publisher.publish(topic=self.topic(topic), messages=[message])
        before = {item.id for item in self.letters(topic)}

        def dead() -> set[str]:
            return {item.id for item in self.letters_after_retry(topic)} - before

        wait_until(dead, "the message is given up")
        (letter,) = dead()
        return letter

    def letters_after_retry(self, topic: str = TOPIC) -> list[DeadLetterOutcome]:
        """Return the dead letters, after one more attempt to deliver the others."""
        for received in self.pubsub.due(self.subscription("reader")):
            self.pubsub.nack(self.subscription("reader"), received)
        return self.letters(topic)

    def letters(self, topic: str = TOPIC) -> list[DeadLetterOutcome]:
        return settle_letters(self.dead, "list", rejection_reason, topics=[topic])

    def new_messages(self) -> list[PubsubMessage]:
        """Return the messages that were published since the last call."""
        received = self.pubsub.due(self.subscription("listener"))
        if received:
            self.pubsub.ack(self.subscription("listener"), received)
        return [r.message for r in received if names.ORIGIN_ATTRIBUTE in r.message.attributes]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with server("pubsub", tmp_path_factory.mktemp("pubsub") / "state") as port:
        yield port


@pytest.fixture
def place(port: int) -> Place:
    project = f"dead-{uuid.uuid4().hex[:10]}"
    environment = Place(PubSub(port), project, DeadLetters(project, f"127.0.0.1:{port}"))
    for topic in names.TOPICS:
        for name in (topic, names.dead_letter_topic(topic)):
            environment.pubsub.publisher.create_topic(name=environment.topic(name))
        keep = Subscription(
            name=environment.subscription(names.dead_letter_subscription(topic)),
            topic=environment.topic(names.dead_letter_topic(topic)),
        )
        environment.pubsub.subscriber.create_subscription(keep)
    policy = DeadLetterPolicy(
        dead_letter_topic=environment.topic(names.dead_letter_topic(TOPIC)), max_delivery_attempts=5
    )
    for name, settings in (("reader", {"dead_letter_policy": policy, "retry_policy": retry(0, 0)}), ("listener", {})):
        subscription = Subscription(name=environment.subscription(name), topic=environment.topic(TOPIC), **settings)
        environment.pubsub.subscriber.create_subscription(subscription)
    return environment


def test_dead_letters_are_listed_and_not_consumed(place: Place) -> None:
    refused = place.kill(b"no json")
    fine = place.kill(b'{"source": "shop"}', colour="red")
    for _ in range(2):
        listed = {item.id: item for item in place.letters()}
        assert set(listed) == {refused, fine}
        assert "not JSON" in listed[refused].why
        assert listed[fine].why == ACCEPTED
        assert (listed[fine].attempts, listed[fine].attributes, listed[fine].done) == (5, {"colour": "red"}, "kept")


def test_meaningless_letter_is_marked_as_such(place: Place) -> None:
    place.pubsub.publisher.publish(
        topic=place.topic(names.dead_letter_topic(names.LAKE_LANDED)),
        messages=[PubsubMessage(attributes={"eventType": "OBJECT_DELETE", "objectId": "raw/x"})],
    )
    wait_until(lambda: place.letters(names.LAKE_LANDED), "the letter is there")
    assert place.letters(names.LAKE_LANDED)[0].why == IGNORED


def test_redriven_letter_keeps_content_and_origin(place: Place) -> None:
    chosen = place.kill(b'{"source": "shop"}', ordering_key="k", colour="red")
    other = place.kill(b'{"source": "crm"}')
    place.new_messages()
    (would,) = settle_letters(place.dead, "redrive", rejection_reason, topics=[TOPIC], ids=[chosen], dry_run=True)
    assert (would.done, place.new_messages()) == ("would be redriven", [])
    (handled,) = settle_letters(place.dead, "redrive", rejection_reason, topics=[TOPIC], ids=[chosen])
    assert (handled.id, handled.done) == (chosen, "redriven")
    (message,) = place.new_messages()
    assert (message.data, message.ordering_key) == (b'{"source": "shop"}', "k")
    assert dict(message.attributes) == {"colour": "red", names.ORIGIN_ATTRIBUTE: chosen}
    assert [item.id for item in place.letters()] == [other]


def test_repeatedly_dead_letter_keeps_its_origin(place: Place) -> None:
    first = place.kill(b"no json")
    assert [item.done for item in settle_letters(place.dead, "redrive", rejection_reason)] == ["redriven"]

    wait_until(place.letters_after_retry, "it is given up again")
    (again,) = place.letters()
    assert again.id != first
    assert again.attributes == {names.ORIGIN_ATTRIBUTE: first}


def test_only_letters_of_an_outage_are_redriven(place: Place) -> None:
    refused, fine = place.kill(b"no json"), place.kill(b'{"source": "shop"}')
    place.new_messages()
    would = {item.id: item.done for item in redrive_deliverable(place.dead, TOPIC, dry_run=True)}
    assert (would, place.new_messages()) == ({refused: "kept", fine: "would be redriven"}, [])
    assert {item.id: item.done for item in redrive_deliverable(place.dead, TOPIC)} == {
        refused: "kept",
        fine: "redriven",
    }
    (message,) = place.new_messages()
    assert message.attributes[names.ORIGIN_ATTRIBUTE] == fine
    wait_until(lambda: len(place.letters_after_retry()) == 2, "it is given up again")
    assert [item.done for item in redrive_deliverable(place.dead, TOPIC)] == ["kept", "kept"]
    assert place.new_messages() == []


def test_letter_of_a_deleted_topic_stays(place: Place) -> None:
    letter = place.kill(b"no json")
    place.pubsub.publisher.delete_topic(topic=place.topic(TOPIC))
    with pytest.raises(SettingsError, match=TOPIC):
        settle_letters(place.dead, "redrive", rejection_reason, topics=[TOPIC])
    assert [item.id for item in place.letters()] == [letter]


def test_dropped_letter_stays_in_the_log(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    letter = place.kill(b"no json", colour="red")
    with pytest.raises(EventRefused, match="give a reason"):
        settle_letters(place.dead, "drop", rejection_reason, reason=" ")
    with caplog.at_level(logging.INFO, "millrace.events.sort"):
        assert (
            settle_letters(place.dead, "drop", rejection_reason, reason="sent by a test", dry_run=True)[0].done
            == "would be dropped"
        )
        assert len(place.letters()) == 1
        assert (
            settle_letters(place.dead, "drop", rejection_reason, ids=[letter], reason="sent by a test")[0].done
            == "dropped"
        )
    assert place.letters() == []
    (record,) = [r for r in caplog.records if r.message == "dead_letter.dropped"]
    fields = vars(record)["fields"]
    assert (fields["id"], fields["reason"], fields["data"], fields["attributes"]) == (
        letter,
        "sent by a test",
        "no json",
        {"colour": "red"},
    )


def test_unknown_letter_or_topic_is_rejected(place: Place) -> None:
    with pytest.raises(EventRefused, match=r"no dead letter 404"):
        settle_letters(place.dead, "redrive", rejection_reason, ids=["404"])
    with pytest.raises(EventRefused, match=r"no topic lake; there are lake-landed"):
        settle_letters(place.dead, "list", rejection_reason, topics=["lake"])
    with pytest.raises(ServiceUnavailable):
        settle_letters(DeadLetters(place.project, f"127.0.0.1:{free_port()}", timeout_s=1), "list", rejection_reason)


def test_command_lists_redrives_and_drops(place: Place) -> None:
    letters = [place.kill(b"no json"), place.kill(b'{"source": "shop"}')]

    def command(*arguments: str, code: int = 0) -> str:
        settings = {"MILLRACE_EVENTS__PROJECT": place.project, "MILLRACE_EVENTS__ENDPOINT": place.pubsub.address}
        process = millrace("--environment", "local", "dead-letters", *arguments, env=os.environ | settings)
        assert process.returncode == code, process.stderr
        return process.stdout + process.stderr

    assert [item["id"] for item in json.loads(command("list", "--json"))] == letters
    (item,) = json.loads(command("redrive", "--id", letters[1], "--dry-run", "--json"))
    assert (item["topic"], item["id"], item["done"]) == (TOPIC, letters[1], "would be redriven")
    assert "redriven" in command("redrive", "--topic", TOPIC, "--id", letters[1])
    assert "EventRefused: a dropped message can't be restored" in command("drop", "--reason", " ", code=1)
    assert "dropped" in command("drop", "--reason", "garbage")
    assert command("list") == "no dead letters\n"
