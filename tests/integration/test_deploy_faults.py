"""The stand-ins of the page's programs refuse what the real ones refuse: each fault below stops the page there."""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cloud_tools.arguments import KNOWN, Refused, parse
from tests.support.cloud_tools.cloud import Cloud
from tests.support.cloud_tools.page import Names, Place, blocks, whole
from tests.support.cloud_tools.read_help import read
from tests.support.cloud_tools.terraform_rules import refusals
from tests.support.servers import ROOT

pytestmark = pytest.mark.slow

FIRST = blocks("From an empty project to the first mart")
STEP_11 = next(n for n, block in enumerate(FIRST) if block.startswith("open_prefect"))
Change = Callable[[str], str]


class Remembered:
    """A Secret Manager in memory."""

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {}

    def create(self, name: str) -> None:
        self._values[name] = []

    def add(self, name: str, value: str) -> int:
        if name not in self._values:
            raise Refused(f"ERROR: (gcloud.secrets.versions.add) NOT_FOUND: Secret [{name}] not found")
        self._values[name].append(value)
        return len(self._values[name])

    def read(self, name: str) -> str:
        if not self._values.get(name):
            raise Refused(f"ERROR: NOT_FOUND: Secret Version [{name}/versions/latest] not found")
        return self._values[name][-1]

    def names(self) -> list[str]:
        return sorted(self._values)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Return a checkout whose `millrace` only prints the names of Terraform that are there."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed: the page's commands were not run")
    place = Place(tmp_path, Cloud(Remembered()))
    place.environment_with(millrace=f"exec cat {ROOT / 'terraform' / 'names.auto.tfvars.json'}")
    yield place
    place.line.close()


def without(*lines: str) -> Change:
    """Return the change that leaves out the lines with these words."""
    return lambda text: "".join(
        line for line in text.splitlines(keepends=True) if not any(word in line for word in lines)
    )


def instead(old: str, new: str) -> Change:
    def change(text: str) -> str:
        assert old in text, f"the page does not have {old!r}"
        return text.replace(old, new)

    return change


def test_page_as_it_is_sets_up_the_platform(place: Place) -> None:
    process = place.run(*FIRST[:STEP_11])
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert "no value" not in process.stdout
    assert set(place.cloud.images.values()) == {"linux/amd64"}


@pytest.mark.slow
def test_page_is_given_for_another_project(place: Place) -> None:
    """The whole page, with nothing behind the port-forwards; `make`, `curl`, `prefect` and `millrace` only say yes."""
    place.names = Names("fjord-lab", "europe-north1", "europe-north1", "gateway.fjord.example")
    place.cloud.pools = lambda: {"gke", "cloud-run"}
    for folder, name in (("bin", "make"), ("bin", "curl"), ("checkout/.venv/bin", "prefect")):
        (place.folder / folder / name).write_text("#!/bin/sh\necho 0\n")
        (place.folder / folder / name).chmod(0o755)
    (place.checkout / ".venv" / "bin" / "python").symlink_to(sys.executable)
    process = place.run(*whole())
    assert process.returncode == 0, process.stderr
    assert place.traces() == []


FAULTS = {
    "no quota project": (without("set-quota-project"), "user_project_override needs a quota project"),
    "no API is on": (without("gcloud services enable"), "cloudresourcemanager.googleapis.com has not been used"),
    "no bucket of the state": (without("storage buckets create"), "gs://millrace-example-terraform not found"),
    "a plan that nobody made": (without("plan -out"), "Failed to load 'millrace.tfplan' as a plan file"),
    "no network of operators": (without("operators ="), "Unable to connect to the server: dial tcp: i/o timeout"),
    "no domain": (without("domain    ="), "No value for required variable domain"),
    "a region outside the location": (instead("LOCATION=EU", "LOCATION=US"), "is not in location US"),
    "a secret that nobody made": (instead("add slack-webhook-url", "add slack-url"), "Secret [slack-url] not found"),
    "no user of the database": (
        without("sql users create prefect"),
        'password authentication failed for user "prefect"',
    ),
    "an image of the builder's machine": (instead("--platform linux/amd64 ", ""), "exec format error"),
    "a push without authorisation": (without("configure-docker"), "denied: Unauthenticated request"),
    "a tag that is not filled in": (instead("""sed "s/:TAG\\$/:$TAG/\"""", "cat"), "ImagePullBackOff"),
    "no credentials of the cluster": (without("get-credentials"), "Kubernetes cluster unreachable"),
    "a chart of any version": (instead("--version=2.9.0 ", ""), "without a version"),
    "no repository of the chart": (without("helm repo add external-secrets"), "repo external-secrets not found"),
    "a webhook that does not answer": (
        instead(" --create-namespace --wait", " --create-namespace"),
        "no endpoints available",
    ),
    "a secret without a value": (
        without("add prefect-api-auth-string"),
        "timed out waiting for the condition on externalsecrets/",
    ),
    "all deployments before their pools": (
        instead("deployment/prefect-server deployment/gateway", "deployment --all"),
        "does not exist: the worker ends",
    ),
    "no user of Airbyte's database": (without("sql users create airbyte"), "no database at 10.30.0.5 that knows"),
    "no key of Airbyte's account": (
        instead(" --from-file=gcp.json=airbyte-key.json", ""),
        "couldn't find key gcp.json",
    ),
    "Airbyte without its namespace": (without("kubectl create namespace airbyte"), 'namespaces "airbyte" not found'),
    "Airbyte without its project": (instead(" --values=k8s/airbyte/project.yaml", ""), "no database at None"),
    "a misspelt option": (instead("--uniform-bucket-level-access", "--uniform-access"), "unrecognized arguments"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_page_with_a_fault_stops_there(place: Place, fault: str) -> None:
    change, refusal = FAULTS[fault]
    process = place.run(change("\n".join(FIRST[:STEP_11])))
    assert process.returncode != 0, process.stdout
    assert refusal in process.stderr, process.stderr


def edited(folder: Path, file: str, old: str, new: str) -> list[str]:
    """Return what the first apply would be refused for, with one change of Terraform's files."""
    copy = folder / "terraform"
    shutil.copytree(ROOT / "terraform", copy)
    path = copy / file
    text = path.read_text()
    assert re.search(old, text), f"{file} has no {old}"
    path.write_text(re.sub(old, new, text))
    return refusals(copy)


@pytest.mark.parametrize(
    ("file", "old", "new", "refusal"),
    [
        (
            "modules/services/main.tf",
            r'    "billingbudgets.googleapis.com",\n',
            "",
            "billingbudgets.googleapis.com is disabled",
        ),
        ("modules/services/main.tf", r'    "sts.googleapis.com",\n', "", "sts.googleapis.com is disabled"),
        (
            "modules/services/main.tf",
            r', "secretmanager.googleapis.com"\]',
            "]",
            "identity of secretmanager is not made",
        ),
        (
            "modules/secrets/main.tf",
            r"var\.agent",
            '"serviceAccount:service-1@gcp-sa-secretmanager.iam.x"',
            "does not exist (400)",
        ),
        ("modules/secrets/main.tf", r"timeadd\(.*\)", '"2027-03-01T08:00:00Z"', "must be in the future"),
        ("modules/observability/main.tf", r'"600s"', '"60s"', "Cannot find metric(s) that match type"),
        ("modules/observability/main.tf", r"var\.alerting", "true", "alerts before there is a platform"),
        ("main.tf", r"(?s)(module \"ci\".*)  depends_on = \[module.services\]\n", r"\1", "ci: does not wait"),
    ],
)
def test_first_apply_is_refused(tmp_path: Path, file: str, old: str, new: str, refusal: str) -> None:
    refused = edited(tmp_path, file, old, new)
    assert [line for line in refused if refusal in line], refused


def test_first_apply_is_refused_nothing() -> None:
    assert refusals(ROOT / "terraform") == []


@pytest.mark.parametrize(
    "line", ["gcloud secrets versions add x --datafile=-", "kubectl apply -q x", "helm upgrade a b --forever"]
)
def test_unknown_options_are_refused(line: str) -> None:
    program, *argv = line.split()
    with pytest.raises(Refused, match="unrecognized arguments"):
        parse(program, argv)


def test_listed_options_are_those_of_the_programs() -> None:
    installed = read()
    if not installed:
        pytest.skip("none of the real programs is installed: commands.json was not compared")
    gone = {name: sorted(set(KNOWN[name]) - set(options)) for name, options in installed.items()}
    assert {name: options for name, options in gone.items() if options} == {}, "run the module read_help again"
