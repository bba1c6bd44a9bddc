"""The image of a project, built by the Dockerfile that `millrace init` writes on the platform's image, and run once."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.new_project import create_project
from tests.integration.test_image_built import SWITCH, UID
from tests.support.image import Image, build, build_project, missing, mounted, temporary_folder

pytestmark = [
    pytest.mark.skipif(not os.environ.get(SWITCH), reason="builds images for minutes; run by `make deploy-check`"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
    pytest.mark.timeout(3600),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    project = tmp_path_factory.mktemp("project") / "shop"
    create_project(project)
    for ignored in (".git", ".millrace", ".venv", "dbt_project/target"):
        (project / ignored).mkdir()
        (project / ignored / "left-out").touch()
    with mounted(build_project(project, build("flows"))) as image:
        yield image


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    """Return the folder that is the image's /tmp."""
    return temporary_folder(tmp_path)


def done(ran: "subprocess.CompletedProcess[str]") -> str:
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_project_is_in_the_image_and_read_only(image: Image, tmp: Path) -> None:
    assert (image.user, image.environment["MILLRACE_PROJECT"]) == (f"{UID}:{UID}", "/opt/project")
    shown = done(image.run("sh", "-c", "id -u; ls -A /opt/project; find /opt/project -name left-out", tmp=tmp)).split()
    assert shown[0] == str(UID)
    assert {"millrace.toml", "sources", "dbt_project", "expectations", "config"} <= set(shown)
    assert set(shown) & {".git", ".millrace", ".venv", ".github"} == set()
    assert not [name for name in shown if name.endswith("left-out")]
    refused = image.run("touch", "/opt/project/sources/x.yaml", tmp=tmp, read_only=False)
    assert "Permission denied" in refused.stderr


def test_platform_works_on_the_project_in_its_image(image: Image, tmp: Path) -> None:
    assert done(image.run("millrace", "--version", tmp=tmp)).strip()
    done(image.run("millrace", "contracts", "check", tmp=tmp))
    program = "from millrace.project import current_project as p; print(p().folder, p().marker.exists())"
    assert done(image.run("python", "-c", program, tmp=tmp)).split() == ["/opt/project", "True"]
