"""The user's dashboards: the files `dashboards/*.yaml` in; boards, and what is wrong with a file, out."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator

from millrace.dashboards.formats import Format
from millrace.dashboards.style import PALETTE
from millrace.domain.types import Frozen

NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")
Kind = Literal["bar", "line", "dot", "table", "number"]


class Chart(Frozen):
    """The short form: a kind, and the columns that it shows.

    A `bar` is drawn along whichever of `x` and `y` has numbers. `colours` gives values of the column `colour` a colour
    of the palette, in the order of the legend. `label` is the text at the end of a bar, with columns in braces.
    """

    kind: Kind
    x: str = ""
    y: str = ""
    colour: str = Field(default="", validation_alias=AliasChoices("colour", "color"))
    colours: dict[str, str] = Field(default_factory=dict, validation_alias=AliasChoices("colours", "colors"))
    label: str = ""
    x_title: str = ""
    y_title: str = ""
    scale: Literal["linear", "log", "symlog"] = "linear"

    @model_validator(mode="after")
    def _check(self) -> "Chart":
        needed = {"bar": ("x", "y"), "line": ("x", "y"), "dot": ("x", "y"), "number": ("y",)}.get(self.kind, ())
        if missing := [name for name in needed if not getattr(self, name)]:
            raise ValueError(f"a {self.kind} chart needs {' and '.join(missing)}, each the name of a column")
        if unknown := sorted(set(self.colours.values()) - set(PALETTE)):
            raise ValueError(f"no colour is named {unknown[0]!r}; there are {', '.join(PALETTE)}")
        return self

    @property
    def columns(self) -> list[str]:
        """Return the columns that it shows."""
        return [name for name in (self.x, self.y, self.colour) if name]


class Board(Frozen):
    """One chart of the page: the rows of a query on `marts.<table>`, drawn in the short form or by Vega-Lite.

    `text` may name columns of the first row in braces, of the last one as `{last.column}`, and `{rows}`. `columns` are
    those of the table under the chart with their titles, all by default. Instants are shown in `time_zone`.
    """

    name: str
    title: Annotated[str, Field(min_length=1)]
    text: str = ""
    sql: Annotated[str, Field(min_length=1)]
    chart: Chart | None = None
    spec: dict[str, Any] | None = None
    format: dict[str, Format] = Field(default_factory=dict)
    columns: dict[str, str] = Field(default_factory=dict)
    time_zone: str = "UTC"
    order: int = 100

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"no time zone is named {value!r}; write one such as Europe/Berlin")
        return value

    @model_validator(mode="after")
    def _one_form(self) -> "Board":
        if self.chart and self.spec:
            raise ValueError("give either `chart` or `spec`, not both")
        if self.spec and (inside := _data_of(self.spec)):
            raise ValueError(f"spec has {inside}; the rows of `sql` are its data, and no other is read")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """Return the time zone of the instants."""
        return ZoneInfo(self.time_zone)

    @property
    def kind(self) -> str:
        """Return the kind of the short form, `spec`, or `table` when neither is given."""
        return self.chart.kind if self.chart else "spec" if self.spec else "table"


class BrokenBoard(Frozen):
    """A file that is no board, and why."""

    name: str
    title: str
    error: str
    order: int = 0


def load_boards(folder: Path) -> list[Board | BrokenBoard]:
    """Return the board of each file of a folder, by `order` and name; without the folder there are none."""
    boards = [_load(path) for path in sorted(folder.glob("*.yaml")) + sorted(folder.glob("*.yml"))]
    return sorted(boards, key=lambda board: (board.order, board.name))


def _load(path: Path) -> Board | BrokenBoard:
    def broken(why: str) -> BrokenBoard:
        return BrokenBoard(name=re.sub(r"[^a-z0-9_-]", "-", path.stem.lower()), title=path.stem, error=why)

    if not NAME.match(path.stem):
        return broken(f"{path.name}: name the file with small letters, digits, - and _ only")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return broken(f"{path.name} is not YAML: {' '.join(str(error).split())}")
    if not isinstance(content, dict):
        return broken(f"{path.name} is empty; it needs at least `title` and `sql`")
    try:
        return Board.model_validate({**content, "name": path.stem})
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        return broken(f"{path.name}: {'; '.join(faults)}")


def _data_of(spec: Any) -> str:
    """Return where a specification brings data of its own, '' when it does not."""
    if isinstance(spec, list):
        return next((found for item in spec if (found := _data_of(item))), "")
    if not isinstance(spec, dict):
        return ""
    if isinstance(spec.get("data"), dict):
        return "`data`"
    if isinstance(spec.get("url"), str):
        return "a `url`"
    return next((found for item in spec.values() if (found := _data_of(item))), "")
