"""How large a document may be, and how errors say it."""

from dataclasses import dataclass
from typing import Final

from lastgood.errors import DocumentTooLarge


@dataclass(frozen=True, slots=True)
class Limits:
    """What `reader.parse` accepts. `bytes` holds for the file and again for what its aliases expand to; 10 MB is
    Dify's own limit for an import. `depth` has to stay below 250, where the writing of JSON ends."""

    bytes: int = 10 * 2**20
    nodes: int = 10_000
    depth: int = 100
    values: int = 1_000_000
    aliases: int = 10_000


PLAIN: Final = Limits()


def too_many(source: str, what: str, found: int, limit: int, unit: str = "") -> DocumentTooLarge:
    """The refusal of a document in which `what` is `found` `unit`."""
    return DocumentTooLarge(source=source, what=what, found=f"{found:,} {unit}".rstrip(), limit=f"{limit:,}")


def shorten(text: str) -> str:
    """`text` as far as an error shows it."""
    return text if len(text) <= 60 else text[:59] + "…"
