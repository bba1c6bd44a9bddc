"""Jobs of BigQuery under ids of our own: a job that is asked for twice runs once, whoever asks and however they die.

The official client comes in, finished jobs and rows go out; its errors become the platform's.
"""

import logging
import random
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from google.api_core import exceptions
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.cloud import bigquery
from requests.exceptions import ConnectionError as NotConnected
from requests.exceptions import Timeout

from millrace.contracts.stream import StreamContract
from millrace.domain.errors import BudgetExceeded, MillraceError, ServiceUnavailable, SettingsError, WarehouseRefused
from millrace.warehouse.bigquery.sql import Place

log = logging.getLogger(__name__)

# https://cloud.google.com/bigquery/docs/error-messages: those for which it says to try again
TRANSIENT = frozenset({"backendError", "rateLimitExceeded", "jobRateLimitExceeded", "internalError", "badGateway"})
TRANSIENT |= frozenset({"jobBackendError", "jobInternalError", "tableUnavailable"})
OVER_BUDGET = frozenset({"bytesBilledLimitExceeded", "quotaExceeded"})
UNREACHABLE = (
    exceptions.ServerError,
    exceptions.TooManyRequests,
    exceptions.RetryError,
    NotConnected,
    Timeout,
    TransportError,
)
# https://cloud.google.com/bigquery/quotas#data-manipulation-language-statements: 2 of a table run, 20 wait
DML_QUEUE_FULL = re.compile(r"Too many DML statements outstanding", re.I)
ATTEMPTS, MOST_IDS = 4, 1000
FIRST_DELAY_S, MOST_DELAY_S = 1.0, 30.0
Parameters = Mapping[str, Any]


class Jobs:
    """What is asked of BigQuery at one place; a client is made on first use."""

    def __init__(self, place: Place, endpoint: str = "", max_bytes_billed: int = 0, retry_s: float = 600.0) -> None:
        self.place, self.max_bytes_billed = place, max_bytes_billed
        self._endpoint = endpoint
        self.retry = Retry(predicate=is_transient, initial=FIRST_DELAY_S, maximum=MOST_DELAY_S, timeout=retry_s)
        self._delay_s = min(FIRST_DELAY_S, retry_s / 10)
        self._client: Any = None

    @property
    def client(self) -> Any:
        """The official client. Raises SettingsError when there are no credentials."""
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _connect(self) -> Any:
        place = {"project": self.place.project, "location": self.place.location}
        if self._endpoint:
            options = {"api_endpoint": self._endpoint}
            return bigquery.Client(**place, credentials=AnonymousCredentials(), client_options=options)
        try:
            return bigquery.Client(**place)
        except DefaultCredentialsError as error:
            raise SettingsError(f"no credentials for BigQuery: {error}") from error

    def rows(
        self, sql: str, given: Parameters | None = None, *, step: str, contract: StreamContract | None = None
    ) -> list[tuple[Any, ...]]:
        """Rows of a query, or of the last statement of a script."""
        job = self.query(f"{step}-{uuid.uuid4().hex}", sql, given, step=step, contract=contract)
        with self.answering(step):
            return [tuple(row.values()) for row in job.result(retry=self.retry, job_retry=None)]

    def table(self, sql: str, *, step: str) -> Any:
        """Rows of a query as an Arrow table."""
        job = self.query(f"{step}-{uuid.uuid4().hex}", sql, step=step)
        with self.answering(step):
            return job.result(retry=self.retry, job_retry=None).to_arrow(create_bqstorage_client=False)

    def query(
        self,
        name: str,
        sql: str,
        given: Parameters | None = None,
        *,
        step: str,
        contract: StreamContract | None = None,
        holds: Callable[[Any], bool] | None = None,
        most: int | None = None,
    ) -> Any:
        """Run a query or script once under a name, see `run`; `most` bytes are billed, or what the place allows."""
        options: dict[str, Any] = {"query_parameters": parameters(given or {}), "labels": labels(step, contract)}
        if bound := most or self.max_bytes_billed:
            options["maximum_bytes_billed"] = bound
        config = bigquery.QueryJobConfig(**options)

        def start(job_id: str) -> Any:
            return self.client.query(sql, job_id=job_id, job_config=config, retry=self.retry, job_retry=None)

        return self.run(name, start, step=step, holds=holds)

    def load(
        self, name: str, uris: Sequence[str], table: str, schema: Sequence[Any], *, contract: StreamContract
    ) -> Any:
        """Load Parquet files of the lake into a table of their own, once; a finished load counts while its rows are."""
        config = bigquery.LoadJobConfig(
            schema=list(schema),
            source_format="PARQUET",
            write_disposition="WRITE_TRUNCATE",
            labels=labels("load", contract),
        )

        def start(job_id: str) -> Any:
            return self.client.load_table_from_uri(
                list(uris), table, job_id=job_id, job_config=config, retry=self.retry
            )

        def holds(job: Any) -> bool:
            try:
                return bool(self.client.get_table(table, retry=self.retry).num_rows == job.output_rows)
            except exceptions.NotFound:
                return False  # it expired, or was deleted

        return self.run(name, start, step="load", holds=holds)

    def run(
        self, name: str, start: Callable[[str], Any], *, step: str, holds: Callable[[Any], bool] | None = None
    ) -> Any:
        """Run a job under `<name>-<attempt>`: wait for one that runs, take one that is done, else try the next.

        Args:
            name: what makes the job the same job.
            start: submits it under an id.
            step: for errors.
            holds: whether what a job did that another process ran is still there.

        Raises:
            ServiceUnavailable: BigQuery can't be reached, or failed for its own reasons several times.
            BudgetExceeded: it would bill more bytes than it may, or a quota is used up.
            WarehouseRefused: anything else it says no to.
        """
        own = 0
        for attempt in range(1, MOST_IDS):
            job, adopted = self._submit(start, f"millrace-{name}-{attempt}", step)
            error = self._wait(job, step)
            if error is None and (not adopted or holds is None or holds(job)):
                return job
            if adopted:
                continue  # it failed, or what it did is gone
            own += 1
            if error is not None and (not is_transient(error) or own == ATTEMPTS):
                raise translated(error, step) from error
            time.sleep(random.uniform(0.5, 1) * min(MOST_DELAY_S, self._delay_s * 2**own))  # noqa: S311  no secret
        raise WarehouseRefused(f"{step}: {MOST_IDS} jobs named millrace-{name}-… failed; look at them in BigQuery")

    def _submit(self, start: Callable[[str], Any], job_id: str, step: str) -> tuple[Any, bool]:
        """The job under this id, and whether someone submitted it before."""
        with self.answering(step):
            try:
                return start(job_id), False
            except exceptions.Conflict:
                log.info("bigquery.job_adopted", extra={"event": "bigquery.job_adopted", "fields": {"job": job_id}})
                return self.client.get_job(job_id, retry=self.retry), True

    def _wait(self, job: Any, step: str) -> Exception | None:
        """Wait for a job's end; its error when it failed. Raises when its end can't be learned."""
        try:
            job.result(retry=self.retry, **({"job_retry": None} if job.job_type == "query" else {}))
        except (exceptions.GoogleAPICallError, *UNREACHABLE, GoogleAuthError) as error:
            with self.answering(step):
                job.reload(retry=self.retry)
            if job.error_result:
                return error
            raise translated(error, step) from error
        return None

    def estimate(self, sql: str, given: Parameters, step: str) -> int:
        """Bytes that a statement would read at most, without running it."""
        config = bigquery.QueryJobConfig(
            dry_run=True, use_query_cache=False, query_parameters=parameters(given), labels={"millrace_step": step}
        )
        with self.answering(step):
            return int(self.client.query(sql, job_config=config, retry=self.retry).total_bytes_processed or 0)

    @contextmanager
    def answering(self, what: str) -> Iterator[None]:
        """Name what BigQuery did not do, once the client itself has given up trying again."""
        try:
            yield
        except (exceptions.GoogleAPICallError, *UNREACHABLE, GoogleAuthError) as error:
            raise translated(error, what) from error

    def close(self) -> None:
        """Give back connections."""
        if self._client is not None:
            self._client.close()
            self._client = None


def reasons(error: Exception) -> set[str]:
    """BigQuery's own codes of an error."""
    return {str(e.get("reason")) for e in getattr(error, "errors", None) or [] if isinstance(e, dict)}


def is_transient(error: Exception) -> bool:
    """Whether BigQuery's documentation says to try again.

    The client makes a 500 of each reason of a failed job that it does not know; only an answer's own status counts.
    """
    if DML_QUEUE_FULL.search(str(error)):
        return True
    told = reasons(error)
    answered = not told or getattr(error, "response", None) is not None
    return bool(told & TRANSIENT) or (answered and isinstance(error, UNREACHABLE))


def translated(error: Exception, what: str) -> MillraceError:
    """The platform's error for BigQuery's."""
    said = getattr(error, "message", None) or str(error)
    if is_transient(error):
        return ServiceUnavailable(f"BigQuery did not serve {what}: {said}")
    if reasons(error) & OVER_BUDGET:
        return BudgetExceeded(
            f"BigQuery refused {what}: {said} Raise warehouse.max_bytes_billed, or partition the stream by its key"
        )
    return WarehouseRefused(f"BigQuery refused {what}: {said}")


def labels(step: str, contract: StreamContract | None) -> dict[str, str]:
    """Labels by which a bill is divided."""
    own = {"millrace_step": step}
    return own | {"millrace_source": contract.source, "millrace_stream": contract.stream} if contract else own


def parameters(given: Parameters) -> list[Any]:
    """Named query parameters of Python values; a list of dictionaries is an array of records, with at least one."""
    return [_parameter(name, value) for name, value in given.items()]


def _parameter(name: str | None, value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        items = [bigquery.StructQueryParameter(None, *parameters(item)) for item in value]
        return bigquery.ArrayQueryParameter(name, "STRUCT", items)
    if isinstance(value, list):
        return bigquery.ArrayQueryParameter(name, "STRING", value)
    kinds = {bool: "BOOL", int: "INT64", str: "STRING", datetime: "TIMESTAMP", type(None): "INT64"}
    return bigquery.ScalarQueryParameter(name, kinds[type(value)], value)
