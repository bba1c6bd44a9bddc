"""The manifest that dbt parsed once, in later runs, in other processes, after changes and after damage."""

import hashlib
import logging
from pathlib import Path
from typing import Any, cast

import pytest

from millrace.domain.errors import ServiceUnavailable
from millrace.lake.store import Lake
from tasks.model import kept_manifests
from tasks.model.dbt import AS_OF, CANDIDATE
from tasks.model.kept_manifests import PREFIX, SUFFIX, KeptManifests
from tests.support.two_parts import MODELS, write_project

FIRST, SECOND = "candidate_0123456789abcdef", "candidate_fedcba9876543210"


class Place:
    """A project, and what dbt gets of it for a candidate."""

    def __init__(self, folder: Path, lake: Lake, log: pytest.LogCaptureFixture) -> None:
        self.folder, self.lake, self.log = folder, lake, log
        self.project = folder / "dbt_project"

    def manifest(self, candidate: str = FIRST, lake: Lake | None = None, **more: str) -> Any:
        from tasks.model.parse import parsed_manifest  # imports dbt, which takes seconds

        environment = {
            CANDIDATE: candidate,
            AS_OF: candidate,
            "MILLRACE_CANDIDATE_PATH": f"{self.folder}/candidates/{candidate}.duckdb",
            "MILLRACE_WAREHOUSE_PATH": f"{self.folder}/warehouse.duckdb",
            **more,
        }
        return parsed_manifest(self.project, environment, candidate, KeptManifests(lake or self.lake))

    def events(self) -> list[str]:
        """Return the events of the manifest since the last call, with the mode of each parse."""
        records = [vars(record) for record in self.log.records if "event" in vars(record)]
        self.log.clear()
        return [f"{r['event']} {r['fields'].get('mode', '')}".strip() for r in records]

    def objects(self) -> list[str]:
        return [info.name for info in self.lake.list(PREFIX)]


@pytest.fixture
def place(tmp_path: Path, lake: Lake, caplog: pytest.LogCaptureFixture) -> Place:
    """Return a project that was parsed once, for another candidate."""
    write_project(tmp_path)
    caplog.set_level(logging.INFO)
    place = Place(tmp_path, lake, caplog)
    forget()
    place.manifest(SECOND)
    assert place.events() == ["model.parsed full"]
    return place


def forget() -> None:
    """Be a process that has parsed nothing yet."""
    kept_manifests._in_process.clear()


def relation(manifest: Any, model: str = "sales") -> str:
    return str(manifest.nodes[f"model.millrace.{model}"].relation_name)


def test_each_candidate_gets_its_own_manifest(place: Place) -> None:
    first, second = place.manifest(FIRST), place.manifest(SECOND)
    assert place.events() == []
    assert (relation(first), relation(second)) == (f'"{FIRST}"."marts"."sales"', f'"{SECOND}"."marts"."sales"')
    first.nodes.clear()
    assert relation(place.manifest(FIRST)) == f'"{FIRST}"."marts"."sales"'
    assert not list(place.folder.glob("candidates/*")), "parsing opens no database"


def test_new_process_takes_it_from_the_lake(place: Place) -> None:
    forget()
    assert relation(place.manifest()) == f'"{FIRST}"."marts"."sales"'
    assert place.events() == []


GARBAGE = b"\x81\xa5nodes\x07"
DAMAGES = {
    "changed": lambda key, content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
    "short": lambda key, content: content[:-9],
    "empty": lambda key, content: b"",
    "unreadable": lambda key, content: hashlib.sha256(key.encode() + GARBAGE).digest() + GARBAGE,
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_manifest_is_parsed_again(place: Place, kind: str) -> None:
    (name,) = place.objects()
    key = name.removeprefix(PREFIX).removesuffix(SUFFIX)
    place.lake.write(name, DAMAGES[kind](key, place.lake.read(name)))
    forget()
    assert relation(place.manifest()) == f'"{FIRST}"."marts"."sales"'
    assert place.events()[0] == "model.manifest_refused"
    forget()
    place.manifest()
    assert place.events() == [], "the object is whole again"


def test_manifest_of_another_key_is_refused(place: Place) -> None:
    (name,) = place.objects()
    content = place.lake.read(name)
    place.manifest(MILLRACE_WAREHOUSE_PATH="elsewhere/warehouse.duckdb")
    (other,) = set(place.objects()) - {name}
    place.lake.write(other, content)
    forget()
    place.events()
    manifest = place.manifest(MILLRACE_WAREHOUSE_PATH="elsewhere/warehouse.duckdb")
    assert place.events()[0] == "model.manifest_refused"
    assert relation(manifest) == f'"{FIRST}"."marts"."sales"'


class Unreachable:
    """A lake that answers nothing."""

    def __getattr__(self, operation: str) -> Any:
        def refuse(*_: object, **__: object) -> None:
            raise ServiceUnavailable(f"{operation}: no answer")

        return refuse


def test_unreachable_lake_costs_a_parse_only(place: Place) -> None:
    forget()
    nowhere = cast(Lake, Unreachable())
    assert relation(place.manifest(lake=nowhere)) == f'"{FIRST}"."marts"."sales"'
    assert place.events().count("model.parsed full") == 1
    place.manifest(lake=nowhere)
    assert place.events() == [], "the process has it"


def test_changed_model_alone_is_parsed(place: Place) -> None:
    marts = place.project / "models" / "marts"
    (marts / "sales.sql").write_text(MODELS["sales"].replace("amount <> 13", "amount <> 14"))
    (marts / "sales_total.sql").unlink()
    (marts / "orders_total.sql").write_text("select count(*) as orders from {{ ref('sales') }}")
    forget()
    manifest = place.manifest()
    assert place.events() == ["model.parsed partial"]
    assert "amount <> 14" in manifest.nodes["model.millrace.sales"].raw_code
    assert relation(manifest, "orders_total") == f'"{FIRST}"."marts"."orders_total"'
    assert "model.millrace.sales_total" not in manifest.nodes
    assert len(place.objects()) == 2


def test_oldest_manifests_leave_the_lake(place: Place) -> None:
    (first,) = place.objects()
    sales = place.project / "models" / "marts" / "sales.sql"
    for number in range(5):
        sales.write_text(f"{MODELS['sales']} and amount <> {number}")
        place.manifest()
    assert place.events() == ["model.parsed partial"] * 5
    assert len(place.objects()) == 1 + kept_manifests.OLDER
    assert first not in place.objects()


def test_project_that_dbt_refuses_says_why(place: Place) -> None:
    (place.project / "models" / "marts" / "sales.sql").write_text("select * from {{ ref('absent') }}")
    with pytest.raises(ValueError, match="depends on a node named 'absent'"):
        place.manifest()
