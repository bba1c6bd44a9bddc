"""Builds the images of the Dockerfile with buildah, and runs programs in them as Kubernetes and Dataflow do.

Where no registry can be reached, the base images are made here: Debian's own by debootstrap in place of `python:…`,
this project's uv, and a script in place of Beam's boot program (`boot.sh`). All else is what `docker build` does.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import ROOT

FOLDER = Path(os.environ.get("MILLRACE_IMAGES", Path.home() / ".cache" / "millrace" / "images"))
PYTHON, UV, BEAM = "localhost/millrace-python", "localhost/millrace-uv", "localhost/millrace-beam-sdk"
BOOT = Path(__file__).with_name("boot.sh")
PACKAGES = "python3,python3-venv,ca-certificates"
NEEDED = ("buildah", "debootstrap", "unshare", "setpriv", "chroot")
BUILD_S = 2400


def missing() -> str:
    """Return why no image can be built here, or an empty text."""
    if os.geteuid() != 0:
        return "images are built as root only: none was built"
    programs = [name for name in NEEDED if not shutil.which(name)]
    return f"{', '.join(programs)} not installed (apt-get install buildah debootstrap): no image was built" * bool(
        programs
    )


def buildah(*arguments: str, timeout_s: float = BUILD_S) -> str:
    """Run buildah with a storage of our own; return what it prints."""
    storage = ["--root", str(FOLDER / "storage"), "--runroot", str(FOLDER / "run"), "--storage-driver", _driver()]
    command = ["nice", "-n", "5", "buildah", *storage, *arguments]
    completed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    if completed.returncode:
        raise AssertionError(f"buildah {arguments[0]} failed:\n{(completed.stdout + completed.stderr)[-4000:]}")
    return completed.stdout.strip()


def _driver() -> str:
    """Return the storage driver: overlay where the kernel lets us mount one, else vfs, which copies every layer."""
    chosen = FOLDER / "driver"
    if not chosen.exists():
        parts = {name: FOLDER / "probe" / name for name in ("lower", "upper", "work", "merged")}
        for part in parts.values():
            part.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={parts['lower']},upperdir={parts['upper']},workdir={parts['work']}"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(parts["merged"])]
        works = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        if works:
            subprocess.run(["umount", str(parts["merged"])], check=True)
        chosen.write_text("overlay" if works else "vfs")
    return chosen.read_text()


def build(target: str) -> str:
    """Build a target of the Dockerfile; return the image's name. Layers of an earlier build are used again."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    images = buildah("images", "--format", "{{.Name}}").split()
    for name, make in ((PYTHON, _make_python), (UV, _make_uv), (BEAM, _make_beam)):
        if name not in images:
            make(name)
    name = f"localhost/millrace-{target}"
    bases = {"PYTHON_IMAGE": PYTHON, "UV_IMAGE": UV, "BEAM_IMAGE": BEAM}
    arguments = [f"--build-arg={key}={value}" for key, value in bases.items()]
    options = ["--isolation", "chroot", "--pull-never", "--layers", "--force-rm", *arguments, *_secrets(), *_cache()]
    buildah("bud", *options, "--target", target, "-t", name, str(ROOT))
    return name


def build_project(project: Path, platform: str) -> str:
    """Build the image of a project on an image of the platform, by the project's own Dockerfile; return its name."""
    name = "localhost/millrace-project"
    options = ["--isolation", "chroot", "--pull-never", "--layers", "--force-rm"]
    buildah("bud", *options, f"--build-arg=PLATFORM_IMAGE={platform}", "-t", name, str(project))
    return name


def _make_python(name: str) -> None:
    """Make Debian with its own Python in place of the official image of Python."""
    with _container() as (container, root):
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root), _mirror()],
            check=True,
            capture_output=True,
            timeout=BUILD_S,
        )
        shutil.rmtree(root / "var" / "cache" / "apt", ignore_errors=True)
        buildah("commit", container, name)


def _make_uv(name: str) -> None:
    with _container() as (container, root):
        shutil.copy2(Path(sys.executable).parent / "uv", root / "uv")
        buildah("commit", container, name)


def _make_beam(name: str) -> None:
    with _container() as (container, root):
        (root / "opt" / "apache" / "beam").mkdir(parents=True)
        shutil.copy(BOOT, root / "opt" / "apache" / "beam" / "boot")
        (root / "opt" / "apache" / "beam" / "boot").chmod(0o755)
        buildah("commit", container, name)


@contextmanager
def _container() -> Iterator[tuple[str, Path]]:
    container = buildah("from", "scratch")
    try:
        yield container, Path(buildah("mount", container))
    finally:
        buildah("rm", container)


def _mirror() -> str:
    """Return the mirror of Debian that this machine's apt uses."""
    for file in sorted(Path("/etc/apt").glob("sources.list*")) + sorted(Path("/etc/apt/sources.list.d").glob("*")):
        for line in file.read_text().splitlines() if file.is_file() else ():
            if line.startswith(("URIs:", "deb ")) and line.rstrip("/").split()[1].rstrip("/").endswith("/debian"):
                return line.split()[1]
    return "http://deb.debian.org/debian"


def _secrets() -> list[str]:
    """Return the options that give a build this machine's package index, as pip knows it."""
    settings = dict(
        line.split("=", 1)
        for line in subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
        ).stdout.splitlines()
    )
    names = ("global.index-url", "install.index-url", ":env:.index-url")
    index = next((settings[name].strip("'") for name in names if name in settings), "")
    certificates = os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT", "")
    exports, options = [], []
    if index:
        exports.append(f"export UV_DEFAULT_INDEX='{index}'")
    if certificates:
        exports.append("export SSL_CERT_FILE=/run/secrets/certificates")
        options.append(f"--secret=id=certificates,src={certificates}")
    file = FOLDER / "index.sh"
    file.touch(mode=0o600)
    file.write_text("\n".join(exports) + "\n")
    return [*options, f"--secret=id=index,src={file}"]


def _cache() -> list[str]:
    """Return the option that lets a build use the packages that uv has on this machine."""
    uv = Path(sys.executable).parent / "uv"
    folder = subprocess.run([str(uv), "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    return ["--volume", f"{folder}:/root/.cache/uv"] if Path(folder).is_dir() else []


@dataclass(frozen=True)
class Image:
    """The root filesystem of an image, mounted, the configuration of its containers, and the bytes of its layers."""

    root: Path
    layers: tuple[int, ...]
    environment: dict[str, str]
    user: str
    folder: str
    entrypoint: tuple[str, ...]

    def run(
        self, *command: str, tmp: Path, read_only: bool = True, timeout_s: float = 300, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command as the image's user, with `tmp` as its /tmp, all else read-only, and this machine's network."""
        completed: subprocess.CompletedProcess[str] = subprocess.run(
            self._command(command, tmp, read_only, environment),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        return completed

    def _command(self, command: tuple[str, ...], tmp: Path, read_only: bool, extra: Mapping[str, str]) -> list[str]:
        mounts = [
            'mount --bind "$ROOT" "$ROOT"',
            'mount --bind "$TMP" "$ROOT/tmp"',
            'mount -t proc proc "$ROOT/proc"',
            'mount --bind /dev "$ROOT/dev"',
            *(['mount -o remount,bind,ro "$ROOT"'] if read_only else []),
            'exec setpriv --no-new-privs chroot --userspec="$USERSPEC" --groups= "$ROOT" env -i "$@"',
        ]
        variables = [f"{key}={value}" for key, value in (self.environment | dict(extra)).items()]
        inside = ["sh", "-c", 'cd "$0" && exec "$@"', self.folder, *command]
        own = [f"ROOT={self.root}", f"TMP={tmp}", f"USERSPEC={self.user}"]
        shell = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", "\n".join(mounts), "sh"]
        return ["env", *own, *shell, *variables, *inside]


@contextmanager
def mounted(name: str) -> Iterator[Image]:
    """Mount an image that was built."""
    inspected = json.loads(buildah("inspect", "--type", "image", name))
    config, manifest = inspected["OCIv1"]["config"], json.loads(inspected["Manifest"])
    container = buildah("from", "--pull-never", name)
    try:
        yield Image(
            Path(buildah("mount", container)),
            tuple(layer["size"] for layer in manifest["layers"]),
            dict(variable.split("=", 1) for variable in config["Env"]),
            config["User"],
            config["WorkingDir"],
            tuple(config.get("Entrypoint") or ()),
        )
    finally:
        buildah("rm", container)


def temporary_folder(parent: Path) -> Path:
    """Make the folder that is an image's /tmp, where every user may write."""
    folder = parent / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder
