"""The basic types: names, columns, and the base class of every type that crosses a boundary."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

IDENTIFIER = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")
Identifier = Annotated[str, Field(pattern=IDENTIFIER.pattern)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]

DECIMAL = re.compile(r"^decimal\((\d{1,2}),(\d{1,2})\)$")
DECIMAL_DIGITS = 76
PLAIN_TYPES = ("string", "int64", "float64", "bool", "date", "timestamp", "json", "bytes")


class Frozen(BaseModel):
    """An immutable value that rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(Frozen):
    """One column of a stream; with `any_type`, values of every type are converted to text.

    `rounding` of a decimal: a number with more digits after the point is quarantined (`exact`), or rounded to the
    nearest one, halves to an even last digit.
    """

    type: str
    any_type: bool = False
    rounding: Literal["exact", "half_even"] = "exact"
    nullable: bool = True
    description: str = ""

    @field_validator("type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        value = value.replace(" ", "")
        match = DECIMAL.match(value)
        if match and not (1 <= int(match[1]) <= DECIMAL_DIGITS and int(match[2]) <= int(match[1])):
            raise ValueError(
                f"{value}: a decimal has 1 to {DECIMAL_DIGITS} digits, and no more of them after the point"
            )
        if value in PLAIN_TYPES or match:
            return value
        raise ValueError(f"unknown type {value!r}; use one of {', '.join(PLAIN_TYPES)} or decimal(p,s)")
