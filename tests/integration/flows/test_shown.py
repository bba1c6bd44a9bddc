"""The presentation of runs: names and tags that describe their work, and a status page after each run."""

from datetime import UTC, datetime
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed, Running

from flows.merge import merge
from flows.reconcile import reconcile
from flows.show import show
from millrace.domain import names
from millrace.domain.alerts import REJECTED
from millrace.status import prefect_runs
from millrace.status.publish import collected_at
from millrace.status.troubles import newest_troubles
from tests.integration.flows.conftest import STREAMS
from tests.support.flow_environment import SOURCE, FlowEnvironment, Ran

pytestmark = pytest.mark.demo


def name_and_tags(ran: Ran) -> tuple[str, set[str]]:
    """Return the name and the tags of a run."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(ran.id)
    return run.name, set(run.tags)


def page(environment: FlowEnvironment) -> str:
    return environment.lake.read(names.STATUS_PAGE).decode()


def test_run_name_and_tags_describe_its_work(ingested: Ran, merged: dict[str, Ran], published: Ran) -> None:
    landed = ingested.tables[f"landed-{SOURCE}".replace("_", "-")]
    files, rows = (sum(line[term] for line in landed) for term in ("files", "rows"))
    tags = {SOURCE, names.sync_tag(SOURCE, 1)}
    assert name_and_tags(ingested) == (f"ingest {SOURCE} · {files} files · {rows:,} rows", tags)
    (line,) = merged["flights"].tables["merged-airport-ops-flights"]
    name = f"merge {SOURCE}.flights · 1 file · {line['rows_in']:,} rows"
    assert name_and_tags(merged["flights"]) == (name, {SOURCE, f"{SOURCE}.flights"})
    marts = published.tables["published-marts"]
    built = f"{len(STREAMS)} batches · {len(marts)} marts · {sum(mart['rows'] for mart in marts):,} rows"
    assert name_and_tags(published) == (f"model · {built}", {f"{SOURCE}.{stream}" for stream in STREAMS})


def test_status_page_shows_batches_and_marts(
    environment: FlowEnvironment, merged: dict[str, Ran], published: Ran, shown: Ran
) -> None:
    environment.run(reconcile)
    html = page(environment)
    for entry in environment.ledger("merged"):
        assert f'id="batch-{entry.batch_id}"' in html
        assert f"{entry.rows_in:,}" in html
    marts = environment.warehouse.marts()
    assert [mart for mart, rows in marts.items() if f'data-mart="{mart}">{rows:,}<' not in html] == []
    assert " is unavailable: " not in html
    of_runs = {
        "flow_run_id": {"any_": [shown.id, published.id, merged["flights"].id]},
        "key": {"any_": ["status-page"]},
    }
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter.model_validate(of_runs))
    (artifact,) = artifacts
    assert str(artifact.flow_run_id) == shown.id, "merges and models leave the page to show"
    assert environment.lake.address(names.STATUS_PAGE) in str(artifact.data)


def test_failed_run_is_on_the_page_with_its_fix(environment: FlowEnvironment, published: Ran) -> None:
    message = "Flow run encountered an exception: AirbyteRefused: no connection &c. Apply it"
    with get_client(sync_client=True) as client:
        broken = client.create_flow_run(merge, name="merge broken", parameters={"source": SOURCE, "stream": "planes"})
        for state in (Running(), Failed(message=message)):
            client.set_flow_run_state(broken.id, state, force=True)
    assert environment.run(merge, source=SOURCE, stream="trains").state.name == REJECTED
    environment.run(reconcile)
    shown = page(environment)
    assert "no connection &amp;c." in shown
    assert f"millrace connections apply {SOURCE}" in shown
    assert "trains" not in shown


def test_success_is_found_behind_many_later_runs(
    environment: FlowEnvironment, merged: dict[str, Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    def create_run(name: str, *states: State[Any]) -> None:
        flow_run = client.create_flow_run(merge, name=name, parameters={"source": "shop", "stream": name.split(".")[1]})
        for state in (Running(), *states):
            client.set_flow_run_state(flow_run.id, state, force=True)

    monkeypatch.setattr(prefect_runs, "NEWEST", 2)
    with get_client(sync_client=True) as client:
        create_run("merge shop.mended", Failed(message="exception: SettingsError: no bucket"))
        create_run("merge shop.mended · 1 file · 2 rows", Completed())
        create_run("merge shop.broken", Failed(message="exception: SettingsError: no bucket"))
        create_run("merge shop.broken_too", Completed())  # of another run with a similar name
        for _ in range(2):
            create_run("merge shop.others", Completed())
        facts = prefect_runs.read_prefect(client, environment.began, datetime.now(UTC))
    troubles = newest_troubles(facts.runs, "")
    assert {name: troubles[name].over for name in ("merge shop.mended", "merge shop.broken")} == {
        "merge shop.mended": True,
        "merge shop.broken": False,
    }


@pytest.mark.long
def test_page_that_fails_to_render_fails_no_run(
    environment: FlowEnvironment, published: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.settle()
    before = environment.lake.stat(names.STATUS_PAGE)
    assert before
    with monkeypatch.context() as broken:
        broken.setenv("MILLRACE_LAKE__URL", "gs://no-such-bucket")
        assert environment.run(show).state.is_completed()
    page_object = environment.lake.stat(names.STATUS_PAGE)
    assert page_object
    assert page_object.generation == before.generation
    assert environment.run(show).state.is_completed()
    after = environment.lake.stat(names.STATUS_PAGE)
    assert after
    assert collected_at(after) > collected_at(before)
