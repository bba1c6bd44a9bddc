"""A request or statement for the emulator in; BigQuery's 403 for a caller that lacks a permission out.

BigQuery looks at permissions before it looks whether a dataset to create exists. For what does not exist it answers
404. https://cloud.google.com/bigquery/docs/access-control lists the permissions; the words are those of BigQuery.
"""

import contextvars
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from local_bigquery.catalog import datasets, names, tables
from local_bigquery.errors import BigQueryError
from local_bigquery.jobs import load, query, runner
from sqlglot import exp

from local.servers.rights.policy import Policy, Required, bearer_email, first_denied

PATH = re.compile(r"(?:/upload)?/bigquery/v2/projects/([^/]+)(?:/(datasets|jobs|queries))?(?:/([^/]+))?(?:/(.+))?$")
VERBS = {"GET": "get", "POST": "create", "PATCH": "update", "PUT": "update", "DELETE": "delete"}
authorization: contextvars.ContextVar[str] = contextvars.ContextVar("authorization", default="")
Json = dict[str, Any]
Scope = dict[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


def enforce(file: Path) -> Callable[[Application], Application]:
    """Check statements, loads and requests against a file of rights; return what wraps the application."""
    guard = Guard(Policy.load(file))
    statement, run_load = query._statement, runner.HANDLERS["load"]

    def checked_statement(cur: Any, tree: Any, context: Any, *rest: Any) -> Any:
        guard.check(of_statement(tree, context))
        return statement(cur, tree, context, *rest)

    def checked_load(cursor: Any, config: Any, upload: Any) -> Any:
        target = config.destinationTable
        guard.check(of_load(*tables.reference(target)))
        return run_load(cursor, config, upload)

    query._statement, runner.HANDLERS["load"] = checked_statement, checked_load
    load.run = checked_load
    return guard.wrap


class Guard:
    """Rejects what the caller lacks a permission for; remembers who made which dataset and job."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self._jobs = policy, dict[str, str]()

    def wrap(self, application: Application) -> Application:
        """Return the application with the checks of the REST API before it."""

        async def checked(scope: Scope, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await application(scope, receive, send)
                return
            headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
            authorization.set(headers.get("authorization", ""))
            body, messages = await _read(receive)
            try:
                created = self._check_request(scope, body)
            except BigQueryError as error:
                await _answer(send, error)
                return
            await application(scope, _replay(messages, receive), send)
            if created and datasets.exists(*created):
                self._policy.owners.setdefault(_dataset(*created), _caller())

        return checked

    def check(self, required: Iterator[Required]) -> None:
        """Raise BigQuery's error for the first permission that the caller lacks."""
        if denial := first_denied(self._policy, _caller(), required):
            raise BigQueryError("accessDenied", words(denial.permission, denial.resource))

    def _check_request(self, scope: Scope, body: Json) -> tuple[str, str] | None:
        """Check a request; return the dataset that it creates."""
        match = PATH.match(scope["path"])
        if match is None:
            return None
        project, kind, name, rest = match.groups()
        method, parameters = scope["method"], scope["query_string"].decode()
        if not _caller():
            raise BigQueryError("accessDenied", "Request is missing required authentication credential.")
        if kind == "datasets":
            self.check(_of_dataset(method, project, name, rest or "", body))
            reference = body.get("datasetReference") or {}
            return (project, str(reference.get("datasetId"))) if method == "POST" and not name else None
        if method == "POST" and kind and not rest:
            self.check(iter([("bigquery.jobs.create", f"projects/{project}")]))
            job = (body.get("jobReference") or {}).get("jobId") or ""
            self._jobs.setdefault(f"{project}/{job}", _caller())
        elif kind == "jobs" and not name:
            needed = "listAll" if "allUsers=true" in parameters else "create"
            self.check(iter([(f"bigquery.jobs.{needed}", f"projects/{project}")]))
        elif kind and self._jobs.get(f"{project}/{name}", _caller()) != _caller():
            self.check(iter([("bigquery.jobs.get", f"projects/{project}")]))
        return None


def _of_dataset(method: str, project: str, name: str | None, rest: str, body: Json) -> Iterator[Required]:
    """Yield the permissions of a request for a dataset or its tables; none for what does not exist."""
    if name is None:
        if method == "POST":
            yield "bigquery.datasets.create", f"projects/{project}"
        return
    if not datasets.exists(project, name):
        return
    dataset = _dataset(project, name)
    if not rest:
        yield f"bigquery.datasets.{VERBS[method]}", dataset
    elif rest == "tables":
        yield f"bigquery.tables.{'list' if method == 'GET' else 'create'}", dataset
    elif rest.startswith("tables/"):
        table, _, part = rest.removeprefix("tables/").partition("/")
        if tables.exists(project, name, table):
            action = {"data": "getData", "insertAll": "updateData"}.get(part, VERBS[method])
            yield f"bigquery.tables.{action}", f"{dataset}/tables/{table}"


def of_load(project: str, dataset: str, table: str) -> Iterator[Required]:
    """Yield the permissions of a load into a table."""
    parent = _dataset(project, dataset)
    yield "bigquery.tables.create", parent
    yield "bigquery.tables.updateData", f"{parent}/tables/{table}"


def of_statement(tree: Any, context: Any) -> Iterator[Required]:
    """Yield the permissions of one SQL statement, those on its target first."""
    kind = str(tree.args.get("kind") or "").upper()
    target = names.target(tree)
    if kind == "SCHEMA" and target is not None:
        verb = "create" if isinstance(tree, exp.Create) else "delete"
        project, dataset = target.catalog or context.project_id, target.db or target.name
        resource = f"projects/{project}" if verb == "create" else _dataset(project, dataset)
        yield f"bigquery.datasets.{verb}", resource
        return
    own = _reference(target, context) if target is not None and not tree.find(exp.TemporaryProperty) else None
    if own:
        yield from _of_target(tree, own)
    local = {cte.alias_or_name.casefold() for cte in tree.find_all(exp.CTE)} | set(context.temporary)
    for table in tree.find_all(exp.Table):
        if table is target or (not table.db and table.name.casefold() in local):
            continue
        if reference := _reference(table, context):
            yield from _of_source(*reference)


def _of_target(tree: Any, own: tuple[str, str, str]) -> Iterator[Required]:
    dataset, table = _dataset(*own[:2]), f"{_dataset(*own[:2])}/tables/{own[2]}"
    if isinstance(tree, exp.Create):
        yield "bigquery.tables.create", dataset
        if tree.args.get("replace") and tables.exists(*own):
            yield "bigquery.tables.update", table
            yield "bigquery.tables.updateData", table
    elif isinstance(tree, exp.Drop):
        if tables.exists(*own):
            yield "bigquery.tables.delete", table
    elif isinstance(tree, exp.Alter):
        yield "bigquery.tables.get", table
        yield "bigquery.tables.update", table
    else:
        yield "bigquery.tables.updateData", table
        if not isinstance(tree, exp.Insert):
            yield "bigquery.tables.getData", table


def _of_source(project: str, dataset: str, table: str) -> Iterator[Required]:
    if dataset.upper() == "INFORMATION_SCHEMA" or table.upper().startswith("INFORMATION_SCHEMA"):
        return  # it shows a caller the tables that it may list
    if datasets.exists(project, dataset):
        yield "bigquery.tables.getData", f"{_dataset(project, dataset)}/tables/{table}"


def _reference(table: Any, context: Any) -> tuple[str, str, str] | None:
    reference = names.reference(table, context.project_id, context.dataset_id)
    return reference if all(reference) else None


def words(permission: str, resource: str) -> str:
    """Return BigQuery's message for a permission that is lacking."""
    parts = resource.split("/")
    project = parts[1]
    if len(parts) == 2:
        return f"Access Denied: Project {project}: User does not have {permission} permission in project {project}."
    if len(parts) == 4:
        name = f"{project}:{parts[3]}"
        return f"Access Denied: Dataset {name}: Permission {permission} denied on dataset {name} (or it may not exist)."
    name = f"{project}:{parts[3]}.{parts[5]}"
    return f"Access Denied: Table {name}: Permission {permission} denied on table {name} (or it may not exist)."


def _dataset(project: str, dataset: str) -> str:
    return f"projects/{project}/datasets/{dataset}"


def _caller() -> str:
    try:
        return bearer_email(authorization.get())
    except ValueError:
        return ""


async def _read(receive: Any) -> tuple[Json, list[Json]]:
    """Return a request's body as JSON, if it is, and its messages, which the application reads again."""
    messages: list[Json] = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    raw = b"".join(message.get("body", b"") for message in messages)
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        body = {}
    return (body if isinstance(body, dict) else {}), messages


def _replay(messages: list[Json], receive: Any) -> Callable[[], Awaitable[Json]]:
    waiting = iter(messages)

    async def again() -> Json:
        return next(waiting, None) or await receive()

    return again


async def _answer(send: Any, error: BigQueryError) -> None:
    body = json.dumps(error.response()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
