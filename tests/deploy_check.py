"""Runs all checks of the deployment that need no cloud, and prints a line for each: `python -m tests.deploy_check`."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from millrace.cloud_names import terraform_variables
from millrace.contracts.source import load_sources
from tests.support.servers import ROOT

Outcome = tuple[str, str]


def tests(*files: str) -> Outcome:
    """Run test files; return the outcome."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-rs", *(f"tests/{file}" for file in files)]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    skips = "; ".join(dict.fromkeys(re.findall(r"^SKIPPED.*?: (.+)$", completed.stdout, re.M)))
    counts = re.findall(r"^(\d+ (?:passed|failed).*?) in ", completed.stdout, re.M)
    summary = (counts or ["no test ran"])[-1] + (f" ({skips})" if skips else "")
    return ("ok" if completed.returncode == 0 else "failed"), summary


def program(name: str, *arguments: str) -> Outcome:
    """Run a program where it is installed; return the outcome."""
    executable = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not executable:
        return "skipped", f"{name} is not installed"
    completed = subprocess.run([executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    lines = (completed.stdout + completed.stderr).strip().splitlines()
    return ("ok", "") if completed.returncode == 0 else ("failed", lines[-1] if lines else "")


def names() -> Outcome:
    """Check that Terraform has the names of the code."""
    exported_names = json.loads((ROOT / "terraform" / "names.auto.tfvars.json").read_text())
    same = exported_names == terraform_variables(load_sources(ROOT / "sources").values())
    return ("ok", "") if same else ("failed", "millrace contracts terraform-names > terraform/names.auto.tfvars.json")


def files() -> Outcome:
    """Check that the files of the image can be collected."""
    with tempfile.TemporaryDirectory() as folder:
        return program("sh", "scripts/image_files", str(Path(folder) / "image"))


CHECKS = {
    "names: Terraform matches the code": names,
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
    "docs: referenced files exist": lambda: tests("unit/test_docs.py"),
}


def main() -> int:
    """Run all checks; return 1 when one failed."""
    failed = 0
    for title, check in CHECKS.items():
        began = time.monotonic()
        outcome, detail = check()
        failed += outcome == "failed"
        sys.stdout.write(f"{outcome:8} {title:46} {time.monotonic() - began:5.1f} s  {detail}".rstrip() + "\n")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
