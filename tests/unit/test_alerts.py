"""The texts of alerts: causes that group failures, and the daily digest."""

from datetime import UTC, date, datetime

import pytest

from cli.deploy.automations import in_order
from millrace.domain.alerts import cause, kind, slug, tidy
from millrace.domain.digest import Day, WorkFailures, body, subject, verdict
from millrace.domain.ledger import LedgerEntry

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
FAILED = "Flow run encountered an exception: "


def merged(stream: str, rows: int, quarantined: int = 0) -> LedgerEntry:
    return LedgerEntry(
        kind="merged",
        batch_id=f"{stream}-{rows}",
        source="shop",
        stream=stream,
        run_id="r",
        at=NOON,
        rows_in=rows + quarantined,
        merged=rows,
        quarantined=quarantined,
    )


def day(**facts: object) -> Day:
    nothing = {
        "merged": (),
        "publications": 0,
        "rejections": 0,
        "completed": 0,
        "failures": (),
        "recovered_by_reconcile": 0,
        "dead_letters": {},
        "silent": (),
    }
    return Day.model_validate({"day": date(2026, 1, 2)} | nothing | facts)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"{FAILED}EventRefused: _manifests/x is not a manifest", "EventRefused"),
        (f"{FAILED}ServiceUnavailable: Airbyte: GET /jobs", "ServiceUnavailable"),
        ("Validation of flow parameters failed with error: x", "Failure"),
        ("", "Failure"),
    ],
)
def test_run_error_is_read_from_its_message(message: str, expected: str) -> None:
    assert kind(message) == expected


def test_message_repeats_only_the_error() -> None:
    hint = "\n    For further information visit https://errors.pydantic.dev/2.14/v/json_invalid; delete it"
    assert (
        tidy(f"{FAILED}EventRefused: x is none: 1 error\n  Invalid JSON{hint}")
        == "x is none: 1 error Invalid JSON; delete it"
    )
    assert tidy("") == ""


def test_outage_is_one_cause_and_errors_are_each() -> None:
    runs = ("merge shop.orders", "merge shop.items", "ingest shop")
    assert {cause(run, "ServiceUnavailable") for run in runs} == {"ServiceUnavailable"}
    assert len({cause(run, "ContractError") for run in runs}) == 3
    assert cause("merge shop.orders", "ContractError") != cause("merge shop.orders", "BalanceError")


def test_name_becomes_a_part_of_a_resource_id() -> None:
    assert slug("merge shop.orders") == "merge-shop.orders"
    assert slug("dead letters: Drop!") == "dead-letters-drop"


def test_digest_of_a_quiet_day_says_so() -> None:
    assert subject(day()) == ":bar_chart: Millrace on Friday, 02 January 2026: nothing was done"
    assert body(day(), "http://ui", "runbook").splitlines() == [
        "*Merged* nothing",
        "*Quarantined* nothing",
        "*Published* 0 times",
        "*Runs* 0 completed, none failed",
        "<http://ui/runs|Open Prefect>. Runbook: runbook",
    ]


def test_digest_counts_rows_and_names_problems() -> None:
    busy = day(
        merged=(merged("orders", 1000), merged("orders", 234, quarantined=2), merged("items", 1)),
        publications=1,
        rejections=2,
        completed=40,
        recovered_by_reconcile=3,
        dead_letters={"lake-landed": 5},
        silent=("shop.crm",),
        failures=(
            WorkFailures(name="ingest shop", failed=4, failing=True),
            WorkFailures(name="model", failed=1, failing=False),
        ),
    )
    assert verdict(busy) == "6 things to look at"
    assert body(busy, "http://ui", "runbook").splitlines()[:-1] == [
        "*Merged* 1,235 rows in 3 batches of 2 streams",
        "• shop.orders 1,234",
        "• shop.items 1",
        ":warning: *Quarantined* 2 rows: shop.orders 2",
        ":warning: *Published* 1 time; the quality gate rejected a candidate 2 times",
        ":red_circle: *Runs* 40 completed, 5 failed: ingest shop 4 x (still failing), model 1 x (recovered)",
        ":warning: *No new data* of shop.crm",
        ":warning: *Reconcile* started work for 3 lost events",
        ":warning: *Dead letters* on lake-landed (5)",
    ]


def test_recovered_failure_needs_no_attention() -> None:
    assert verdict(day(completed=1, failures=(WorkFailures(name="model", failed=1, failing=False),))) == "all is well"
    assert verdict(day(merged=(merged("orders", 1, quarantined=1),))) == "one thing to look at"


def test_digest_of_hundreds_of_streams_is_short() -> None:
    many = body(day(merged=tuple(merged(f"s{n}", n + 1) for n in range(300))), "http://ui", "runbook")
    assert "• and 288 more" in many
    assert len(many.splitlines()) == 18


def test_automation_sets_are_compared_in_order() -> None:
    """Each process orders a set differently; without sorting, a dry run would report changes."""
    first, second = ({"expect": list(names), "match": {"id": "a"}, "within": 5} for names in ("ab", "ba"))
    assert in_order(first) == in_order(second) == {"expect": ["a", "b"], "match": {"id": "a"}, "within": 5}
    assert in_order([{"expect": ["b", "a"]}, {"expect": []}]) == [{"expect": ["a", "b"]}, {"expect": []}]
