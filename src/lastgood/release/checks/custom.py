"""Checks of your own: entry points of the group ``lastgood.checks``, each a callable from a `Case` to its items."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from lastgood.release.checks.case import Case, Checked

GROUP = "lastgood.checks"


class NotACheck(Exception):
    """An entry point that is no check."""


@cache
def installed() -> Mapping[str, EntryPoint]:
    """The entry points by name, sorted; of several with one name the first counts. Looked for once in a process: it
    takes 10 to 30 ms to look through all packages, and each operation asks several times."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda one: (one.name, one.value)):
        found.setdefault(point.name, point)
    return MappingProxyType(found)


def check(point: EntryPoint, case: Case) -> Iterator[Checked]:
    """The items of one entry point, under its own name. Raises `NotACheck`, and whatever it raises."""
    function = point.load()
    if not callable(function):
        raise NotACheck(f"{point.value} is not callable")
    for one in function(case):
        if not isinstance(one, Checked):
            raise NotACheck(f"{point.value} gave a {type(one).__name__} where a Checked belongs")
        yield replace(one, check=point.name)
