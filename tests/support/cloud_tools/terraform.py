"""`terraform`: init, plan, apply and output of the checkout's files; what an apply makes appears in the cloud."""

import hashlib
import json
from pathlib import Path
from typing import Any

from local.servers.rights.evaluate import evaluate
from local.servers.rights.hcl import Block, read_module
from local.servers.rights.terraform import constants, read_variables
from tests.support.cloud_tools.arguments import Call, Refused
from tests.support.cloud_tools.cloud import Cloud
from tests.support.cloud_tools.terraform_rules import apis, modules, refusals

PREFECT_HOST, AIRBYTE_HOST, GATEWAY = "10.30.0.3", "10.30.0.5", "203.0.113.80"
CONTINENTS = {"EU": "europe-", "US": "us-"}


def answer(cloud: Cloud, call: Call) -> str:
    """Carry out a call."""
    folder = call.folder / call.one("-chdir", default=".")
    return HANDLERS[call.command.removeprefix("terraform ")](cloud, call, folder)


def init(cloud: Cloud, call: Call, folder: Path) -> str:
    bucket = dict(part.split("=", 1) for part in call.options.get("-backend-config", [])).get("bucket", "")
    if "application" not in cloud.accounts:
        raise Refused("Error: storage.NewClient() failed: could not find default credentials")
    if bucket not in cloud.buckets:
        raise Refused(f"Error: Failed to get existing workspaces: bucket {bucket!r} doesn't exist")
    if not cloud.buckets[bucket]["versioning"]:
        raise Refused(f"the state's bucket {bucket!r} keeps no versions")
    if not list(folder.glob("*.tf")):
        raise Refused(f"Terraform initialized in an empty directory: {folder}")
    cloud.terraform["backend"] = bucket
    return "Terraform has been successfully initialized!\n"


def plan(cloud: Cloud, call: Call, folder: Path) -> str:
    if "backend" not in cloud.terraform:
        raise Refused('Error: Backend initialization required: please run "terraform init"')
    for service in ("cloudresourcemanager", "serviceusage"):
        cloud.needs_api(service)
    values = variables(folder)
    if cloud.quota_project != values["project"]:
        raise Refused("Error 403: user_project_override needs a quota project of the application's credentials")
    if values["project"] != cloud.project:
        raise Refused(f"Error 403: no permission on project {values['project']}")
    continent = CONTINENTS.get(values["location"], values["location"])
    if not values["region"].startswith(continent):
        raise Refused(f"region {values['region']} is not in location {values['location']}")
    (folder / call.one("-out")).write_text(json.dumps({"given": values, "files": digest(folder)}))
    return "Plan: to add\n"


def variables(folder: Path) -> dict[str, Any]:
    """Return the values of all variables of the root module.

    Raises:
        Refused: one is required and not given, or given and not declared.
    """
    declared = {b.labels[0]: b for b in read_module(folder).of("variable")}
    values = read_variables(folder)
    if unknown := sorted(set(values) - set(declared)):
        raise Refused(f"Error: Value for undeclared variable {unknown[0]}")
    defaults = {n: evaluate(b.arguments["default"], constants) for n, b in declared.items() if "default" in b.arguments}
    if missing := sorted(set(declared) - set(values) - set(defaults)):
        raise Refused(f"Error: No value for required variable {missing[0]}")
    return defaults | values


def digest(folder: Path) -> str:
    files = sorted([*folder.rglob("*.tf"), *folder.glob("*.tfvars*")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def apply(cloud: Cloud, call: Call, folder: Path) -> str:
    file = folder / call.word(0, "PLAN")
    if not file.exists():
        raise Refused(f"Error: Failed to load {call.words[0]!r} as a plan file")
    planned = json.loads(file.read_text())
    if planned["files"] != digest(folder):
        raise Refused("the plan is of other files than those that are there now")
    if refused := refusals(folder):
        raise Refused("\n".join(f"Error: {line}" for line in refused))
    values = planned["given"]
    cloud.terraform |= {
        "variables": values,
        "accounts": [f"{a}@{values['project']}.iam.gserviceaccount.com" for a in values["service_accounts"].values()],
    }
    _make(cloud, folder)
    return "Apply complete!\n"


def _make(cloud: Cloud, folder: Path) -> None:
    values = cloud.terraform["variables"]
    cloud.apis |= {f"{name}.googleapis.com" for name in apis(modules(folder))}
    for name in {secret for group in values["secrets"].values() for secret in group} - set(cloud.secrets.names()):
        cloud.secrets.create(name)
    for bucket in ("lake", "airbyte"):
        cloud.buckets.setdefault(f"{values['project']}-{bucket}", {"location": values["location"]})
    for name, host in (("prefect", PREFECT_HOST), ("airbyte", AIRBYTE_HOST)):
        cloud.databases.setdefault(f"millrace-{name}", {"address": host, "users": {}})
    cloud.tables |= {f"{dataset}.{table}" for dataset, table in (("ops", "ledger"), ("ops", "heads"))}
    cloud.tables |= {f"{dataset}.flights" for dataset in values["raw_datasets"]} | {"marts.airline_punctuality_daily"}
    cloud.terraform["outputs"] = {b.labels[0]: b for b in read_module(folder).of("output")}


def output(cloud: Cloud, call: Call, folder: Path) -> str:
    outputs = cloud.terraform.get("outputs", {})
    name = call.word(0, "NAME")
    if name not in outputs:
        raise Refused(f'Error: Output "{name}" not found')
    if not call.has("-raw"):
        raise Refused("without -raw the value stands in quotes")
    return value_of(outputs[name], cloud.terraform["variables"])


def value_of(output: Block, values: dict[str, Any]) -> str:
    """Return the text of an output; `values` are those of the variables, and what Google gives is known here."""
    project, region = values["project"], values["region"]
    subnetwork = f"https://www.googleapis.com/compute/v1/projects/{project}/regions/{region}/subnetworks/millrace"
    made = {
        "network": {"gateway_address": GATEWAY, "subnetwork_url": subnetwork, "network": "millrace"},
        "database": {"prefect_host": PREFECT_HOST, "airbyte_host": AIRBYTE_HOST},
        "lake": {"bucket": f"{project}-lake"},
        "airbyte": {"bucket": f"{project}-airbyte"},
        "registry": {"url": f"{region}-docker.pkg.dev/{project}/millrace"},
    }
    accounts = {
        role: f"{account}@{project}.iam.gserviceaccount.com" for role, account in values["service_accounts"].items()
    }
    scope: dict[str, Any] = {"module": made, "var": values, "local": {"accounts": accounts}}
    return str(evaluate(output.arguments["value"], scope.__getitem__))


HANDLERS = {"init": init, "plan": plan, "apply": apply, "output": output}
