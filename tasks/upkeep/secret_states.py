"""Every secret that the platform uses: by whom, how old, whether it wants a new value; never its value."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from blocks.secrets import MillraceCredentials
from millrace.airbyte.connections import HMAC
from millrace.contracts.source import SourceContract, load_sources
from millrace.secrets import secret_ages, unusable_secrets
from millrace.settings import Settings
from millrace.settings.tree import ROOT


def secret_names(settings: Settings, sources: Iterable[SourceContract]) -> dict[str, str]:
    """Every secret that the platform or its sources use, each with who uses it."""
    used = dict.fromkeys(HMAC, "Airbyte, for the lake")
    used |= {name: f"Airbyte, for {source.source}" for source in sources for name in source.connector.secrets}
    used |= dict.fromkeys((settings.airbyte.client_id_secret, settings.airbyte.client_secret_secret), "Airbyte's API")
    if settings.gateway.airbyte_token_secret:
        used[settings.gateway.airbyte_token_secret] = "the gateway, in the address of Airbyte's webhook"
    return used | {settings.slack.url_secret: "Slack"}


@dataclass(frozen=True)
class SecretState:
    """A secret, when its newest version was made, and why it wants a new value ('' when it does not)."""

    secret: str
    used_by: str
    newest: datetime | None
    due: str
    usable: bool


def credentials_of(settings: Settings) -> MillraceCredentials:
    """Who we are at Google, by the settings; no block is needed."""
    return MillraceCredentials(project=settings.events.project, endpoint=settings.secrets.endpoint)


def secret_states(
    settings: Settings, credentials: MillraceCredentials | None = None, now: datetime | None = None
) -> list[SecretState]:
    """All secrets in the order of their users.

    Raises:
        ServiceUnavailable: Secret Manager did not answer.
    """
    credentials, now = credentials or credentials_of(settings), now or datetime.now(UTC)
    used = secret_names(settings, load_sources(ROOT / "sources").values())
    most = timedelta(days=settings.secrets.max_age_days)
    ages = {age.secret: age for age in secret_ages(credentials, used)}
    unusable = unusable_secrets(credentials, used)
    return [
        SecretState(
            secret=name,
            used_by=user,
            newest=ages[name].created_at if name in ages else None,
            due=unusable.get(name) or (ages[name].why_due(now, most) if name in ages else ""),
            usable=name not in unusable,
        )
        for name, user in used.items()
    ]
