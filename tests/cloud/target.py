"""The project that a run checks, and where its services are: Google's, or servers with the same protocols.

The official clients' own variables name other servers of Cloud Storage and Pub/Sub, the settings' variables those of
Secret Manager, BigQuery and Dataflow; `MILLRACE_SMOKE_APIS` one for all other APIs.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from tests.cloud.names import is_run

SERVICES = {
    "storage": "STORAGE_EMULATOR_HOST",
    "pubsub": "PUBSUB_EMULATOR_HOST",
    "secretmanager": "MILLRACE_SECRETS__ENDPOINT",
    "bigquery": "MILLRACE_WAREHOUSE__ENDPOINT",
    "dataflow": "MILLRACE_BEAM__DATAFLOW__ENDPOINT",
    "apis": "MILLRACE_SMOKE_APIS",
}
PROJECT, LOCATION, REGION = "MILLRACE_SMOKE_PROJECT", "MILLRACE_SMOKE_LOCATION", "MILLRACE_SMOKE_REGION"
RUN, FOLDER, LIMITS = "MILLRACE_SMOKE_RUN", "MILLRACE_SMOKE_FOLDER", "MILLRACE_SMOKE_LIMITS"


@dataclass(frozen=True)
class Target:
    """A project, the locations of its data and its jobs, and the address of each service ('': Google's)."""

    project: str
    location: str
    region: str
    endpoints: Mapping[str, str]

    def endpoint(self, service: str) -> str:
        """Return the address of a server other than Google's, '' for Google's."""
        return self.endpoints.get(service, "")

    def base(self, service: str) -> str:
        """Return the address at which a REST API begins, without a slash at its end."""
        if service in SERVICES:
            own = self.endpoint(service)
        else:
            own = self.endpoint("apis") and f"{self.endpoint('apis')}/{service}"
        return own.rstrip("/") or f"https://{service}.googleapis.com"

    @property
    def is_google(self) -> bool:
        """Return whether every service is Google's."""
        return not any(self.endpoints.values())

    def environment(self) -> dict[str, str]:
        """Return the variables from which `target_of` makes the same target."""
        endpoints = {SERVICES[service]: address for service, address in self.endpoints.items() if address}
        return endpoints | {PROJECT: self.project, LOCATION: self.location, REGION: self.region}


def endpoints_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the addresses of servers other than Google's, by service."""
    return {service: environment.get(variable, "") for service, variable in SERVICES.items()}


def target_of(environment: Mapping[str, str]) -> Target:
    """Return the target that the environment names."""
    location, region = environment.get(LOCATION, "EU"), environment.get(REGION, "europe-west1")
    return Target(environment[PROJECT], location, region, endpoints_of(environment))


@dataclass(frozen=True)
class Running:
    """The run that this process is part of."""

    id: str
    target: Target


def running() -> Running | None:
    """Return the run that the environment names, None in all other tests."""
    run = os.environ.get(RUN, "")
    if not run:
        return None
    if not is_run(run):
        raise ValueError(f"{RUN}={run!r} is not the id of a run; `make cloud-smoke` makes one")
    return Running(run, target_of(os.environ))
