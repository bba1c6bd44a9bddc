"""Parameters of runs: a mistyped name is refused with the existing ones, before a run is made, and alerts nobody."""

from typing import Any

import pytest

from cli import runs
from millrace.contracts.parameters import RULES, check_parameters
from millrace.contracts.source import SourceContract, load_sources
from millrace.domain.alerts import REJECTED
from millrace.domain.errors import EventRefused, MillraceError, UnknownStream
from millrace.status.prefect_runs import Run
from millrace.status.troubles import newest_troubles
from tests.support.servers import ROOT
from tests.support.shop_status import run

PLANES = {"source": "airport_ops", "stream": "planes"}


@pytest.fixture(scope="module")
def sources() -> dict[str, SourceContract]:
    return load_sources(ROOT / "sources")


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"source": "airport_op"}, UnknownStream, "there are airport_ops; did you mean 'airport_ops'?"),
        ({"sources": ["airport_ops", "x"]}, UnknownStream, "no source 'x'"),
        ({"source": "airport_ops", "stream": "plane"}, UnknownStream, "did you mean 'planes'?"),
        ({"stream": "planes"}, UnknownStream, "no source 'None'"),
        ({"source": "airport_ops", "streams": ["planes", "trains"]}, UnknownStream, "has no stream 'trains'"),
        (PLANES | {"keys": [{"tail": "N1"}]}, EventRefused, "not a valid key; expected columns tailnum"),
        (PLANES | {"keys": []}, EventRefused, "name at least one key"),
        ({"day": "yesterday"}, EventRefused, "'yesterday' is not a day; write it as 2026-01-31"),
    ],
    ids=["source", "sources", "stream", "stream alone", "streams", "column of a key", "no key", "day"],
)
@pytest.mark.demo
def test_mistyped_parameter_is_refused_by_name(
    sources: dict[str, SourceContract], parameters: dict[str, Any], error: type[MillraceError], message: str
) -> None:
    with pytest.raises(error) as refused:
        check_parameters(sources, parameters)
    assert message in str(refused.value)


@pytest.mark.demo
def test_right_and_absent_parameters_pass(sources: dict[str, SourceContract]) -> None:
    check_parameters(sources, {"full": True, "source": None, "stream": None, "objects": ["a"]})
    check_parameters(sources, PLANES | {"keys": [{"tailnum": "N1"}], "reason": "request 7", "day": "2026-01-31"})


def test_start_refuses_before_it_makes_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(runs, "_start", lambda flow, values: made.append(flow))
    with pytest.raises(UnknownStream):
        runs.run_flow("ingest", {"source": "airport_op"}, wait=False)
    assert made == []


def test_every_parameter_of_a_flow_that_names_has_a_rule() -> None:
    texts = "".join(path.read_text() for path in (ROOT / "flows").glob("*.py"))
    assert [name for name in RULES if f"{name}: " not in texts] == []


def test_rejected_run_is_no_trouble() -> None:
    def failed(*, rejected: bool) -> Run:
        made = run("ingest shp", state="FAILED", message="UnknownStream: no source 'shp'", number=1)
        return Run(**{**vars(made), "rejected": rejected})

    assert list(newest_troubles([failed(rejected=False)], "")) == ["ingest shp"]
    assert newest_troubles([failed(rejected=True)], "") == {}
    assert REJECTED == "Rejected"
