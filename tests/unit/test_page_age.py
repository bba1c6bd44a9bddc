"""The age after which the status page calls itself out of date, compared with the run that renders it."""

import yaml

from millrace.status.page import OLD_S
from tests.support.servers import ROOT

RENDERINGS_MISSED = 2


def test_page_is_old_after_missed_reconcile_runs() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (reconcile,) = [d for d in deployments if d["name"] == "reconcile"]
    interval = reconcile["schedules"][0]["interval"]
    assert RENDERINGS_MISSED * interval < OLD_S < (RENDERINGS_MISSED + 1) * interval
