"""The independent parts of a dbt project, and what a refusal of one means for the others."""

from typing import Any

import pytest

from millrace.domain.ledger import built_state, modelled_entry
from millrace.domain.model import BuiltCandidate, ModelWork, model_work
from millrace.domain.parts import Part, parts_of, refuse_parts
from tasks.model.refuse import refusal
from tasks.model.validate_candidates import refuse_marts
from tests.unit.test_unpublished import NOON, merged

Node = dict[str, Any]


def node(kind: str, name: str, *above: str, fqn: tuple[str, ...] = ("p", "marts"), **config: str) -> Node:
    return {
        "unique_id": f"{kind}.p.{name}",
        "resource_type": kind,
        "name": name,
        "alias": name,
        "fqn": [*fqn, name],
        "config": {"materialized": "table", **config},
        "depends_on": {"nodes": list(above)},
    }


def manifest(*nodes: Node) -> dict[str, Any]:
    streams = {parent for n in nodes for parent in n["depends_on"]["nodes"] if parent.startswith("source.")}
    sources = {
        name: {"resource_type": "source", "source_name": name.split(".")[2], "name": name.split(".")[3], "fqn": []}
        for name in streams
    }
    return {"sources": sources, "nodes": {n["unique_id"]: n for n in nodes}}


ORDERS, ITEMS, FLIGHTS = "source.p.shop.orders", "source.p.shop.items", "source.p.ops.flights"
STAGED = node("model", "stg_orders", ORDERS, fqn=("p", "staging"), materialized="ephemeral")
PROJECT = (
    STAGED,
    node("model", "sales", "model.p.stg_orders", "model.p.calendar"),
    node("model", "stock", ITEMS),
    node("model", "traffic", FLIGHTS, "model.p.calendar"),
    node("model", "calendar"),
)


def test_parts_are_what_no_stream_connects() -> None:
    parts = {part.name: part for part in parts_of(manifest(*PROJECT))}
    assert {name: part.marts for name, part in parts.items()} == {
        "shop.orders": ("sales",),
        "shop.items": ("stock",),
        "ops.flights": ("traffic",),
        "model:calendar": ("calendar",),
    }
    assert parts["shop.orders"].tables == ("sales",)
    assert parts["shop.orders"].models == ("sales", "stg_orders")
    assert parts["shop.orders"].reads == ("model:calendar",), "what reads no stream joins nothing"
    assert parts["shop.items"].reads == ()


@pytest.mark.parametrize(
    "joint",
    [
        node("model", "both", "model.p.sales", "model.p.stock"),
        node("test", "both_agree", "model.p.sales", "model.p.stock"),
        node("model", "second", ORDERS, ITEMS),
    ],
    ids=["model", "test", "streams"],
)
def test_a_model_or_test_of_two_joins_them(joint: Node) -> None:
    (part,) = [p for p in parts_of(manifest(*PROJECT, joint)) if "shop.items" in p.streams]
    assert part.streams == ("shop.items", "shop.orders")
    assert set(part.marts) >= {"sales", "stock"}


def test_reader_of_a_refused_part_is_refused() -> None:
    parts = parts_of(manifest(*PROJECT))
    refused = refuse_parts(parts, {"model:calendar": "a day is missing"}, by_gate=True)
    assert {each.part.name: each.reason for each in refused} == {
        "model:calendar": "a day is missing",
        "shop.orders": "it reads calendar, which is not published",
        "ops.flights": "it reads calendar, which is not published",
    }
    (one,) = refuse_parts(parts, {"shop.orders": "negative"}, by_gate=True)
    assert one.part.marts == ("sales",)


def candidate(**work: Any) -> BuiltCandidate:
    return BuiltCandidate(
        candidate="c",
        work=ModelWork(batches=("a", "b"), streams=("ops.flights", "shop.orders"), **work),
        marts=("sales", "traffic"),
        parts=parts_of(manifest(*PROJECT)),
        stream_of={"a": "shop.orders", "b": "ops.flights"},
    )


def refused_sales(built: BuiltCandidate) -> BuiltCandidate:
    return built.refuse(refuse_parts(built.parts, {"shop.orders": "sales.total: below 0"}, by_gate=True))


def test_refused_part_leaves_the_candidate() -> None:
    built = refused_sales(candidate())
    assert (built.work.batches, built.work.streams, built.marts) == (("b",), ("ops.flights",), ("traffic",))
    assert built.stays == ("sales",)
    assert not built.is_empty
    rest = built.refuse(refuse_parts(built.parts, {"ops.flights": "late"}, by_gate=False))
    assert rest.is_empty
    assert "These marts stay as they were: sales, traffic" in str(refusal("c", rest.refused))


@pytest.mark.parametrize(
    ("work", "owed"),
    [({}, ()), ({"whole": True}, ("shop.orders",)), ({"owed": ("shop.orders",)}, ("shop.orders",))],
)
def test_refused_rebuild_is_owed_by_the_ledger(work: dict[str, Any], owed: tuple[str, ...]) -> None:
    built = refused_sales(candidate(**work))
    assert built.owed == owed
    entry = modelled_entry("c", "p1", "r", NOON, built.owed)
    assert built_state(entry.detail) == ("p1", owed)
    again = model_work([merged("n")], built_by=entry.detail, project="p1")
    assert again is not None
    assert (again.whole, again.owed) == (False, owed)
    other = model_work([merged("n")], built_by=entry.detail, project="p2")
    assert other is not None
    assert (other.whole, other.owed) == (True, ()), "a new project builds everything"


def test_owed_part_is_work_without_a_merge() -> None:
    work = model_work([], built_by="p1 shop.orders", project="p1")
    assert work is not None
    assert work.pieces == {"shop.orders"}
    assert model_work([], built_by="p1", project="p1") is None, "an entry of an older version owes nothing"


def test_part_of_no_stream_has_its_models_as_name() -> None:
    part = Part(models=("calendar",), marts=("calendar",))
    assert (part.name, part.selectors) == ("model:calendar", ["calendar"])
    assert Part(streams=("a.b", "a.c")).selectors == ["source:a.b+", "source:a.c+"]


def test_candidate_of_an_older_version_is_one_part() -> None:
    built = BuiltCandidate(candidate="c", work=ModelWork(batches=("a",), streams=("shop.orders",)), marts=("sales",))
    assert refuse_marts(built, {}) == built
    refused = refuse_marts(built, {"sales": "sales.total: below 0"})
    assert refused.is_empty
    assert "sales.total: below 0. These marts stay as they were: sales" in str(refusal("c", refused.refused))
