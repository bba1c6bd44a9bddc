"""Prefect Cloud's webhook templates give the events that the gateway gives, rendered as Prefect Cloud's page says.

https://docs.prefect.io/v3/concepts/webhooks: the built-in filters of Jinja, `headers` without case and without the
token, `body` parsed as JSON where it is JSON, and 400 for a rendering that fails or is not an event.
"""

import json
from typing import Any

import httpx
import pytest
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from millrace.domain import names
from millrace.events.message import Incoming
from millrace.events.translate import translate
from tests.support.pushes import CASES, MANIFEST, MERGED, landed, message, unwrapped
from tests.support.servers import ROOT

TEMPLATES = ROOT / "millrace" / "gateway" / "webhooks"


def rendered(topic: str, pushed: Incoming) -> dict[str, Any] | None:
    """The event of an unwrapped push; None when Prefect Cloud would answer 400."""
    headers, data = unwrapped(pushed)
    try:
        body = json.loads(data)
    except ValueError:
        body = data.decode()
    template = ImmutableSandboxedEnvironment().from_string((TEMPLATES / f"{topic}.j2").read_text())
    try:
        event = json.loads(template.render(method="POST", headers=httpx.Headers(headers), body=body))
    except (TemplateError, TypeError, ValueError):
        return None
    assert isinstance(event, dict)
    return event


@pytest.mark.parametrize(("topic", "pushed"), [(topic, pushed) for topic, pushed, *_ in CASES])
def test_template_matches_the_gateway_event(topic: str, pushed: Incoming) -> None:
    event = translate(topic, pushed)
    assert event is not None
    assert {"id": event.id, **(rendered(topic, pushed) or {})} == event.as_prefect()


def test_every_topic_has_its_template() -> None:
    assert {path.stem for path in TEMPLATES.glob("*.j2")} == set(names.TOPICS)


@pytest.mark.parametrize(
    ("topic", "pushed"),
    [
        (names.LAKE_LANDED, message(objectId=MANIFEST)),
        (names.LAKE_LANDED, message(eventType="OBJECT_FINALIZE")),
        (names.LAKE_LANDED, landed(kind="OBJECT_DELETE")),
        (names.LAKE_LANDED, landed("raw/shop/orders/sync_id=1/0.parquet")),
        (names.LAKE_LANDED, landed("_manifests/readme.json")),
        (names.LAKE_LANDED, landed("_manifests/shop/orders/20260101/readme.json")),
        (names.LAKE_LANDED, landed("_manifests/shop/orders/20260101/1.json")),
        (names.LAKE_LANDED, landed('_manifests/sh"op/orders/20260101/c-1.json')),
        (names.LAKE_LANDED, landed("_manifests/Shop/orders/20260101/c-1.json")),
        (names.LAKE_LANDED, landed("_manifests/shop/orders/20260101/c-x.json")),
        *(
            (names.WAREHOUSE_MERGED, message({k: v for k, v in MERGED.model_dump().items() if k != missing}))
            for missing in ("source", "stream", "batch_id", "balance")
        ),
        (names.WAREHOUSE_MERGED, message()),
        (names.MARTS_PUBLISHED, message({"run_id": "r"})),
        (names.INGEST_REQUESTED, message()),
        (names.SECRET_ROTATED, message(eventType="SECRET_ROTATE")),
        (names.SECRET_ROTATED, message(eventType="TOPIC_CONFIGURED")),
    ],
)
def test_template_and_gateway_ignore_the_same(topic: str, pushed: Incoming) -> None:
    assert rendered(topic, pushed) is None


def test_value_cannot_add_fields() -> None:
    reason = '", "event": "marts.published", "x": "'
    event = rendered(names.INGEST_REQUESTED, message({"source": "shop", "reason": reason}))
    assert event
    assert (event["event"], event["payload"]["reason"]) == ("source.requested", reason)
