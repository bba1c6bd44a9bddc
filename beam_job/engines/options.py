"""Options of the Beam pipeline on Dataflow."""

import re
from dataclasses import dataclass
from typing import Any

from millrace.domain.batch import Batch
from millrace.domain.errors import SettingsError

NEEDED = ("region", "temp_location", "sdk_container_image")
ARGUMENTS_LABEL = "millrace-arguments"
ATTEMPT_LABEL = "millrace-attempt"


@dataclass(frozen=True)
class Dataflow:
    """Where and how large batches run: the settings `beam.dataflow`, the project, and the run that asks."""

    project: str
    settings: dict[str, Any]
    run_id: str = ""


def check(batch: Batch, dataflow: Dataflow | None) -> Dataflow:
    """The place of a batch that is for Dataflow.

    Raises:
        SettingsError: a setting is missing.
    """
    settings = dataflow.settings if dataflow else {}
    missing = [f"beam.dataflow.{key}" for key in NEEDED if not settings.get(key)]
    if dataflow is None or missing:
        raise SettingsError(
            f"batch {batch.id} has {batch.bytes:,} bytes, more than beam.in_process_max_bytes, and goes to Dataflow,"
            f" but {', '.join(missing)} is not set"
        )
    return dataflow


def pipeline_options(batch: Batch, dataflow: Dataflow, arguments: str, attempt: str) -> Any:
    """Beam's options for a batch on Dataflow; its job has the batch's name, so that a second is refused."""
    from apache_beam.options.pipeline_options import PipelineOptions

    settings = dataflow.settings
    labels = {
        "app": "millrace",
        "source": label(batch.source),
        "stream": label(batch.stream),
        ARGUMENTS_LABEL: arguments,
        ATTEMPT_LABEL: attempt,
    }
    flags = [
        f"--project={dataflow.project}",
        f"--job_name={job_name(batch.id)}",
        f"--region={settings['region']}",
        f"--temp_location={settings['temp_location']}",
        f"--sdk_container_image={settings['sdk_container_image']}",
        "--sdk_location=container",
        "--no_use_public_ips",
        "--no_save_main_session",
        "--autoscaling_algorithm=THROUGHPUT_BASED",
        "--num_workers=1",
        f"--max_num_workers={settings.get('max_num_workers', 10)}",
        *(f"--labels={key}={value}" for key, value in labels.items()),
    ]
    flags += [f"--{key}={settings[key]}" for key in ("service_account_email", "subnetwork") if settings.get(key)]
    if settings.get("endpoint"):
        flags += [f"--dataflow_endpoint={settings['endpoint']}", "--no_auth"]
    return PipelineOptions(flags)


def job_name(batch_id: str) -> str:
    """A batch's id as Dataflow takes names."""
    return "merge-" + label(batch_id).replace("_", "-")


def label(text: str) -> str:
    """A text as Google Cloud takes the values of labels."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]
