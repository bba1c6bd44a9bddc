"""Plans, and applies, what makes Airbyte agree with `sources/*.yaml`, after looking whether every secret is there."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from blocks import MillraceAirbyte, MillraceCredentials
from blocks import names as block_names
from blocks.load import registered
from millrace.airbyte.connections import HMAC, Change, Connections, by_reference
from millrace.contracts.source import SourceContract, find_source, load_sources
from millrace.domain.errors import SecretError
from millrace.secrets import read_secret, unusable_secrets
from millrace.settings import load_settings
from millrace.settings.tree import ROOT


@dataclass(frozen=True)
class Agreement:
    """What was done, or is to be done; `left` is to be deleted and was not."""

    changes: tuple[Change, ...]
    left: int
    dry_run: bool

    @property
    def summary(self) -> str:
        """One line."""
        count = Counter(change.action for change in self.changes)
        words = "to create", "to change", "that agree", "to delete"
        figures = (count["create"], count["update"], count["keep"], count["delete"])
        said = ", ".join(f"{number} {word}" for number, word in zip(figures, words, strict=True))
        kept = f"; not deleted without --delete: {self.left}" if self.left else ""
        return f"{'planned' if self.dry_run else 'applied'}: {said}{kept}"


def agree(names: Sequence[str] = (), *, dry_run: bool, delete: bool = False, force: bool = False) -> Agreement:
    """Compare Airbyte with all sources, or those named, and mend what differs unless `dry_run`.

    Raises:
        SecretError: a secret that a configuration refers to is missing or disabled; to the connector it would be empty.
    """
    settings, sources = load_settings(), load_sources(ROOT / "sources")
    wanted = [find_source(sources, name) for name in names] or list(sources.values())
    credentials = registered(MillraceCredentials, block_names.CREDENTIALS)
    check_secrets(credentials, wanted)
    by_value = settings.airbyte.send_secret_values
    sent = (lambda name: read_secret(credentials, name)) if by_value else by_reference
    with registered(MillraceAirbyte, block_names.AIRBYTE).open() as client:
        connections = Connections(client, settings.lake.url, sent)
        changes = connections.plan(wanted, prune=not names, force=force)
        kept = [c for c in changes if c.action != "delete" or delete]
        if not dry_run:
            connections.apply(kept, wanted)
    return Agreement(tuple(changes), len(changes) - len(kept), dry_run)


def check_secrets(credentials: MillraceCredentials, sources: Sequence[SourceContract]) -> None:
    """Whether every secret that Airbyte will be referred to exists and is enabled.

    Raises:
        SecretError: names every one that is not.
    """
    wanted = {name: f"sources/{source.source}.yaml" for source in sources for name in source.connector.secrets}
    wanted |= dict.fromkeys(HMAC, "the lake's destination")
    if unusable := unusable_secrets(credentials, wanted):
        told = "; ".join(f"{name!r} (for {wanted[name]}) {why}" for name, why in unusable.items())
        raise SecretError(
            f"Airbyte would pass an empty text for these secrets: {told}. Add a version to each with"
            " `gcloud secrets versions add <name> --data-file=-`, then apply again"
        )
