"""Settings: both environments have the same keys, variables override the file, and errors name the key."""

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
    names: set[str] = set()
    for name, value in data.items():
        names |= keys(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {prefix + name}
    return names


def keys_of_tree(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Return the dotted names of all settings of the tree."""
    names: set[str] = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        names |= keys_of_tree(kind, f"{prefix}{name}.") if nested else {prefix + name}  # type: ignore[arg-type]
    return names


def config(folder: Path, monkeypatch: pytest.MonkeyPatch, old: str = "", new: str = "") -> Path:
    """A copy of the local settings with one change, made the current file."""
    text = (ROOT / "config" / "local.toml").read_text()
    assert old in text
    file = folder / "place.toml"
    file.write_text(text.replace(old, new, 1))
    monkeypatch.setenv("MILLRACE_CONFIG", str(file))
    return file


@pytest.mark.parametrize("place", PLACES)
def test_environment_loads_and_has_every_key(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_CONFIG", place)
    assert load_settings().lake.url.startswith("gs://")
    configured = keys(tomllib.loads((ROOT / "config" / f"{place}.toml").read_text()))
    assert configured == keys_of_tree(Settings)


def test_local_is_the_default_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    unnamed = load_settings()
    monkeypatch.setenv("MILLRACE_CONFIG", "local")
    assert unnamed == load_settings()


def test_variable_overrides_one_key_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_settings()
    monkeypatch.setenv("MILLRACE_LAKE__URL", "gs://other-lake")
    monkeypatch.setenv("MILLRACE_BEAM__DATAFLOW__REGION", "us-east1")
    monkeypatch.setenv("MILLRACE_WAREHOUSE__MAX_BYTES_BILLED", "3")
    after = load_settings()
    assert (after.lake.url, after.lake.endpoint) == ("gs://other-lake", before.lake.endpoint)
    assert after.beam.dataflow.region == "us-east1"
    assert after.beam.batch_max_files == before.beam.batch_max_files
    assert after.warehouse.max_bytes_billed == 3


def test_unrelated_variables_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_WORK_POOL", "gke")
    monkeypatch.setenv("MILLRACE_STATE", "/somewhere")
    assert load_settings().pools.default == "millrace"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
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
def test_invalid_key_is_named_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, reason: str
) -> None:
    file = config(tmp_path, monkeypatch, old, new)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(file) in str(refused.value)
    assert reason in str(refused.value)


def test_file_in_another_encoding_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = config(tmp_path, monkeypatch)
    file.write_bytes(b'[lake]\nurl = "caf\xe9"')
    with pytest.raises(SettingsError, match=f"{file} is not TOML"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MILLRACE_LAEK__URL", "gs://lake", "no such setting: MILLRACE_LAEK__URL; the sections are lake, warehouse"),
        ("MILLRACE_LAKE__URLL", "gs://lake", "lake.urll: Extra inputs"),
        ("MILLRACE_LAKE__URL", "lake", "lake.url: String should match"),
        ("MILLRACE_LAKE", "gs://lake", "MILLRACE_<SECTION>__<KEY>"),
        ("MILLRACE_WAREHOUSE__MAX_BYTES_BILLED", "many", "warehouse.max_bytes_billed: Input should be a valid integer"),
    ],
)
def test_invalid_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert reason in str(refused.value)


@pytest.mark.parametrize("name", ["moon", "/nowhere/place.toml"])
def test_missing_file_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("MILLRACE_CONFIG", name)
    with pytest.raises(SettingsError, match=f"no settings file .*{Path(name).stem}.toml; set MILLRACE_CONFIG"):
        load_settings()
