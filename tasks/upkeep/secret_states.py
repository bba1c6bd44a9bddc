"""Every secret that the platform uses, with its user, its age and the reason to rotate it; never its value."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from blocks.secrets import MillraceCredentials
from millrace.airbyte.connections import HMAC
from millrace.contracts.channels import secrets_of_channels
from millrace.contracts.marts import MartPromise, mart_promises
from millrace.contracts.source import SourceContract, load_sources
from millrace.project import current_project
from millrace.secrets import secret_ages, unusable_secrets
from millrace.settings import Settings


def secret_names(
    settings: Settings, sources: Collection[SourceContract], marts: Iterable[MartPromise] = ()
) -> dict[str, str]:
    """Return every secret that the platform or its sources use, with its user."""
    used = dict.fromkeys(HMAC, "Airbyte, for the lake")
    used |= {name: f"Airbyte, for {source.source}" for source in sources for name in source.connector.secrets}
    used |= dict.fromkeys((settings.airbyte.client_id_secret, settings.airbyte.client_secret_secret), "Airbyte's API")
    if settings.gateway.airbyte_token_secret:
        used[settings.gateway.airbyte_token_secret] = "the gateway, in the address of Airbyte's webhook"
    used |= {secret: f"Slack, channel {channel}" for channel, secret in secrets_of_channels(sources, marts).items()}
    return used | {settings.slack.url_secret: "Slack"}


@dataclass(frozen=True)
class SecretState:
    """A secret, the time of its newest version, and the reason to rotate it (`due`; '' without one)."""

    secret: str
    used_by: str
    newest: datetime | None
    due: str
    usable: bool


def credentials_of(settings: Settings) -> MillraceCredentials:
    """Return our credentials at Google from the settings, without a registered block."""
    return MillraceCredentials(project=settings.events.project, endpoint=settings.secrets.endpoint)


def secret_states(
    settings: Settings, credentials: MillraceCredentials | None = None, now: datetime | None = None
) -> list[SecretState]:
    """Return the state of all secrets, in the order of their users.

    Raises:
        ServiceUnavailable: Secret Manager did not answer.
    """
    credentials, now = credentials or credentials_of(settings), now or datetime.now(UTC)
    project = current_project()
    used = secret_names(settings, load_sources(project.sources).values(), mart_promises(project.dbt_project))
    max_age = timedelta(days=settings.secrets.max_age_days)
    ages = {age.secret: age for age in secret_ages(credentials, used)}
    unusable = unusable_secrets(credentials, used)
    return [
        SecretState(
            secret=name,
            used_by=user,
            newest=ages[name].created_at if name in ages else None,
            due=unusable.get(name) or (ages[name].due_reason(now, max_age) if name in ages else ""),
            usable=name not in unusable,
        )
        for name, user in used.items()
    ]
