"""What ``--input`` and the plain printing make of their texts."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lastgood.cli import output
from lastgood.cli.values import read_inputs
from lastgood.errors import InvalidRequest

FORM = [
    {"text-input": {"variable": "text"}},
    {"paragraph": {"variable": "long"}},
    {"select": {"variable": "kind"}},
    {"number": {"variable": "count"}},
    {"checkbox": {"variable": "yes"}},
    {"json_object": {"variable": "extra"}},
    {"file-list": {"variable": "files"}},
]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], {}),
        (["text=hello"], {"text": "hello"}),
        (["text=a=b"], {"text": "a=b"}),
        (["text="], {"text": ""}),
        (["text=42"], {"text": "42"}),
        (["long={}"], {"long": "{}"}),
        (["kind=true"], {"kind": "true"}),
        (["count=42"], {"count": 42}),
        (["count=4.5"], {"count": 4.5}),
        (["count=many"], {"count": "many"}),
        (["count=null"], {"count": "null"}),
        (["yes=true"], {"yes": True}),
        (['extra={"a": [1]}'], {"extra": {"a": [1]}}),
        (["files=[]"], {"files": []}),
        (["unknown=1"], {"unknown": "1"}),
        (["text=1", "count=1", "text=2"], {"text": "2", "count": 1}),
    ],
)
def test_inputs_are_read_as_the_form_declares_them(given: list[str], expected: dict[str, Any]) -> None:
    assert read_inputs(given, lambda: FORM) == expected


def test_the_form_is_asked_for_only_when_it_matters() -> None:
    def never() -> list[dict[str, Any]]:
        raise AssertionError

    assert read_inputs(["text=hello", "other=null"], never) == {"text": "hello", "other": "null"}


def test_a_file_gives_all_inputs_and_single_ones_win(tmp_path: Path) -> None:
    file = tmp_path / "in.json"
    file.write_text('{"text": 1, "count": "2"}')
    assert read_inputs(["count=3", f"@{file}"], lambda: FORM) == {"text": 1, "count": 3}


@pytest.mark.parametrize(
    ("content", "reason"), [("[1]", "no JSON object"), ("{", "is not JSON"), (None, "cannot be")]
)
def test_a_file_that_holds_no_inputs(tmp_path: Path, content: str | None, reason: str) -> None:
    file = tmp_path / "in.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidRequest, match=reason):
        read_inputs([f"@{file}"], lambda: FORM)


@pytest.mark.parametrize(
    ("at", "age"),
    [
        ("2026-11-23T12:00:00.000000Z", "0 s"),
        ("2026-11-23T11:59:18.000001Z", "41 s"),
        ("2026-11-23T11:57:00Z", "3 min"),
        ("2026-11-23T11:00:01Z", "59 min"),
        ("2026-11-23T11:00:00Z", "1 h"),
        ("2026-11-21T12:00:01Z", "47 h"),
        ("2026-11-21T12:00:00Z", "2 d"),
        ("2026-09-01T12:00:00Z", "2026-09-01"),
        ("2026-11-23T12:05:00Z", "0 s"),  # a clock that is ahead
        ("", "-"),
    ],
)
def test_ages(at: str, age: str) -> None:
    assert output.age(at, datetime(2026, 11, 23, 12, tzinfo=UTC)) == age


@pytest.mark.parametrize(
    ("text", "flat"),
    [("a\nb\t c", "a b c"), ("\x1b[31mred", "[31mred"), ("ümläut 漢字", "ümläut 漢字"), ("\u202etxt.exe", "txt.exe")],
)
def test_text_of_strangers_is_made_flat(text: str, flat: str) -> None:
    assert output.flat(text) == flat
