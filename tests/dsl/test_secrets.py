import copy

import pytest

from lastgood.dsl import Document, put_secrets, secret_names, take_secrets

from .documents import straight

VARIABLES = [
    {"id": "1", "name": "TAG", "value": "plain", "value_type": "string"},
    {"id": "2", "name": "KEY", "value": "k-1", "value_type": "secret"},
    {"id": "3", "name": "API", "value": "a-1", "value_type": "secret"},
]


def document(*variables: object) -> Document:
    return straight(environment_variables=list(variables))


def values(found: Document) -> list[object]:
    return [variable["value"] for variable in found.environment_variables]


def test_values_are_taken_out_and_put_back() -> None:
    given = document(*VARIABLES)
    before = copy.deepcopy(given)
    bare, taken = take_secrets(given)
    assert taken == {"KEY": "k-1", "API": "a-1"}
    assert values(bare) == ["plain", "", ""]
    assert secret_names(given) == secret_names(bare) == ("API", "KEY")
    assert put_secrets(bare, taken) == given == before
    assert take_secrets(bare) == (bare, {})


@pytest.mark.parametrize("mask", ["", None, "*" * 20, "***", "[__HIDDEN__]", "sk-abc" + "*" * 12 + "yz"])
def test_a_mask_is_no_value(mask: str | None) -> None:
    bare, taken = take_secrets(document({"name": "KEY", "value": mask, "value_type": "secret"}))
    assert taken == {}
    assert values(bare) == [""]


@pytest.mark.parametrize("value", ["a*b", "x" * 20, "********************!", " ", "**\n**x", "[__HIDDEN__] "])
def test_what_only_looks_like_a_mask_is_a_value(value: str) -> None:
    _, taken = take_secrets(document({"name": "KEY", "value": value, "value_type": "secret"}))
    assert taken == {"KEY": value}


@pytest.mark.parametrize(("value", "text"), [(12, "12"), (0, "0"), (False, "False"), (1.5, "1.5")])
def test_a_value_that_is_no_text_becomes_text(value: object, text: str) -> None:
    _, taken = take_secrets(document({"name": "KEY", "value": value, "value_type": "secret"}))
    assert taken == {"KEY": text}


def test_only_named_secrets_are_put() -> None:
    bare, _ = take_secrets(document(*VARIABLES))
    assert values(put_secrets(bare, {"KEY": "k-2", "TAG": "no", "OTHER": "no"})) == ["plain", "k-2", ""]


def test_without_secrets_the_document_stays_the_same_object() -> None:
    for plain in (straight(), document(VARIABLES[0]), Document({"app": {"mode": "chat"}})):
        assert take_secrets(plain) == (plain, {})
        assert take_secrets(plain)[0] is plain
        assert put_secrets(plain, {"KEY": "x"}) is plain


def test_no_value_stays_behind_in_odd_entries() -> None:
    odd = document(
        {"value": "lost", "value_type": "secret"}, "text", {"name": 5, "value": "x", "value_type": "secret"}
    )
    bare, taken = take_secrets(odd)
    assert taken == {}
    assert "lost" not in str(bare.data)
    assert bare.workflow["environment_variables"][1] == "text"
