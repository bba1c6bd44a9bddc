"""Jobs of BigQuery under deterministic ids: a job that several processes submit runs once, whichever of them is killed.

SQL and files come in, finished jobs and rows go out; errors of the official client become the platform's.
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
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import bigquery
from requests.exceptions import ConnectionError as NotConnected
from requests.exceptions import Timeout

from millrace.access import credentials, denied, is_denied
from millrace.contracts.stream import StreamContract
from millrace.domain.errors import BudgetExceeded, MillraceError, ServiceUnavailable, WarehouseRefused
from millrace.warehouse.bigquery.sql import Namespace

log = logging.getLogger(__name__)

# reasons for which https://cloud.google.com/bigquery/docs/error-messages says to try again
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
DENIED_RESOURCE = re.compile(r"Access Denied: (?:Project|Dataset|Table|View|Job) (\S+?):? ")
PAGE_ROWS = 50_000
ATTEMPTS, MOST_IDS = 4, 1000
FIRST_DELAY_S, MOST_DELAY_S = 1.0, 30.0
Parameters = Mapping[str, Any]


class Jobs:
    """Jobs in one namespace of BigQuery; the client is created on first use."""

    def __init__(
        self, namespace: Namespace, endpoint: str = "", max_bytes_billed: int = 0, retry_s: float = 600.0
    ) -> None:
        self.namespace, self.max_bytes_billed = namespace, max_bytes_billed
        self._endpoint = endpoint
        self.retry = Retry(predicate=is_transient, initial=FIRST_DELAY_S, maximum=MOST_DELAY_S, timeout=retry_s)
        self._delay_s = min(FIRST_DELAY_S, retry_s / 10)
        self._client: Any = None

    @property
    def client(self) -> Any:
        """Return the official client. Raises SettingsError when there are no credentials."""
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _connect(self) -> Any:
        target = {"project": self.namespace.project, "location": self.namespace.location}
        options = {"api_endpoint": self._endpoint} if self._endpoint else None
        return bigquery.Client(**target, credentials=credentials(self._endpoint), client_options=options)

    def rows(
        self, sql: str, values: Parameters | None = None, *, step: str, contract: StreamContract | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a query, or of the last statement of a script."""
        job = self.query(f"{step}-{uuid.uuid4().hex}", sql, values, step=step, contract=contract)
        with self.translate_errors(step):
            return [tuple(row.values()) for row in job.result(retry=self.retry, job_retry=None)]

    def table(self, sql: str, *, step: str, most_rows: int | None = None) -> Any:
        """Return the rows of a query, or the first of them, as an Arrow table."""
        job = self.query(f"{step}-{uuid.uuid4().hex}", sql, step=step)
        with self.translate_errors(step):
            rows = job.result(retry=self.retry, job_retry=None, max_results=most_rows)
            return rows.to_arrow(create_bqstorage_client=False)

    def batches(self, sql: str, *, step: str) -> Iterator[Any]:
        """Yield the rows of a query as Arrow batches, a page at a time."""
        job = self.query(f"{step}-{uuid.uuid4().hex}", sql, step=step)
        with self.translate_errors(step):
            yield from job.result(retry=self.retry, job_retry=None, page_size=PAGE_ROWS).to_arrow_iterable()

    def query(
        self,
        name: str,
        sql: str,
        values: Parameters | None = None,
        *,
        step: str,
        contract: StreamContract | None = None,
        holds: Callable[[Any], bool] | None = None,
        most: int | None = None,
    ) -> Any:
        """Run a query or script once under a name, as `run` does; `most` overrides the bound on billed bytes."""
        options: dict[str, Any] = {"query_parameters": parameters(values or {}), "labels": labels(step, contract)}
        if bound := most or self.max_bytes_billed:
            options["maximum_bytes_billed"] = bound
        config = bigquery.QueryJobConfig(**options)

        def start(job_id: str) -> Any:
            return self.client.query(sql, job_id=job_id, job_config=config, retry=self.retry, job_retry=None)

        return self.run(name, start, step=step, holds=holds)

    def load(
        self, name: str, uris: Sequence[str], table: str, schema: Sequence[Any], *, contract: StreamContract
    ) -> Any:
        """Load Parquet files of the lake into a new table, once; a load is repeated when its table was deleted."""
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
                return False  # the table expired, or was deleted

        return self.run(name, start, step="load", holds=holds)

    def run(
        self, name: str, start: Callable[[str], Any], *, step: str, holds: Callable[[Any], bool] | None = None
    ) -> Any:
        """Run a job under `<name>-<attempt>`: wait for a running job, adopt a finished one, else try the next attempt.

        Args:
            name: identifies the job.
            start: submits the job under an id.
            step: the step that errors name.
            holds: returns True if the result of a job that another process ran still exists.

        Raises:
            ServiceUnavailable: BigQuery can't be reached, or failed several times with a transient error.
            BudgetExceeded: the job would bill too many bytes, or a quota is used up.
            AccessDenied: this process lacks a permission.
            WarehouseRefused: BigQuery rejected the job for another reason.
        """
        failures = 0
        for attempt in range(1, MOST_IDS):
            job, adopted = self._submit(start, f"millrace-{name}-{attempt}", step)
            error = self._wait(job, step)
            if error is None and (not adopted or holds is None or holds(job)):
                return job
            if adopted:
                continue  # the adopted job failed, or its result was deleted
            failures += 1
            if error is not None and (not is_transient(error) or failures == ATTEMPTS):
                raise translate(error, step, self._endpoint) from error
            time.sleep(random.uniform(0.5, 1) * min(MOST_DELAY_S, self._delay_s * 2**failures))  # noqa: S311  no secret
        raise WarehouseRefused(f"{step}: {MOST_IDS} jobs named millrace-{name}-… failed; see them in BigQuery")

    def _submit(self, start: Callable[[str], Any], job_id: str, step: str) -> tuple[Any, bool]:
        """Return the job under this id, and True if another process submitted it before."""
        with self.translate_errors(step):
            try:
                return start(job_id), False
            except exceptions.Conflict:
                log.info("bigquery.job_adopted", extra={"event": "bigquery.job_adopted", "fields": {"job": job_id}})
                return self.client.get_job(job_id, retry=self.retry), True

    def _wait(self, job: Any, step: str) -> Exception | None:
        """Wait for the end of a job and return the error of a failed one. Raises when the end can't be read."""
        try:
            job.result(retry=self.retry, **({"job_retry": None} if job.job_type == "query" else {}))
        except (exceptions.GoogleAPICallError, *UNREACHABLE, GoogleAuthError) as error:
            with self.translate_errors(step):
                job.reload(retry=self.retry)
            if job.error_result:
                return error
            raise translate(error, step, self._endpoint) from error
        return None

    def estimate(self, sql: str, values: Parameters, step: str) -> int:
        """Return the most bytes that a statement would read, without running it."""
        config = bigquery.QueryJobConfig(
            dry_run=True, use_query_cache=False, query_parameters=parameters(values), labels={"millrace_step": step}
        )
        with self.translate_errors(step):
            return int(self.client.query(sql, job_config=config, retry=self.retry).total_bytes_processed or 0)

    @contextmanager
    def translate_errors(self, action: str) -> Iterator[None]:
        """Raise the platform's errors, which name the action, once the client has stopped retrying."""
        try:
            yield
        except (exceptions.GoogleAPICallError, *UNREACHABLE, GoogleAuthError) as error:
            raise translate(error, action, self._endpoint) from error

    def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            self._client.close()
            self._client = None


def reasons(error: Exception) -> set[str]:
    """Return BigQuery's reasons of an error."""
    return {str(e.get("reason")) for e in getattr(error, "errors", None) or [] if isinstance(e, dict)}


def is_transient(error: Exception) -> bool:
    """Return True if BigQuery's documentation says to try again.

    The client turns unknown reasons of a failed job into a 500; so a status only counts when it is that of a response.
    """
    if DML_QUEUE_FULL.search(str(error)):
        return True
    codes = reasons(error)
    has_status = not codes or getattr(error, "response", None) is not None
    return bool(codes & TRANSIENT) or (has_status and isinstance(error, UNREACHABLE))


def translate(error: Exception, action: str, endpoint: str = "") -> MillraceError:
    """Return the platform's error for BigQuery's."""
    message = getattr(error, "message", None) or str(error)
    if is_denied(error):
        resource = DENIED_RESOURCE.search(message)
        return denied(error, resource[1] if resource else action, "bigquery.tables.getData", endpoint)
    if is_transient(error):
        return ServiceUnavailable(f"BigQuery did not serve {action}: {message}")
    if reasons(error) & OVER_BUDGET:
        return BudgetExceeded(
            f"BigQuery rejected {action}: {message}"
            " Raise warehouse.max_bytes_billed, or partition the stream by its key"
        )
    return WarehouseRefused(f"BigQuery rejected {action}: {message}")


def labels(step: str, contract: StreamContract | None) -> dict[str, str]:
    """Return the labels by which a bill is divided."""
    step_label = {"millrace_step": step}
    if contract is None:
        return step_label
    return step_label | {"millrace_source": contract.source, "millrace_stream": contract.stream}


def parameters(values: Parameters) -> list[Any]:
    """Return named query parameters of Python values; a non-empty list of dictionaries is an array of records."""
    return [_parameter(name, value) for name, value in values.items()]


def _parameter(name: str | None, value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        items = [bigquery.StructQueryParameter(None, *parameters(item)) for item in value]
        return bigquery.ArrayQueryParameter(name, "STRUCT", items)
    if isinstance(value, list):
        return bigquery.ArrayQueryParameter(name, "STRING", value)
    kinds = {bool: "BOOL", int: "INT64", str: "STRING", datetime: "TIMESTAMP", type(None): "INT64"}
    return bigquery.ScalarQueryParameter(name, kinds[type(value)], value)
