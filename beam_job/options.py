"""Options of the Beam pipeline: none in process, all that Dataflow needs for a large batch."""

import re
from typing import Any

from contracts.batch import Batch
from contracts.errors import SettingsError

NEEDED = ("region", "temp_location", "sdk_container_image")


def pipeline_options(batch: Batch, dataflow: dict[str, Any], project: str) -> Any:
    """Beam's options for a batch on Dataflow, else None; its job has the batch's name, so that a second is refused.

    Raises:
        SettingsError: the batch is for Dataflow and a setting is missing.
    """
    if batch.engine != "dataflow":
        return None
    from apache_beam.options.pipeline_options import PipelineOptions

    missing = [f"beam.dataflow.{key}" for key in NEEDED if not dataflow.get(key)]
    if missing:
        raise SettingsError(
            f"batch {batch.id} has {batch.bytes:,} bytes, more than beam.in_process_max_bytes, and goes to Dataflow,"
            f" but {', '.join(missing)} is not set"
        )
    flags = [
        f"--project={project}",
        f"--job_name={job_name(batch.id)}",
        f"--region={dataflow['region']}",
        f"--temp_location={dataflow['temp_location']}",
        f"--sdk_container_image={dataflow['sdk_container_image']}",
        "--sdk_location=container",
        "--no_use_public_ips",
        "--no_save_main_session",
        f"--max_num_workers={dataflow.get('max_num_workers', 10)}",
    ]
    flags += [f"--{key}={dataflow[key]}" for key in ("service_account_email", "subnetwork") if dataflow.get(key)]
    return PipelineOptions(flags)


def job_name(batch_id: str) -> str:
    """A batch's id as Dataflow takes names."""
    return "merge-" + re.sub(r"[^a-z0-9-]", "-", batch_id.lower())
