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
from tests.support.image import missing
from tests.support.servers import ROOT

Outcome = tuple[str, str]


def tests(*files: str, **environment: str) -> Outcome:
    """Run test files with further variables; return the outcome."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-rs", *(f"tests/{file}" for file in files)]
    env = os.environ | environment
    completed = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    skips = "; ".join(dict.fromkeys(re.findall(r"^SKIPPED.*?: (.+)$", completed.stdout, re.M)))
    counts = re.findall(r"^(\d+ (?:passed|failed).*?) in ", completed.stdout, re.M)
    summary = (counts or ["no test ran"])[-1] + (f" ({skips})" if skips else "")
    if completed.returncode not in (0, 5):  # 5: no test was collected
        return "failed", summary
    return ("ok" if "passed" in summary.split(" (")[0] else "skipped"), summary


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


def images(file: str) -> Outcome:
    """Build the images that a test file names and run programs in them, where they can be built."""
    reason = missing()
    return ("skipped", reason) if reason else tests(file, MILLRACE_TEST_IMAGES="1")


CHECKS = {
    "names: Terraform matches the code": names,
    "Terraform: arguments, references, names": lambda: tests("unit/test_terraform.py"),
    "page: every command, for two projects": lambda: tests("integration/test_deploy_page.py", MILLRACE_SLOW="1"),
    "page: faults put into it are found": lambda: tests("integration/test_deploy_faults.py", MILLRACE_SLOW="1"),
    "Airbyte: the real chart with our values": lambda: tests("integration/test_airbyte_chart.py"),
    "Terraform: format": lambda: program("terraform", "fmt", "-check", "-recursive", "terraform"),
    "Kubernetes: objects and policies": lambda: tests("unit/test_kubernetes.py", "unit/test_overlay.py"),
    "Kubernetes: overlay gke renders": lambda: program("kubectl", "kustomize", "k8s/overlays/gke"),
    "Kubernetes: overlay kind renders": lambda: program("kubectl", "kustomize", "k8s/overlays/kind"),
    "logs: shape and vocabulary": lambda: tests("unit/test_log_lines.py"),
    "alerts: filters on lines of real failures": lambda: tests("integration/test_alerts.py"),
    "Dataflow: jobs against a server of its API": lambda: tests("integration/test_dataflow.py"),
    "Cloud Run: requests by Google's description": lambda: tests("integration/test_cloud_run.py"),
    "image: files": files,
    "image: run read-only as uid 10001": lambda: tests("integration/test_image.py"),
    "image: Dockerfile": lambda: program("hadolint", "Dockerfile"),
    "images: built, and run as their users": lambda: images("integration/test_image_built.py"),
    "project: image built, and run as its user": lambda: images("integration/test_project_image.py"),
    "project: every step of its CI workflow": lambda: tests("integration/test_project_workflow.py", MILLRACE_SLOW="1"),
    "BigQuery: each SQL text by Google's analyser": lambda: tests("unit/test_google_sql.py", MILLRACE_SLOW="1"),
    "BigQuery: SQL of dbt and of the quality gates": lambda: tests("unit/test_google_sql_models.py", MILLRACE_SLOW="1"),
    "cloud kit: guard, plan, page": lambda: tests(
        *(f"integration/test_cloud_kit_{part}.py" for part in ("guard", "plan", "page"))
    ),
    "cloud kit: checks and answers, local servers": lambda: tests(
        "integration/test_cloud_kit_checks.py", "integration/test_cloud_kit_replay.py", MILLRACE_SLOW="1"
    ),
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
