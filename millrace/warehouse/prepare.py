"""A warehouse and contracts in; the streams whose tables had to be created or extended out."""

from collections.abc import Iterable

from millrace.contracts.stream import StreamContract
from millrace.domain.errors import ContractError
from millrace.warehouse.port import MergeStore


def create_absent(warehouse: MergeStore, streams: Iterable[StreamContract]) -> list[StreamContract]:
    """Create the tables of streams that have none, and return these streams. Again: none.

    Model runs only read the merged tables, so that a stream without any rows needs its table before they build.
    """
    absent = [stream for stream in streams if warehouse.missing_columns(stream) is None]
    for stream in absent:
        warehouse.ensure(stream)
    return absent


def prepare_streams(warehouse: MergeStore, streams: Iterable[StreamContract]) -> list[StreamContract]:
    """Create missing tables and add missing columns; return the streams that lacked any. Again: none.

    Raises:
        AccessDenied: this process may not create tables.
        ContractError: a table can't follow its contract; the other streams are prepared nevertheless.
    """
    errors: list[ContractError] = []
    unprepared = [stream for stream in streams if warehouse.missing_columns(stream) != []]
    for stream in unprepared:
        try:
            warehouse.ensure(stream)
        except ContractError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return unprepared
