"""Contracts: a wrong file is refused by name, names round-trip, and rows and batches are accounted for."""

import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace.contracts import schema
from millrace.contracts.source import find_source, load_sources, parse_source
from millrace.contracts.widening import common_type
from millrace.domain import names
from millrace.domain.batch import Balance
from millrace.domain.dead_letters import Topic
from millrace.domain.errors import BalanceError, ContractError, UnknownStream
from millrace.domain.events import IngestRequested, WarehouseMerged, attributes
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.domain.quality import QualityResult
from millrace.domain.types import PLAIN_TYPES
from tests.support.servers import ROOT

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SHOP: dict[str, Any] = {
    "source": "shop",
    "owner": "sales",
    "connector": {"image": "shop/source", "version": "1.0", "config": {"password": {"secret": "shop-password"}}},
    "streams": {
        "orders": {
            "mode": "cdc",
            "key": ["id"],
            "order": ["_ab_cdc_lsn"],
            "columns": {
                "id": {"type": "int64", "nullable": False},
                "price": {"type": "decimal(10, 2)"},
                "placed_at": {"type": "timestamp"},
                "note": {"type": "json"},
            },
        }
    },
}
NAME = st.from_regex(names.MANIFEST_PATH.pattern.split("/")[1].strip("()"), fullmatch=True)


def changed(path: str, value: object) -> str:
    """The shop's YAML with one field replaced; a dotted path ends at a mapping's key."""
    data = copy.deepcopy(SHOP)
    *parents, last = path.split(".")
    place = data
    for parent in parents:
        place = place[parent]
    place[last] = value
    return yaml.safe_dump(data)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("streams.orders.columns.price", {"type": "money"}, "streams.orders.columns.price.type: .*'money'.*decimal"),
        ("streams.orders.columns.price", {"type": "decimal(99,2)"}, r"orders.columns.price.type: .*decimal\(99,2\)"),
        ("streams.orders.columns.price", {"type": "decimal(2,9)"}, r"orders.columns.price.type: .*decimal\(2,9\)"),
        ("streams.orders.columns.price", {"type": "decimal(0,0)"}, r"orders.columns.price.type: .*decimal\(0,0\)"),
        ("streams.orders.columns.price", {"typ": "int64"}, "streams.orders.columns.price.type: Field required"),
        ("streams.orders.columns.a b", {"type": "int64"}, "streams.orders.columns.a b"),
        ("streams.orders.columns", None, "streams.orders.columns: "),
        ("streams.orders.key", ["nr"], "streams.orders: .*key names 'nr'"),
        ("streams.orders.key", ["price"], "streams.orders: .*key column 'price' must say `nullable: false`"),
        ("streams.orders.columns.id", {"type": "json", "nullable": False}, "orders: .*key column 'id' can't be json"),
        ("streams.orders.order", ["lsn"], "streams.orders: .*order names 'lsn'"),
        ("streams.orders.order", [], "streams.orders: .*a cdc stream needs `order`"),
        ("streams.orders.cluster", ["nr"], "streams.orders: .*cluster names 'nr'"),
        ("streams.orders.cluster", ["id"] * 5, "streams.orders: .*cluster names 5 columns; at most 4 are allowed"),
        ("streams.orders.cluster", ["note"], "streams.orders: .*cluster column 'note' can't be json"),
        ("streams.orders.mode", "magic", "streams.orders.mode: "),
        ("streams.orders.deletes", "hard", "streams.orders.deletes: "),
        ("streams.orders.evolution", {"new_columns": "drop"}, "streams.orders.evolution.new_columns: "),
        ("streams.orders.evolution", {"type_changes": "any"}, "streams.orders.evolution.type_changes: "),
        (
            "streams.orders.columns.price",
            {"type": "int64", "any_type": True},
            "orders: .*'price': `any_type`",
        ),
        ("streams.orders.partition", {"hash_buckets": 1}, "streams.orders.partition.hash_buckets: "),
        ("streams.orders.freshness", "soon", "streams.orders.freshness: .*'soon' is not a duration"),
        ("streams.orders.partition", {"column": "nr"}, "streams.orders: .*partition names 'nr'"),
        ("streams.orders.partition", {"column": "price"}, "orders: .*'price' must be a date or a timestamp"),
        ("streams.orders.partition", {"column": "placed_at"}, "orders: .*'placed_at' is not part of the key"),
        ("streams.orders.partition", {"column": "id", "hash_buckets": 4}, "orders.partition: .*either `column`"),
        ("streams.orders.colour", "red", "streams.orders.colour: Extra"),
        ("streams.orders", "all", "streams.orders: "),
        ("streams.Orders", SHOP["streams"]["orders"], "streams.Orders"),
        ("streams", ["orders"], "streams: "),
        ("connector.config", {"password": {"secret": 3}}, "connector.config.password.reference.secret"),
        ("connector.image", 3, "connector.image: "),
        ("source", "The Shop", "source: "),
        ("colour", "red", "colour: Extra"),
    ],
)
def test_error_names_file_stream_and_field(path: str, value: object, where: str) -> None:
    with pytest.raises(ContractError, match=f"(?s)^shop.yaml: .*{where}"):
        parse_source(changed(path, value), "shop.yaml")


def test_hash_buckets_need_a_key() -> None:
    text = yaml.safe_load(changed("streams.orders.key", "position"))
    text["streams"]["orders"]["partition"] = {"hash_buckets": 8}
    with pytest.raises(ContractError, match=r"shop.yaml: streams.orders: .*partition: `hash_buckets` are of the key"):
        parse_source(yaml.safe_dump(text), "shop.yaml")


def test_editor_schema_accepts_every_source() -> None:
    assert schema.FILE.read_text() == schema.text(), "run `millrace contracts write`"
    for path in (ROOT / "sources").glob("*.yaml"):
        jsonschema.validate(yaml.safe_load(path.read_text()), schema.schema())
    for change in ("streams.orders.mode", "streams.orders.colour", "streams.orders.key"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(changed(change, "magic")), schema.schema())


TYPES = st.sampled_from([*PLAIN_TYPES, "decimal(10,2)", "decimal(38,0)", "decimal(12,4)"])


@given(left=TYPES, right=TYPES, third=TYPES)
def test_widening_has_no_order(left: str, right: str, third: str) -> None:
    both = common_type(left, right)
    assert both == common_type(right, left)
    assert both is None or common_type(both, left) == both
    assert common_type(left, left) == left


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        ("int64", "float64", "float64"),
        ("int64", "decimal(10,2)", "decimal(21,2)"),
        ("date", "timestamp", "timestamp"),
        ("decimal(10,2)", "decimal(12,6)", "decimal(14,6)"),
        ("int64", "string", None),
        ("float64", "decimal(10,2)", None),
        ("decimal(38,0)", "decimal(10,2)", None),
        ("json", "string", None),
    ],
)
def test_types_widen_where_no_value_is_lost(left: str, right: str, both: str | None) -> None:
    assert common_type(left, right) == both


@pytest.mark.parametrize(
    ("text", "reason"),
    [("streams: [", "not YAML"), ("- a", "expected a mapping"), ("", "expected a mapping"), ("a: 1", "connector")],
)
def test_invalid_source_is_rejected_by_name(text: str, reason: str) -> None:
    with pytest.raises(ContractError, match=f"^shop.yaml: .*{reason}"):
        parse_source(text, "shop.yaml")


def test_all_errors_are_listed_without_values() -> None:
    data = yaml.safe_load(changed("streams.orders.mode", "magic"))
    data["connector"]["config"]["password"] = {"secret": "hunter2 is my password"}
    with pytest.raises(ContractError) as refused:
        parse_source(yaml.safe_dump(data), "shop.yaml")
    assert "streams.orders.mode" in str(refused.value)
    assert "connector.config.password" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_stream_has_source_owner_and_default_key() -> None:
    stream = parse_source(changed("streams.orders.key", "position"), "shop.yaml").stream("orders")
    assert (stream.id, stream.owner, stream.key) == ("shop.orders", "sales", ())
    assert stream.columns["price"].type == "decimal(10,2)"
    assert stream.reads_deletes


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("36h", 129_600), ("7d", 604_800), (None, None)])
def test_freshness_is_a_duration(text: str | None, seconds: int | None) -> None:
    stream = parse_source(changed("streams.orders.freshness", text), "shop.yaml").stream("orders")
    assert stream.freshness_s == seconds


def test_unknown_stream_error_lists_valid_ones(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(SHOP))
    sources = load_sources(tmp_path)
    assert find_source(sources, "shop").stream("orders").key == ("id",)
    with pytest.raises(UnknownStream, match="source 'shop' has no stream 'order'; it has orders"):
        sources["shop"].stream("order")
    with pytest.raises(UnknownStream, match="no source 'shopp' in sources/; there are shop"):
        find_source(sources, "shopp")
    with pytest.raises(UnknownStream, match="there are none"):
        find_source({}, "shop")


def test_file_has_the_name_of_its_source(tmp_path: Path) -> None:
    (tmp_path / "store.yaml").write_text(yaml.safe_dump(SHOP))
    with pytest.raises(ContractError, match=r"^store.yaml: declares source 'shop'; name the file shop.yaml"):
        load_sources(tmp_path)


def test_wrong_encoding_is_rejected_by_file_name(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_bytes("source: café".encode("latin-1"))
    with pytest.raises(ContractError, match=r"^shop.yaml: not UTF-8"):
        load_sources(tmp_path)


@pytest.mark.demo
def test_every_project_source_loads_with_docs() -> None:
    sources = load_sources(ROOT / "sources")
    assert set(sources) == {path.stem for path in (ROOT / "sources").glob("*.yaml")} != set()
    for source in sources.values():
        assert source.owner
        for stream in source.streams.values():
            assert stream.description, stream.id
            assert [n for n, c in stream.columns.items() if not c.description] == [], stream.id


def test_values_never_change() -> None:
    with pytest.raises(ValidationError):
        Balance(rows_in=0, merged=0, superseded=0, stale=0, quarantined=0).merged = 1  # type: ignore[misc]


@given(
    source=NAME,
    stream=NAME,
    job=st.integers(0, 10**13),
    day=st.datetimes(datetime(1970, 1, 1)),
    connection=st.uuids(),
    empty=st.booleans(),
)
def test_manifest_path_has_source_stream_and_job(
    source: str, stream: str, job: int, day: datetime, connection: object, empty: bool
) -> None:
    path = names.manifest_path(source, stream, day, str(connection), job, empty=empty)
    assert names.parse_manifest_path(path) == (source, stream, job)
    assert path.startswith(names.manifests_prefix(source, stream, empty=empty))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "raw/shop/orders/20260101/c-000000000001.json",
        "_manifests/shop/orders/c-000000000001.json",
        "_manifests/shop/orders/20260101/readme.json",
        "_manifests/shop/orders/20260101/c-one.json",
        "_manifests/shop/orders/20260101/c-1.parquet",
        "_manifests//orders/20260101/c-1.json",
        "_manifests/shop/Orders!/20260101/c-1.json",
        "_manifests/shop/orders/today/c-1.json",
        "x/_manifests/shop/orders/20260101/c-1.json",
        "_manifests/shop/orders/20260101/c-1.json\n",
    ],
)
def test_other_paths_are_no_manifests(path: str) -> None:
    with pytest.raises(ValueError, match="is not a manifest; expected _manifests/<source>"):
        names.parse_manifest_path(path)


def test_manifests_of_a_day_sort_by_job() -> None:
    paths = [names.manifest_path("shop", "orders", NOON, "c", job) for job in (9, 10, 100)]
    assert paths == sorted(paths)


def test_every_topic_has_its_own_event() -> None:
    assert set(names.EVENT_OF_TOPIC) == set(names.TOPICS)
    assert len(set(names.EVENT_OF_TOPIC.values())) == len(names.TOPICS)


@pytest.mark.parametrize("term", ["merged", "superseded", "stale", "quarantined"])
def test_wrong_balance_is_rejected_with_all_terms(term: str) -> None:
    whole = {"merged": 4, "superseded": 3, "stale": 2, "quarantined": 1}
    Balance(rows_in=10, **whole, tombstoned_by_absence=5).check("b1")
    with pytest.raises(BalanceError, match=r"batch b1: 10 rows in, but .*merged .* stale .* = 11; nothing was"):
        Balance(rows_in=10, **whole | {term: whole[term] + 1}).check("b1")


def manifest(**changes: Any) -> LandingManifest:
    first, second = (LandedObject(name=f"{i}.parquet", generation=i, size=9, rows=i) for i in (1, 2))
    own = {
        "source": "shop",
        "stream": "orders",
        "connection_id": "c",
        "job_id": 7,
        "job_created_at": NOON,
        "outcome": "succeeded",
        "sync_mode": "cdc",
        "objects": (first, second),
        "landed_at": NOON,
    }
    return LandingManifest.model_validate(own | changes)


def test_sync_identity_ignores_writer_and_order() -> None:
    mine = manifest()
    assert mine.same_sync(manifest(objects=mine.objects[::-1], landed_at=NOON + timedelta(hours=1)))
    assert mine.rows == 3


@pytest.mark.parametrize(
    "change",
    [
        {"connection_id": "d"},
        {"job_id": 8},
        {"job_created_at": NOON + timedelta(seconds=1)},
        {"objects": manifest().objects[:1]},
        {"objects": (manifest().objects[0], manifest().objects[1].model_copy(update={"generation": 3}))},
    ],
    ids=str,
)
def test_other_job_or_objects_are_another_sync(change: dict[str, Any]) -> None:
    assert not manifest().same_sync(manifest(**change))


def test_message_attributes_are_scalars_as_text() -> None:
    balance = Balance(rows_in=1, merged=1, superseded=0, stale=0, quarantined=0)
    merged = WarehouseMerged(source="shop", stream="orders", batch_id="b1", balance=balance)
    assert attributes(merged) == {"v": "1", "source": "shop", "stream": "orders", "batch_id": "b1"}
    assert attributes(IngestRequested(source="shop")) == {"v": "1", "source": "shop", "reason": ""}


def test_quality_result_reads_as_one_line() -> None:
    result = QualityResult(suite="m", column="id", expectation="expect_unique", success=False, observed="2 of 3 rows")
    assert str(result) == "m.id: expect_unique, saw 2 of 3 rows"


def test_dead_letter_flow_offers_all_topics() -> None:
    assert get_args(Topic) == names.TOPICS
