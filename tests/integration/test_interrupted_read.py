"""A read of a large object that its server leaves: the error is one that tasks retry."""

from pathlib import Path
from typing import Any

import pytest

from millrace.domain.errors import Retryable, ServiceUnavailable
from tests.conftest import new_lake
from tests.support.servers import server

MIB = 1 << 20


def test_read_without_its_server_may_be_retried(tmp_path: Path) -> None:
    with server("storage", tmp_path / "state") as port:
        lake = new_lake(port)
        lake.write("raw/shop/orders/large.parquet", bytes(3 * MIB))
        reader: Any = lake.open("raw/shop/orders/large.parquet")
        assert len(reader.read(10)) == 10
        reader.seek(2 * MIB)  # asks for the size
    reader._retry = reader._retry.with_timeout(1)  # the client's own limit is minutes
    with pytest.raises(ServiceUnavailable, match=r"did not serve .*large\.parquet") as raised:
        reader.read(10)
    assert isinstance(raised.value, Retryable)
