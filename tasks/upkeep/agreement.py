"""Plans and applies the changes that make Airbyte match `sources/*.yaml`, after a check of all secrets."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blocks import MillraceAirbyte, MillraceCredentials
from blocks import names as block_names
from blocks.load import load_block
from millrace.airbyte.connections import HMAC, Change, Connections, by_reference
from millrace.airbyte.options import check_connectors
from millrace.contracts.source import SourceContract, find_source, load_sources
from millrace.domain.errors import SecretError
from millrace.domain.remedies import Remedy
from millrace.lake.open import open_lake
from millrace.lake.pauses import read_pauses
from millrace.project import current_project
from millrace.secrets import read_secret, unusable_secrets
from millrace.settings import Settings, load_settings


@dataclass(frozen=True)
class Agreement:
    """The planned or applied changes; `left` is the number of deletions that were not applied."""

    changes: tuple[Change, ...]
    left: int
    dry_run: bool

    @property
    def summary(self) -> str:
        """Return the number of changes by action, in one line."""
        count = Counter(change.action for change in self.changes)
        labels = "to create", "to change", "that agree", "to delete"
        figures = (count["create"], count["update"], count["keep"], count["delete"])
        summary = ", ".join(f"{number} {label}" for number, label in zip(figures, labels, strict=True))
        left = f"; not deleted without --delete: {self.left}" if self.left else ""
        return f"{'planned' if self.dry_run else 'applied'}: {summary}{left}"


def check_sources() -> None:
    """Raise SettingsError when a source has a connector, or an option of it, that can't run where Airbyte runs."""
    _check(load_sources(current_project().sources).values(), load_settings())


def _check(sources: Iterable[SourceContract], settings: Settings) -> None:
    at = settings.airbyte
    check_connectors(sources, on_this_machine=at.on_this_machine, configured=at.connectors)


def agree(names: Sequence[str] = (), *, dry_run: bool, delete: bool = False, force: bool = False) -> Agreement:
    """Compare Airbyte with all sources, or the named ones, and apply the differences unless `dry_run`.

    Raises:
        SettingsError: a connector, or an option of it, can't run where Airbyte runs; nothing was applied.
        SecretError: a secret of a configuration is missing or disabled; Airbyte would pass an empty text instead.
    """
    settings, sources = load_settings(), load_sources(current_project().sources)
    selected = [find_source(sources, name) for name in names] or list(sources.values())
    _check(selected, settings)
    credentials = load_block(MillraceCredentials, block_names.CREDENTIALS)
    check_secrets(credentials, selected)
    by_value = settings.airbyte.send_secret_values
    secret_value = (lambda name: read_secret(credentials, name)) if by_value else by_reference
    # The block has the address inside the cluster; an operator gives that of a port-forward.
    airbyte = load_block(MillraceAirbyte, block_names.AIRBYTE).model_copy(update={"url": settings.airbyte.url})
    with airbyte.open() as client:
        lake = open_lake(settings.lake.url, settings.lake.endpoint)
        paused = [pause.source for pause in read_pauses(lake) if not pause.stream]
        connections = Connections(client, settings.lake.url, secret_value, paused=paused)
        changes = connections.plan(selected, prune=not names, force=force)
        applied = [c for c in changes if c.action != "delete" or delete]
        if not dry_run:
            connections.apply(applied, selected)
    return Agreement(tuple(changes), len(changes) - len(applied), dry_run)


def check_secrets(credentials: MillraceCredentials, sources: Sequence[SourceContract]) -> None:
    """Check that every secret that Airbyte will resolve exists and is enabled.

    Raises:
        SecretError: names every unusable secret.
    """
    users = {name: f"sources/{source.source}.yaml" for source in sources for name in source.connector.secrets}
    users |= dict.fromkeys(HMAC, "the lake's destination")
    if unusable := unusable_secrets(credentials, users):
        problems = "; ".join(
            f"{name!r} (for {users[name]}) {reason}: run `{Remedy.ADD_SECRET.filled(secret=name)}`"
            for name, reason in unusable.items()
        )
        raise SecretError(f"Airbyte would pass an empty text for these secrets: {problems}; then apply again")
