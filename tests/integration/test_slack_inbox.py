"""The Slack inbox through Prefect's own block: accepted, rejected and displayed messages."""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from prefect.blocks.abstract import NotificationError
from prefect_slack import SlackWebhook
from pydantic import SecretStr

from tests.support.clients import killable, unique, write_until_killed
from tests.support.servers import ROOT, free_port, server

TOKEN = "T0/B0/secret"


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of an inbox for this module."""
    with server("slack", tmp_path_factory.mktemp("slack") / "state", "--token", TOKEN) as port:
        yield f"http://127.0.0.1:{port}"


def webhook(inbox: str, token: str = TOKEN) -> SlackWebhook:
    return SlackWebhook(url=SecretStr(f"{inbox}/services/{token}"))


def shown(inbox: str, text: str) -> str:
    """Post a message, and return its article on the page."""
    mark = unique("mark")
    webhook(inbox).notify(f"{mark}|{text}")
    page = requests.get(inbox)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return page.text.split(f"{mark}|")[1].split("</div></article>")[0]


def texts(inbox: str) -> list[str]:
    return [message["text"] for message in requests.get(f"{inbox}/messages.json").json()]


def short_names() -> set[str]:
    """Return every emoji that an automation posts."""
    actions = [a for path in (ROOT / "automations").glob("*.yaml") for a in yaml.safe_load(path.read_text())["actions"]]
    words = " ".join(f"{a.get('subject', '')} {a.get('body', '')}" for a in actions)
    return set(re.findall(r":([a-z_]{2,}):", words))


def test_notification_of_the_block_is_listed(inbox: str) -> None:
    subject, body = unique("subject"), "ü body\nsecond line"
    webhook(inbox).notify(body, subject)
    message = requests.get(f"{inbox}/messages.json").json()[-1]
    assert message["text"] == f"{subject}\n{body}"
    assert message["at"].endswith("+00:00")
    assert f"{subject}<br>ü body<br>second line" in requests.get(inbox).text


@pytest.mark.parametrize("token", ["T0/B0/wrong", "T0/B0", f"{TOKEN}/more"])
def test_wrong_token_posts_nothing(inbox: str, token: str) -> None:
    before = texts(inbox)
    with pytest.raises(NotificationError, match="no_team"):
        webhook(inbox, token).notify("intruder")
    assert texts(inbox) == before


def test_post_invalid_at_slack_is_rejected(inbox: str) -> None:
    before, url = texts(inbox), f"{inbox}/services/{TOKEN}"
    for body, status in ((b"junk", 400), (b"[]", 400), (b"{}", 400), (b'{"text": "' + b"x" * 300_000 + b'"}', 413)):
        assert requests.post(url, data=body).status_code == status
    assert texts(inbox) == before


def test_form_with_a_payload_is_accepted(inbox: str) -> None:
    payload = json.dumps({"text": "by form"})
    assert requests.post(f"{inbox}/services/{TOKEN}", data={"payload": payload}).text == "ok"
    assert texts(inbox)[-1] == "by form"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "<javascript:alert(1)|click>",
        '<https://a.example/"onmouseover="alert(1)|click>',
        "<https://a.example|<img src=x onerror=alert(1)>>",
        "<https://a/https://b/onmouseover=alert(1)//>",
        "https://a/`https://b/onmouseover=alert(1)//`",
        "*https://a.example/*onmouseover=alert(1)//",
        "`<b>`",
    ],
)
def test_no_text_becomes_markup(inbox: str, text: str) -> None:
    article = shown(inbox, text)
    tags = re.findall(r"<[^<>]*>", article)
    allowed = re.compile(r'</?(code|strong)>|<br>|</a>|<a href="https?://[^"<>]*">')
    assert [tag for tag in tags if not allowed.fullmatch(tag)] == []
    assert re.sub(r"<[^<>]*>", "", article).count("<") == 0


def test_payload_cannot_replace_our_fields(inbox: str) -> None:
    forged = {"text": unique("forged"), "at": "<script>", "id": "<script>"}
    requests.post(f"{inbox}/services/{TOKEN}", json=forged)
    page = requests.get(inbox)
    assert forged["text"] in page.text
    assert "<script" not in page.text
    assert isinstance(requests.get(f"{inbox}/messages.json").json()[-1]["id"], int)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "<https://h.example/r?a=1&b=2|Open the *run*>",
            '<a href="https://h.example/r?a=1&amp;b=2">Open the *run*</a>',
        ),
        ("see <https://h.example>.", 'see <a href="https://h.example">https://h.example</a>.'),
        ("at http://127.0.0.1:4200/runs", 'at <a href="http://127.0.0.1:4200/runs">http://127.0.0.1:4200/runs</a>'),
        ("*bold `x`* and 2*3*4", "<strong>bold <code>x</code></strong> and 2*3*4"),
        ("`a_*b*_:x:`", "<code>a_*b*_:x:</code>"),
        ("12:30:45 :no_such_emoji:", "12:30:45 :no_such_emoji:"),
    ],
)
def test_mrkdwn_is_rendered(inbox: str, text: str, expected: str) -> None:
    assert shown(inbox, text) == expected


@pytest.mark.parametrize("name", sorted(short_names()))
def test_every_emoji_of_the_automations_is_drawn(inbox: str, name: str) -> None:
    article = html.unescape(shown(inbox, f":{name}: done"))
    assert name not in article
    assert not article[0].isascii()


def test_messages_survive_a_kill_and_a_restart(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    inbox = f"http://127.0.0.1:{port}"
    with killable("slack", state, "--token", TOKEN, port=port) as (_, kill):

        def write(thread: int, number: int) -> str:
            webhook(inbox).notify(text := f"{thread}-{number}")
            return text

        acknowledged = write_until_killed(write, kill)
    for _ in range(2):
        with server("slack", state, "--token", TOKEN, port=port):
            stored = texts(inbox)
            assert set(acknowledged) <= set(stored)
            assert len(stored) == len(set(stored))
