"""Loads a block by its name, and says what to do when there is none."""

from typing import TypeVar, cast

from prefect.blocks.core import Block

from millrace.domain.errors import SettingsError

B = TypeVar("B", bound=Block)


def registered(kind: type[B], name: str) -> B:
    """A block of the Prefect server.

    Raises:
        SettingsError: it is not registered there.
    """
    try:
        return cast(B, kind.load(name))
    except ValueError as error:
        if "Unable to find block document" not in str(error):
            raise
        slug = kind.get_block_type_slug()
        raise SettingsError(f"Prefect has no block {slug}/{name}; run `python -m cli.deploy.blocks`") from None
