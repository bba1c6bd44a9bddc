"""Terraform: every argument is one of the provider's, every reference leads somewhere, names are those of the code."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.servers.rights.hcl import Block, read_module
from millrace.cloud_names import terraform_variables
from millrace.contracts.source import load_sources
from millrace.settings import Settings
from tests.support.servers import ROOT

TERRAFORM = ROOT / "terraform"
MODULES = [TERRAFORM, *sorted(p for p in (TERRAFORM / "modules").iterdir() if p.is_dir())]
META = {"count", "for_each", "depends_on", "provider", "lifecycle"}
SCHEMA: dict[str, Any] = json.loads((TERRAFORM / "schema" / "google-6.50.json").read_text())
REFERENCE = re.compile(
    r"(?<![\w.\"/$])(var|local|module|data\.google_\w+|google_\w+|time_\w+)\.(\w+)(?:\[[^\]]*\])?(?:\.(\w+))?"
)

each = pytest.mark.parametrize("folder", MODULES, ids=lambda p: p.name)


def misfits(block: Block, schema: dict[str, Any], where: str) -> Iterator[str]:
    """Yield a block's unknown arguments, and the required ones that are missing."""
    inner = [(b.kind, b) for b in block.blocks if b.kind not in ("dynamic", "lifecycle")]
    inner += [(b.labels[0], content) for b in block.of("dynamic") for content in b.of("content")]
    arguments = {*block.arguments, *(kind for kind, _ in inner)} - META
    yield from (f"{where}.{name}: no such argument" for name in arguments if name not in schema)
    yield from (f"{where}.{n}: is required" for n, rule in schema.items() if rule["required"] and n not in arguments)
    for kind, block_ in inner:
        if kind in schema and "block" in schema[kind]:
            yield from misfits(block_, schema[kind]["block"], f"{where}.{kind}")
        elif kind in schema:
            yield f"{where}.{kind}: is not a block"


def all_misfits(module: Block) -> list[str]:
    return [
        wrong
        for kind, prefix in (("resource", "resource"), ("data", "data"))
        for block in module.of(kind)
        for wrong in misfits(block, SCHEMA[f"{prefix}.{block.labels[0]}"], ".".join(block.labels))
    ]


@each
def test_every_argument_exists_in_the_provider(folder: Path) -> None:
    assert all_misfits(read_module(folder)) == []


def test_every_resource_is_parsed() -> None:
    counts = {folder.name: len(read_module(folder).of("resource")) for folder in MODULES[1:]}
    written = {
        f.name: sum(p.read_text().count('\nresource "') + p.read_text().startswith("resource") for p in f.glob("*.tf"))
        for f in MODULES[1:]
    }
    assert counts == written
    assert sum(counts.values()) > 50


@pytest.mark.parametrize(
    ("module", "change", "message"),
    [
        (
            "events",
            lambda m: m.of("resource")[2].arguments.update(ack_deadline=("value", 1)),
            "ack_deadline: no such argument",
        ),
        ("events", lambda m: m.of("resource")[2].arguments.pop("topic"), "gateway.topic: is required"),
        (
            "events",
            lambda m: m.of("resource")[2].of("push_config")[0].blocks[0].arguments.update(audiences=("value", "")),
            "push_config.oidc_token.audiences: no such argument",
        ),
        ("events", lambda m: m.of("resource")[2].of("push_config")[0].arguments.clear(), "push_endpoint: is required"),
        (
            "budget",
            lambda m: m.of("resource")[0].of("dynamic")[0].of("content")[0].arguments.update(percent=("value", 1)),
            "threshold_rules.percent: no such argument",
        ),
    ],
)
def test_check_finds_what_the_provider_rejects(module: str, change: Callable[[Block], Any], message: str) -> None:
    read = read_module(TERRAFORM / "modules" / module)
    change(read)
    assert [wrong for wrong in all_misfits(read) if message in wrong], all_misfits(read)


@each
def test_every_reference_resolves(folder: Path) -> None:
    module = read_module(folder)
    declared_names = {("var", b.labels[0]) for b in module.of("variable")} | {
        ("module", b.labels[0]) for b in module.of("module")
    }
    declared_names |= {("local", name) for b in module.of("locals") for name in b.arguments}
    declared_names |= {(b.labels[0], b.labels[1]) for b in module.of("resource")}
    declared_names |= {(f"data.{b.labels[0]}", b.labels[1]) for b in module.of("data")}
    used = {(m[1], m[2]) for b in module.blocks for m in REFERENCE.finditer(b.text)}
    assert used - declared_names == set()
    declared = {name for name in declared_names if name[0] in ("var", "module", "local")}
    assert {n for n in declared - used if n[0] != "module"} - {("var", n) for n in unused_names()} == set()


def unused_names() -> set[str]:
    """Names that the code exports and Terraform may leave alone."""
    return {"ingest_topic"}


def test_module_inputs_and_outputs_match() -> None:
    root = read_module(TERRAFORM)
    for call in root.of("module"):
        module = read_module(TERRAFORM / call.texts["source"].strip('"'))
        variables = {b.labels[0]: "default" in b.arguments for b in module.of("variable")}
        inputs = set(call.arguments) - META - {"source"}
        assert inputs <= set(variables), call.labels
        assert [name for name, optional in variables.items() if not optional and name not in inputs] == [], call.labels
        outputs = {b.labels[0] for b in module.of("output")}
        read_outputs = {
            m[1] for b in root.blocks for m in re.finditer(rf"module\.{call.labels[0]}(?:\[\w+\])?\.(\w+)", b.text)
        }
        assert read_outputs <= outputs, call.labels


@pytest.mark.demo
def test_names_match_the_code() -> None:
    names = json.loads((TERRAFORM / "names.auto.tfvars.json").read_text())
    assert names == terraform_variables(load_sources(ROOT / "sources").values()), (
        "millrace contracts terraform-names > terraform/names.auto.tfvars.json"
    )
    variables = {b.labels[0] for b in read_module(TERRAFORM).of("variable")}
    assert set(names) <= variables


def test_secrets_of_the_settings_are_created(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_CONFIG", "gcp")
    settings = Settings()
    created = {
        s for group in terraform_variables(load_sources(ROOT / "sources").values())["secrets"].values() for s in group
    }
    assert {
        settings.airbyte.client_id_secret,
        settings.airbyte.client_secret_secret,
        settings.slack.url_secret,
        settings.gateway.airbyte_token_secret,
    } <= created


def test_terraform_settings_match_the_overlay() -> None:
    [output] = [b for b in read_module(TERRAFORM).of("output") if b.labels == ("settings_env",)]
    variables = re.findall(r"^ *([A-Z_]+)=", output.texts["value"], re.M)
    overlay = (ROOT / "k8s" / "overlays" / "gke" / "settings.env").read_text()
    assert variables == re.findall(r"^([A-Z_]+)=", overlay, re.M)


def test_no_value_of_a_secret_is_in_terraform() -> None:
    text = "\n".join(p.read_text() for p in TERRAFORM.rglob("*.tf"))
    for forbidden in ("google_secret_manager_secret_version", "google_service_account_key", "password", "auth_token"):
        assert f'"{forbidden}' not in text, forbidden
        assert f"{forbidden} =" not in text, forbidden


def test_no_public_members_and_no_basic_roles() -> None:
    text = "\n".join(p.read_text() for p in TERRAFORM.rglob("*.tf"))
    assert re.findall(r"allUsers|allAuthenticatedUsers|roles/(?:owner|editor|viewer)\"", text) == []
    assert "_iam_policy" not in text
    assert "_iam_binding" not in text  # would take away what others gave


def test_files_are_formatted() -> None:
    if not shutil.which("terraform"):
        pytest.skip("terraform is not installed: formatting was not looked at")
    completed = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", "-diff", str(TERRAFORM)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout
