"""The connectors of one machine: an image becomes a command, and an unknown one an error that says what to do."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from local.servers.airbyte.connectors import Connectors, UnknownConnector
from local.servers.airbyte.environment import NotInstalled
from millrace.airbyte.known import BUNDLED, UNVERSIONED, check_image
from millrace.airbyte.options import check_connectors
from millrace.contracts.source import SourceContract, parse_source
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


def source(image: str, version: str = "1.0.0", **config: object) -> SourceContract:
    contract = {"source": "shop", "connector": {"image": image, "version": version, "config": config}}
    streams = {"orders": {"mode": "overwrite", "key": ["id"], "columns": {"id": {"type": "int64", "nullable": False}}}}
    return parse_source(yaml.safe_dump(contract | {"streams": streams}), "shop.yaml")


POSTGRES, MYSQL = "airbyte/source-postgres", "airbyte/source-mysql"
WHOLE = {"host": "db", "port": 5432, "database": "shop", "username": "reader"}
LOG = {"method": "CDC", "replication_slot": "millrace", "publication": "millrace", "plugin": "pgoutput"}
NO_TUNNEL = {"tunnel_method": "NO_TUNNEL"}


@pytest.mark.parametrize("here", [True, False])
def test_options_of_both_places_pass(here: bool) -> None:
    log = source(POSTGRES, **WHOLE, replication_method=LOG | {"queue_size": 10000}, tunnel_method=NO_TUNNEL)
    cursor = source(MYSQL, **WHOLE, replication_method={"method": "STANDARD"})
    secret = source(POSTGRES, **WHOLE, password={"secret": "shop-password"}, ssl_mode={"mode": "require"})
    check_connectors([log, cursor, secret], on_this_machine=here, configured=())


HERE = {
    "tunnel": (source(POSTGRES, **WHOLE, tunnel_method={"tunnel_method": "SSH_KEY_AUTH"}), "can only be 'NO_TUNNEL'"),
    "parameters": (source(POSTGRES, **WHOLE, jdbc_url_params="a=b"), "config.jdbc_url_params is not among the options"),
    "xmin": (source(POSTGRES, **WHOLE, replication_method={"method": "Xmin"}), "can only be 'Standard' or 'CDC'"),
    "binlog": (source(MYSQL, **WHOLE, replication_method={"method": "CDC"}), "can only be 'STANDARD'"),
    "part": (source(POSTGRES, **WHOLE, ssl_mode={"client_key": "k"}), r"ssl_mode\.client_key is not among"),
    "missing": (source("millrace/source-files", endpoint="x"), "lacks 'url'"),
    "image": (source("airbyte/source-oracle"), "shop.yaml: connector 'airbyte/source-oracle' is unknown"),
}


@pytest.mark.parametrize("case", HERE)
def test_options_of_airbyte_only_are_refused_here(case: str) -> None:
    contract, words = HERE[case]
    with pytest.raises(SettingsError, match=words):
        check_connectors([contract], on_this_machine=True, configured=())
    check_connectors([contract], on_this_machine=True, configured=[contract.connector.image])
    if contract.connector.image.startswith("airbyte/"):
        with_method = contract.connector.config | {"replication_method": {"method": "STANDARD"}}
        check_connectors([source(contract.connector.image, **with_method)], on_this_machine=False, configured=())


CLOUD = {
    "port": (source(POSTGRES, host="db", database="shop", username="r"), "lacks port, .*; add `port: 5432`"),
    "method": (source(MYSQL, **WHOLE), "lacks replication_method, .*; add `replication_method: {method: STANDARD}`"),
    "slot": (source(POSTGRES, **WHOLE, replication_method={"method": "CDC"}), "add `replication_slot: millrace`"),
    "host": (source(POSTGRES, **WHOLE | {"host": "127.0.0.1"}), "name the server as the cluster reaches it"),
    "version": (source(POSTGRES, UNVERSIONED, **WHOLE), "name the version of 'airbyte/source-postgres'"),
    "image": (source("millrace/source-files", url="/drop"), "shop.yaml: .* runs on one machine only"),
}


@pytest.mark.parametrize("case", CLOUD)
def test_options_of_this_machine_only_are_refused_there(case: str) -> None:
    contract, words = CLOUD[case]
    with pytest.raises(SettingsError, match=words):
        check_connectors([contract], on_this_machine=False, configured=())
    check_connectors([contract], on_this_machine=True, configured=())


def test_every_problem_is_named_at_once() -> None:
    sources = [contract for contract, _ in CLOUD.values()]
    with pytest.raises(SettingsError) as raised:
        check_connectors(sources, on_this_machine=False, configured=())
    assert str(raised.value).count("sources/shop.yaml: ") == len(sources) + 1  # the log lacks slot and publication


def test_a_tunnel_may_lead_to_a_loopback_address() -> None:
    tunnel = {"tunnel_method": "SSH_PASSWORD_AUTH"}
    contract = source(POSTGRES, **WHOLE | {"host": "localhost"}, tunnel_method=tunnel)
    check_connectors([contract], on_this_machine=False, configured=())
