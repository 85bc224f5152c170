"""What differs between two orders of rows, told as a person would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.access.log.aligning import Difference, compare


def said(expected: str, found: str) -> list[tuple[str, int | None, int | None]]:
    return [(one.kind, one.place, one.at) for one in compare([*map(str.encode, expected)], [*map(str.encode, found)])]


@pytest.mark.parametrize(
    ("found", "differences"),
    [
        ("abcdef", []),
        ("abXdef", [("altered", 2, 2)]),
        ("Xbcdef", [("altered", 0, 0)]),
        ("abcdeX", [("altered", 5, 5)]),
        ("abdef", [("dropped", 2, None)]),
        ("bcdef", [("dropped", 0, None)]),
        ("abcde", [("dropped", 5, None)]),
        ("", [("dropped", place, None) for place in range(6)]),
        ("abXcdef", [("inserted", None, 2)]),
        ("abcdefX", [("inserted", None, 6)]),
        ("abccdef", [("inserted", None, 3)]),
        ("abcdefa", [("inserted", None, 6)]),
        ("abdcef", [("moved", 3, 2)]),
        ("bcdefa", [("moved", 0, 5)]),
        ("fabcde", [("moved", 5, 0)]),
        ("Xabdef", [("inserted", None, 0), ("dropped", 2, None)]),
        ("abXYef", [("altered", 2, 2), ("altered", 3, 3)]),
        ("aXcdbf", [("inserted", None, 1), ("dropped", 4, None), ("moved", 1, 4)]),
    ],
)
def test_differences_are_told_with_few_words(
    found: str, differences: list[tuple[str, int | None, int | None]]
) -> None:
    assert sorted(said("abcdef", found), key=str) == sorted(differences, key=str)


@given(st.text("abcdefgh", max_size=12), st.text("abcdefghXY", max_size=12))
def test_what_is_told_accounts_for_every_row(expected: str, found: str) -> None:
    told = compare([*map(str.encode, expected)], [*map(str.encode, found)])
    assert (told == []) == (expected == found)
    gone = [one.place for one in told if one.kind in ("dropped", "altered")]
    new = [one.at for one in told if one.kind in ("inserted", "altered")]
    assert len(set(gone)) == len(gone)
    assert len(set(new)) == len(new)
    assert sorted(c for at, c in enumerate(expected) if at not in gone) == sorted(
        c for at, c in enumerate(found) if at not in new
    )
    assert all(isinstance(one, Difference) for one in told)
