"""Google's own Pub/Sub emulator, where it can be had: the same tests run on the stand-in and on it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.clients import PubSub
from tests.support.servers import free_port, listens, wait_until

START_S = 60
PATIENCE_S = 4  # the wait for an event that never comes
EMULATOR, STAND_IN = "emulator", "stand-in"


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubSub]:
    """The official emulator; skips with the reason where it does not start."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        pytest.skip("gcloud is not on PATH: the official Pub/Sub emulator can't be compared with")
    port, folder = free_port(), tmp_path_factory.mktemp("emulator")
    command = [
        gcloud,
        "beta",
        "emulators",
        "pubsub",
        "start",
        "--quiet",
        "--project=millrace-test",
        f"--host-port=127.0.0.1:{port}",
        f"--data-dir={folder}",
    ]
    with (folder / "log").open("wb") as log:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_CONFIG": str(folder / "config")},
        )
    try:
        wait_until(lambda: listens(port) or started.poll() is not None, "the emulator answers or ends", START_S)
        if started.poll() is not None:
            last_lines = (folder / "log").read_text(errors="replace").strip().splitlines()[-3:]
            pytest.skip(f"gcloud has no Pub/Sub emulator that starts here: {' / '.join(last_lines)}")
        yield PubSub(port, PATIENCE_S)
    finally:
        os.killpg(started.pid, signal.SIGKILL)  # gcloud leaves its Java process behind
        started.wait(10)


@pytest.fixture(params=[STAND_IN, pytest.param(EMULATOR, marks=pytest.mark.gcloud)])
def either_pubsub(request: pytest.FixtureRequest) -> PubSub:
    """The stand-in, then the emulator; a test marked `differs(why)` is expected to fail on the latter."""
    differs = request.node.get_closest_marker("differs")
    if request.param == EMULATOR and differs:
        request.applymarker(pytest.mark.xfail(reason=f"the emulator differs: {differs.args[0]}", strict=True))
    served: PubSub = request.getfixturevalue("emulator" if request.param == EMULATOR else "stand_in_pubsub")
    return served
