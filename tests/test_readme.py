"""The README keeps up with the command line, in both languages."""

import re
from pathlib import Path

import pytest

from lastgood.cli.main import command

_ROOT = Path(__file__).parents[1]
_UNTOLD = {"completion"}  # `lastgood --help` tells of it


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_every_command_is_told(name: str) -> None:
    text = (_ROOT / name).read_text(encoding="utf-8").replace("```", "")
    told = {
        word for code in re.findall(r"`([^`]+)`|lastgood ([a-z]+)", text) for part in code for word in part.split()
    }
    assert set(command().commands) - told - _UNTOLD == set()


def test_both_languages_show_the_same_commands() -> None:
    english, chinese = (
        re.findall(
            r"^(?:lastgood|curl|dify|pip|uv) [^#\n]*", (_ROOT / name).read_text(encoding="utf-8"), re.MULTILINE
        )
        for name in ("README.md", "README.zh-CN.md")
    )
    assert [line.strip() for line in english] == [line.strip() for line in chinese]
