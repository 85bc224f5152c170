"""The files of the examples: believable exports, sound graphs, and histories that say what is there."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from lastgood import dsl

EXAMPLES = Path(__file__).parents[2] / "examples"
HISTORIES = {path.parent.name: yaml.safe_load(path.read_text()) for path in sorted(EXAMPLES.glob("*/history.yml"))}
FILES = [
    pytest.param(EXAMPLES / name / entry["file"], id=f"{name}/{entry['file']}")
    for name, history in HISTORIES.items()
    for entry in history["versions"]
]
INVOICE = EXAMPLES / "invoice-intake"


def document(path: Path) -> dsl.Document:
    return dsl.parse(path.read_bytes(), source=path.name)


def test_both_examples_have_a_history() -> None:
    assert {name: len(history["versions"]) for name, history in HISTORIES.items()} == {
        "invoice-intake": 11,
        "support-chat": 2,
    }


@pytest.mark.parametrize("path", FILES)
def test_a_file_is_what_dify_would_write(path: Path) -> None:
    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    text = path.read_text()
    loaded = yaml.safe_load(text)
    assert yaml.dump(loaded, Dumper=Plain, allow_unicode=True) == text
    assert (loaded["kind"], loaded["version"]) == ("app", "0.6.0")


@pytest.mark.parametrize("path", FILES)
def test_a_graph_is_sound_and_reads_only_what_is_there(path: Path) -> None:
    read = document(path)
    assert dsl.check(read) == ()
    nodes = {node["id"]: node["data"] for node in read.nodes}
    for where, selector in selectors(read.workflow["graph"]):
        head, name = selector[0], selector[1]
        if head == "env":
            assert name in {item["name"] for item in read.environment_variables}, where
        elif head == "conversation":
            assert name in {item["name"] for item in read.conversation_variables}, where
        elif head == "sys":
            assert name == "query", where
        else:
            assert name in outputs(nodes[head]), f"{where}: {selector}"


def outputs(data: dict[str, Any]) -> set[str]:
    match data["type"]:
        case "start":
            return {item["variable"] for item in data["variables"]}
        case "code":
            return set(data["outputs"])
        case "variable-aggregator":
            return {group["group_name"] for group in data["advanced_settings"]["groups"]}
        case "http-request":
            return {"body"}
        case "template-transform":
            return {"output"}
        case "llm":
            return {"text"}
        case _:
            return set()


def selectors(value: Any, where: str = "graph") -> list[tuple[str, list[str]]]:
    """Every reference under `value`, as (where, parts): selectors, and `{{#node.name#}}` in texts."""
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in selectors(inner, f"{where}.{key}")]
    if isinstance(value, list):
        if where.endswith(("selector", ".variables", ".value")) and value and all(isinstance(i, str) for i in value):
            return [(where, value)]
        return [found for inner in value for found in selectors(inner, where)]
    if isinstance(value, str) and "{{#" in value:
        return [(where, part.split("#}}")[0].split(".")) for part in value.split("{{#")[1:]]
    return []


def test_selectors_finds_each_kind_of_reference() -> None:
    found = selectors({"a_selector": ["1", "x"], "url": "{{#env.URL#}}/{{#2.y.z#}}", "variables": [["3", "w"]]})
    assert [parts for _, parts in found] == [["1", "x"], ["env", "URL"], ["2", "y", "z"], ["3", "w"]]


@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_lists_its_files_in_the_order_they_were_written(name: str) -> None:
    versions = HISTORIES[name]["versions"]
    assert [entry["file"] for entry in versions] == sorted(
        path.name for path in (EXAMPLES / name).glob("*.yml") if path.name != "history.yml"
    )
    authored = [datetime.fromisoformat(entry["authored"]) for entry in versions]
    assert authored == sorted(set(authored))
    assert all(moment.tzinfo for moment in authored)
    semvers = [[int(part) for part in entry["semver"].split(".")] for entry in versions if entry["semver"]]
    assert semvers == sorted(semvers)
    assert all(entry["author"] and 0 < len(entry["note"]) <= 100 for entry in versions)


@pytest.mark.parametrize("name", HISTORIES)
def test_the_readme_tells_of_each_version(name: str) -> None:
    readme = (EXAMPLES / "README.md").read_text()
    rows = [line for line in readme.splitlines() if line.startswith("| `")]
    for entry in HISTORIES[name]["versions"]:
        (row,) = [row for row in rows if f"`{Path(entry['file']).stem}`" in row]
        assert f"| {entry['semver'] or '–'} |" in row
        if entry["behaviour"] in {"wrong", "fails", "slow"}:
            assert f"**{entry['behaviour']}" in row


@pytest.mark.parametrize(
    ("older", "newer", "same_workflow", "same_secrets"),
    [
        ("01-first-lines", "02-other-currencies", False, False),
        ("02-other-currencies", "03-tidy-canvas", True, True),
        ("03-tidy-canvas", "04-checked-totals", False, True),
        ("04-checked-totals", "05-new-rates-key", True, False),
        ("05-new-rates-key", "06-vat-node", False, True),
        ("06-vat-node", "07-vat-once", False, True),
        ("07-vat-once", "08-two-decimals", False, True),
        ("08-two-decimals", "09-rate-limit", False, True),
        ("09-rate-limit", "10-lookup-when-needed", False, True),
        ("10-lookup-when-needed", "11-reference", False, True),
    ],
)
def test_what_a_step_of_the_invoice_changes(older: str, newer: str, same_workflow: bool, same_secrets: bool) -> None:
    before, after = (document(INVOICE / f"{name}.yml") for name in (older, newer))
    assert dsl.content_digest(before) != dsl.content_digest(after)
    assert (dsl.semantic_digest(before) == dsl.semantic_digest(after)) is same_workflow
    assert (dsl.take_secrets(before)[1] == dsl.take_secrets(after)[1]) is same_secrets


def test_every_lookup_goes_where_the_history_says() -> None:
    for entry in HISTORIES["invoice-intake"]["versions"][1:]:
        read = document(INVOICE / entry["file"])
        urls = {item["name"]: item["value"] for item in read.environment_variables}
        assert urls["RATES_URL"] == HISTORIES["invoice-intake"]["rates_url"]
