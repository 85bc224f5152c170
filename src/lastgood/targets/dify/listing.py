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
class Listing:
    """The versions of an app that are not known yet, newest first, and its draft (None where it has none). `ids` are
    those of all versions, where all were listed."""

    draft: Workflow | None
    new: tuple[Workflow, ...] = field(repr=False)
    ids: frozenset[str] | None = None


def read(console: Console, app_id: str, known: Collection[str], *, everything: bool = False) -> Listing:
    """List what is not among the ids `known`; with `everything` all pages are read, whatever is known."""
    if known and not everything:
        first = console.versions(app_id, 1, _FEW)
        rows = [row for row in first.items if not row.is_draft]
        if any(row.id in known for row in rows) or not first.has_more:
            return _listing(console, app_id, first.items, known, whole=False)
    try:
        items = tuple(_until(console, app_id, MOST_PER_PAGE, () if everything else known))
    except (DifyUnreadable, DifyTimeout):
        items = tuple(_until(console, app_id, _CAREFUL, () if everything else known))
    return _listing(console, app_id, items, known, whole=everything or not known)


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
        listed = read(console, app_id, known, everything=True)
        ids = listed.ids or frozenset()
        missing -= ids
        if not missing or len(ids) < MOST_PER_PAGE:
            break
    return frozenset(missing)


def _until(console: Console, app_id: str, limit: int, known: Collection[str]) -> Iterator[Workflow]:
    """All rows, the draft too, until a known one; each once, though rows move between pages."""
    seen: set[str] = set()
    number, more = 1, True
    while more:
        page = console.versions(app_id, number, limit)
        for row in page.items:
            if row.id in seen:
                continue
            seen.add(row.id)
            yield row
            if row.id in known:
                return
        number, more = number + 1, page.has_more and bool(page.items)


def _listing(
    console: Console, app_id: str, items: Collection[Workflow], known: Collection[str], *, whole: bool
) -> Listing:
    draft = next((row for row in items if row.is_draft), None)
    new = []
    for row in items:
        if row.is_draft:
            continue
        if row.id in known and not whole:
            break
        if row.id not in known:
            new.append(row)
    if draft is None:
        draft = draft_of(console, app_id)
    ids = frozenset(row.id for row in items if not row.is_draft) if whole else None
    return Listing(draft, tuple(new), ids)


def draft_of(console: Console, app_id: str) -> Workflow | None:
    """The draft of an app, which is in no list before the first publish."""
    try:
        return console.draft(app_id)
    except DifyMissing as error:
        if error.data.get("code") == "app_not_found":
            raise
        return None
