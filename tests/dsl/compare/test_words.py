"""How changed words are pointed out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.dsl.compare import runs, signed
from lastgood.dsl.compare.text import word_marks

LINES = st.text(st.sampled_from("ab 1,.[]{}+-你好\t"), max_size=20)


@pytest.mark.parametrize(
    ("old", "new", "removed", "added"),
    [
        ("Say two things.", "Say three things.", "Say [-two-] things.", "Say {+three+} things."),
        ("Say it.", "Say it now.", "Say it.", "Say it {+now+}."),
        ("今天天气好", "今天的天气好", "今天天气好", "今天{+的+}天气好"),
        ("a b", "a  b", "a[- -]b", "a{+  +}b"),
        ("yes", "no", "yes", "no"),
        ("- yes.", "- no.", "- yes.", "- no."),
        ("", "new", "", "new"),
        ("keep x[-1]", "keep x[-2]", "keep x[-1]", "keep x[-2]"),
        ("take {+a+}", "take {+b+}", "take {+a+}", "take {+b+}"),
    ],
)
def test_signs_around_words(old: str, new: str, removed: str, added: str) -> None:
    gone, come = word_marks(old, new)
    assert (signed(old, gone, "removed"), signed(new, come, "added")) == (removed, added)


@given(LINES, LINES)
def test_a_line_can_be_read_back(old: str, new: str) -> None:
    for text, marks, role, signs in zip(
        (old, new), word_marks(old, new), ("removed", "added"), (("[-", "-]"), ("{+", "+}")), strict=True
    ):
        told = signed(text, marks, role)
        pieces = runs(text, marks)
        assert "".join(piece for piece, _ in pieces) == text
        if told != text:
            assert told.replace(signs[0], "").replace(signs[1], "") == text
            assert told.count(signs[0]) == told.count(signs[1]) == sum(is_marked for _, is_marked in pieces)


def test_what_did_not_change_has_no_signs() -> None:
    assert signed("Say things.", (), "context") == "Say things."
