"""The project of a run in a warm pool: the version that the link names when the run is prepared."""

import uuid
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun

from millrace.project import VARIABLE
from millrace.worker.names import SOCKET
from millrace.worker.warm_worker import WarmJobConfiguration


def test_run_gets_the_version_that_is_deployed_when_it_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "project"
    monkeypatch.setenv(VARIABLE, str(link))
    monkeypatch.setenv(SOCKET, str(tmp_path / "socket"))
    for version in ("one", "two"):  # the worker lives on, a deployment moves the link
        (tmp_path / version).mkdir()
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / version)
        configuration = WarmJobConfiguration()
        configuration.prepare_for_flow_run(FlowRun(flow_id=uuid.uuid4()))
        assert configuration.env[VARIABLE] == str(tmp_path / version)
