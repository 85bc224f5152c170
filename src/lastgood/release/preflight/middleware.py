"""Queues, caches and databases at a version in the range that the catalogue declares."""

import re
from collections.abc import Iterator
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from lastgood.release.preflight.facts import Answer, Facts, Service, known

# What servers put behind their number (`8.0.36-0ubuntu0.22.04.1`) is none of PEP 440's business.
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)*")


def middleware(facts: Facts) -> Iterator[Answer]:
    """One answer for each piece of middleware that is declared for the workflow."""
    services = known(facts.services)
    if not services:
        yield Answer("pass", f"No middleware is declared for {facts.workflow} in lastgood.toml.")
    for service in services:
        yield _judge(service)


def _judge(service: Service) -> Answer:
    name = service.name
    try:
        wanted = SpecifierSet(service.range)
    except InvalidSpecifier:
        return Answer(
            "warn",
            f"The range {service.range!r} of middleware {name} is not PEP 440. Correct it in lastgood.toml.",
            name,
        )
    how = "answers" if service.asked else "is declared"
    if not service.version:
        return Answer(
            "warn",
            f"The version of {name} is unknown: {service.problem or 'it is neither asked nor declared'}. "
            f"{_must(service)}Look at it before you go on.",
            name,
        )
    version = parsed(service.version)
    if version is None:
        return Answer(
            "warn", f"{name} {how} with the version {service.version!r}, which is no version. {_must(service)}", name
        )
    if not service.range:
        return Answer("pass", f"{name} {how} with version {version}; no range is declared for it.", name)
    if not wanted.contains(version, prereleases=True):
        return Answer(
            "refuse",
            f"{name} {how} with version {version}, outside {service.range}, which lastgood.toml declares. Bring it "
            "into the range, or correct the range.",
            name,
        )
    return Answer("pass", f"{name} {how} with version {version}, within {service.range}.", name)


def parsed(stated: str) -> Version | None:
    """The version that a server states, None where there is no number in it."""
    try:
        return Version(stated)
    except InvalidVersion:
        found = _NUMBER.search(stated)
        return Version(found[0]) if found else None


def _must(service: Service) -> str:
    return f"It must be {service.range}. " if service.range else ""
