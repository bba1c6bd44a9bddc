"""The page of the gate's results: severity, time, groups, and numbers and names as people read them."""

import re
from datetime import UTC, datetime, timedelta

from millrace.domain.quality import UNCHECKED, QualityResult
from millrace.quality.page import Checked, quality_page

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def result(
    suite: str, *, column: str = "a", severity: str = "stop", success: bool = False, **other: str
) -> QualityResult:
    expectation = other.pop("expectation", "expect_column_values_to_be_unique")
    fields = {"suite": suite, "expectation": expectation, "column": column, "severity": severity, "success": success}
    return QualityResult.model_validate(fields | other)


def page(*results: QualityResult) -> str:
    return quality_page([Checked(NOON + timedelta(minutes=n), each) for n, each in enumerate(results)], {})


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.S).split())


def test_failures_come_first_and_errors_before_them() -> None:
    html = page(
        result("good", success=True),
        result("warned", severity="warn"),
        result("left_out", severity="quarantine"),
        result("stopped"),
        result("stopped", column="b", observed=f"{UNCHECKED}Binder Error: no"),
    )
    assert re.findall(r'<section id="(\w+)"', html) == ["stopped", "left_out", "warned", "good"]
    assert html.index("Binder Error: no") < html.index("<code>a</code>")
    assert "could not be checked</b> Binder Error: no" in html
    assert "Refused: stopped." in text_of(html)
    for severity in ("stop", "quarantine", "warn"):
        assert f"severity {severity}" in html


def test_each_table_says_when_it_was_checked() -> None:
    html = page(result("one", success=True), result("two", success=True))
    assert "checked 2026-01-01 12:00 UTC" in html
    assert "checked 2026-01-01 12:01 UTC" in html
    assert "All expectations hold." in html


def test_numbers_have_separators_and_names_break_whole() -> None:
    html = page(
        result("airline_punctuality_daily", observed="1458 of 842123 rows"),
        result("b", observed="1234567", success=True),
        result("c", observed="0.33333333333", success=True),
    )
    assert "1,458 of 842,123 rows break it" in html
    assert "1,234,567" in html
    assert "0.3333<" in html
    assert "airline_<wbr>punctuality_<wbr>daily</h2>" in html
    assert "anywhere" not in html


def test_expectations_are_sentences() -> None:
    pair = result("a", column="landed_at, departed_at", expectation="expect_column_pair_values_a_to_be_greater_than_b")
    other = result("b", column="x", expectation="expect_column_stdev_to_be_between")
    assert "landed_ at is greater than departed_ at" in text_of(page(pair))
    assert "x column stdev to be between" in text_of(page(other))


def test_page_escapes_values() -> None:
    html = page(result("a", observed="<b>x</b>").model_copy(update={"sample": ("<i>",)}))
    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert "&lt;i&gt;" in html
