"""Templates: what placeholders stand for, and what no value can do."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.release.listeners import template
from lastgood.release.listeners.template import BadTemplate
from release.notices import NEW, OLD, notice

VALUES = template.values(notice())
ANY = st.fixed_dictionaries(dict.fromkeys(template.PLACEHOLDERS, st.text() | st.text("-/. =&?#%\n{}", max_size=5)))


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("app-{version}", f"app-{OLD}"),
        ("{from}->{version} {workflow}/{channel}", f"{NEW}->{OLD} prod-invoice/live"),
        ("{version}{version}", OLD + OLD),
        ("plain", "plain"),
        ("", ""),
        ("awk {{print $1}}", "awk {print $1}"),
        ("{{version}}", "{version}"),
    ],
)
def test_placeholders_are_filled(text: str, filled: str) -> None:
    assert template.fill(text, VALUES) == filled


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "app-{release}",
            "{release} in 'app-{release}' stands for nothing; there are {version}, {from}, {workflow}, {channel}",
        ),
        ("app-{}", "{} in 'app-{}' stands for nothing"),
        ("{version.__class__}", "{version.__class__} in"),
        ("{version[0]}", "{version[0]} in"),
        ("{version!r}", "{version} in '{version!r}' stands for nothing"),
        ("{version:>9}", "{version} in '{version:>9}' stands for nothing"),
        ("open {", "a brace stands alone in 'open {'; write {{ or }} for one that is meant"),
        ("awk {print}", "{print} in 'awk {print}' stands for nothing"),
        ("}", "a brace stands alone in '}'"),
    ],
)
def test_what_stands_for_nothing_is_said_in_one_sentence(text: str, why: str) -> None:
    with pytest.raises(BadTemplate) as raised:
        template.names(text)
    assert str(raised.value).startswith(why)
    with pytest.raises(BadTemplate):
        template.fill(text, VALUES)


def test_a_channel_that_pointed_nowhere_has_an_empty_from() -> None:
    assert template.fill("<{from}>", template.values(notice(from_version=None))) == "<>"


@given(ANY)
def test_no_value_makes_an_option_or_a_second_argument(values: dict[str, str]) -> None:
    for text in ("{version}", "{from}{channel}", "x{version}", "--name={version}"):
        with suppress(BadTemplate):
            filled = template.argument(text, values)
            assert not filled.startswith("-") or text.startswith("-")
            assert "\0" not in filled


@given(ANY)
def test_no_value_leaves_the_folder(values: dict[str, str]) -> None:
    with suppress(BadTemplate):
        parts = template.path("/srv/{workflow}/app/{version}", values).split("/")
        assert len(parts) == 5 and not {"..", "."} & set(parts)


@given(ANY)
def test_no_value_adds_to_an_address(values: dict[str, str]) -> None:
    filled = template.address("https://host.example/moves/{version}?to={workflow}#x", values)
    assert filled.startswith("https://host.example/moves/") and filled.endswith("#x")
    assert [filled.count(mark) for mark in "/?#=&"] == [4, 1, 1, 1, 0]
