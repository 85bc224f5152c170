"""What YAML values become: what `yaml.safe_load` makes of them, apart from what JSON cannot hold."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lastgood.dsl import Limits, parse, yamltext
from lastgood.dsl.yamltext import load_yaml
from lastgood.errors import InvalidDocument


def load(text: str) -> Any:
    return load_yaml(text, "document", Limits())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("", None),
        ("012", 10),
        ("0o12", "0o12"),
        ("0x1F", 31),
        ("0b101", 5),
        ("1_000", 1000),
        ("1:30", 90),
        ("08", "08"),
        ("0x_", "0x_"),
        ("-0", 0),
        ("+12", 12),
        ("1e5", "1e5"),
        ("1.5e+3", 1500.0),
        (".5", 0.5),
        ("...x", "...x"),
        ("0.6.0", "0.6.0"),
        ("2024-01-02", "2024-01-02"),
        ("2024-01-02 03:04:05", "2024-01-02 03:04:05"),
        ("=", "="),
        ("<<", "<<"),
        ("'12'", "12"),
        ("! 12", "12"),
        ("!!str 12", "12"),
        ("!!int '12'", 12),
        ("!!float 12", 12.0),
        ("!!bool yes", True),
        ("!!null ''", None),
        ("!!seq [1]", [1]),
        ("!!map {a: 1}", {"a": 1}),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
    ],
)
def test_a_value(text: str, value: Any) -> None:
    read = load(f"a: {text}\n")["a"]
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    ("key", "text"),
    [("1", "1"), ("yes", "true"), ("~", "null"), ("1.5", "1.5"), ("012", "10"), ("2024-01-02", "2024-01-02")],
)
def test_a_key_is_the_text_that_json_has_for_it(key: str, text: str) -> None:
    assert load(f"{key}: x\n") == {text: "x"}


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("a: {x: &k [1, yes, '2'], y: *k}\n<<: {z: 1.5}\n", None),
        ("a: !!python/name:os.system\n", "line 1: the tag !!python/name"),
        ("a: 1\na: 2\n", "line 2: the key 'a'"),
        ("a:\n\tb: 1\n", "line 2, column 1"),
        ("a:\n  b: \x01\n", "line 2, column 6"),
        ("a: [1\n", "line 2, column 1"),
        ("[" * 100_000, "line 1 is 101 levels"),
    ],
)
def test_without_libyaml(monkeypatch: pytest.MonkeyPatch, text: str, refused: str | None) -> None:
    """PyYAML's own parser, where it was built without libyaml."""
    monkeypatch.setattr(yamltext, "PARSER", yaml.SafeLoader)
    if refused is None:
        assert load(text) == yaml.safe_load(text)
        return
    with pytest.raises(InvalidDocument) as caught:
        load(text)
    assert refused in str(caught.value)


def test_an_alias_is_a_copy() -> None:
    value = load("a: &a {x: [1]}\nb: *a\n&k key: *k\n")
    assert value == {"a": {"x": [1]}, "b": {"x": [1]}, "key": "key"}
    assert value["a"] is not value["b"]
    assert value["a"]["x"] is not value["b"]["x"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &a {x: 1, y: 1}\nb:\n  <<: *a\n  y: 2\n", {"x": 1, "y": 2}),
        ("a: &a {x: 1, y: 1}\nb:\n  y: 2\n  <<: *a\n", {"x": 1, "y": 2}),
        ("a: [&a {x: 1}, &c {x: 2, z: 3}]\nb: {<<: [*a, *c]}\n", {"x": 1, "z": 3}),
        ("a: 1\nb: {<<: {x: 1}, y: 2}\n", {"x": 1, "y": 2}),
        ("a: 1\nb: {'<<': 1}\n", {"<<": 1}),
    ],
)
def test_merge_keys(text: str, value: Any) -> None:
    assert load(text)["b"] == value == yaml.safe_load(text)["b"]


SCALARS = st.one_of(
    st.text("0123456789+-.:_eExXoObBaAfFnN", min_size=1, max_size=9),
    st.from_regex(r"[-+]?[0-9][0-9_]{0,5}(:[0-5]?[0-9]){0,2}(\.[0-9_]{0,3})?([eE][-+]?[0-9]{1,2})?", fullmatch=True),
    st.sampled_from(
        ["yes", "Yes", "YES", "yEs", "no", "on", "off", "y", "true", "TRUE", "tRue", "null", "Null", "nULL", "~"]
    ),
    st.sampled_from([".inf", ".nan", "=", "<<", "1:60", "0_", "0b", "0b_"]),
)


@given(st.lists(st.tuples(st.sampled_from(["", "'", '"']), SCALARS), min_size=1, max_size=6))
def test_scalars_are_read_as_safe_load_reads_them(scalars: list[tuple[str, str]]) -> None:
    text = "".join(f"- {quote}{scalar}{quote}\n" for quote, scalar in scalars)
    try:
        expected = yaml.load(text, Loader=_Undated)
    except yaml.YAMLError:
        with pytest.raises(InvalidDocument):
            load(text)
        return
    try:
        assert json.dumps(load(text)) == json.dumps(expected)
    except InvalidDocument:
        with pytest.raises(ValueError, match="float values"):
            json.dumps(expected, allow_nan=False)


class _Undated(yaml.SafeLoader):
    """`SafeLoader` where it does what a workflow needs: dates and `=` are text, and `0b_` does not raise."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own attribute)
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag.rsplit(":", 1)[1] not in {"timestamp", "value", "merge"}
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_yaml_int(self, node: yaml.ScalarNode) -> Any:
        try:
            return super().construct_yaml_int(node)
        except ValueError:
            return node.value


_Undated.add_constructor("tag:yaml.org,2002:int", _Undated.construct_yaml_int)


def test_json_reads_as_json() -> None:
    text = json.dumps(
        {"app": {"mode": "chat"}, "x": ["😀", "\0", 1.5, -0.0, 2**64 - 1, None, True, {"": []}, "{[:,"]}
    )
    assert json.dumps(parse(text).data) == text
    assert parse("\ufeff" + text).data == parse(text.encode()).data == json.loads(text)


def test_a_flow_mapping_that_is_no_json_is_yaml() -> None:
    assert parse("{app: {mode: chat}, model_config: {a: yes}}").data["model_config"] == {"a": True}
