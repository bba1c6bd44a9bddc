"""Terraform's files as blocks and its expressions as values, those that only Google knows among them."""

from pathlib import Path
from typing import Any

import pytest

from local.servers.rights.evaluate import evaluate
from local.servers.rights.hcl import parse, parse_expression, read_module
from local.servers.rights.terraform import Module, read_variables
from local.servers.rights.tokens import Unreadable
from local.servers.rights.values import Unknown, is_known

LATER = Unknown("later")
VARIABLES = {
    "names": ["b", "a"],
    "map": {"x": ["1"], "y": ["2", "3"]},
    "deep": {"k": {"n": 1}},
    "text": "t",
    "on": True,
    "later": LATER,
    "some": ["a", LATER],
}
BLOCK = """resource "kind" "name" {
  list = [
    1, # one
    2,
  ]
  inner {
    a = <<-EOT
      x: ${var.text}
        y

    EOT
  }
}
"""
DYNAMIC = """variable "project" {}
resource "google_thing" "t" {
  for_each = toset(["a", "b"])
  dynamic "item" {
    for_each = { k = "v" }
    content {
      name = "${each.key}-${item.key}-${item.value}"
    }
  }
  email = "e"
}
resource "google_other" "later" {
  for_each = toset([google_thing.t["a"].number])
  role     = each.value
}
resource "google_other" "sets" {
  for_each = google_thing.t["a"].numbers
  role     = each.value
}
"""


def value_of(text: str) -> Any:
    return evaluate(parse_expression(text), {"var": VARIABLES, "later": LATER}.__getitem__)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{ for key, items in var.map : key => "${key}-${length(items)}" }', {"x": "x-1", "y": "y-2"}),
        ('{ for item in flatten(values(var.map)) : item => item if item > "1" }', {"2": "2", "3": "3"}),
        ('[for x in var.names : "${x}!" if x != "b"]', ["a!"]),
        ("merge([for key, items in var.map : { (key) = items }]...)", {"x": ["1"], "y": ["2", "3"]}),
        ('merge({ a = 1 }, { "b" = 2 })', {"a": 1, "b": 2}),
        ('var.on ? { role = "a" } : {}', {"role": "a"}),
        ("setproduct(toset(var.names), keys(var.map))", [["a", "x"], ["a", "y"], ["b", "x"], ["b", "y"]]),
        ("distinct(flatten([var.names, var.names]))", ["b", "a"]),
        ('length(concat(var.names, ["z"]))', 3),
        ('"a ${var.on ? "yes" : "no"} \\"b\\""', 'a yes "b"'),
        ('"${var.deep["k"].n}"', 1),
        ("[var.map][*].x", [["1"]]),
        ("1 + 2 * 3 >= 7 && !false", True),
        ("can(var.none) || try(var.none, var.on)", True),
    ],
)
def test_expression_has_terraforms_value(text: str, value: Any) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "var.later.part[0]",
        '"a-${var.later}"',
        'var.later == "t" ? 1 : 2',
        "var.later && var.on",
        "!var.later",
        "[for x in var.later : x]",
        "[for x in var.names : x if x == var.later]",
        "var.later[*].name",
        'join(",", var.some)',
        "concat(var.names, var.later)",
        "merge(var.later...)",
        "keys(var.later)",
        "file(var.text)",
        "{ a = [var.some] }",
    ],
)
def test_what_is_made_of_unknown_is_unknown(text: str) -> None:
    assert not is_known(value_of(text))


def test_known_side_decides_and_collections_stay() -> None:
    assert value_of("false && var.later") is False
    assert value_of("var.on || var.later") is True
    assert value_of("length(var.some)") == 2
    assert value_of("concat(var.some, [1])") == ["a", LATER, 1]


def test_name_or_function_without_a_rule_is_an_error() -> None:
    with pytest.raises(KeyError):
        value_of("[for name in var.names : upper]")
    with pytest.raises(NotImplementedError, match="function upper; add it to FUNCTIONS"):
        value_of("upper(var.text)")


@pytest.mark.parametrize("text", ['"open', "a b", "[1", "~", '"${"', "f(", ""])
def test_unreadable_expression_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_expression(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {\n}\n}\n", "line 3: expected a name, read '}'"),
        ("a {\n  b = 1\n", "line 3: expected a name, read 'the end'"),
        ("\n\na = @\n", "line 3: can't read '@"),
        ("a = <<EOT\nx\n", "line 1: a heredoc EOT does not end"),
    ],
)
def test_unreadable_file_names_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "main.tf").write_text(text)
    with pytest.raises(Unreadable) as refused:
        read_module(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / 'main.tf'}: {message}")


def test_blocks_hold_arguments_of_several_lines() -> None:
    (block,) = parse(BLOCK).blocks
    assert (block.kind, block.labels) == ("resource", ("kind", "name"))
    assert evaluate(block.arguments["list"], VARIABLES.__getitem__) == [1, 2]
    assert evaluate(block.of("inner")[0].arguments["a"], {"var": VARIABLES}.__getitem__) == "x: t\n  y\n\n"


def test_text_of_an_argument_has_no_comments() -> None:
    (block,) = parse(BLOCK).blocks
    assert block.texts["list"].split() == ["[", "1,", "2,", "]"]
    assert "one" not in block.text
    assert "${var.text}" in block.text


def test_dynamic_blocks_and_unknown_sets_have_instances(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(DYNAMIC)
    resources = list(Module(tmp_path, {"project": "p"}).resources())
    items = [[body.arguments["name"] for body in r.blocks] for r in resources if r.kind == "google_thing"]
    assert items == [["a-k-v"], ["b-k-v"]]
    later = [r.arguments["role"] for r in resources if r.kind == "google_other"]
    assert len(later) == 2
    assert not any(map(is_known, later))


def test_only_constants_are_values_of_variables(tmp_path: Path) -> None:
    (tmp_path / "a.auto.tfvars.json").write_text('{"a": 1, "b": 1}')
    (tmp_path / "terraform.tfvars").write_text('b = ["x"] # own\n')
    assert read_variables(tmp_path) == {"a": 1, "b": ["x"]}
    (tmp_path / "terraform.tfvars").write_text("b = var.a\n")
    with pytest.raises(Unreadable, match="has the name var in it"):
        read_variables(tmp_path)
    (tmp_path / "main.tf").write_text('variable "project" {}\n')
    with pytest.raises(ValueError, match="variable project has no value"):
        Module(tmp_path, {})
