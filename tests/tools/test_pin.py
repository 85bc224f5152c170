"""The pins of pyproject.toml and the tool that makes them."""

import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PIN: dict[str, Any] = runpy.run_path(str(ROOT / "tools" / "pin.py"))
BARE = (
    "[tool.uv]\noverride-dependencies = [\n  \"big; sys_platform == 'never'\",\n]\n\n[tool.ruff]\nline-length = 118\n"
)
WANTED = ["a==1.0", "b==2.0 ; sys_platform == 'win32'"]


def test_pins_go_behind_the_overrides() -> None:
    assert tomllib.loads(PIN["pinned"](BARE, WANTED)) == {
        "tool": {
            "uv": {"override-dependencies": ["big; sys_platform == 'never'"], "constraint-dependencies": WANTED},
            "ruff": {"line-length": 118},
        }
    }


def test_pins_replace_older_pins_and_nothing_else() -> None:
    once = PIN["pinned"](BARE, ["a==0.9", "gone==3.1"])
    assert PIN["pinned"](once, WANTED) == PIN["pinned"](BARE, WANTED)
    assert PIN["pinned"](PIN["pinned"](once, []), WANTED) == PIN["pinned"](BARE, WANTED)


def test_a_project_without_a_place_for_pins_is_named() -> None:
    with pytest.raises(ValueError, match="override-dependencies"):
        PIN["pinned"]("[tool.ruff]\nline-length = 118\n", WANTED)


def test_every_direct_dependency_of_this_project_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = {pin.split("==")[0] for pin in project["tool"]["uv"]["constraint-dependencies"]}
    extras = project["project"]["optional-dependencies"].values()
    groups = project["dependency-groups"].values()
    declared = [*project["project"]["dependencies"], *(name for names in [*extras, *groups] for name in names)]
    names = {name.split(";")[0].split("[")[0].split("=")[0].rstrip("> <~!") for name in declared}
    assert names - {"lastgood"} <= pinned
    assert all("==" in pin for pin in project["tool"]["uv"]["constraint-dependencies"])
