"""Channels of Slack that alerts go to: one for the platform, and one for each secret that contracts or marts name."""

from collections.abc import Iterable, Mapping

from millrace.contracts.marts import MartPromise
from millrace.contracts.source import SourceContract
from millrace.domain.alerts import slug

DEFAULT = "default"


def channel_name(secret: str) -> str:
    """Return the channel of a secret, as labels of events and names of blocks have it; '' is the platform's own."""
    return slug(secret.replace("_", "-")).replace(".", "-") if secret else DEFAULT


def secrets_of_channels(sources: Iterable[SourceContract], marts: Iterable[MartPromise] = ()) -> dict[str, str]:
    """Return the secret with the Slack URL of each channel but the platform's own."""
    streams = (stream for source in sources for stream in source.streams.values())
    secrets = [*(s.channel.secret for s in streams if s.channel), *(mart.channel for mart in marts if mart.channel)]
    return {channel_name(secret): secret for secret in secrets}


def channel_of(sources: Mapping[str, SourceContract], source: str | None, stream: str | None) -> str:
    """Return the channel for alerts on a source or stream; the platform's own when no contract names one."""
    contract = sources.get(source or "")
    if contract is None:
        return DEFAULT
    part = contract.streams.get(stream or "") or contract
    return channel_name(part.channel.secret if part.channel else "")
