"""Channels of alerts: a contract's or a mart's secret names who is told; everything else goes to the platform's own."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.events.schemas.automations import EventTrigger

from cli.deploy.automations import load, load_channel, load_marts
from millrace.contracts.channels import DEFAULT, channel_name, channel_of, secrets_of_channels
from millrace.contracts.marts import MartPromise, mart_promises
from millrace.contracts.source import SourceContract, parse_source
from millrace.domain.errors import ContractError
from tests.support.servers import ROOT

AUTOMATIONS = sorted((ROOT / "automations").glob("*.yaml"))
VALUES = {"ui": "http://ui", "runbook": "docs", "published_every_s": "0", "channel": DEFAULT}
DEFAULT_BLOCK, TEAM_BLOCK = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
CONTRACT = """
source: shop
owner: sales
channel: {secret: Slack_Sales}
connector: {image: i, version: "1"}
streams:
  orders: {columns: {id: {type: int64}}}
  bins: {channel: {secret: slack-depot}, columns: {id: {type: int64}}}
"""


@pytest.fixture
def sources() -> dict[str, SourceContract]:
    return {"shop": parse_source(CONTRACT, "shop.yaml")}


def test_stream_has_its_own_channel_or_its_sources(sources: dict[str, SourceContract]) -> None:
    assert channel_of(sources, "shop", "orders") == channel_of(sources, "shop", None) == "slack-sales"
    assert channel_of(sources, "shop", "bins") == "slack-depot"
    assert channel_of(sources, "other", None) == channel_of(sources, None, None) == DEFAULT
    assert channel_name("") == DEFAULT
    marts = [MartPromise(mart="m", freshness="1h", channel="slack-board")]
    assert secrets_of_channels(sources.values(), marts) == {
        "slack-sales": "Slack_Sales",
        "slack-depot": "slack-depot",
        "slack-board": "slack-board",
    }


def test_alerts_on_streams_and_runs_are_routed() -> None:
    default = {a.name: a for a in load(AUTOMATIONS, VALUES | {"slack": DEFAULT_BLOCK})}
    routed = load_channel(AUTOMATIONS, VALUES | {"slack": TEAM_BLOCK, "channel": "slack-sales"})
    names = {a.name.removesuffix(" (slack-sales)") for a in routed}
    assert names < set(default)
    assert {"Millrace: rows were quarantined", "Millrace: a flow run failed", "Millrace: new data came at last"} < names
    for automation in routed:
        assert isinstance(automation.trigger, EventTrigger)
        assert automation.trigger.match["millrace.channel"] == ["slack-sales"]
        assert [str(action.block_document_id) for action in automation.actions] == [TEAM_BLOCK]
        twin = default[automation.name.removesuffix(" (slack-sales)")]
        assert twin.trigger.match["millrace.channel"] == [DEFAULT]


def test_every_alert_on_a_stream_or_run_is_routed() -> None:
    for path in AUTOMATIONS:
        document: Any = yaml.safe_load(path.read_text().replace("${", "$("))
        resource = str(document["trigger"]["match"].get("prefect.resource.id", ""))
        if resource.startswith(("millrace.stream.", "millrace.run.")):
            assert "millrace.channel" in document["trigger"]["match"], path.name


def test_mart_promises_its_freshness_in_meta(tmp_path: Path) -> None:
    (tmp_path / "models" / "marts").mkdir(parents=True)
    (tmp_path / "models" / "marts" / "orders.yml").write_text(
        "models:\n- name: orders\n  config: {meta: {freshness: 26h, owner: sales, channel: slack-sales}}\n"
        "- name: old\n  meta: {freshness: 90m}\n- name: none\n"
    )
    old, orders = mart_promises(tmp_path)
    assert (old.mart, old.freshness_s, old.channel) == ("old", 5400, "")
    (late,) = load_marts(
        [ROOT / "automations" / "marts" / "late.yaml"], VALUES | {"slack": TEAM_BLOCK, "channel": "slack-sales"}, orders
    )
    assert late.name == "Millrace: orders is late"
    assert isinstance(late.trigger, EventTrigger)
    assert late.trigger.within.total_seconds() == 26 * 3600
    assert late.trigger.match["prefect.resource.id"] == ["millrace.mart.orders"]


@pytest.mark.parametrize(
    ("meta", "problem"),
    [("{freshness: soon}", "'soon'; write 90m, 36h or 7d"), ("{freshness: 1h, channel: a b}", "the name of a secret")],
)
def test_malformed_promise_names_its_model(tmp_path: Path, meta: str, problem: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m.yml").write_text(f"models: [{{name: m, meta: {meta}}}]\n")
    with pytest.raises(ContractError, match="model m: ") as error:
        mart_promises(tmp_path)
    assert problem in str(error.value)


def test_channel_is_a_reference_to_a_secret() -> None:
    with pytest.raises(ContractError, match="channel"):
        parse_source(CONTRACT.replace("{secret: Slack_Sales}", "https://hooks.slack.com/x"), "shop.yaml")
