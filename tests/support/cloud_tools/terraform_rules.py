"""What Google refuses at the first `apply` of files that are right as such: what must be there before, and when.

Each rule takes the files of `terraform/` by module and yields what would be refused, in Google's words where known.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from local.servers.rights.hcl import Block, read_module

Modules = dict[str, Block]
# The API that makes resources of a type: the longest prefix counts.
APIS = {
    "google_artifact_registry": "artifactregistry",
    "google_bigquery": "bigquery",
    "google_billing": "billingbudgets",
    "google_compute": "compute",
    "google_container": "container",
    "google_dns": "dns",
    "google_iam_workload_identity": "iam",
    "google_logging": "logging",
    "google_monitoring": "monitoring",
    "google_project_iam": "cloudresourcemanager",
    "google_project_service": "serviceusage",
    "google_pubsub": "pubsub",
    "google_secret_manager": "secretmanager",
    "google_service_account": "iam",
    "google_service_networking": "servicenetworking",
    "google_sql": "sqladmin",
    "google_storage": "storage",
}
# APIs that no resource is made by, and that something in the files needs all the same.
NEEDED_BY = {
    "security_posture_config": "containersecurity",
    "google_iam_workload_identity_pool_provider": "sts",
    "roles/dataflow.developer": "dataflow",
    "roles/run.developer": "run",
}
AGENTS = {"pubsub": "pubsub", "secretmanager": "secretmanager"}
METRICS_S = 600  # https://github.com/hashicorp/terraform-provider-google/issues/11102


def modules(folder: Path) -> Modules:
    """Read the root module and all others."""
    inner = {path.name: read_module(path) for path in sorted((folder / "modules").iterdir()) if path.is_dir()}
    return {"": read_module(folder)} | inner


def apis(files: Modules) -> set[str]:
    """Return the APIs that the files switch on."""
    text = files["services"].text
    return set(re.findall(r'"([a-z]+)\.googleapis\.com"', text))


def resources(files: Modules) -> Iterator[tuple[str, Block]]:
    """Yield each resource with its module."""
    for name, module in files.items():
        yield from ((name, block) for block in module.of("resource"))


def apis_that_are_off(files: Modules) -> Iterator[str]:
    """Each resource needs its API, and some settings need another."""
    on = apis(files)
    for _, block in resources(files):
        prefixes = [prefix for prefix in APIS if block.labels[0].startswith(prefix)]
        if prefixes and APIS[max(prefixes, key=len)] not in on:
            yield f"{'.'.join(block.labels)}: {APIS[max(prefixes, key=len)]}.googleapis.com is disabled"
    everything = "\n".join(whole(module) for module in files.values())
    yield from (
        f"{word}: {api}.googleapis.com is disabled"
        for word, api in NEEDED_BY.items()
        if word in everything and api not in on
    )


def whole(block: Block) -> str:
    """Return names and values of a block and of those in it."""
    return "\n".join([block.kind, *block.labels, block.text, *(whole(inner) for inner in block.blocks)])


def modules_before_their_apis(files: Modules) -> Iterator[str]:
    """A module whose resources do not wait for the services is made while its API is off."""
    for call in files[""].of("module"):
        waits = call.texts.get("depends_on", "")
        if call.labels[0] != "services" and "module.services" not in waits and "module.network" not in waits:
            yield f"module {call.labels[0]}: does not wait for module.services"


def agents_that_do_not_exist(files: Modules) -> Iterator[str]:
    """Google's own accounts exist once their identity was made, not once their API is on."""
    identities = {
        service
        for _, block in resources(files)
        if block.labels[0] == "google_project_service_identity"
        for service in re.findall(r'"([a-z]+)\.googleapis\.com"', block.text)
    }
    for name, block in resources(files):
        for agent in re.findall(r"gcp-sa-([a-z]+)\.iam", block.text):
            yield f"{name}: Service account service-N@gcp-sa-{agent}.iam.gserviceaccount.com does not exist (400)"
    members = {word for module in files.values() for word in re.findall(r'services\.agents\["(\w+)"\]', module.text)}
    yield from (f"service identity of {agent} is not made" for agent in sorted(members - identities))


def metrics_that_are_not_known_yet(files: Modules) -> Iterator[str]:
    """A policy or an objective of a metric that Cloud Logging has just made is refused for up to ten minutes."""
    observability = files["observability"]
    waits = [b for b in observability.of("resource") if b.labels[0] == "time_sleep"]
    long_enough = {
        f"time_sleep.{b.labels[1]}"
        for b in waits
        if int(b.texts["create_duration"].strip('"s')) >= METRICS_S and "google_logging_metric" in b.text
    }
    for block in observability.of("resource"):
        reads = "google_logging_metric" in block.text and block.labels[0].startswith("google_monitoring")
        if reads and not any(wait in block.texts.get("depends_on", "") for wait in long_enough):
            yield f"{'.'.join(block.labels)}: Error 404: Cannot find metric(s) that match type"


def dates_in_the_past(files: Modules) -> Iterator[str]:
    """A first rotation must lie ahead, on whatever day the files are applied."""
    for name, module in files.items():
        for block in module.of("resource"):
            for inner in block.of("rotation"):
                if "plantimestamp()" not in inner.texts["next_rotation_time"]:
                    yield f"{name}: next_rotation_time is a date that passes: must be in the future"


def fixed_dates(files: Modules) -> Iterator[str]:
    """No variable has a default that is a day to come."""
    for name, module in files.items():
        for block in module.of("variable"):
            day = re.search(r'"(20\d\d-\d\d-\d\d)', block.texts.get("default", ""))
            if day:
                yield f"{name}: variable {block.labels[0]} is the day {day[1]}, which passes"


def several_resource_types(files: Modules) -> Iterator[str]:
    """A filter of a condition names one type of resource."""
    for name, block in resources(files):
        if "resource.type=one_of" in block.text:
            yield f"{name}: {'.'.join(block.labels)}: the filter must name one resource type"


def alerts_from_the_first_day(files: Modules) -> Iterator[str]:
    """Before the platform runs, each policy would tell rightly that it does not."""
    for block in files["observability"].of("resource"):
        if block.labels[0] == "google_monitoring_alert_policy" and block.texts.get("enabled") != "var.alerting":
            yield f"{'.'.join(block.labels)}: alerts before there is a platform"


RULES = (
    apis_that_are_off,
    modules_before_their_apis,
    agents_that_do_not_exist,
    metrics_that_are_not_known_yet,
    dates_in_the_past,
    fixed_dates,
    several_resource_types,
    alerts_from_the_first_day,
)


def refusals(folder: Path) -> list[str]:
    """Return what the first apply of a folder would be refused for."""
    files = modules(folder)
    return [refusal for rule in RULES for refusal in rule(files)]
