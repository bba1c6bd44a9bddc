"""A catalog and a sample become a contract that loads, and the files that a project gets with it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from millrace.contracts.catalog_diff import compare
from millrace.contracts.proposal import propose
from millrace.contracts.source import SourceContract, parse_source
from millrace.contracts.source_files import contract_text, staging_sql, staging_yaml

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
LOG = {"_ab_cdc_lsn": {"type": "integer"}, "_ab_cdc_updated_at": {}, "_ab_cdc_deleted_at": {}}
COLUMNS: dict[str, Any] = {
    "id": {"type": "integer", "contract_type": "int64"},
    "total": {"type": "string", "contract_type": "decimal(18,4)", "description": "What it\ncost."},
    "free": {"type": ["null", "string"], "contract_type": "decimal(38,9)", "any_digits": True},
    "status": {"type": "string", "contract_type": "string", "enum": ["new", "paid"]},
    "order": {"type": ["null", "integer"]},
    "Unit Price": {"type": ["null", "number"]},
    "updated_at": {"type": ["null", "string"], "format": "date-time"},
}


def stream(*, log: bool = False, key: bool = True, **columns: Any) -> dict[str, Any]:
    return {
        "name": "orders",
        "description": "One row per order.",
        "supported_sync_modes": ["full_refresh", "incremental"],
        "source_defined_primary_key": [["id"]] if key else [],
        "json_schema": {"properties": COLUMNS | columns | (LOG if log else {})},
    }


def contract(entry: dict[str, Any], sample: list[dict[str, Any]] | None = None) -> tuple[SourceContract, str]:
    proposal = propose(entry, sample or [], NOW)
    connector = {
        "image": "airbyte/source-postgres",
        "version": "1",
        "config": {"password": {"secret": "shop-password"}},
    }
    text = contract_text("shop", connector, [proposal], "sales", "The shop.")
    return parse_source(text, "shop.yaml"), text


def test_log_with_a_key_becomes_cdc() -> None:
    source, text = contract(
        stream(log=True), [{"id": 1, "free": "0.333333333333", "updated_at": "2026-01-02T11:00:00Z"}]
    )
    orders = source.streams["orders"]
    assert (orders.mode, orders.key, orders.order, orders.freshness) == ("cdc", ("id",), ("_ab_cdc_lsn",), "36h")
    kinds = {name: column.type for name, column in orders.columns.items()}
    assert kinds == {
        "id": "int64",
        "total": "decimal(18,4)",
        "free": "decimal(38,12)",
        "status": "string",
        "order": "int64",
        "Unit_Price_14f624": "float64",
        "updated_at": "timestamp",
    }
    assert not orders.columns["id"].nullable
    assert orders.columns["total"].description == "What it cost."
    assert [(e.type, e.severity, e.args["column"]) for e in orders.expectations] == [
        ("expect_column_values_to_not_be_null", "quarantine", "total"),
        ("expect_column_values_to_not_be_null", "quarantine", "status"),
        ("expect_column_values_to_be_in_set", "warn", "status"),
    ]
    assert "# column 'Unit Price' is Unit_Price_14f624 in the table" in text


def test_key_and_cursor_become_append() -> None:
    source, _ = contract(stream(), [{"updated_at": "2025-12-01T00:00:00Z"}])
    orders = source.streams["orders"]
    assert (orders.mode, orders.order, orders.freshness) == ("append", ("updated_at",), None)


@pytest.mark.parametrize(
    ("entry", "remark"),
    [
        (stream(key=False), "it has no primary key"),
        (stream(updated_at={"type": "string"}), "none of its columns is a cursor"),
        (stream() | {"supported_sync_modes": ["full_refresh"]}, "the connector reads it only in full"),
    ],
)
def test_all_else_becomes_overwrite(entry: dict[str, Any], remark: str) -> None:
    source, text = contract(entry)
    assert source.streams["orders"].mode == "overwrite"
    assert f"# {remark}" in text


def test_nan_in_a_decimal_is_remarked() -> None:
    assert any("NaN" in remark for remark in propose(stream(), [{"free": "NaN"}], NOW).remarks)


def test_values_that_no_decimal_holds_stay_text() -> None:
    proposal = propose(stream(), [{"free": f"{10**35}.12345"}], NOW)
    assert proposal.contract["columns"]["free"]["type"] == "string"


def test_old_sample_promises_no_freshness() -> None:
    old = (NOW - timedelta(days=3)).isoformat()
    assert "freshness" not in propose(stream(log=True), [{"updated_at": old}], NOW).contract


def test_staging_quotes_reserved_words() -> None:
    proposal = propose(stream(), [], NOW)
    sql = staging_sql("shop", proposal)
    assert "{{ adapter.quote('order') }},\n" in sql
    assert "{{ utc_timestamp('updated_at') }} as updated_at\n" in sql
    assert sql.endswith("from {{ live_rows('shop', 'orders') }} as merged\n")
    (model,) = yaml.safe_load(staging_yaml("shop", proposal))["models"]
    assert (model["name"], model["description"]) == ("stg_shop_orders", "One row per order.")
    assert {"name": "total", "description": "What it cost."} in model["columns"]


def test_refresh_shows_what_the_contract_lacks() -> None:
    source, _ = contract(stream(log=True))
    changed = stream(log=True, added={"type": "boolean"}, total={"type": "string", "contract_type": "decimal(20,6)"})
    del changed["json_schema"]["properties"]["status"]
    assert [str(difference) for difference in compare(source, [changed, stream() | {"name": "new"}])] == [
        "~ orders.total: decimal(20,6) at the source, decimal(18,4) in the contract",
        "+ orders.added: added: {type: bool}",
        "- orders.status",
        "+ new: not in the contract",
    ]
    assert compare(source, [stream(log=True)]) == []
    assert [str(difference) for difference in compare(source, [])] == ["- orders: the source has no such stream"]
