"""The files of the images, in a folder, run there as uid 10001 with write access to /tmp only; and the Dockerfile.

The folder stands in for the root; `test_image_built.py` builds the images themselves and runs them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.servers import ROOT, free_port, listens, wait_until
from tests.support.slow import SWITCH

UID = 10001
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SCRIPT = ROOT / "scripts" / "image_files"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with the files of the image, owned by root."""
    folder = Path(subprocess.check_output(["mktemp", "-d", "/tmp/image.XXXXXX"], text=True).strip())
    folder.chmod(0o755)
    subprocess.run(["sh", str(SCRIPT), str(folder / "millrace")], check=True)
    yield folder / "millrace"
    shutil.rmtree(folder)


def variables() -> dict[str, str]:
    """Return the environment that the Dockerfile sets."""
    block = re.search(r"^ENV PATH=(.*?)\nWORKDIR", DOCKERFILE, re.S | re.M)
    assert block
    return dict(re.findall(r"([A-Z_]+)=(\S+)", block[1]))


@pytest.fixture(scope="module")
def interpreter() -> str:
    """Return a Python of our version that the image's user may run here."""
    if os.geteuid() != 0:
        pytest.skip("only root can become uid 10001: nothing was run as the image's user")
    for candidate in (sys.executable, "/usr/bin/python{}.{}".format(*sys.version_info), "/usr/local/bin/python3"):
        try:
            version = subprocess.run(
                [candidate, "-V"], user=UID, group=UID, capture_output=True, text=True, check=False
            )
        except OSError:
            continue
        if "Python {}.{}.".format(*sys.version_info) in version.stdout:
            return candidate
    pytest.skip("no Python that uid 10001 may run: nothing was run as the image's user")


def environment(image: Path, tmp: Path, **extra: str) -> dict[str, str]:
    """Return the image's variables; the libraries are those of this machine."""
    image_variables = {
        k: v.replace("/opt/millrace", str(image)).replace("/tmp", str(tmp)) for k, v in variables().items()
    }
    return image_variables | {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{image}:{sysconfig.get_path('purelib')}",
        **extra,
    }


def in_image(interpreter: str, image: Path, tmp: Path, program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program as the image does: with its user, its variables and its folder."""
    return subprocess.run(
        [interpreter, "-c", program],
        cwd=image,
        env=environment(image, tmp),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        user=UID,
        group=UID,
    )


@pytest.fixture
def tmp(image: Path) -> Path:
    """Return the only folder that the image may write to."""
    folder = image.parent / f"tmp{len(list(image.parent.iterdir()))}"
    folder.mkdir()
    os.chown(folder, UID, UID)
    return folder


def test_image_holds_only_the_platform(image: Path) -> None:
    names = {path.name for path in image.iterdir()}
    assert {"flows", "millrace", "dbt_project", "prefect.yaml", "dashboards"} <= names
    assert names & {"tests", "local", "bench", "terraform", "docs", ".git"} == set()
    assert [p for p in image.rglob("*") if p.suffix in (".pyc", ".sqlite", ".duckdb") or ".env" in p.name] == []


def test_entry_points_import_on_read_only_disk(interpreter: str, image: Path, tmp: Path) -> None:
    program = (
        "import json, pathlib, millrace.gateway.app, beam_job.engines.dataflow, millrace.observability.lines\n"
        "from millrace.status.page import _environment\n_environment().get_template('page.html.j2')\n"
        "from millrace.settings import load_settings\n"
        "from prefect.flows import load_flow_from_entrypoint as load\n"
        "names = ('merge', 'model', 'reconcile')\n"
        "flows = [load(f'flows/{n}.py:{n}', use_placeholder_flow=False).name for n in names]\n"
        "try: pathlib.Path('written').write_text(''); wrote = True\n"
        "except PermissionError: wrote = False\n"
        "print(json.dumps([flows, wrote, millrace.gateway.app.__file__, load_settings().pools.dbt]))"
    )
    process = in_image(interpreter, image, tmp, program)
    assert process.returncode == 0, process.stderr[-2000:]
    flows, wrote, file, pool = json.loads(process.stdout.splitlines()[-1])
    assert flows == ["merge", "model", "reconcile"]
    assert (wrote, file, pool) == (False, f"{image}/millrace/gateway/app.py", "cloud-run")


def test_gateway_serves_read_only(interpreter: str, image: Path, tmp: Path) -> None:
    port = free_port()
    env = environment(image, tmp, PREFECT_API_URL=f"http://127.0.0.1:{free_port()}/api")
    command = [interpreter, "-m", "millrace.gateway", "--host", "127.0.0.1", "--port", str(port)]
    started = subprocess.Popen(command, cwd=image, env=env, user=UID, group=UID, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: listens(port) or started.poll() is not None, "the gateway answers", 60)
        assert started.poll() is None, started.stderr and started.stderr.read()
    finally:
        started.terminate()
        started.wait(15)


@pytest.mark.skipif(not os.environ.get(SWITCH), reason="run by `make test-kubernetes`")
def test_dbt_writes_only_to_its_writable_folders(interpreter: str, image: Path, tmp: Path) -> None:
    arguments = ["parse", "--project-dir", "dbt_project", "--profiles-dir", "dbt_project"]
    program = f"from dbt.cli.main import dbtRunner; assert dbtRunner().invoke({arguments}).success"
    process = in_image(interpreter, image, tmp, program)
    assert process.returncode == 0, process.stdout[-2000:]
    assert (tmp / "dbt" / "target" / "manifest.json").exists()
    assert not (image / "dbt_project" / "target").exists()


def stage(name: str) -> str:
    """Return the instructions of a stage of the Dockerfile."""
    return DOCKERFILE.split(f"AS {name}\n")[1].split("\nFROM")[0]


def test_dockerfile_pins_versions_and_a_user() -> None:
    stages = re.findall(r"^FROM (\S+) AS (\w+)$", DOCKERFILE, re.M)
    assert [name for _, name in stages] == ["uv", "packages", "platform", "base", "flows", "sdk", "beam"]
    images = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", DOCKERFILE, re.M))
    assert {image for image, _ in stages} == {"base", "packages", *(f"${{{argument}}}" for argument in images)}
    assert [image for image in images.values() if not re.search(r":\d+\.\d+\.\d+", image)] == []
    assert "USER 10001:10001" in stage("base")
    assert "--require-hashes" in DOCKERFILE
    assert "ENTRYPOINT []" in stage("flows")
    assert "USER" not in stage("flows")
    assert re.search(r"beam_python3\.11_sdk:([\d.]+)", DOCKERFILE)[1] == locked_version("apache-beam")  # type: ignore[index]
    assert f"uv:{re.search(r'UV_VERSION := (.+)', (ROOT / 'Makefile').read_text())[1]}" in DOCKERFILE  # type: ignore[index]


def test_dataflow_workers_find_the_packages() -> None:
    """The packages are in an environment of the image: Beam's boot program and Dataflow's mounts need these lines."""
    instructions = [line for line in stage("beam").splitlines() if not line.startswith("#")]
    assert "ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in instructions
    assert 'ENTRYPOINT ["/opt/apache/beam/boot"]' in instructions
    assert [line for line in instructions if line.startswith("USER")] == ["USER 0:0"]
    assert instructions.index("USER 0:0") < instructions.index("RUN python -m ensurepip")


def test_build_context_is_what_the_image_needs() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    included = {line[1:] for line in ignored if line.startswith("!")}
    (parts,) = re.findall(r"^for part in (.+?); do$", SCRIPT.read_text().replace("\\\n", " "), re.M)
    assert "*" in ignored
    assert included == {*parts.split(), "requirements.txt", "scripts/image_files"}


def test_manifests_start_modules_of_the_image(image: Path) -> None:
    commands = [container["args"] for container in platform_containers()]
    modules = {command[2] for command in commands if command[:2] == ["python", "-m"]}
    assert modules == {"millrace.gateway"}
    assert {command[0] for command in commands} == {"python", "prefect"}
    for module in modules:
        assert (image / module.replace(".", "/") / "__main__.py").exists()


def platform_containers() -> list[dict[str, Any]]:
    """Return the containers of all manifests that run the image of the platform."""
    files = [*(ROOT / "k8s" / "base").glob("*.yaml"), *(ROOT / "k8s" / "overlays").rglob("*.yaml")]
    documents = [each for file in files for each in yaml.safe_load_all(file.read_text()) if isinstance(each, dict)]
    workloads = [document for document in documents if document.get("kind") == "Deployment"]
    containers = [c for d in workloads for c in d["spec"]["template"]["spec"]["containers"]]
    return [container for container in containers if container.get("image") == "millrace-flows"]


def locked_version(package: str) -> str:
    """Return the version of a package in requirements.txt."""
    match = re.search(rf"^{package}(?:\[\w+\])?==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.M)
    assert match
    return match[1]


def test_image_holds_every_package_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = [name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    assert "millrace" in packages
    text = SCRIPT.read_text()
    packages.remove("local")  # servers for one machine, which no image has
    assert [name for name in packages if f" {name} " not in text.replace("\\\n", " ")] == []


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not program:
        pytest.skip("hadolint is not installed, as its package has Linux on x86-64 only: the Dockerfile was not linted")
    process = subprocess.run([program, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout
