"""The mask for secret values that are known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.dsl.mask import MASK, Mask


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("hunter2", "my hunter2!", f"my {MASK}!"),
        ("ab", "cab", "cab"),  # too short to be looked for in words
        ("ab", "ab", MASK),
        ("", "", ""),
        ('a"b\\c', 'x{"k": "a\\"b\\\\c"}', f'x{{"k": "{MASK}"}}'),
        ("a b&c", "http://x/?k=a%20b%26c", f"http://x/?k={MASK}"),
        ("a b&c", "k=a+b%26c", f"k={MASK}"),
        ("user:pass", "Basic dXNlcjpwYXNz", f"Basic {MASK}"),
        ("gehéim", "\\u0067 geh\\u00e9im", f"\\u0067 {MASK}"),
    ],
)
def test_a_secret_is_found_in_its_usual_writings(secret: str, text: str, shown: str) -> None:
    assert Mask([secret]).text(text) == shown


def test_a_longer_secret_is_hidden_before_its_part() -> None:
    assert Mask(["pass", "password"]).text("password pass") == f"{MASK} {MASK}"


@given(st.text("ab", min_size=4, max_size=12), st.integers(0, 40), st.integers(0, 40))
def test_a_cut_leaves_no_piece_of_a_secret(letters: str, cut: int, resumed: int) -> None:
    secret = f"S{letters}E"
    text = f"some words before it {secret} and after it"
    head, tail = Mask([secret]).uncut(text[:cut], text[max(cut, resumed) :])
    assert text.startswith(head) and text.endswith(tail)
    assert ("S" not in head and "E" not in tail) or secret in head + "|" + tail
