"""A batch and the settings `beam.dataflow` in, options of its Beam pipeline out."""

import re
from dataclasses import dataclass
from typing import Any

from millrace.domain.batch import Batch
from millrace.domain.errors import SettingsError

REQUIRED = ("region", "temp_location", "sdk_container_image")
ARGUMENTS_LABEL = "millrace-arguments"
ATTEMPT_LABEL = "millrace-attempt"
MOST_NAME = 63  # characters of a job's name; it matches [a-z]([-a-z0-9]*[a-z0-9])?


@dataclass(frozen=True)
class Dataflow:
    """The project and the settings `beam.dataflow` for large batches, and the id of the run that submits them."""

    project: str
    settings: dict[str, Any]
    run_id: str = ""


def check(batch: Batch, dataflow: Dataflow | None) -> Dataflow:
    """Return the Dataflow options of a batch, with all settings.

    Raises:
        SettingsError: a setting is missing.
    """
    settings = dataflow.settings if dataflow else {}
    missing = [f"beam.dataflow.{key}" for key in REQUIRED if not settings.get(key)]
    if dataflow is None or missing:
        raise SettingsError(
            f"batch {batch.id} has {batch.bytes:,} bytes in {batch.rows:,} rows, more than beam.in_process_max_bytes"
            f" or beam.in_process_max_rows, and goes to Dataflow, but {', '.join(missing)} is not set"
        )
    return dataflow


def pipeline_options(batch: Batch, dataflow: Dataflow, arguments: str, attempt: str) -> Any:
    """Return Beam's options for a batch on Dataflow; the job has the batch's name, so that there is only one."""
    from apache_beam.options.pipeline_options import PipelineOptions

    from millrace.access import is_anonymous  # imports Google's client, which most merges do not need

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
        flags.append(f"--dataflow_endpoint={settings['endpoint']}")
        flags += ["--no_auth"] * is_anonymous(settings["endpoint"])
    return PipelineOptions(flags)


def job_name(batch_id: str) -> str:
    """Return a valid job name that ends in the batch's digest; of a long name of the stream the end is left out."""
    stream, _, digest = batch_id.rpartition("-")
    readable = re.sub(r"[^a-z0-9-]", "-", f"merge-{stream}".lower())
    return f"{readable[: MOST_NAME - len(digest) - 1].rstrip('-')}-{digest}"


def label(text: str) -> str:
    """Convert a text to a valid label value of Google Cloud."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]
