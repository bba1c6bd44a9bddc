"""An error of a file's values is the file's fault; what ends the process, or memory that ran out, is not."""

import polars as pl
import pytest

from beam_job.steps.guard import rejecting
from millrace.domain.errors import FileRejected, ObjectMissing


class Terminated(BaseException):
    """As Prefect raises when its process gets SIGTERM."""


@pytest.mark.parametrize("error", [KeyError("v"), OverflowError("date value\nout of range"), RecursionError()])
def test_error_of_a_value_rejects_its_file(error: Exception) -> None:
    with pytest.raises(FileRejected, match=r"^file\.unreadable: a\.parquet: \w+") as rejected, rejecting("a.parquet"):
        raise error
    assert "\n" not in str(rejected.value)


def test_panic_of_a_library_rejects_the_file() -> None:
    with pytest.raises(FileRejected, match="PanicException: out of range"), rejecting("a.avro"):
        raise pl.exceptions.PanicException("out of range")


@pytest.mark.parametrize(
    "error", [Terminated(), KeyboardInterrupt(), SystemExit(1), MemoryError(), ObjectMissing("gone")]
)
def test_what_is_not_the_files_fault_passes(error: BaseException) -> None:
    with pytest.raises(type(error)), rejecting("a.parquet"):
        raise error
