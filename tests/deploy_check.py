"""All checks of the deployment that need no cloud, a line each: `python -m tests.deploy_check`."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from millrace.cloud_names import exported
from millrace.contracts.source import load_sources
from tests.support.servers import ROOT

Outcome = tuple[str, str]


def tests(*files: str) -> Outcome:
    """The outcome of test files."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-rs", *(f"tests/{file}" for file in files)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    skips = "; ".join(dict.fromkeys(re.findall(r"^SKIPPED.*?: (.+)$", said.stdout, re.M)))
    counts = re.findall(r"^(\d+ (?:passed|failed).*?) in ", said.stdout, re.M)
    told = (counts or ["no test ran"])[-1] + (f" ({skips})" if skips else "")
    return ("ok" if said.returncode == 0 else "failed"), told


def program(name: str, *arguments: str) -> Outcome:
    """The outcome of a program, where it is installed."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not found:
        return "skipped", f"{name} is not installed"
    said = subprocess.run([found, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    told = (said.stdout + said.stderr).strip().splitlines()
    return ("ok", "") if said.returncode == 0 else ("failed", told[-1] if told else "")


def names() -> Outcome:
    """Whether Terraform has the names of the code."""
    there = json.loads((ROOT / "terraform" / "names.auto.tfvars.json").read_text())
    same = there == exported(load_sources(ROOT / "sources").values())
    return ("ok", "") if same else ("failed", "python -m millrace.cloud_names > terraform/names.auto.tfvars.json")


def files() -> Outcome:
    """Whether the files of the image can be put together."""
    with tempfile.TemporaryDirectory() as folder:
        return program("sh", "scripts/image_files", str(Path(folder) / "image"))


CHECKS = {
    "names: Terraform has those of the code": names,
    "Terraform: arguments, references, names": lambda: tests("unit/test_terraform.py"),
    "Terraform: format": lambda: program("terraform", "fmt", "-check", "-recursive", "terraform"),
    "Kubernetes: objects and policies": lambda: tests("unit/test_kubernetes.py"),
    "Kubernetes: overlay gke renders": lambda: program("kubectl", "kustomize", "k8s/overlays/gke"),
    "Kubernetes: overlay kind renders": lambda: program("kubectl", "kustomize", "k8s/overlays/kind"),
    "logs: shape and vocabulary": lambda: tests("unit/test_log_lines.py"),
    "alerts: filters on lines of real failures": lambda: tests("integration/test_alerts.py"),
    "Dataflow: jobs against a server of its API": lambda: tests("integration/test_dataflow.py"),
    "Cloud Run: requests by Google's description": lambda: tests("integration/test_cloud_run.py"),
    "image: files": files,
    "image: run read-only as uid 10001": lambda: tests("integration/test_image.py"),
    "image: Dockerfile": lambda: program("hadolint", "Dockerfile"),
    "docs: what they name exists": lambda: tests("unit/test_docs.py"),
}


def main() -> int:
    """Run all; 1 when one failed."""
    failed = 0
    for what, check in CHECKS.items():
        began = time.monotonic()
        outcome, told = check()
        failed += outcome == "failed"
        sys.stdout.write(f"{outcome:8} {what:46} {time.monotonic() - began:5.1f} s  {told}".rstrip() + "\n")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
