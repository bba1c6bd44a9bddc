"""`config/<environment>.toml` and variables `MILLRACE_<SECTION>__<KEY>`, which override it, in; checked settings out.

Environments differ in values only; the files have the same keys.
"""

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import (
    SettingsError as UnreadableVariable,
)

from millrace.domain.errors import SettingsError
from millrace.project import PLATFORM, current_project

PREFIX = "MILLRACE_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"

Seconds = Annotated[float, Field(ge=0)]
Bytes = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the tree; unknown keys are errors, so that a misspelt key is found."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LakeSettings(Section):
    """The address of the lake."""

    url: Annotated[str, Field(pattern=r"^gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$")]
    endpoint: str = ""


class WarehouseSettings(Section):
    """The addresses of tables and marts; `max_bytes_billed` limits one commit or query on BigQuery (0: no limit).

    `endpoint` is the address of a BigQuery other than Google's. Candidates that were not published are kept for
    `keep_candidates_days`, for inspection; on BigQuery the journal of publications for `keep_journal_days`.
    """

    url: str
    marts_url: str
    endpoint: str = ""
    lock_timeout_s: Seconds = 120
    max_bytes_billed: Annotated[int, Field(ge=0)] = 0
    keep_candidates_days: Annotated[float, Field(gt=0)] = 3
    keep_journal_days: Annotated[float, Field(gt=0)] = 90


class EventSettings(Section):
    """The project of the topics, and the address of a Pub/Sub server other than Google's."""

    project: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
    endpoint: str = ""


class SecretSettings(Section):
    """The address of a Secret Manager other than Google's; the age at which a secret should be rotated (0: never)."""

    endpoint: str = ""
    max_age_days: Annotated[int, Field(ge=0)] = 90


class ConnectorSettings(Section):
    """How a connector runs on one machine: a command, or a program of a Python package in an environment of its own.

    `lock` is the file of the package's requirements with hashes, in the project; without it
    `config/connectors/<image>.txt`, which `millrace source lock` writes. `protocol`: what the program speaks.
    """

    command: tuple[str, ...] = ()
    package: str = ""
    program: str = ""
    lock: str = ""
    protocol: Literal["airbyte", "singer"] = "airbyte"
    network: bool = True

    @model_validator(mode="after")
    def _one_kind(self) -> "ConnectorSettings":
        if bool(self.command) == bool(self.package):
            raise ValueError("give either `command`, a list of words, or `package`, as the package index names it")
        if self.package and not self.program:
            raise ValueError("`program` is missing: the command that the package installs, such as tap-csv")
        return self


class AirbyteSettings(Section):
    """Airbyte's public API; the credentials are names of secrets.

    `on_this_machine`: it is the Airbyte of `millrace up`, which runs `connectors` by image, and those that come with
    the platform.

    `send_secret_values`: `millrace connections apply` sends the values of secrets, not references, for an Airbyte that
    does not resolve references.
    """

    url: str
    client_id_secret: str = "airbyte-client-id"
    client_secret_secret: str = "airbyte-client-secret"
    send_secret_values: bool = False
    on_this_machine: bool = False
    connectors: dict[str, ConnectorSettings] = Field(default_factory=dict)
    poll_s: Seconds = 10
    sync_timeout_s: Seconds = 6 * 3600
    landing_timeout_s: Seconds = 600


class SlackSettings(Section):
    """The secret of the webhook's URL, the runbook, and the seconds between messages of publications (0: send each)."""

    url_secret: str = "slack-webhook-url"
    runbook: str = "docs/operations/alerts.md"
    published_every_s: Annotated[int, Field(ge=0)] = 86400


class MartsSettings(Section):
    """`export`: each publication is also written as Parquet files into the lake's site, for readers without DuckDB."""

    export: bool = False


class ModelSettings(Section):
    """`task_runs`: which dbt nodes become task runs, `models` and those that fail or warn, or `all`."""

    task_runs: Literal["models", "all"] = "models"


class DataflowSettings(Section):
    """The options of jobs on Dataflow for large batches; `endpoint` is a server other than Google's."""

    endpoint: str = ""
    region: str = ""
    temp_location: str = ""
    sdk_container_image: str = ""
    service_account_email: str = ""
    subnetwork: str = ""
    max_num_workers: Annotated[int, Field(ge=1)] = 10
    poll_s: Annotated[float, Field(gt=0)] = 15


class BeamSettings(Section):
    """The limits of a batch, and the largest ones for a merge without Beam (0: never) and with Beam in process.

    A merge on one machine needs about 127 bytes of disk for each row, so it has limits of rows as well.
    """

    plain_max_bytes: Annotated[int, Field(ge=0)] = 1 << 30
    plain_max_rows: Annotated[int, Field(ge=0)] = 25_000_000
    in_process_max_bytes: Bytes = 1 << 30
    in_process_max_rows: Annotated[int, Field(ge=1)] = 25_000_000
    batch_max_bytes: Bytes = 4 << 30
    batch_max_files: Annotated[int, Field(ge=1)] = 10_000
    dataflow: DataflowSettings = DataflowSettings()


class TriggerSettings(Section):
    """The window in which the ends of model runs start one run of `show`."""

    shown_window_s: Annotated[int, Field(ge=1)] = 30


class ReconcileSettings(Section):
    """The age at which objects without a manifest are reported, the hours between full scans, the wait for merges.

    A run that stays pending for longer than `pending_s` no longer blocks other work: its worker died.
    """

    orphan_after_h: Annotated[float, Field(ge=0)] = 24
    pending_s: Seconds = 600
    audit_every_h: Annotated[float, Field(gt=0)] = 168
    wait_s: Seconds = 600


class GatewaySettings(Section):
    """The authorised caller, the certificates of its tokens, and the time limits of Prefect and of pushes at shutdown.

    One landing of a stream in `landings_apart_s` seconds becomes an event, for all of them (0: each becomes one).
    `airbyte_token_secret`: the secret in the address of Airbyte's webhook, `/airbyte/<value>`; '': no such address.
    """

    audience: str
    push_account: str
    certs_url: str = "https://www.googleapis.com/oauth2/v1/certs"
    airbyte_token_secret: str = "airbyte-webhook-token"
    prefect_timeout_s: Annotated[float, Field(gt=0)] = 10
    landings_apart_s: Annotated[float, Field(ge=0, le=60)] = 1
    grace_s: Annotated[int, Field(ge=1)] = 25


class PoolSettings(Section):
    """The work pools of the deployments; the image and, on Cloud Run, the region and VPC network of their runs.

    `drain_s`: seconds for which a warm worker that is stopped awaits its runs before it ends them.
    """

    default: str
    dbt: str
    image: str = ""
    region: str = ""
    network: str = ""
    drain_s: Annotated[int, Field(ge=0)] = 0


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    lake: LakeSettings
    warehouse: WarehouseSettings
    events: EventSettings
    secrets: SecretSettings = SecretSettings()
    airbyte: AirbyteSettings
    slack: SlackSettings = SlackSettings()
    marts: MartsSettings = MartsSettings()
    model: ModelSettings = ModelSettings()
    beam: BeamSettings = BeamSettings()
    triggers: TriggerSettings = TriggerSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    gateway: GatewaySettings
    pools: PoolSettings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of settings: variables first, then the file, and no other."""
        files = config_files()
        return env_settings, TomlConfigSettingsSource(settings_cls, toml_file=files, deep_merge=True)


def config_files() -> list[Path]:
    """Return the files that `MILLRACE_CONFIG` may name: a path, or an environment such as `local` or `gcp`.

    Of an environment the platform's file comes first, then that of the project, whose values win.
    """
    name = os.environ.get(CONFIG_VARIABLE, "local")
    if name.endswith(".toml"):
        return [Path(name)]
    return list(dict.fromkeys((PLATFORM / "config" / f"{name}.toml", current_project().config / f"{name}.toml")))


def load_settings() -> Settings:
    """Read and check the settings.

    Raises:
        SettingsError: a key is missing, misspelt or malformed; the message names every such key and the file.
    """
    files = config_files()
    where = " and ".join(str(file) for file in files if file.exists())
    if not where:
        named = " or ".join(map(str, files))
        raise SettingsError(f"no settings file {named}; set {CONFIG_VARIABLE} to a .toml file, or to `local` or `gcp`")
    if unknown := _unknown_variables():
        raise SettingsError(
            f"no such setting: {', '.join(unknown)}; the sections are {', '.join(Settings.model_fields)}"
        )
    try:
        return Settings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{where} is not TOML: {error}") from None
    except UnreadableVariable as error:
        raise SettingsError(f"a {PREFIX} variable: {error}; name one key: {PREFIX}<SECTION>__<KEY>") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"{where} (or a MILLRACE_ variable): {wrong}") from None


def _unknown_variables() -> list[str]:
    """Return variables with an unknown section; unknown keys fail the validation of the tree."""
    named = [name for name in os.environ if name.upper().startswith(PREFIX) and "__" in name]
    return [name for name in named if name[len(PREFIX) :].split("__")[0].lower() not in Settings.model_fields]


def environment(settings: Settings) -> dict[str, str]:
    """Return the settings as variables, which give the same tree in a process without the file."""
    variables = {CONFIG_VARIABLE: Path(os.environ.get(CONFIG_VARIABLE, "local")).stem}

    def walk(section: BaseModel, prefix: str) -> None:
        for name in type(section).model_fields:
            value = getattr(section, name)
            if isinstance(value, BaseModel):
                walk(value, f"{prefix}{name.upper()}__")
            elif isinstance(value, dict):
                variables[prefix + name.upper()] = json.dumps({k: v.model_dump(mode="json") for k, v in value.items()})
            else:
                variables[prefix + name.upper()] = str(value)

    walk(settings, PREFIX)
    return variables
