"""The fork server of warm pools: a process per command, and no command affects the next."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from millrace.worker.names import launch_command, memory_bytes
from tests.support.servers import ROOT, ending, process, wait_until

MIB = 2**20
COMMANDS = "tests.support.forked"


@dataclass
class Forks:
    """A running fork server: its process, socket, log and a folder of a platform's code that may change."""

    server: "subprocess.Popen[bytes]"
    socket: Path
    log: Path
    folder: Path

    def run(self, *argv: str, memory: int = 0, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of `tests.support.forked` to its end."""
        return subprocess.run(
            launch_command(self.socket, memory, COMMANDS, *argv),
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def generations(self) -> int:
        return len(re.findall("millrace.worker ready", self.log.read_text()))


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    folder = tmp_path_factory.mktemp("forks")
    path, log = folder / "socket", folder / "server.log"
    with process("-m", "millrace.worker", "--socket", str(path), log=log) as server:
        running = Forks(server, path, log, folder)
        wait_until(lambda: path.exists() and running.generations() == 1, "the fork server is ready", 240)
        yield running


def serves(forks: Forks) -> None:
    """Assert that the server is the same one and forks the next command from what it has imported."""
    answer = forks.run("answer", WORD="next")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == f"next {forks.folder} True\n"
    assert forks.server.poll() is None


def test_command_has_its_own_environment_directory_and_warm_imports(forks: Forks) -> None:
    serves(forks)


def test_server_is_single_threaded_when_it_forks(forks: Forks) -> None:
    assert "millrace.worker ready, 1 thread(s)" in forks.log.read_text()
    assert "is not imported ahead" not in forks.log.read_text()


@pytest.mark.parametrize(
    ("ends", "code"),
    [("raise", 1), ("_exit", 7), ("exit", 3), ("kill", -signal.SIGKILL), ("leak", 0), ("signals", 0)],
)
def test_bad_end_does_not_affect_the_next_command(forks: Forks, ends: str, code: int) -> None:
    assert forks.run(ends).returncode == code
    serves(forks)


def test_memory_over_the_limit_fails_and_the_next_command_is_served(forks: Forks) -> None:
    limit = 2048 * MIB
    over = forks.run("allocate", str(3072 * MIB), memory=limit)
    assert over.returncode == 1
    assert "MemoryError" in over.stderr
    assert forks.run("allocate", str(64 * MIB), memory=limit).returncode == 0
    serves(forks)


def test_killed_launcher_ends_its_command(forks: Forks) -> None:
    mark = forks.folder / "pid"
    with started(forks, "wait", str(mark)) as launcher:
        wait_until(mark.exists, "the command runs")
        launcher.send_signal(signal.SIGKILL)
        wait_until(lambda: not alive(int(mark.read_text())), "the command has ended")
    serves(forks)


def test_changed_code_is_used_by_the_next_command_and_a_running_one_goes_on(forks: Forks) -> None:
    """A time of a file is enough, so that the test changes no code."""
    mark, file = forks.folder / "old", ROOT / "flows" / "digest.py"
    before, generations = file.stat(), forks.generations()
    with started(forks, "wait", str(mark)) as launcher:
        wait_until(mark.exists, "the command runs")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        try:
            serves(forks)
            assert forks.generations() == generations + 1
            assert alive(int(mark.read_text()))
            launcher.send_signal(signal.SIGTERM)
            assert launcher.wait(30) == -signal.SIGTERM
        finally:
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_sighup_renews_the_imports(forks: Forks) -> None:
    generations = forks.generations()
    forks.server.send_signal(signal.SIGHUP)
    wait_until(lambda: forks.generations() == generations + 1, "a new generation is ready", 60)
    serves(forks)


def test_killed_server_ends_its_commands(tmp_path: Path) -> None:
    path, mark = tmp_path / "socket", tmp_path / "pid"
    with process("-m", "millrace.worker", "--socket", str(path), log=tmp_path / "log") as server:
        wait_until(path.exists, "the fork server listens", 240)
        forks = Forks(server, path, tmp_path / "log", tmp_path)
        with started(forks, "wait", str(mark)) as launcher:
            wait_until(mark.exists, "the command runs", 120)
            server.send_signal(signal.SIGKILL)
            assert launcher.wait(30) == -signal.SIGTERM
            wait_until(lambda: not alive(int(mark.read_text())), "the command has ended")


def test_without_a_server_the_command_runs_in_the_plain_way(tmp_path: Path) -> None:
    command = launch_command(tmp_path / "nothing", 512 * MIB, COMMANDS, "allocate", str(1024 * MIB))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, "MemoryError" in ran.stderr) == (1, True)


@pytest.mark.parametrize(("limit", "count"), [("", 0), ("512", 512), ("2Gi", 2 * 2**30), ("5M", 5_000_000)])
def test_memory_limits_are_written_as_for_kubernetes(limit: str, count: int) -> None:
    assert memory_bytes(limit) == count


def test_wrong_memory_limit_is_named() -> None:
    with pytest.raises(ValueError, match="memory_limit is 'much'; write a number of bytes"):
        memory_bytes("much")


@contextmanager
def started(forks: Forks, *argv: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a launcher until the block ends."""
    command = launch_command(forks.socket, 0, COMMANDS, *argv)
    launcher = subprocess.Popen(command, cwd=forks.folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
    with ending(launcher):
        yield launcher


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return not status.stdout.startswith("Z")
