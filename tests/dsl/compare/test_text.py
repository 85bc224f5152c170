"""Line diffs with word marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.dsl.compare.text import cut, line_diff, windowed, word_marks

SIGNS = {"removed": "-", "added": "+", "context": " ", "gap": "…"}
TEXTS = st.lists(
    st.sampled_from(["", " ", "a", "b", "say a word", "say the word", "x = 1", "äöü 你好"]), max_size=12
).map("\n".join)


def marked(text: str, marks: tuple[tuple[int, int], ...]) -> str:
    for start, end in reversed(marks):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text


def diff(old: str, new: str) -> list[str]:
    return [SIGNS[line.role] + marked(line.text, line.marks) for line in line_diff(old, new, 1)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a\nb\nc", "a\nx\nc", [" a", "-[b]", "+[x]", " c"]),
        ("a\nb", "a\nb", []),
        ("a", "a\n", [" a", "+"]),
        ("a\nb\nc\nd\ne", "a\nc\nd\ne", [" a", "-b", " c"]),
        ("x\n1\n2\n3\n4\n5\ny", "X\n1\n2\n3\n4\n5\nY", ["-[x]", "+[X]", " 1", "…", " 5", "-[y]", "+[Y]"]),
        ("x\n1\n2\n3\ny", "X\n1\n2\n3\nY", ["-[x]", "+[X]", " 1", " 2", " 3", "-[y]", "+[Y]"]),
        ("\n".join("abcdefghijkl"), "\n".join("abcdefghijkL"), ["…", " k", "-[l]", "+[L]"]),
        ("\n".join("abcdefghij"), "\n".join("abcdefghiJ"), [" i", "-[j]", "+[J]"]),
        ("You are a bot.", "You are a kind bot!", ["-You are a bot[.]", "+You are a [kind] bot[!]"]),
        ("f(a, b)", "f(a, c)", ["-f(a, [b])", "+f(a, [c])"]),
        ("{{ b }}", "{% a %}{{ b }}", ["-{{ b }}", "+[{% a %}]{{ b }}"]),
        ("x {{ b }}", "x {{ a }}{{ b }}", ["-x {{ b }}", "+x [{{ a }}]{{ b }}"]),
        ("a b b c", "a b c", ["-a [b] b c", "+a b c"]),
        ("if a-b", "if c-d", ["-if [a-b]", "+if [c-d]"]),
        ("今天天气好", "今天的天气好", ["-今天天气好", "+今天[的]天气好"]),
        ("a b c", "a\u00a0b\u00a0d", ["-a[ ]b[ c]", "+a[\u00a0]b[\u00a0d]"]),
        ("a b", "a  b", ["-a[ ]b", "+a[  ]b"]),
        ("one\nold words here", "new\nold words there", ["-one", "-old words [here]", "+new", "+old words [there]"]),
        (
            "\n".join(f"rule {name}" for name in "abcdefg"),
            "\n\n".join(f"{n}. rule {name}" for n, name in enumerate("abcdeh", start=1)),
            [
                *("-rule a", "+[1.] rule a", "+", "-rule b", "+[2.] rule b", "+", "-rule c", "+[3.] rule c", "+"),
                *("-rule d", "+[4.] rule d", "+", "-rule e", "+[5.] rule e", "-rule f", "-rule g", "+", "+6. rule h"),
            ],
        ),
        (
            "one\n\ntwo\n\nthree\nend",
            "four\n\nfive\n\nsix\nend",
            ["-one", "-", "-two", "-", "-three", "+four", "+", "+five", "+", "+six", " end"],
        ),
    ],
)  # fmt: skip
def test_what_a_reader_sees(old: str, new: str, expected: list[str]) -> None:
    assert diff(old, new) == expected


@given(TEXTS, TEXTS)
def test_the_lines_are_those_of_both_texts(old: str, new: str) -> None:
    found = line_diff(old, new, 10**6)
    if old == new:
        assert all(line.role == "context" for line in found)
    for text, role, place in ((old, "removed", "old"), (new, "added", "new")):
        told = [line for line in found if line.role in ("context", role)]
        assert [line.text for line in told] == text.split("\n") or old == new
        assert [getattr(line, place) for line in told] == list(range(len(told)))


@given(TEXTS, TEXTS)
def test_marks_are_spans_of_their_line(old: str, new: str) -> None:
    for text, marks in zip((old, new), word_marks(old, new), strict=True):
        ends = [place for span in marks for place in span]
        assert ends == sorted(ends)
        assert all(0 <= start < end <= len(text) for start, end in marks)
    assert any(word_marks(old, new)) == (old != new)


def test_texts_too_long_to_be_matched_are_replaced() -> None:
    old, new = ("\n".join(f"{word} {n}" for n in range(2_000)) for word in ("old", "new"))
    found = line_diff(old, new)
    assert [line.role for line in found] == ["removed"] * 2_000 + ["added"] * 2_000


@pytest.mark.parametrize(
    ("text", "marks", "expected"),
    [
        ("short", ((1, 2),), "s[h]ort"),
        ("a" * 50 + "X" + "b" * 50, ((50, 51),), "…aaaaaaaaaaaaaaa[X]bbbbbbbbbbbbbbb…"),
        ("X" + "b" * 50 + "Y", ((0, 1), (51, 52)), "[X]bbbbbbbbbbbbbbb…bbbbbbbbbbbbbbb[Y]"),
        ("a" * 50, (), "aaaaaaaaaaaaaaaaaaaa… (50 characters)"),
        ("X" * 90, ((0, 90),), "[" + "X" * 20 + " … ]"),
    ],
)
def test_long_lines_are_cut_to_what_differs(text: str, marks: tuple[tuple[int, int], ...], expected: str) -> None:
    assert marked(*windowed(text, marks, 40)) == expected


def test_many_marks_in_a_long_line_are_counted() -> None:
    text = "a b " * 100
    marks = tuple((place, place + 1) for place in range(0, 400, 4))
    shown, moved = windowed(text, marks, 40)
    assert len(shown) < 90
    assert shown.endswith(f"and {100 - len(moved)} more")


def test_cutting() -> None:
    assert cut("x" * 40, 40) == "x" * 40
    assert cut("x" * 1234, 40) == "x" * 20 + "… (1,234 characters)"
