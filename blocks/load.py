"""A block class and a name in; the registered block, or an error that names the remedy, out."""

from typing import TypeVar, cast

from prefect.blocks.core import Block

from millrace.domain.errors import SettingsError

B = TypeVar("B", bound=Block)


def load_block(kind: type[B], name: str) -> B:
    """Return a block of the Prefect server.

    Raises:
        SettingsError: the server has no such block.
    """
    try:
        return cast(B, kind.load(name))
    except ValueError as error:
        if "Unable to find block document" not in str(error):
            raise
        slug = kind.get_block_type_slug()
        raise SettingsError(f"Prefect has no block {slug}/{name}; run `millrace deploy blocks`") from None
