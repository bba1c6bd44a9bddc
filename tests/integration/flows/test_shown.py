"""What people see of runs: names and tags that say what was done, and a status page after each that holds none back."""

from datetime import UTC, datetime
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed, Running

from flows.merge import merge
from flows.reconcile import reconcile
from millrace.domain import names
from millrace.status import prefect_runs
from millrace.status.publish import asked_at
from millrace.status.troubles import newest_troubles
from tests.e2e.landing import airline, land, parquet
from tests.integration.flows.conftest import STREAMS
from tests.support.flows_place import SOURCE, FlowsPlace, Ran


def told(ran: Ran) -> tuple[str, set[str]]:
    """Name and tags of a run."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(ran.id)
    return run.name, set(run.tags)


def page(place: FlowsPlace) -> str:
    return place.lake.read(names.STATUS_PAGE).decode()


def test_a_runs_name_says_what_it_did_and_its_tags_what_it_is_about(
    ingested: Ran, merged: dict[str, Ran], published: Ran
) -> None:
    landed = ingested.tables[f"landed-{SOURCE}".replace("_", "-")]
    files, rows = (sum(line[term] for line in landed) for term in ("files", "rows"))
    assert told(ingested) == (f"ingest {SOURCE} · {files} files · {rows:,} rows", {SOURCE})
    (line,) = merged["flights"].tables["merged-airport-ops-flights"]
    name = f"merge {SOURCE}.flights · 1 file · {line['rows_in']:,} rows"
    assert told(merged["flights"]) == (name, {SOURCE, f"{SOURCE}.flights"})
    marts = published.tables["published-marts"]
    built = f"{len(STREAMS)} batches · {len(marts)} marts · {sum(mart['rows'] for mart in marts):,} rows"
    assert told(published) == (f"model · {built}", {f"{SOURCE}.{stream}" for stream in STREAMS})


def test_the_page_shows_batches_marts_and_figures_and_each_run_links_to_it(
    place: FlowsPlace, merged: dict[str, Ran], published: Ran
) -> None:
    place.run(reconcile)
    shown = page(place)
    for entry in place.ledger("merged"):
        assert f'id="batch-{entry.batch_id}"' in shown
        assert f"{entry.rows_in:,}" in shown
    marts = place.warehouse.marts()
    assert [mart for mart, rows in marts.items() if f'data-mart="{mart}">{rows:,}<' not in shown] == []
    assert "could not be asked: " not in shown
    of_runs = {"flow_run_id": {"any_": [published.id, merged["flights"].id]}, "key": {"any_": ["status-page"]}}
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter.model_validate(of_runs))
    assert len(artifacts) == 2
    assert all(place.lake.address(names.STATUS_PAGE) in str(artifact.data) for artifact in artifacts)


def test_a_failed_run_is_on_the_page_with_the_command_that_mends_it(place: FlowsPlace, published: Ran) -> None:
    assert place.run(merge, source=SOURCE, stream="trains").state.is_failed()
    shown = page(place)
    assert "has no stream &#39;trains&#39;" in shown
    assert "python -m millrace.contracts check" in shown


def test_a_success_is_found_though_many_other_runs_came_since(
    place: FlowsPlace, merged: dict[str, Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    def went(name: str, *states: State[Any]) -> None:
        made = client.create_flow_run(merge, name=name, parameters={"source": "shop", "stream": name.split(".")[1]})
        for state in (Running(), *states):
            client.set_flow_run_state(made.id, state, force=True)

    monkeypatch.setattr(prefect_runs, "NEWEST", 2)
    with get_client(sync_client=True) as client:
        went("merge shop.mended", Failed(message="exception: SettingsError: no bucket"))
        went("merge shop.mended · 1 file · 2 rows", Completed())
        went("merge shop.broken", Failed(message="exception: SettingsError: no bucket"))
        went("merge shop.broken_too", Completed())  # another's: its name is only like it
        for _ in range(2):
            went("merge shop.others", Completed())
        facts = prefect_runs.ask_prefect(client, place.began, datetime.now(UTC))
    troubles = newest_troubles(facts.runs, "")
    assert {name: troubles[name].over for name in ("merge shop.mended", "merge shop.broken")} == {
        "merge shop.mended": True,
        "merge shop.broken": False,
    }


@pytest.mark.long
def test_a_page_that_can_not_be_rendered_fails_no_run(
    place: FlowsPlace, published: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.settle()
    before = place.lake.stat(names.STATUS_PAGE)
    assert before
    land(place.lake, parquet([airline("ZS", "not shown")]))
    with monkeypatch.context() as broken:
        broken.setenv("MILLRACE_LAKE__URL", "gs://no-such-bucket")
        assert place.run(merge, source=SOURCE, stream="airlines").result == 1
    there = place.lake.stat(names.STATUS_PAGE)
    assert there
    assert there.generation == before.generation
    land(place.lake, parquet([airline("ZR", "shown again")]))
    assert place.run(merge, source=SOURCE, stream="airlines").result == 1
    after = place.lake.stat(names.STATUS_PAGE)
    assert after
    assert asked_at(after) > asked_at(before)
