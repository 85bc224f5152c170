"""Texts with ``{version}``, ``{from}``, ``{workflow}`` and ``{channel}`` in them, filled from a notice. A filled text
is one argument, path or part of an address, whatever the values hold."""

from collections.abc import Callable, Mapping
from string import Formatter
from urllib.parse import quote

from lastgood.release.means import Notice

PLACEHOLDERS = ("version", "from", "workflow", "channel")


class BadTemplate(Exception):
    """What is wrong with a template, or with the values for it, as a sentence for users."""


def values(notice: Notice) -> dict[str, str]:
    """What the placeholders stand for; `from` is empty where the channel pointed nowhere."""
    return {
        "version": notice.to_version,
        "from": notice.from_version or "",
        "workflow": notice.workflow,
        "channel": notice.channel,
    }


def names(template: str) -> set[str]:
    """The placeholders in `template`. Raises `BadTemplate` for one that is unknown."""
    return {name for _, name in _parts(template) if name is not None}


def fill(template: str, given: Mapping[str, str], quoted: Callable[[str], str] = str) -> str:
    """`template` with its placeholders filled from `given`, each value as `quoted` makes it. Raises `BadTemplate`."""
    return "".join(text + (quoted(given[name]) if name is not None else "") for text, name in _parts(template))


def argument(template: str, given: Mapping[str, str]) -> str:
    """`template` filled as one argument of a command, which no value can make an option of it."""
    filled = fill(template, given)
    if "\0" in filled:
        raise BadTemplate(f"{template!r} would hold a NUL character")
    if filled.startswith("-") and not template.startswith("-"):
        raise BadTemplate(f"{template!r} would be the option {filled!r} with this move's values")
    return filled


def path(template: str, given: Mapping[str, str]) -> str:
    """`template` filled as a path, in which no value leads to another folder."""
    return fill(template, given, _path_part)


def address(template: str, given: Mapping[str, str]) -> str:
    """`template` filled as a URL, each value quoted."""
    return fill(template, given, lambda value: quote(value, safe=""))


def _path_part(value: str) -> str:
    if "/" in value or "\0" in value or value in (".", ".."):
        raise BadTemplate(f"{value!r} cannot be part of a path")
    return value


def _parts(template: str) -> list[tuple[str, str | None]]:
    """The texts of `template`, each with the placeholder that follows it (None for none)."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        raise BadTemplate(f"a brace stands alone in {template!r}; write {{{{ or }}}} for one that is meant") from None
    for _, name, form, conversion in parts:
        if name is not None and (name not in PLACEHOLDERS or form or conversion):
            known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
            raise BadTemplate(
                f"{{{name}}} in {template!r} stands for nothing; there are {known}, and {{{{ for a brace"
            )
    return [(text, name) for text, name, _, _ in parts]
