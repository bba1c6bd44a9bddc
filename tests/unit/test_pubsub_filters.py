"""The filter language of subscriptions in the Pub/Sub stand-in."""

import pytest

from local.servers.pubsub.filters import parse_filter
from local.servers.rpc import RpcError

ATTRIBUTES = {"kind": "landed", "stream": "tmp_flights", "a b": "x", "quote": 'say "hi"', "empty": "", "NOT": "1"}


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        ("", True),
        ("  ", True),
        ("attributes:kind", True),
        ("attributes:none", False),
        ('attributes:"a b"', True),
        ("attributes:empty", True),
        ('attributes.kind = "landed"', True),
        ('attributes.kind="Landed"', False),
        ('attributes.none = ""', False),
        ('attributes.kind != "landed"', False),
        ('attributes.kind != "merged"', True),
        ('attributes.none != "x"', True),
        ('attributes."a b" = "x"', True),
        (r'attributes.quote = "say \"hi\""', True),
        (r'attributes:"\u0061 b"', True),
        ('hasPrefix(attributes.stream, "tmp_")', True),
        ('hasPrefix(attributes.stream, "x")', False),
        ('hasPrefix(attributes.none, "")', False),
        ('hasPrefix(attributes.empty, "")', True),
        ("NOT attributes:none", True),
        ("-attributes:kind", False),
        ("NOT NOT attributes:kind", True),
        ('attributes:kind AND attributes.kind = "x"', False),
        ('attributes.kind = "x" OR attributes:stream', True),
        ("attributes:none OR (attributes:kind AND NOT attributes:none)", True),
        ("NOT (attributes:kind OR attributes:none)", False),
        ("attributes:kind AND -(attributes:none)", True),
        ('attributes:"NOT"', True),
    ],
)
def test_filter_passes_matching_messages(expression: str, passes: bool) -> None:
    assert parse_filter(expression)(ATTRIBUTES) is passes


@pytest.mark.parametrize(
    "expression",
    [
        "nonsense",
        "NOT",
        "attributes",
        "attributes:",
        "attributes.a",
        "attributes.a =",
        "attributes.a = b",
        'attributes.a == "b"',
        'attributes.a > "b"',
        '"a" = "b"',
        "(attributes:a",
        "attributes:a)",
        "attributes:a AND",
        "attributes:a attributes:b",
        "attributes:a AND attributes:b OR attributes:c",
        'hasPrefix(attributes.a "b")',
        'hasPrefix(attributes.a, "b"',
        'attributes.a = "b',
        r'attributes.a = "\q"',
        "attributes:a é$",
        'attributes.a = "' + "x" * 256 + '"',
    ],
)
def test_malformed_filter_is_rejected(expression: str) -> None:
    with pytest.raises(RpcError, match=r"filter|string"):
        parse_filter(expression)


def test_deeply_nested_filter_ends_at_its_length() -> None:
    assert parse_filter("(" * 120 + "attributes:kind" + ")" * 120)(ATTRIBUTES)
    with pytest.raises(RpcError):
        parse_filter("(" * 129 + "attributes:kind" + ")" * 129)
