"""Real documents: all are read as Dify reads them, and few are broken."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from lastgood.dsl import (
    Document,
    check,
    check_inputs,
    content_digest,
    inputs,
    node_types,
    outline,
    parameters,
    parse,
    require_sound,
    semantic_digest,
    to_json,
    to_yaml,
)
from lastgood.errors import BrokenGraph

from .documents import SHARED, corpus

# What `push` refuses of them, by the start of its SHA-256, and why.
BROKEN = {
    "0d32a353bc0c": ("node-without-type", "the types stand on the nodes and not in their data"),
    "48c18188abe8": ("type-not-in-mode", "an answer node in a workflow"),
    "75dff18f5a9d": ("type-not-in-mode", "an answer node in a workflow"),
    "d74a2a56bf15": ("edge-to-nowhere", "an edge to a node that is missing on purpose"),
}


def manifest() -> dict[str, dict[str, Any]]:
    lines = (SHARED / "corpus" / "manifest.jsonl").read_text().splitlines()
    return {entry["id"]: entry for entry in map(json.loads, lines)}


@cache
def read(path: Path) -> Document:
    return parse(path.read_bytes(), source=path.name)


def test_all_are_read_and_are_what_the_manifest_says() -> None:
    files, known = list(corpus()), manifest()
    assert len(files) == len(known) == 255
    for path in files:
        entry, document = known[path.stem], read(path)
        mode = "rag_pipeline" if document.data.get("kind") == "rag_pipeline" else entry["app_mode"]
        assert (document.mode, document.has_graph) == (mode, entry["has_graph"]), path.name
        assert (document.name, document.dsl_version) == (entry["name"], entry["dsl_version"] or ""), path.name
        if document.has_graph:
            assert (len(document.nodes), len(document.edges)) == (entry["n_nodes"], entry["n_edges"]), path.name
        if document.has_graph and path.stem not in BROKEN:
            assert set(node_types(document)) == set(entry["node_types"]) - {"custom-note", ""}, path.name


def test_the_values_are_those_that_dify_reads() -> None:
    for path in corpus():
        expected = json.dumps(yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader), sort_keys=True)
        found = {**read(path).data}
        if found.get("version") != json.loads(expected).get("version"):
            found["version"] = json.loads(expected)["version"]  # a number there, a text here
        assert json.dumps(found, sort_keys=True) == expected, path.name


def test_only_these_are_broken() -> None:
    refused = {}
    for path in corpus():
        document = read(path)
        try:
            require_sound(document, path.name)
        except BrokenGraph as error:
            refused[path.stem] = check(document)[0].code
            assert str(error).startswith(f"{path.name}: ")
    assert refused == {stem: code for stem, (code, _) in BROKEN.items()}


def test_a_file_written_again_is_the_same_workflow() -> None:
    for path in corpus():
        document = read(path)
        text = to_yaml(document)
        for again in (parse(text), parse(to_json(document))):
            assert content_digest(again) == content_digest(document), path.name
            assert semantic_digest(again) == semantic_digest(document), path.name
        assert yaml.load(text, Loader=yaml.CSafeLoader) == document.data, path.name


def test_different_workflows_have_different_digests() -> None:
    by_meaning: dict[str, list[str]] = {}
    for path in corpus():
        document = read(path)
        if document.has_graph:
            by_meaning.setdefault(semantic_digest(document), []).append(path.stem)
    shared = [stems for stems in by_meaning.values() if len(stems) > 1]
    for stems in shared:
        shapes = {
            json.dumps(outline(read(SHARED / "corpus" / "files" / f"{stem}.yml")), sort_keys=True) for stem in stems
        }
        assert len(shapes) == 1
    assert len(by_meaning) > 200


def test_each_tells_its_inputs_and_parameters() -> None:
    for path in corpus():
        document = read(path)
        form = parameters(document)["user_input_form"]
        assert [field.name for field in inputs(document)] == [next(iter(item.values()))["variable"] for item in form]
        required = [field.name for field in inputs(document) if field.required]
        expected = f"{required[0]} is required in input form" if required else None
        assert check_inputs(document, {}) == expected, path.name


@pytest.mark.parametrize("wrap", [lambda data: {"document": data}, lambda data: data])
def test_json_of_them_reads_the_same(wrap: Any) -> None:
    for path in corpus():
        document = read(path)
        assert parse(json.dumps(wrap(document.data))) == document, path.name
