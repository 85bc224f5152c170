"""Keep the exact versions of every dependency in pyproject.toml, under `[tool.uv] constraint-dependencies`.

    uv run python tools/pin.py              pin what is new, drop what is gone, keep every other version
    uv run python tools/pin.py --upgrade    take the newest version of everything
    uv run python tools/pin.py --check      change nothing; exit 1 where the pins are not what is resolved

Constraints name versions but no package host, so they serve behind any mirror; uv.lock would name one and stays out
of the repository.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
EXPORT = (
    "export",
    "--no-hashes",
    "--all-extras",
    "--all-groups",
    "--no-emit-project",
    "--no-annotate",
    "--no-header",
)
PINS = re.compile(r"^constraint-dependencies = \[\n(?:  .*\n)*\]\n", re.MULTILINE)
PLACE = re.compile(r"^override-dependencies = \[\n(?:  .*\n)*\]\n", re.MULTILINE)


def resolved(*options: str) -> list[str]:
    """What uv resolves for this project, as requirement lines (`name==version ; marker`), sorted by name."""
    done = subprocess.run(  # noqa: S603 (fixed words, no shell)
        ["uv", *EXPORT, *options],  # noqa: S607 (uv is found as the user's shell finds it)
        cwd=PROJECT.parent,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return [line for line in done.stdout.splitlines() if line and not line.startswith("#")]


def pinned(text: str, requirements: list[str]) -> str:
    """`text` of a pyproject.toml with its pins replaced by `requirements`; they go after the overrides where it
    has none yet. Raises `ValueError` where it has neither."""
    lines = [f'  "{requirement}",' for requirement in requirements]
    block = "\n".join(["constraint-dependencies = [", *lines, "]"]) + "\n"
    if PINS.search(text):
        return PINS.sub(lambda _: block, text, count=1)
    place = PLACE.search(text)
    if place is None:
        raise ValueError("pyproject.toml has no `override-dependencies` block to put the pins after")
    note = "# Made by tools/pin.py: exact versions without a lock file, which would name package hosts.\n"
    return text[: place.end()] + note + block + text[place.end() :]


def main() -> int:
    """Read the command line, rewrite pyproject.toml, and say what became of it. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Pin the exact version of every dependency in pyproject.toml.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--upgrade", action="store_true", help="take the newest version of everything")
    choice.add_argument("--check", action="store_true", help="change nothing; exit 1 where the pins are stale")
    options = parser.parse_args()
    before = PROJECT.read_text()
    if options.upgrade:
        PROJECT.write_text(pinned(before, []))
    try:
        requirements = resolved(*(["--upgrade"] if options.upgrade else []))
    except subprocess.CalledProcessError as error:
        if options.upgrade:
            PROJECT.write_text(before)
        return int(error.returncode)
    after = pinned(before, requirements)
    if options.check:
        if after != before:
            print("The pins in pyproject.toml are stale: run `uv run python tools/pin.py`.", file=sys.stderr)
        return int(after != before)
    PROJECT.write_text(after)
    changed = len(set(before.splitlines()) ^ set(after.splitlines()))
    print(f"{len(requirements)} versions pinned, {changed} lines changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
