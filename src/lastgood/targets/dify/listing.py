"""What is new among the versions of an app, read with as few requests as will do.

Dify lists the draft first and then versions, newest first, with whole graphs, and gives none by its id. Since history
keeps the oldest first, all that is older than a known row is known too: reading stops at the first such."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from lastgood.errors import DifyMissing, DifyTimeout, DifyUnreadable
from lastgood.targets.dify.asking import MOST_PER_PAGE
from lastgood.targets.dify.console import Console
from lastgood.targets.dify.forms import Workflow

_FEW = 3  # the draft, the newest version, and the one before it
_CAREFUL = 10  # versions per page where a hundred are too much for the server, or for us


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an app's rows: the `ids` that need not be read again, and those that reading may stop at
    (`ends`), because all that is older is known too. A row that an operation of ours made is no such end: somebody's
    may lie right below it."""

    ids: frozenset[str] = frozenset()
    ends: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Listing:
    """The versions of an app that are not known yet, newest first, and its draft (None where it has none). `top` is
    the newest version's id, `ids` those of all versions, where all were listed."""

    draft: Workflow | None
    new: tuple[Workflow, ...] = field(repr=False)
    top: str | None = None
    ids: frozenset[str] | None = None


def read(console: Console, app_id: str, known: Known, *, everything: bool = False) -> Listing:
    """List what is not known; with `everything` all pages are read, whatever is known."""
    if known.ends and not everything:
        first = console.versions(app_id, 1, _FEW)
        rows = [row for row in first.items if not row.is_draft]
        if any(row.id in known.ends for row in rows) or not first.has_more:
            return _listing(console, app_id, first.items, known, whole=False)
    ends = frozenset[str]() if everything else known.ends
    try:
        items = tuple(_until(console, app_id, MOST_PER_PAGE, ends))
    except (DifyUnreadable, DifyTimeout):
        items = tuple(_until(console, app_id, _CAREFUL, ends))
    return _listing(console, app_id, items, known, whole=not ends)


def is_complete(console: Console, app_id: str, oldest: str, number: int) -> bool:
    """Whether the `number` known versions, of which `oldest` is the last, are all there still: asked by the one row
    that then stands at the end of the list."""
    page = console.versions(app_id, number + 1, 1)
    return len(page.items) == 1 and page.items[0].id == oldest and not page.has_more


def gone(console: Console, app_id: str, known: Collection[str]) -> frozenset[str]:
    """Those of the ids `known` that the app has no more. Where a list has several pages it is read twice, because
    versions move between the pages when one is deleted meanwhile."""
    missing = set(known)
    for _ in range(2):
        listed = read(console, app_id, Known(frozenset(known)), everything=True)
        ids = listed.ids or frozenset()
        missing -= ids
        if not missing or len(ids) < MOST_PER_PAGE:
            break
    return frozenset(missing)


def _until(console: Console, app_id: str, limit: int, ends: Collection[str]) -> Iterator[Workflow]:
    """All rows, the draft too, until one of `ends`; each once, though rows move between pages."""
    seen: set[str] = set()
    number, more = 1, True
    while more:
        page = console.versions(app_id, number, limit)
        for row in page.items:
            if row.id in seen:
                continue
            seen.add(row.id)
            yield row
            if row.id in ends:
                return
        number, more = number + 1, page.has_more and bool(page.items)


def _listing(console: Console, app_id: str, items: Collection[Workflow], known: Known, *, whole: bool) -> Listing:
    draft = next((row for row in items if row.is_draft), None) or draft_of(console, app_id)
    rows = [row for row in items if not row.is_draft]
    new = []
    for row in rows:
        if row.id in known.ends and not whole:
            break
        if row.id not in known.ids:
            new.append(row)
    ids = frozenset(row.id for row in rows) if whole else None
    return Listing(draft, tuple(new), rows[0].id if rows else None, ids)


def draft_of(console: Console, app_id: str) -> Workflow | None:
    """The draft of an app, which is in no list before the first publish."""
    try:
        return console.draft(app_id)
    except DifyMissing as error:
        if error.data.get("code") == "app_not_found":
            raise
        return None
