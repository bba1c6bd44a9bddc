"""Pushes of Pub/Sub: the body and the token that the endpoint gets, and the effect of its answer."""

import base64
import time
from pathlib import Path

import pytest
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.oauth2 import id_token
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1.types import PushConfig, Subscription

from tests.support.clients import Endpoint, PubSub, killable, retry
from tests.support.servers import free_port, server, wait_until

pytest_plugins = ["tests.support.stand_ins"]
ACCOUNT = "pubsub-push@millrace-test.iam.gserviceaccount.com"
AUDIENCE = "https://gateway.example/push"


def push(endpoint: Endpoint, audience: str = AUDIENCE) -> PushConfig:
    token = PushConfig.OidcToken(service_account_email=ACCOUNT, audience=audience)
    return PushConfig(push_endpoint=endpoint.url, oidc_token=token)


def push_elsewhere(pubsub: PubSub, subscription: str, endpoint: Endpoint) -> None:
    changed = Subscription(name=subscription, push_config=push(endpoint))
    pubsub.subscriber.update_subscription(subscription=changed, update_mask=FieldMask(paths=["push_config"]))


def test_push_body_is_the_wrapped_message(pubsub: PubSub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, push_config=push(endpoint))
    (published,) = pubsub.publish(topic, "hello", stream="flights")
    wait_until(lambda: endpoint.bodies, "the endpoint is pushed to")
    message = endpoint.bodies[0].pop("message")
    assert endpoint.bodies == [{"subscription": subscription}]
    assert base64.b64decode(message["data"]) == b"hello"
    assert message["attributes"] == {"stream": "flights"}
    assert message["messageId"] == message["message_id"] == published
    assert message["publishTime"] == message["publish_time"]
    assert message["publishTime"].endswith("Z")


@pytest.mark.parametrize("write_metadata", [True, False])
def test_unwrapped_push_has_metadata_in_headers(pubsub: PubSub, endpoint: Endpoint, write_metadata: bool) -> None:
    topic, config = pubsub.topic(), push(endpoint)
    config.no_wrapper = PushConfig.NoWrapper(write_metadata=write_metadata)
    subscription = pubsub.subscription(topic, push_config=config)
    (published,) = pubsub.publish(topic, '{"source": "airport_ops"}', stream="flights", text="ü", **{"b a d": "x"})
    wait_until(lambda: endpoint.tokens, "the endpoint is pushed to")
    assert endpoint.bodies == [{"source": "airport_ops"}]
    assert endpoint.tokens[0].count(".") == 2
    (headers,) = endpoint.headers
    metadata = {name: value for name, value in headers.items() if name.startswith("x-goog-pubsub-")}
    if not write_metadata:
        assert (metadata, headers.get("stream")) == ({}, None)
        return
    assert metadata.pop("x-goog-pubsub-publish-time").endswith("Z")
    assert metadata == {"x-goog-pubsub-message-id": published, "x-goog-pubsub-subscription-name": subscription}
    assert headers["stream"] == "flights"
    assert not {"text", "b a d"} & headers.keys()  # invalid header names are omitted, and do not break the push


def test_push_token_verifies_with_google_auth(pubsub: PubSub, endpoint: Endpoint, identity: tuple[int, Path]) -> None:
    topic, certificates = pubsub.topic(), f"http://127.0.0.1:{identity[0]}/certs"
    pubsub.subscription(topic, push_config=push(endpoint))
    pubsub.publish(topic, "hello")
    wait_until(lambda: endpoint.tokens, "the endpoint is pushed to")
    (token,) = endpoint.tokens
    claims = id_token.verify_token(token, Request(), AUDIENCE, certificates, clock_skew_in_seconds=10)
    assert (claims["email"], claims["email_verified"], claims["aud"]) == (ACCOUNT, True, AUDIENCE)
    assert claims["iss"] == "https://accounts.google.com"
    with pytest.raises((GoogleAuthError, ValueError)):
        id_token.verify_token(token, Request(), "https://another.example", certificates)


def test_default_token_audience_is_the_endpoint(pubsub: PubSub, endpoint: Endpoint, identity: tuple[int, Path]) -> None:
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config=push(endpoint, audience=""))
    pubsub.publish(topic, "hello")
    wait_until(lambda: endpoint.tokens, "the endpoint is pushed to")
    certificates = f"http://127.0.0.1:{identity[0]}/certs"
    claims = id_token.verify_token(endpoint.tokens[0], Request(), None, certificates, clock_skew_in_seconds=10)
    assert claims["aud"] == endpoint.url


def test_push_without_account_has_no_token(pubsub: PubSub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config=PushConfig(push_endpoint=endpoint.url))
    pubsub.publish(topic, "hello")
    wait_until(lambda: endpoint.bodies, "the endpoint is pushed to")
    assert endpoint.tokens == [""]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success_status_acknowledges(pubsub: PubSub, endpoint: Endpoint, status: int) -> None:
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config=push(endpoint), retry_policy=retry(0, 0))
    endpoint.statuses = [status]
    for count, text in enumerate("abc", 1):  # an unacknowledged message would be redelivered before the next
        pubsub.publish(topic, text)
        wait_until(lambda count=count: len(endpoint.bodies) >= count, f"{text} is pushed")
    assert endpoint.texts() == ["a", "b", "c"]


def test_failing_endpoint_is_retried_with_backoff(pubsub: PubSub, endpoint: Endpoint) -> None:
    topic, _, dead = pubsub.dead_lettered(push_config=push(endpoint), retry_policy=retry(0.2, 5))
    endpoint.statuses = [503, 500, 429, 204]
    started = time.monotonic()
    pubsub.publish(topic, "hello")
    wait_until(lambda: len(endpoint.bodies) == 4, "the endpoint is tried four times")
    assert time.monotonic() - started > 0.2 + 0.4 + 0.8
    assert [body["deliveryAttempt"] for body in endpoint.bodies] == [1, 2, 3, 4]
    assert len({body["message"]["messageId"] for body in endpoint.bodies}) == 1
    assert pubsub.due(dead) == []


@pytest.mark.parametrize("status", [400, 401, 404, 302])
def test_always_rejected_message_is_dead_lettered(pubsub: PubSub, endpoint: Endpoint, status: int) -> None:
    topic, subscription, dead = pubsub.dead_lettered(push_config=push(endpoint), retry_policy=retry(0, 0.1))
    endpoint.statuses = [status]
    pubsub.publish(topic, "poison", stream="flights")
    message = pubsub.pull_one(dead).message
    assert (message.data, message.attributes["stream"]) == (b"poison", "flights")
    assert message.attributes["CloudPubSubDeadLetterSourceSubscription"] == subscription.split("/")[-1]
    assert message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
    assert endpoint.texts() == ["poison"] * 5


def test_failing_message_delays_no_other(pubsub: PubSub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config=push(endpoint), retry_policy=retry(60, 60))
    endpoint.statuses = [503, 204]
    pubsub.publish(topic, "bad")
    wait_until(lambda: endpoint.bodies, "the first message is pushed")
    pubsub.publish(topic, *(str(n) for n in range(40)))
    wait_until(lambda: len(endpoint.bodies) == 41, "all others are pushed")
    assert sorted(endpoint.texts()[1:], key=int) == [str(n) for n in range(40)]


def test_absent_endpoint_gets_messages_later(pubsub: PubSub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    nowhere = Endpoint(f"http://127.0.0.1:{free_port()}/push")
    subscription = pubsub.subscription(topic, push_config=push(nowhere), retry_policy=retry(0.1, 0.2))
    pubsub.publish(topic, "patient")
    push_elsewhere(pubsub, subscription, endpoint)
    wait_until(lambda: endpoint.bodies, "the new endpoint is pushed to")
    assert endpoint.texts() == ["patient"]


def test_silent_endpoint_is_retried_at_deadline(pubsub: PubSub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config=push(endpoint), ack_deadline_seconds=1, retry_policy=retry(0, 0))
    endpoint.hold.clear()
    pubsub.publish(topic, "slow")
    wait_until(lambda: len(endpoint.bodies) == 2, "the message is pushed again", timeout_s=5)


def test_changed_endpoint_gets_messages_in_flight(pubsub: PubSub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, push_config=push(endpoint), ack_deadline_seconds=600)
    endpoint.hold.clear()
    pubsub.publish(topic, "moved")
    wait_until(lambda: endpoint.bodies, "the message is in flight")
    push_elsewhere(pubsub, subscription, endpoint)
    wait_until(lambda: len(endpoint.bodies) == 2, "the message is pushed again", timeout_s=5)


def test_ended_push_subscription_pushes_no_more(pubsub: PubSub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    turned, deleted = (pubsub.subscription(topic, push_config=push(endpoint)) for _ in range(2))
    pubsub.subscriber.modify_push_config(subscription=turned, push_config=PushConfig())
    pubsub.subscriber.delete_subscription(subscription=deleted)
    pubsub.publish(topic, "pulled")
    assert pubsub.pull_one(turned).message.data == b"pulled"
    assert endpoint.bodies == []


def test_pushes_go_on_after_the_server_was_killed(tmp_path: Path, endpoint: Endpoint) -> None:
    port, state = free_port(), tmp_path / "state"
    endpoint.statuses = [503]
    with killable("pubsub", state, port=port) as (_, kill):
        pubsub = PubSub(port)
        topic = pubsub.topic()
        pubsub.subscription(topic, push_config=push(endpoint), retry_policy=retry(0.1, 0.2))
        pubsub.publish(topic, "kept")
        wait_until(lambda: endpoint.bodies, "the endpoint refuses the message")
        kill()
    endpoint.bodies.clear()
    endpoint.statuses = [204]
    with server("pubsub", state, port=port):
        wait_until(lambda: endpoint.bodies, "the message is pushed again")
        assert endpoint.texts() == ["kept"]
