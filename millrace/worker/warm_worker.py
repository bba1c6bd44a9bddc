"""The worker of type `millrace-warm`: runs flow runs as forks of a process that has imported what they need."""

import asyncio
import os
import shlex
import signal
import socket
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound
from prefect.workers.process import ProcessJobConfiguration, ProcessVariables, ProcessWorker, ProcessWorkerResult
from pydantic import Field, field_validator

from millrace.project import VARIABLE
from millrace.settings import load_settings
from millrace.worker.fork_server_process import ForkServerProcess
from millrace.worker.names import SOCKET, TYPE, launch_command, memory_bytes

END_S = 15.0  # for runs to end after the grace period


class WarmVariables(ProcessVariables):
    """What a deployment may set of a run's process (`job_variables`)."""

    memory_limit: str = Field(default="", description="Memory that the run's process may allocate, like 2Gi.")


class WarmJobConfiguration(ProcessJobConfiguration):
    """The process of one run."""

    memory_limit: str = ""

    @field_validator("memory_limit")
    @classmethod
    def check_memory_limit(cls, limit: str) -> str:
        """Reject what is not a number of bytes."""
        memory_bytes(limit)
        return limit

    def prepare_for_flow_run(
        self,
        flow_run: FlowRun,
        deployment: DeploymentResponse | None = None,
        flow: Flow | None = None,
        work_pool: WorkPool | None = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Have the run's engine forked, unless the deployment has a command of its own."""
        if self.command is None:
            server = Path(os.environ[SOCKET])
            self.command = shlex.join(launch_command(server, memory_bytes(self.memory_limit), "prefect.engine"))
        super().prepare_for_flow_run(flow_run, deployment, flow, work_pool, worker_name, worker_id)
        if project := self.env.get(VARIABLE) or os.environ.get(VARIABLE):
            self.env[VARIABLE] = os.path.realpath(project)  # a deployment moves the link; a run keeps to one version


class WarmWorker(ProcessWorker):
    """Runs each flow run in a process of its own, forked from a warm one."""

    type = TYPE
    job_configuration = WarmJobConfiguration
    job_configuration_variables = WarmVariables  # type: ignore[assignment]
    _description = "Runs flow runs as forks of a process that has imported their libraries."
    _display_name = "Millrace warm"
    _documentation_url = ""
    _logo_url = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._server: ForkServerProcess | None = None if SOCKET in os.environ else ForkServerProcess()
        self._active: dict[str, int] = {}  # process id of each active run by its identifier
        self._waiting = 0  # runs that are being started
        self._draining = False

    async def start(self, *args: Any, **kwargs: Any) -> None:
        """Start the fork server and poll; on SIGTERM take no more runs, await the active ones, then end them."""
        loop = asyncio.get_running_loop()
        try:
            if self._server:
                await self._server.start()
            loop.add_signal_handler(signal.SIGTERM, self._drain)
            await super().start(*args, **kwargs)
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            if self._server:
                self._server.stop()

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Take scheduled runs, unless the worker drains."""
        return [] if self._draining else await super().get_and_submit_flow_runs()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow run; its identifier names this machine and the process that stands for the fork."""
        if self._server:
            await self._server.start()
        identity = Identity(self._active, task_status)
        self._waiting += 1
        try:
            result = await super().run(flow_run, configuration, identity)
            return ProcessWorkerResult(status_code=result.status_code, identifier=identity.name)
        finally:
            self._waiting -= 1
            self._active.pop(identity.name, None)

    async def kill_infrastructure(
        self, infrastructure_pid: str, configuration: ProcessJobConfiguration, grace_seconds: int = 30
    ) -> None:
        """End the process of a run with SIGTERM, then SIGKILL.

        Raises:
            InfrastructureNotAvailable: it runs on another machine.
            InfrastructureNotFound: it has ended.
        """
        host = infrastructure_pid.rpartition(":")[0]
        if host != socket.gethostname():
            raise InfrastructureNotAvailable(f"{infrastructure_pid} runs on {host}, this worker on another machine")
        if infrastructure_pid not in self._active:
            raise InfrastructureNotFound(f"no active run of this worker has the process {infrastructure_pid}")
        os.kill(self._active[infrastructure_pid], signal.SIGTERM)
        with anyio.move_on_after(grace_seconds):
            while infrastructure_pid in self._active:
                await anyio.sleep(0.1)
        if infrastructure_pid in self._active:
            os.kill(self._active[infrastructure_pid], signal.SIGKILL)

    def _drain(self) -> None:
        if not self._draining:
            self._draining = True
            self._logger.info("worker drains; active runs: %d", self._waiting)
            self._drained = asyncio.get_running_loop().create_task(self._end_when_drained())

    async def _end_when_drained(self) -> None:
        await self._await_runs(load_settings().pools.drain_s)
        for process in self._active.values():
            os.kill(process, signal.SIGTERM)
        await self._await_runs(END_S)
        os.kill(os.getpid(), signal.SIGINT)  # Prefect's own way to stop a worker

    async def _await_runs(self, limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while self._waiting and time.monotonic() < deadline:
            await asyncio.sleep(0.1)


class Identity:
    """Names a run's process for Prefect once it has started."""

    def __init__(self, active: dict[str, int], task_status: anyio.abc.TaskStatus[Any] | None) -> None:
        self._active, self._task_status, self.name = active, task_status, ""

    def started(self, value: Any = None) -> None:
        """Report a process, of which `value` is the id, as `host:id`."""
        self.name = f"{socket.gethostname()}:{value}"
        self._active[self.name] = value
        if self._task_status:
            self._task_status.started(self.name)
