"""The version of the document format, against the one that the target reads."""

from collections.abc import Iterator
from typing import Final

from packaging.version import InvalidVersion, Version

from lastgood.release.preflight.facts import Answer, Facts, in_service, known

# The newest format whose documents this release has read.
NEWEST: Final = "0.7.0"


def dsl_version(facts: Facts) -> Iterator[Answer]:
    """The format version, as Dify's own import would judge it. What the target's is, the version in service tells."""
    to = facts.to.version
    stated = known(facts.to.content).format
    if not stated:
        yield Answer("pass", f"{to} states no format version, as graphs from Dify's API do not.")
        return
    version = _parsed(stated)
    if version is None:
        yield Answer(
            "warn",
            f"{to} states the format version {stated!r}, which is none: an import into Dify refuses it. Correct "
            "`version` in its document.",
        )
        return
    if facts.target.embedded:
        if version > Version(NEWEST):
            yield Answer(
                "warn",
                f"{to} is of the format {stated}, and the newest that this release has read is {NEWEST}. Try it on a "
                "channel of its own first.",
            )
        else:
            yield Answer("pass", f"{to} is of the format {stated}, which the embedded engine reads.")
        return
    yield _beside(facts, to, stated, version)


def _beside(facts: Facts, to: str, stated: str, version: Version) -> Answer:
    now, running = facts.now, in_service(facts)
    current = running.format if running is not None else ""
    newest = _parsed(current)
    if now is None or newest is None:
        return Answer(
            "warn",
            f"{to} is of the format {stated}, and what {facts.target.name} reads is not known. Look there at the "
            "version of Dify.",
        )
    said = f"{to} is of the format {stated}, and {now.version}, which {facts.target.name} runs, of {current}"
    if version > newest:
        return Answer("warn", f"{said}: a newer format asks for a confirmation at import, and parts may be unknown.")
    if version.major < newest.major:
        return Answer("warn", f"{said}: Dify asks for a confirmation at import of an older major version.")
    if version.minor < newest.minor:
        return Answer(
            "warn", f"{said}: Dify takes the older one as it is, with a warning, and changes nothing in it."
        )
    return Answer("pass", f"{said}: Dify takes it without a question.")


def _parsed(stated: str) -> Version | None:
    try:
        return Version(stated)
    except InvalidVersion:
        return None
