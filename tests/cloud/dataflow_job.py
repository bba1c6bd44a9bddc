"""One Dataflow job of a run: a batch of three rows, staged by the image's workers, as a large batch is in production.

It is a suite of the kit (`--image` names the image), and no test of its own.
"""

import os
from pathlib import Path

import pytest

from beam_job.batches import Limits, open_batch
from beam_job.engines.options import Dataflow
from beam_job.stage import stage_batch
from millrace.cloud_names import DATAFLOW, account_email
from millrace.lake.store import Lake
from tests.cloud.place import RUNNING, clients
from tests.cloud.suites import IMAGE
from tests.cloud.target import Running
from tests.support.merging import NOON, Merging, contract, upsert

MINUTES_20 = 1200
POLL_S = 15


@pytest.fixture
def run() -> Running:
    """Return the run that this process is part of."""
    if RUNNING is None or not os.environ.get(IMAGE):
        pytest.skip("it is for runs of `make cloud-smoke` with an image of Dataflow's workers")
    return RUNNING


@pytest.fixture
def merging(run: Running, lake: Lake, tmp_path: Path) -> Merging:
    """Return a stream whose name has the run's id, so that its job has it too; workers may use the bucket."""
    bucket = clients(run).storage.bucket(lake.url.removeprefix("gs://"))
    policy = bucket.get_iam_policy(requested_policy_version=3)
    member = f"serviceAccount:{account_email(DATAFLOW, run.target.project)}"
    for role in ("roles/storage.objectUser", "roles/storage.legacyBucketReader"):
        policy.bindings.append({"role": role, "members": {member}})
    bucket.set_iam_policy(policy)
    own = contract(source=f"millrace_smoke_{run.id}")
    return Merging(lake, tmp_path, own, limits=Limits(plain_max_bytes=0, in_process_max_bytes=1))


@pytest.mark.timeout(MINUTES_20)
def test_a_batch_is_staged_by_dataflow(run: Running, merging: Merging) -> None:
    merging.land(rows=[upsert(1, 10), upsert(1, 11), upsert(2, 12)])
    batch = open_batch(merging.lake, merging.warehouse, merging.contract, limits=merging.limits, now=NOON)
    assert batch is not None
    settings = {
        "endpoint": run.target.endpoint("dataflow"),
        "region": run.target.region,
        "temp_location": f"{merging.lake.url}/_staging/dataflow",
        "sdk_container_image": os.environ[IMAGE],
        "service_account_email": account_email(DATAFLOW, run.target.project),
        "subnetwork": f"regions/{run.target.region}/subnetworks/millrace",
        "max_num_workers": 1,
        "poll_s": POLL_S if run.target.is_google else 0.2,
    }
    staged = stage_batch(merging.lake, merging.contract, batch, Dataflow(run.target.project, settings, run.id))
    assert (staged.rows_in, staged.superseded) == (3, 1)
