"""Suites of expectations as plain data: one YAML file per mart."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from contracts.errors import ContractError
from contracts.stream import Frozen, Identifier


class Expected(Frozen):
    """One expectation: Great Expectations' type and its arguments; `stop` keeps the marts as they were."""

    type: Annotated[str, Field(pattern=r"^expect_[a-z0-9_]+$")]
    severity: Literal["stop", "warn"] = "stop"
    args: dict[str, Any] = Field(default_factory=dict)


class Suite(Frozen):
    """The expectations of one mart."""

    mart: Identifier
    expectations: Annotated[tuple[Expected, ...], Field(min_length=1)]


def load_suites(directory: Path) -> list[Suite]:
    """All suites of a directory.

    Raises:
        ContractError: a file is wrong, or there is none; the message names it.
    """
    suites = []
    for path in sorted(directory.glob("*.yaml")):
        try:
            suite = Suite.model_validate(yaml.safe_load(path.read_text()))
        except (ValidationError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ContractError(f"{path}: {error}") from None
        if suite.mart != path.stem:
            raise ContractError(f"{path.name}: is for mart {suite.mart!r}; name the file {suite.mart}.yaml")
        suites.append(suite)
    if not suites:
        raise ContractError(f"no suites in {directory}; a gate without expectations would let everything pass")
    return suites
