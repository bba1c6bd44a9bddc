"""The contract of a stream as a type: its columns, key, order, partition, deletes and expectations."""

import json
import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from millrace.contracts.order import CDC_COLUMNS, OrderKind, check_order, order_kind
from millrace.contracts.row_rules import RULES, row_rule
from millrace.contracts.secret import SecretReference
from millrace.domain.column_names import case_twins, is_reserved, suffixed
from millrace.domain.quality import QUARANTINE, Expected
from millrace.domain.types import DECIMAL, Column, Frozen, Identifier, Name

DURATION = re.compile(r"^(\d+)([mhd])$")
SECONDS = {"m": 60, "h": 3600, "d": 86400}
UNCLUSTERABLE = ("float64", "json", "bytes")
UNAVAILABLE = "__debezium_unavailable_value"  # https://debezium.io/documentation/reference/connectors/postgresql.html
MOST_CLUSTER_COLUMNS = 4  # https://cloud.google.com/bigquery/docs/clustered-tables#limitations


class Evolution(Frozen):
    """The treatment of columns that the contract lacks, and of types that differ from it.

    `widen` changes int64 to float64 or a decimal, a decimal to one with more digits, and date to timestamp.
    """

    new_columns: Literal["add", "ignore", "quarantine"] = "add"
    type_changes: Literal["widen", "quarantine"] = "quarantine"


class Partition(Frozen):
    """The partitioning of a stream's table: by a time column, or by a hash bucket of the key."""

    column: Identifier | None = None
    by: Literal["day", "month", "year"] = "day"
    hash_buckets: Annotated[int, Field(ge=2, le=4000)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Partition":
        if (self.column is None) == (self.hash_buckets is None):
            raise ValueError("give either `column` (and `by`) or `hash_buckets`")
        return self


class StreamContract(Frozen):
    """One stream of a source; rows are merged by `key` in the order of `order`.

    An empty `key` means `position`: (object, generation, row) is the key. `order_as` says what the text of an order
    column means, so that it sorts as that; for Airbyte's log columns it is known. `max_bytes_billed` limits the bytes
    that one merge reads on BigQuery, in place of the setting `warehouse.max_bytes_billed`. `unchanged` is the text that
    a file has in place of a value that an update did not change; a change stream with a key has Debezium's unless it
    says another, and an empty text means none.

    `refresh` says whether the rows of older generations of a cdc or append stream go when Airbyte has read a newer one
    to its end; without it they do in a change stream, and in an append stream if Airbyte deleted their files.
    `empty_snapshot` says whether a snapshot without rows, or a refresh that removes records and found none, empties the
    table: by default it does.
    """

    source: Name
    stream: Name
    description: str = ""
    owner: str = ""
    channel: SecretReference | None = None
    mode: Literal["cdc", "append", "overwrite"] = "append"
    key: tuple[Identifier, ...] = ()
    order: tuple[Identifier, ...] = ()
    order_as: dict[Identifier, OrderKind] = {}  # noqa: RUF012  pydantic copies defaults
    partition: Partition | None = None
    cluster: tuple[Identifier, ...] = ()
    deletes: Literal["soft", "ignore"] = "soft"
    refresh: Literal["remove", "retain"] | None = None
    empty_snapshot: Literal["replace", "refuse"] | None = None
    unchanged: str | None = None
    evolution: Evolution = Evolution()
    freshness: str | None = None
    max_bytes_billed: Annotated[int, Field(ge=1)] | None = None
    expectations: tuple[Expected, ...] = ()
    columns: dict[Identifier, Column]

    @field_validator("key", mode="before")
    @classmethod
    def _position(cls, value: object) -> object:
        return () if value == "position" else value

    @field_validator("freshness")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        if value is not None and not DURATION.match(value):
            raise ValueError(f"{value!r} is not a duration; write 90m, 36h or 7d")
        return value

    @model_validator(mode="after")
    def _check_fields(self) -> "StreamContract":
        self._check_names()
        for field in ("key", "cluster"):
            for name in getattr(self, field):
                if name not in self.columns:
                    raise ValueError(f"{field} names {name!r}, which is not among the columns")
        for name in self.key:
            if self.columns[name].nullable:
                raise ValueError(f"key column {name!r} must say `nullable: false`")
            if self.columns[name].type in ("float64", "json"):
                raise ValueError(f"key column {name!r} can't be {self.columns[name].type}")
        for name in self.order:
            if name not in self.order_types:
                raise ValueError(f"order names {name!r}, which is neither a column nor a CDC column")
        check_order(self.order, self.order_types, self.order_as)
        if self.mode == "cdc" and not self.order:
            raise ValueError("a cdc stream needs `order`: the log columns that order its changes")
        for name, column in self.columns.items():
            if column.any_type and column.type != "string":
                raise ValueError(f"column {name!r}: `any_type` is for strings, and it is {column.type}")
            if column.rounding != "exact" and not DECIMAL.match(column.type):
                raise ValueError(f"column {name!r}: `rounding` is for decimals, and it is {column.type}")
            if column.rounding != "exact" and name in (*self.key, *self.order):
                raise ValueError(f"column {name!r}: a column of `key` or `order` can't be rounded; remove `rounding`")
        if self.unchanged and (not self.key or self.mode == "overwrite"):
            raise ValueError(
                f"unchanged: {self.unchanged!r} stands for the value of the row before, which only streams with a key"
                " and of mode cdc or append have; leave it out"
            )
        if self.refresh and self.mode == "overwrite":
            raise ValueError("refresh: each snapshot of an overwrite stream replaces the older ones; leave it out")
        self._check_cluster()
        for expected in self.expectations:
            self._check_expectation(expected)
        if self.partition and self.partition.hash_buckets and not self.key:
            raise ValueError("partition: `hash_buckets` are of the key, and the stream's key is its position")
        if self.partition and self.partition.column:
            self._check_partition(self.partition.column)
        return self

    def _check_names(self) -> None:
        """Refuse columns that would meet another column of the table."""
        for name in self.columns:
            if is_reserved(name):
                raise ValueError(
                    f"column {name!r} has a name that the platform, Airbyte or BigQuery keeps for itself; declare it as"
                    f" {suffixed(name)!r}, its name in the table"
                )
        if twins := case_twins([*self.columns, *self.order]):
            raise ValueError(
                f"columns {twins[0]!r} and {twins[1]!r} differ only by case, which tables ignore; declare"
                f" {twins[1]!r} as {suffixed(twins[1])!r}, its name in the table"
            )
        for field in ("key", "order"):
            if doubled := _doubled(getattr(self, field)):
                raise ValueError(f"{field} names {doubled!r} twice; name each column once")

    def _check_expectation(self, expected: Expected) -> None:
        for name in expected.columns:
            if name not in self.columns:
                raise ValueError(f"expectations: {expected.type} names {name!r}, which is not among the columns")
        if expected.severity == QUARANTINE and row_rule(expected) is None:
            raise ValueError(
                f"expectations: {expected.type} does not test single rows, so it can't quarantine any; use one of"
                f" {', '.join(RULES)}, or the severity stop or warn"
            )

    def _check_cluster(self) -> None:
        if len(self.cluster) > MOST_CLUSTER_COLUMNS:
            raise ValueError(f"cluster names {len(self.cluster)} columns; at most {MOST_CLUSTER_COLUMNS} are allowed")
        if doubled := _doubled(self.cluster):
            raise ValueError(f"cluster names {doubled!r} twice; name each column once")
        for name in self.cluster:
            if self.columns[name].type in UNCLUSTERABLE:
                raise ValueError(f"cluster column {name!r} can't be {self.columns[name].type}")

    def _check_partition(self, column: str) -> None:
        if column not in self.columns:
            raise ValueError(f"partition names {column!r}, which is not among the columns")
        if self.columns[column].type not in ("date", "timestamp"):
            raise ValueError(f"partition column {column!r} must be a date or a timestamp")
        if self.deletes == "soft" and self.mode == "cdc" and column not in self.key:
            raise ValueError(
                f"partition column {column!r} is not part of the key, but a delete carries only the key;"
                " partition by `hash_buckets` instead"
            )

    def with_columns(self, columns: dict[str, Column]) -> "StreamContract":
        """Return the contract with these columns added or in place of its own."""
        return self.model_copy(update={"columns": self.columns | columns}) if columns else self

    @property
    def order_types(self) -> dict[str, str]:
        """Return the type of every column that may order rows."""
        return CDC_COLUMNS | {name: column.type for name, column in self.columns.items()}

    @property
    def order_kinds(self) -> dict[str, str]:
        """Return how the values of each order column sort: as their type, or as the meaning of their text."""
        return {name: order_kind(name, self.order_types[name], self.order_as) for name in self.order}

    @property
    def placeholders(self) -> dict[str, str]:
        """Return the text that stands for an unchanged value, by column: as JSON in a column of JSON."""
        default = UNAVAILABLE if self.mode == "cdc" and self.key else ""
        text = default if self.unchanged is None else self.unchanged
        texts = {"string": text, "json": json.dumps(text)} if text else {}
        fixed = (*self.key, *self.order)
        return {n: texts[c.type] for n, c in self.columns.items() if c.type in texts and n not in fixed}

    def removes_older(self, older_removed: bool) -> bool:
        """Return true when a whole generation removes the rows of older ones.

        `older_removed`: Airbyte deleted the objects of the older ones.
        """
        if self.mode == "overwrite" or self.deletes == "ignore":
            return False
        return self.refresh == "remove" if self.refresh else self.mode == "cdc" or older_removed

    @property
    def obeys_empty_snapshots(self) -> bool:
        """Return true when a snapshot without rows, or a refresh that found none, empties the table."""
        replaces = self.mode == "overwrite" or self.removes_older(older_removed=True)
        return replaces and self.deletes == "soft" and self.empty_snapshot != "refuse"

    @property
    def reads_deletes(self) -> bool:
        """Return true when the files carry delete rows."""
        return self.mode == "cdc" and self.deletes == "soft"

    @property
    def day_column(self) -> str | None:
        """Return the partition column if the key contains it; then no row changes its day, and a day can be rebuilt."""
        column = self.partition.column if self.partition else None
        return column if column in self.key else None

    @property
    def freshness_s(self) -> int | None:
        """Return the seconds within which new data is expected."""
        match = DURATION.match(self.freshness or "")
        return int(match[1]) * SECONDS[match[2]] if match else None

    @property
    def id(self) -> str:
        """Return `<source>.<stream>`, the id in messages and commands."""
        return f"{self.source}.{self.stream}"


def _doubled(names: tuple[str, ...]) -> str | None:
    return next((name for place, name in enumerate(names) if name in names[:place]), None)
