"""Merges as the flow's account and a model run as dbt's, on a BigQuery emulator that enforces Terraform's rights."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import bigquery

from local.servers.rights.bindings import read_rights
from millrace.access import credentials
from millrace.contracts.stream import StreamContract
from millrace.domain.errors import AccessDenied
from millrace.warehouse.bigquery.warehouse import BigQueryWarehouse
from tests.integration.test_model_engines import BigQueryModelling
from tests.support.bigquery import ASKED, ENVIRONMENT, NONE, NOT_ASKED, emulator
from tests.support.modelling import AIRLINES, demo_source
from tests.support.rights import PROJECT, Identities, check_used, identities

pytestmark = [pytest.mark.bigquery, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Identities]:
    with identities(tmp_path_factory.mktemp("rights-bigquery")) as own:
        yield own


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def endpoint(own: Identities, patch: pytest.MonkeyPatch) -> Iterator[str]:
    """The emulator, with the datasets that Terraform's module `warehouse` creates."""
    if not os.environ.get(ASKED):
        pytest.skip(NOT_ASKED)
    if not (ENVIRONMENT / "ready").exists():
        pytest.skip(NONE)
    with emulator(own.folder / "bigquery", "", "--rights", str(own.rights)) as service:
        own.act_as("operator", patch)
        identity = credentials(service.endpoint)
        client = bigquery.Client(PROJECT, credentials=identity, client_options={"api_endpoint": service.endpoint})
        bound = [b["resource"] for b in read_rights(PROJECT)["bindings"] if "/datasets/" in b["resource"]]
        for name in sorted({resource.split("/")[3] for resource in bound}):
            client.create_dataset(f"{PROJECT}.{name}")
        yield service.endpoint


def warehouse(endpoint: str) -> BigQueryWarehouse:
    return BigQueryWarehouse(f"bigquery://{PROJECT}/US", f"bigquery://{PROJECT}/marts", endpoint=endpoint, retry_s=30)


def with_column(stream: StreamContract) -> StreamContract:
    values = stream.model_dump()
    return stream.model_validate(values | {"columns": values["columns"] | {"added": {"type": "string"}}})


@pytest.mark.demo
def test_merge_and_model_take_what_terraform_gives(
    own: Identities, endpoint: str, patch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own.act_as("flow", patch)
    merging = BigQueryModelling(tmp_path, warehouse(endpoint))
    merging.merge("airlines", *AIRLINES)
    assert merging.warehouse.marts() == {}
    own.act_as("dbt", patch)
    modelling = warehouse(endpoint)
    airlines = demo_source().stream("airlines")
    assert modelling.missing_columns(airlines) == []
    merging.warehouse = modelling
    run = merging.run()
    assert run
    assert run.rows["dim_airline"] >= len(AIRLINES)
    assert own.used("denied") == {}
    with pytest.raises(
        AccessDenied, match=r"bigquery\.tables\.update on .*raw_airport_ops\.airlines; grant it: bq query"
    ):
        modelling.ensure(with_column(airlines))
    own.act_as("flow", patch)
    looking = warehouse(endpoint)
    assert looking.marts() == run.rows
    with pytest.raises(AccessDenied, match=r"bigquery\.tables\.getData on .*marts\.dim_airline"):
        looking.query("SELECT * FROM marts.dim_airline")
    with pytest.raises(AccessDenied, match=r"lacks the permission bigquery\.datasets\.create on millrace-test"):
        looking._schema.create_dataset("candidate_of_flow")
    check_used("a merge and a model on BigQuery", own.used())
