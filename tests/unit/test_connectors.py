"""The connectors of one machine: an image becomes a command, and an unknown one an error that says what to do."""

import json
import sys
from pathlib import Path

import pytest

from local.servers.airbyte.connectors import Connectors, UnknownConnector
from local.servers.airbyte.environment import NotInstalled
from millrace.airbyte.known import BUNDLED, check_image
from millrace.domain.errors import SettingsError


def connectors(folder: Path, text: str) -> Connectors:
    file = folder / "local.toml"
    file.write_text(text)
    return Connectors((file,), project=folder)


def test_setting_maps_an_image_to_a_command(tmp_path: Path) -> None:
    mapped = connectors(tmp_path, '[airbyte.connectors."me/erp"]\ncommand = ["erp", "--fast"]\nnetwork = false\n')
    command = mapped.find("me/erp")
    assert (command.words, command.network) == (("erp", "--fast"), False)


def test_setting_is_read_again_at_each_use(tmp_path: Path) -> None:
    mapped = connectors(tmp_path, "")
    with pytest.raises(UnknownConnector):
        mapped.find("me/erp")
    (tmp_path / "local.toml").write_text('[airbyte.connectors."me/erp"]\ncommand = ["erp"]\n')
    assert mapped.find("me/erp").words == ("erp",)


def test_own_setting_wins_over_a_bundled_one(tmp_path: Path) -> None:
    mapped = connectors(tmp_path, '[airbyte.connectors."airbyte/source-postgres"]\ncommand = ["mine"]\n')
    assert mapped.find("airbyte/source-postgres").words == ("mine",)


def test_tap_is_run_by_the_adapter(tmp_path: Path) -> None:
    mapped = connectors(tmp_path, '[airbyte.connectors."s/tap"]\ncommand = ["tap-x"]\nprotocol = "singer"\n')
    assert mapped.find("s/tap").words == (sys.executable, "-m", "local.connectors.singer", "tap-x", "--")


def test_package_without_lock_names_the_command(tmp_path: Path) -> None:
    mapped = connectors(tmp_path, '[airbyte.connectors."s/tap"]\npackage = "tap-x==1"\nprogram = "tap-x"\n')
    with pytest.raises(NotInstalled, match="run `millrace source lock s/tap`"):
        mapped.find("s/tap")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("package = 'x'", "`program` is missing"),
        ("", "give either `command`"),
        ("command = ['a']\npackage = 'x'\nprogram = 'x'", "give either `command`"),
        ("comand = ['a']", "comand"),
    ],
)
def test_malformed_setting_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        connectors(tmp_path, f'[airbyte.connectors."s/tap"]\n{text}\n').check()


def test_json_file_maps_images_too(tmp_path: Path) -> None:
    file = tmp_path / "connectors.json"
    file.write_text(json.dumps({"me/erp": ["erp"]}))
    assert Connectors((file,), project=tmp_path).find("me/erp").words == ("erp",)


def test_every_bundled_image_is_known(tmp_path: Path) -> None:
    for image in BUNDLED:
        check_image(image, on_this_machine=True, configured=())
    with pytest.raises(UnknownConnector, match=r'\[airbyte.connectors."x/y"\]'):
        Connectors(project=tmp_path).find("x/y")


def test_plan_refuses_what_cannot_run_there() -> None:
    with pytest.raises(SettingsError, match="unknown on this machine"):
        check_image("airbyte/source-oracle", on_this_machine=True, configured=())
    check_image("airbyte/source-oracle", on_this_machine=False, configured=())
    check_image("airbyte/source-oracle", on_this_machine=True, configured=("airbyte/source-oracle",))
    with pytest.raises(SettingsError, match="runs on one machine only"):
        check_image("millrace/source-files", on_this_machine=False, configured=())
