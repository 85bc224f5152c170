"""What holds of any two documents: arbitrary ones, real histories, and pairs of strangers."""

import itertools
import random
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.compare.test_properties import DOCUMENTS, sound
from dsl.documents import SHARED, corpus
from lastgood.dsl import Document, check_inputs, parse
from lastgood.dsl.compare import Difference, compare
from lastgood.dsl.rules import RULES, Change, RuleSettings, judge, refusal
from lastgood.dsl.rules.contract import CHAT, COMPLETE, RUN
from lastgood.dsl.rules.judge import examined

from .small import chat, field_of, hooked, takes
from .test_behaviour import BEHAVIOUR, INTEGRATION, LAYOUT
from .test_callers import ALL

BY_FORM = ("input-added-required", "input-became-required", "input-length-narrowed", "input-option-removed")


def histories() -> list[tuple[Document, Document]]:
    """Every pair of neighbours in the real histories."""
    folders = sorted(path for path in (SHARED / "corpus" / "histories").glob("*") if path.is_dir())
    if not folders:
        pytest.skip("no histories beside the repository")
    read = ([parse(file.read_bytes(), source=file.name) for file in sorted(one.glob("*.yml"))] for one in folders)
    return [pair for documents in read for pair in itertools.pairwise(documents)]


def hold(old: Document, new: Document) -> tuple[Change, ...]:
    """What must hold of every judgement."""
    difference = compare(old, new)
    changes = judge(old, new, difference)
    told = {change.rule.id for change in changes}
    _, assigned = examined(old, new, difference)
    assert len(assigned) == atoms(difference)
    assert {rule for _, rule in assigned} <= RULES.keys()
    assert {rule for _, rule in assigned} <= told
    for change in changes:
        assert RULES[change.rule.id] is change.rule
        assert change.sentence
        assert change.breaking == (change.witness is not None)
        prove(change, old, new)
    return changes


def atoms(difference: Difference) -> int:
    """How many values a difference is made of."""
    whole = sum(1 for node in difference.nodes if node.kind != "changed" or node.renamed)
    whole += sum(1 for one in (*difference.environment, *difference.conversation) if one.kind != "changed")
    inner = sum(len(node.fields) for node in difference.nodes)
    inner += sum(len(one.fields) for one in (*difference.environment, *difference.conversation))
    flat = (difference.edges, difference.features, difference.settings, difference.app, difference.dependencies)
    return whole + inner + sum(map(len, flat)) + len(difference.secrets)


def prove(change: Change, old: Document, new: Document) -> None:
    """A witness is taken by the old version and refused by the new one, or names an output."""
    if change.witness is None:
        return
    request = change.witness.request
    if request is None:
        assert change.witness.output
        return
    assert refusal(old, request) is None
    assert refusal(new, request) is not None
    if request["call"] in (RUN, CHAT, COMPLETE):
        assert check_inputs(old, request["body"]["inputs"]) is None
    if change.rule.id in BY_FORM:
        assert check_inputs(new, request["body"]["inputs"]) is not None


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS, DOCUMENTS)
def test_arbitrary_documents(old: Document, new: Document) -> None:
    assert judge(old, old) == ()
    hold(old, new)


@settings(max_examples=100, deadline=None)
@given(sound(), sound())
def test_sound_documents(old: Document, new: Document) -> None:
    assert judge(new, new) == ()
    hold(old, new)


FIELDS = st.fixed_dictionaries(
    {
        "variable": st.sampled_from("abc"),
        "type": st.sampled_from(
            ["text-input", "paragraph", "select", "number", "checkbox", "file", "file-list", "json_object", "odd", ""]
        ),
    },
    optional={
        "required": st.booleans(),
        "hide": st.booleans(),
        "max_length": st.sampled_from([None, 0, 1, 3, 48, -1, "9"]),
        "options": st.lists(st.sampled_from(["x", "long one", "", "7"]), max_size=3),
        "default": st.sampled_from([None, "", "x", "long one", 7, [], {}]),
        "allowed_file_types": st.lists(st.sampled_from(["image", "document", "custom", ""]), max_size=3),
        "allowed_file_extensions": st.lists(st.sampled_from([".csv", "TXT", ""]), max_size=2),
        "allowed_file_upload_methods": st.lists(st.sampled_from(["remote_url", "local_file"]), max_size=2),
        "json_schema": st.sampled_from(
            [None, "{", '{"required": ["a"]}', {"type": "object", "required": ["a"]}, {"required": ["b"], "x": 1}]
        ),
    },
)
FORMS = st.lists(FIELDS, max_size=4)
UPLOADS = st.fixed_dictionaries(
    {"enabled": st.booleans()},
    optional={
        "number_limits": st.sampled_from([0, 1, 3, None, "3"]),
        "allowed_file_types": st.lists(st.sampled_from(["image", "custom"]), max_size=2),
        "allowed_file_extensions": st.lists(st.sampled_from([".csv", ".txt"]), max_size=2),
        "image": st.fixed_dictionaries({"enabled": st.booleans()}),
    },
)
HOOK_FIELDS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["a", "B", ""])},
        optional={
            "required": st.booleans(),
            "type": st.sampled_from(["string", "number", "array[string]", "object", "file", 5]),
        },
    ),
    max_size=3,
)
HOOKS = st.fixed_dictionaries(
    {"method": st.sampled_from(["GET", "post", ""]), "body": HOOK_FIELDS, "headers": HOOK_FIELDS},
    optional={"status_code": st.sampled_from([200, 202, 404, "200", None])},
)


@settings(max_examples=200, deadline=None)
@given(FORMS, FORMS)
def test_forms(old: list[dict[str, object]], new: list[dict[str, object]]) -> None:
    hold(takes(*old), takes(*new))
    assert judge(takes(*old), takes(*old)) == ()


@settings(max_examples=100, deadline=None)
@given(UPLOADS, UPLOADS)
def test_uploads(old: dict[str, object], new: dict[str, object]) -> None:
    hold(chat({"file_upload": old}), chat({"file_upload": new}))


@settings(max_examples=100, deadline=None)
@given(HOOKS, HOOKS)
def test_webhooks(old: dict[str, Any], new: dict[str, Any]) -> None:
    hold(hooked(**old), hooked(**new))


@pytest.mark.parametrize("each", ALL + INTEGRATION + BEHAVIOUR + LAYOUT, ids=lambda each: each.name)
def test_each_case_of_the_tables(each: object) -> None:
    old, new = each.old, each.new  # type: ignore[attr-defined]
    hold(old, new)
    hold(new, old)


def test_real_histories() -> None:
    for old, new in histories():
        assert judge(old, old) == ()
        hold(old, new)
        hold(new, old)


@cache
def strangers() -> list[Document]:
    files = list(corpus())
    random.Random(7).shuffle(files)
    return [parse(path.read_bytes(), source=path.name) for path in files[:30]]


def test_strangers() -> None:
    for old, new in itertools.pairwise(strangers()):
        hold(old, new)


def test_a_setting_raises_a_rule() -> None:
    raised = RuleSettings({"input-removed": "breaking"})
    (change,) = judge(takes(field_of("a")), takes(), settings=raised)
    assert change.breaking
    (change,) = judge(takes(field_of("a")), takes())
    assert not change.breaking


def test_the_number_of_cases() -> None:
    assert len(ALL + INTEGRATION + BEHAVIOUR + LAYOUT) >= 150
    assert len(RULES) >= 60
