"""Settings: both places have the same keys, variables go before the file, and what is wrong is named."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from millrace.domain.errors import SettingsError
from millrace.settings import Settings, load_settings
from tests.support.servers import ROOT

PLACES = ("local", "gcp")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MILLRACE_"):
            monkeypatch.delenv(name)


def keys(data: dict[str, Any], prefix: str = "") -> set[str]:
    """Dotted names of all values of a table."""
    found: set[str] = set()
    for name, value in data.items():
        found |= keys(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
    return found


def keys_of_tree(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Dotted names of all settings that the tree knows."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        found |= keys_of_tree(kind, f"{prefix}{name}.") if nested else {prefix + name}  # type: ignore[arg-type]
    return found


def config(folder: Path, monkeypatch: pytest.MonkeyPatch, old: str = "", new: str = "") -> Path:
    """A copy of the local settings with one change, made the current file."""
    text = (ROOT / "config" / "local.toml").read_text()
    assert old in text
    file = folder / "place.toml"
    file.write_text(text.replace(old, new, 1))
    monkeypatch.setenv("MILLRACE_CONFIG", str(file))
    return file


@pytest.mark.parametrize("place", PLACES)
def test_a_place_loads_and_says_every_key_there_is(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_CONFIG", place)
    assert load_settings().lake.url.startswith("gs://")
    said = keys(tomllib.loads((ROOT / "config" / f"{place}.toml").read_text()))
    assert said == keys_of_tree(Settings)


def test_local_is_the_place_when_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    unnamed = load_settings()
    monkeypatch.setenv("MILLRACE_CONFIG", "local")
    assert unnamed == load_settings()


def test_a_variable_goes_before_the_file_and_leaves_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_settings()
    monkeypatch.setenv("MILLRACE_LAKE__URL", "gs://other-lake")
    monkeypatch.setenv("MILLRACE_BEAM__DATAFLOW__REGION", "us-east1")
    monkeypatch.setenv("MILLRACE_WAREHOUSE__MAX_BYTES_BILLED", "3")
    after = load_settings()
    assert (after.lake.url, after.lake.endpoint) == ("gs://other-lake", before.lake.endpoint)
    assert after.beam.dataflow.region == "us-east1"
    assert after.beam.batch_max_files == before.beam.batch_max_files
    assert after.warehouse.max_bytes_billed == 3


def test_other_variables_of_the_project_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_WORK_POOL", "gke")
    monkeypatch.setenv("MILLRACE_STATE", "/somewhere")
    assert load_settings().pools.default == "millrace"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('url = "gs://millrace-lake"\n', "", "lake.url: Field required"),
        ('url = "gs://millrace-lake"', 'url = "s3://lake"', "lake.url: String should match"),
        ("poll_s = 0.5", 'poll_s = "often"', "airbyte.poll_s: Input should be a valid number"),
        ("poll_s = 0.5", "poll_s = -1", "airbyte.poll_s: Input should be greater"),
        ("poll_s = 0.5", "pol_s = 0.5", "airbyte.pol_s: Extra inputs"),
        ("max_num_workers = 1", "max_num_workers = 0", "beam.dataflow.max_num_workers: "),
        ("[pools]", "[pool]", "pools: Field required; pool: Extra"),
        ("[pools]", "[pools", "is not TOML"),
    ],
)
def test_a_key_that_is_missing_misspelt_or_malformed_is_named_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, why: str
) -> None:
    file = config(tmp_path, monkeypatch, old, new)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(file) in str(refused.value)
    assert why in str(refused.value)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = config(tmp_path, monkeypatch)
    file.write_bytes(b'[lake]\nurl = "caf\xe9"')
    with pytest.raises(SettingsError, match=f"{file} is not TOML"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("MILLRACE_LAEK__URL", "gs://lake", "no such setting: MILLRACE_LAEK__URL; the sections are lake, warehouse"),
        ("MILLRACE_LAKE__URLL", "gs://lake", "lake.urll: Extra inputs"),
        ("MILLRACE_LAKE__URL", "lake", "lake.url: String should match"),
        ("MILLRACE_LAKE", "gs://lake", "MILLRACE_<SECTION>__<KEY>"),
        ("MILLRACE_WAREHOUSE__MAX_BYTES_BILLED", "many", "warehouse.max_bytes_billed: Input should be a valid integer"),
    ],
)
def test_a_variable_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert why in str(refused.value)


@pytest.mark.parametrize("name", ["moon", "/nowhere/place.toml"])
def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("MILLRACE_CONFIG", name)
    with pytest.raises(SettingsError, match=f"no settings file .*{Path(name).stem}.toml; set MILLRACE_CONFIG"):
        load_settings()
