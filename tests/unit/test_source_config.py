"""Options of the command line become a configuration, with the secrets apart from it."""

from typing import Any

import pytest

from cli.source_config import ask_missing, fill_secrets, parse_options, split_secrets
from millrace.airbyte.specifications import POSTGRES
from millrace.domain.errors import SettingsError


def test_options_have_the_types_of_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "a=b")
    options = ["host=db", "port=5433", "schemas=a,b", "replication_method.method=CDC", "password=env:PGPASSWORD"]
    assert parse_options(options, POSTGRES) == {
        "host": "db",
        "port": 5433,
        "schemas": ["a", "b"],
        "replication_method": {"method": "CDC"},
        "password": "a=b",
    }


def test_url_is_taken_apart() -> None:
    config = parse_options([], POSTGRES, "postgresql://me:p%40ss@db:5433/shop")
    assert config == {"host": "db", "port": 5433, "database": "shop", "username": "me", "password": "p@ss"}


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("host", "write key=value"),
        ("hots=db", "no option 'hots'; it has host"),
        ("port=many", "a value of type integer"),
        ("password=env:NO_SUCH_VARIABLE", "the variable NO_SUCH_VARIABLE is not set"),
        ("replication_method.slot=a", "no option 'slot'"),
    ],
)
def test_wrong_option_is_named(option: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        parse_options([option], POSTGRES)


def test_secrets_become_references() -> None:
    config = {"host": "db", "password": "geheim", "ssl_mode": {"mode": "verify-ca", "ca_certificate": "PEM"}}
    shown, values = split_secrets("shop_eu", config, POSTGRES)
    assert shown["password"] == {"secret": "shop-eu-password"}
    assert values == {"shop-eu-password": "geheim", "shop-eu-ssl-mode-ca-certificate": "PEM"}
    assert "geheim" not in str(shown)
    assert fill_secrets(shown, values.__getitem__) == config


def test_missing_options_are_asked_or_named() -> None:
    config: dict[str, Any] = {"host": "db"}
    with pytest.raises(SettingsError, match="also needs --config database=…, --config username=…"):
        ask_missing(config, POSTGRES, None)
    answers = {"database": "shop", "username": "me", "password": "geheim"}
    asked: list[tuple[str, bool]] = []

    def ask(name: str, hidden: bool) -> str:
        asked.append((name, hidden))
        return answers[name]

    ask_missing(config, POSTGRES, ask)
    assert config == {"host": "db"} | answers
    assert asked == [("database", False), ("username", False), ("password", True)]
