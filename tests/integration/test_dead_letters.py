"""Dead letters of a real Pub/Sub server: listed with their reasons, published again as they were, or dropped."""

import json
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from google.pubsub_v1.types import DeadLetterPolicy, PubsubMessage, Subscription

from millrace.domain import names
from millrace.domain.dead_letters import Sorted
from millrace.domain.errors import EventRefused, ServiceUnavailable, SettingsError
from millrace.events.dead_letters import DeadLetters
from millrace.events.heal import heal
from millrace.events.reasons import MEANINGLESS, TAKEN, why_refused
from millrace.events.sort import sort
from tests.support.clients import PubSub, retry
from tests.support.servers import ROOT, free_port, server, wait_until

TOPIC = names.INGEST_REQUESTED


@dataclass
class Place:
    """A project whose topics have dead letters; the address is that of its Pub/Sub server."""

    pubsub: PubSub
    project: str
    dead: DeadLetters

    def topic(self, name: str) -> str:
        return f"projects/{self.project}/topics/{name}"

    def subscription(self, name: str) -> str:
        return f"projects/{self.project}/subscriptions/{name}"

    def kill(self, data: bytes = b"{}", topic: str = TOPIC, ordering_key: str = "", **attributes: str) -> str:
        """Publish a message that nobody takes; returns the id of its dead letter."""
        message = PubsubMessage(data=data, attributes=attributes, ordering_key=ordering_key)
        self.pubsub.publisher.publish(topic=self.topic(topic), messages=[message])
        before = {one.id for one in self.letters(topic)}

        def dead() -> set[str]:
            return {one.id for one in self.given_up(topic)} - before

        wait_until(dead, "the message is given up")
        (letter,) = dead()
        return letter

    def given_up(self, topic: str = TOPIC) -> list[Sorted]:
        """The dead letters, after one more attempt of what is not dead yet."""
        for received in self.pubsub.due(self.subscription("reader")):
            self.pubsub.nack(self.subscription("reader"), received)
        return self.letters(topic)

    def letters(self, topic: str = TOPIC) -> list[Sorted]:
        return sort(self.dead, "list", why_refused, topics=[topic])

    def heard(self) -> list[PubsubMessage]:
        """What was published again since the last look."""
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
    made = Place(PubSub(port), project, DeadLetters(project, f"127.0.0.1:{port}"))
    for topic in names.TOPICS:
        for name in (topic, names.dead_letter_topic(topic)):
            made.pubsub.publisher.create_topic(name=made.topic(name))
        keep = Subscription(
            name=made.subscription(names.dead_letter_subscription(topic)),
            topic=made.topic(names.dead_letter_topic(topic)),
        )
        made.pubsub.subscriber.create_subscription(keep)
    policy = DeadLetterPolicy(dead_letter_topic=made.topic(names.dead_letter_topic(TOPIC)), max_delivery_attempts=5)
    for name, settings in (("reader", {"dead_letter_policy": policy, "retry_policy": retry(0, 0)}), ("listener", {})):
        wanted = Subscription(name=made.subscription(name), topic=made.topic(TOPIC), **settings)
        made.pubsub.subscriber.create_subscription(wanted)
    return made


def test_dead_letters_are_listed_with_the_reason_and_stay(place: Place) -> None:
    refused = place.kill(b"no json")
    fine = place.kill(b'{"source": "shop"}', colour="red")
    for _ in range(2):
        listed = {one.id: one for one in place.letters()}
        assert set(listed) == {refused, fine}
        assert "not JSON" in listed[refused].why
        assert listed[fine].why == TAKEN
        assert (listed[fine].attempts, listed[fine].attributes, listed[fine].done) == (5, {"colour": "red"}, "kept")


def test_one_that_means_nothing_says_so(place: Place) -> None:
    place.pubsub.publisher.publish(
        topic=place.topic(names.dead_letter_topic(names.LAKE_LANDED)),
        messages=[PubsubMessage(attributes={"eventType": "OBJECT_DELETE", "objectId": "raw/x"})],
    )
    wait_until(lambda: place.letters(names.LAKE_LANDED), "the letter is there")
    assert place.letters(names.LAKE_LANDED)[0].why == MEANINGLESS


def test_a_letter_is_published_again_as_it_was_with_its_origin_and_is_gone(place: Place) -> None:
    chosen = place.kill(b'{"source": "shop"}', ordering_key="k", colour="red")
    other = place.kill(b'{"source": "crm"}')
    place.heard()
    (would,) = sort(place.dead, "redrive", why_refused, topics=[TOPIC], ids=[chosen], dry_run=True)
    assert (would.done, place.heard()) == ("would be redriven", [])
    (done,) = sort(place.dead, "redrive", why_refused, topics=[TOPIC], ids=[chosen])
    assert (done.id, done.done) == (chosen, "redriven")
    (message,) = place.heard()
    assert (message.data, message.ordering_key) == (b'{"source": "shop"}', "k")
    assert dict(message.attributes) == {"colour": "red", names.ORIGIN_ATTRIBUTE: chosen}
    assert [one.id for one in place.letters()] == [other]


def test_all_are_published_again_and_one_that_dies_again_keeps_its_origin(place: Place) -> None:
    first = place.kill(b"no json")
    assert [one.done for one in sort(place.dead, "redrive", why_refused)] == ["redriven"]

    wait_until(place.given_up, "it is given up again")
    (again,) = place.letters()
    assert again.id != first
    assert again.attributes == {names.ORIGIN_ATTRIBUTE: first}


def test_what_only_met_a_prefect_that_was_away_is_published_again_once_and_the_rest_stays(place: Place) -> None:
    refused, fine = place.kill(b"no json"), place.kill(b'{"source": "shop"}')
    place.heard()
    would = {one.id: one.done for one in heal(place.dead, TOPIC, dry_run=True)}
    assert (would, place.heard()) == ({refused: "kept", fine: "would be redriven"}, [])
    assert {one.id: one.done for one in heal(place.dead, TOPIC)} == {refused: "kept", fine: "redriven"}
    (message,) = place.heard()
    assert message.attributes[names.ORIGIN_ATTRIBUTE] == fine
    wait_until(lambda: len(place.given_up()) == 2, "it is given up again")
    assert [one.done for one in heal(place.dead, TOPIC)] == ["kept", "kept"]
    assert place.heard() == []


def test_a_letter_whose_topic_is_gone_stays(place: Place) -> None:
    letter = place.kill(b"no json")
    place.pubsub.publisher.delete_topic(topic=place.topic(TOPIC))
    with pytest.raises(SettingsError, match=TOPIC):
        sort(place.dead, "redrive", why_refused, topics=[TOPIC])
    assert [one.id for one in place.letters()] == [letter]


def test_a_dropped_letter_is_gone_and_the_log_keeps_what_it_said(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    letter = place.kill(b"no json", colour="red")
    with pytest.raises(EventRefused, match="give a reason"):
        sort(place.dead, "drop", why_refused, reason=" ")
    with caplog.at_level(logging.INFO, "millrace.events.sort"):
        assert (
            sort(place.dead, "drop", why_refused, reason="sent by a test", dry_run=True)[0].done == "would be dropped"
        )
        assert len(place.letters()) == 1
        assert sort(place.dead, "drop", why_refused, ids=[letter], reason="sent by a test")[0].done == "dropped"
    assert place.letters() == []
    (record,) = [r for r in caplog.records if r.message == "dead_letter.dropped"]
    fields = vars(record)["fields"]
    assert (fields["id"], fields["reason"], fields["data"], fields["attributes"]) == (
        letter,
        "sent by a test",
        "no json",
        {"colour": "red"},
    )


def test_what_is_unknown_is_refused(place: Place) -> None:
    with pytest.raises(EventRefused, match=r"no dead letter 404"):
        sort(place.dead, "redrive", why_refused, ids=["404"])
    with pytest.raises(EventRefused, match=r"no topic lake; there are lake-landed"):
        sort(place.dead, "list", why_refused, topics=["lake"])
    with pytest.raises(ServiceUnavailable):
        sort(DeadLetters(place.project, f"127.0.0.1:{free_port()}", timeout_s=1), "list", why_refused)


def test_the_command_lists_redrives_and_drops(place: Place) -> None:
    letters = [place.kill(b"no json"), place.kill(b'{"source": "shop"}')]

    def command(*arguments: str, code: int = 0) -> str:
        settings = {"MILLRACE_EVENTS__PROJECT": place.project, "MILLRACE_EVENTS__ENDPOINT": place.pubsub.address}
        done = subprocess.run(
            [sys.executable, "-m", "millrace.events", "dead-letters", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env=os.environ | settings,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    listed = [json.loads(line) for line in command("list", "--json").splitlines()]
    assert [one["id"] for one in listed] == letters
    assert f"{TOPIC}  {letters[1]}  would be redriven" in command("redrive", "--id", letters[1], "--dry-run")
    assert "redriven" in command("redrive", "--topic", TOPIC, "--id", letters[1])
    assert "EventRefused: a message is dropped for good" in command("drop", code=1)
    assert "dropped" in command("drop", "--reason", "garbage")
    assert command("list") == "no dead letters\n"
