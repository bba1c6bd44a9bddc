"""Makes commands.json, the options of each command that docs/deploy.md uses, from the real programs' own help.

    python -m tests.support.cloud_tools.read_help

A command whose program is not installed keeps what the file has. `true`: the option takes a value.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

Options = dict[str, bool]
FILE = Path(__file__).with_name("commands.json")
GCLOUD = (
    "auth login",
    "auth application-default login",
    "auth application-default set-quota-project",
    "auth configure-docker",
    "config set",
    "services enable",
    "storage buckets create",
    "storage buckets update",
    "storage hmac create",
    "storage hmac update",
    "storage hmac delete",
    "storage restore",
    "sql users create",
    "sql users set-password",
    "sql instances clone",
    "sql instances describe",
    "secrets list",
    "secrets versions add",
    "secrets versions access",
    "secrets versions list",
    "secrets versions disable",
    "iam service-accounts keys create",
    "iam service-accounts keys list",
    "iam service-accounts keys delete",
    "container clusters get-credentials",
    "container clusters describe",
    "container clusters update",
    "container clusters upgrade",
    "artifacts docker images describe",
    "artifacts sbom export",
    "resource-manager org-policies disable-enforce",
)
KUBECTL = ["apply", "annotate", "create", "delete", "get", "port-forward", "rollout", "wait"]
KUBECTL_DEEPER = ("create namespace", "create secret generic", "rollout status", "rollout restart")
DOCKER = ("build", "push")
HELM = ("repo add", "repo update", "upgrade")
TERRAFORM = ("init", "plan", "apply", "output")
BQ = {"cp": "copy", "ls": "list", "query": "query", "rm": "delete"}


def gcloud() -> dict[str, Options]:
    """Read the tree that gcloud completes its command line from."""
    folder = Path(shutil.which("gcloud") or "/").resolve().parents[1] / "data" / "cli" / "gcloud_completions.py"
    if not folder.exists():
        return {}
    values: dict[str, Any] = {}
    exec(folder.read_text(), values)
    tree = values["STATIC_COMPLETION_CLI_TREE"]
    options_of = {"gcloud": _taking(tree["flags"])}
    for command in GCLOUD:
        node = tree
        for word in command.split():
            node = node["commands"][word]
        options_of[f"gcloud {command}"] = _taking(node["flags"])
    return options_of


def _taking(flags: dict[str, Any]) -> Options:
    return {name: kind != "bool" for name, kind in sorted(flags.items())}


def cobra(program: str, commands: tuple[str, ...], equals: str = " ") -> dict[str, Options]:
    """Read the help of a program whose options are listed as `-s, --name type` or `--name=value:`."""
    if not shutil.which(program):
        return {}
    options_of = {}
    for command in ("", *commands):
        command_line = [program, *command.split()] + (
            ["options"] if program == "kubectl" and not command else ["--help"]
        )
        text = subprocess.run(command_line, capture_output=True, text=True, check=False).stdout
        pattern = rf"^\s+(?:(-\w), )?(--[\w-]+)(?:{equals}(\S+?))?(?::|\s|$)"
        options: Options = {}
        for short, name, kind in re.findall(pattern, text, re.M):
            takes = bool(kind) and kind not in ("false", "true") and not kind[0].isupper()
            options |= dict.fromkeys([n for n in (short, name) if n], takes)
        options_of[f"{program} {command}".strip()] = options
    return options_of


def terraform() -> dict[str, Options]:
    """Read Terraform's help: `-name=value` or `-name`."""
    if not shutil.which("terraform"):
        return {}
    options_of: dict[str, Options] = {"terraform": {"-chdir": True}}
    for command in TERRAFORM:
        text = subprocess.run(["terraform", command, "-help"], capture_output=True, text=True, check=False).stdout
        options_of[f"terraform {command}"] = {n: bool(v) for n, v in re.findall(r"^\s+(-[\w-]+)(=?)", text, re.M)}
    return options_of


def bq() -> dict[str, Options]:
    """Read the flags in bq's own source, as its help needs an account."""
    folder = Path(shutil.which("gcloud") or "/").resolve().parents[1] / "platform" / "bq"
    if not folder.exists():
        return {}
    options_of: dict[str, Options] = {"bq": _defined((folder / "bq_flags.py").read_text())}
    for command, name in BQ.items():
        [file] = folder.glob(f"frontend/command_{name}.py")
        options_of[f"bq {command}"] = _defined(file.read_text())
    return options_of


def _defined(source: str) -> Options:
    options: Options = {}
    for kind, name, rest in re.findall(r"DEFINE_(\w+)\(\s*'(\w+)'((?:.|\n)*?)\n\s*\)", source):
        short = re.search(r"short_name='(\w)'", rest)
        options[f"--{name}"] = kind != "boolean"
        if kind == "boolean":
            options[f"--no{name}"] = False
        if short:
            options[f"-{short[1]}"] = kind != "boolean"
    return options


def read() -> dict[str, Options]:
    """Return the options of all commands whose programs are installed."""
    return (
        gcloud()
        | cobra("kubectl", (*KUBECTL, *KUBECTL_DEEPER), "=")
        | cobra("docker", DOCKER)
        | cobra("helm", HELM)
        | terraform()
        | bq()
    )


if __name__ == "__main__":
    table = json.loads(FILE.read_text()) if FILE.exists() else {}
    table |= read()
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(table[name], sort_keys=True)}" for name in sorted(table))
    FILE.write_text(f"{{\n{lines}\n}}\n")
