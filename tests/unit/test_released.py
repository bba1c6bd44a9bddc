"""Files generated from the contracts, and changes that break a released contract."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from millrace.contracts.generated import check, release, stale, write
from millrace.domain.errors import ContractError
from tests.support.command_line import millrace
from tests.support.servers import ROOT

pytestmark = pytest.mark.demo

SOURCE = "sources/airport_ops.yaml"
Change = Callable[[str, str], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the contracts and of the files generated from them."""
    for folder in ("sources", "expectations", "docs/sources", "dbt_project"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("target", "logs"))
    return tmp_path


@pytest.fixture
def change(root: Path) -> Change:
    """Replaces text of the contract, all of it that is the same."""

    def run(old: str, new: str) -> None:
        text = (root / SOURCE).read_text()
        assert old in text
        (root / SOURCE).write_text(text.replace(old, new))

    return run


def test_all_generated_files_are_up_to_date() -> None:
    check(ROOT)


def test_changed_contract_makes_files_stale(root: Path, change: Change) -> None:
    change("freshness: 36h", "freshness: 2d")
    with pytest.raises(ContractError, match=r"_sources.yml, docs/sources/airport_ops.md; run `millrace contracts w"):
        check(root)
    changed = {path.relative_to(root).as_posix() for path in write(root)}
    assert changed == {"docs/sources/airport_ops.md", "dbt_project/models/staging/_sources.yml"}
    check(root)
    sources = yaml.safe_load((root / "dbt_project/models/staging/_sources.yml").read_text())["sources"]
    assert sources[0]["tables"][0]["config"]["freshness"] == {"error_after": {"count": 2, "period": "day"}}


def test_edited_or_leftover_file_is_stale(root: Path) -> None:
    changed, left = (
        root / "expectations/raw/airport_ops.flights.yaml",
        root / "expectations/raw/airport_ops.trains.yaml",
    )
    changed.write_text(changed.read_text().replace("max_value: 1440", "max_value: 9999"))
    left.write_text("stream: airport_ops.trains")
    assert stale(root) == [changed, left]
    write(root)
    assert stale(root) == []
    assert not left.exists()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            "      tailnum: {type: string, description",
            "      tail: {type: string, description",
            "flights: column tailnum is gone",
        ),
        ("distance: {type: int64,", "distance: {type: string,", "flights: column distance was int64 and is string"),
        (
            "temp: {type: float64",
            "temp: {type: int64",
            "weather: column temp was float64 and is int64, which does not hold",
        ),
        (
            "order: [_ab_cdc_lsn]",
            "order: [_ab_cdc_updated_at]",
            "flights: order was _ab_cdc_lsn and is _ab_cdc_updated_at",
        ),
        (
            "key: [flight_date, carrier, flight, origin]",
            "key: [flight_date, flight, carrier, origin]",
            "flights: key was",
        ),
        ("deletes: soft", "deletes: ignore", "flights: deletes was soft and is ignore"),
        ("partition: {column: flight_date, by: month}", "partition: {hash_buckets: 8}", "flights: partition was"),
        ("mode: cdc", "mode: append", "flights: mode was cdc and is append"),
    ],
    ids=["column", "type", "narrower", "order", "key", "deletes", "partition", "mode"],
)
def test_breaking_change_needs_a_new_version(root: Path, change: Change, old: str, new: str, reason: str) -> None:
    change(old, new)
    for command in (check, release):
        with pytest.raises(ContractError, match=f"airport_ops.yaml: {reason}.*raise the file's `version`"):
            command(root)
    change("version: 1\ndescription", "version: 2\ndescription")
    write(root)
    check(root)
    assert [path.name for path in release(root)] == ["airport_ops.yaml"]
    change("version: 2\ndescription", "version: 1\ndescription")
    with pytest.raises(ContractError, match="version 1 is below the released 2"):
        check(root)


def test_compatible_change_needs_no_new_version(root: Path, change: Change) -> None:
    change("distance: {type: int64,", "distance: {type: float64,")
    change("    columns:\n      faa:", "    columns:\n      city: {type: string}\n      faa:")
    change("cluster: [carrier, origin]", "cluster: [carrier]")
    write(root)
    check(root)
    assert release(root)
    assert release(root) == []


def test_removed_stream_or_source_is_rejected(root: Path) -> None:
    text = (root / SOURCE).read_text()
    (root / SOURCE).write_text(text[: text.index("  airports:")])
    with pytest.raises(ContractError, match="stream airports is gone"):
        check(root)
    (root / SOURCE).unlink()
    with pytest.raises(ContractError, match=r"airport_ops.yaml is gone; .* delete .released/airport_ops.yaml too"):
        check(root)


@pytest.mark.parametrize(
    ("expectation", "reason"),
    [
        ("unique, severity: quarantine, args: {column: carrier}", "does not test single rows"),
        ("in_set, args: {column: nope, value_set: [a]}", "names 'nope'"),
        ('in_set, severity: quarantine, args: {column: status, value_set: ["it\'s"]}', "can't be written in every"),
        ("between, severity: quarantine, args: {column: distance, max_value: 1, mostly: 0.9}", "rows with mostly"),
    ],
    ids=["of all rows", "no column", "awkward text", "mostly"],
)
def test_unsupported_expectation_is_rejected(root: Path, change: Change, expectation: str, reason: str) -> None:
    before, bounds = "    expectations:\n      - {type: expect_column_values_to_be_", f"{expectation}}}\n"
    change(f"{before}in_set", f"{before}{bounds}      - {{type: expect_column_values_to_be_in_set")
    with pytest.raises(ContractError, match=reason):
        check(root)


def test_command_prints_errors_and_fails(root: Path, change: Change) -> None:
    def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return millrace("contracts", *arguments, "--root", str(root))

    assert (command("check").returncode, command("check").stderr) == (0, "")
    change("freshness: 36h", "freshness: 2d")
    refused = command("check")
    assert (refused.returncode, refused.stderr[:22]) == (1, "error: ContractError: ")
    assert "docs/sources/airport_ops.md" in command("write").stdout
    assert command("check").returncode == 0
