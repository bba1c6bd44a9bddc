"""The connectors that come with the platform or have a short name; the check that one can run where it is to run."""

from collections.abc import Collection
from dataclasses import dataclass

from millrace.domain.errors import SettingsError

OWN = "millrace/"  # images of ours, which no registry has
UNVERSIONED = "local"  # in the contract of an image whose version nobody named


@dataclass(frozen=True)
class Known:
    """A connector: its image, the version that Airbyte's registry has, and whether it comes with the platform."""

    image: str
    version: str
    bundled: bool = True


KNOWN = {
    "postgres": Known("airbyte/source-postgres", "3.8.10"),
    "mysql": Known("airbyte/source-mysql", "3.51.5"),
    "files": Known("millrace/source-files", "0.1.0"),
    "rest": Known("airbyte/source-declarative-manifest", "6.61.6"),
    "faker": Known("airbyte/source-faker", "7.2.1"),
    "airport-ops": Known("millrace/source-airport-ops", "0.1.0"),
}
BUNDLED = tuple(known.image for known in KNOWN.values() if known.bundled)


def check_image(image: str, *, on_this_machine: bool, configured: Collection[str]) -> None:
    """Raise SettingsError when the connector of an image can't run where Airbyte runs its connectors.

    `on_this_machine`: Airbyte is the one of `millrace up`, which runs commands in place of images; `configured` are
    the images of the setting `airbyte.connectors`.
    """
    if image in configured:
        return
    if on_this_machine and image not in BUNDLED:
        raise SettingsError(unknown_image(image, configured))
    if not on_this_machine and image.startswith(OWN):
        raise SettingsError(
            f"connector {image!r} comes with the platform and runs on one machine only; name another one for the same"
            " data as `connector.image`, of Airbyte's registry or of your own (docs/connectors.md)"
        )


def unknown_image(image: str, configured: Collection[str]) -> str:
    """Return what to do about a connector that this machine has no command for."""
    images = ", ".join(sorted({*BUNDLED, *configured}))
    return (
        f"connector {image!r} is unknown on this machine, which has {images}. Say how to run it in config/local.toml:"
        f' [airbyte.connectors."{image}"] with `package` (of the Python package index) or `command`'
        " (docs/connectors.md)"
    )
