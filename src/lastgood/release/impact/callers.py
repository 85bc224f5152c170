"""Who calls a workflow: its app keys, and the requests that the gateway counted for them."""

from datetime import UTC, datetime, timedelta
from typing import Final, Self

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from lastgood.db.tx import Tx
from lastgood.errors import LastgoodError
from lastgood.history import calls, channels, keys
from lastgood.history.workflows import Workflow
from lastgood.release.impact.reached import Caller
from lastgood.release.means import Means

_WEEK: Final = timedelta(days=7)


class Callers:
    """Reads callers while it is entered. `counted` says whether requests are known: not where nobody records them,
    nor where the records cannot be read, which keeps nobody from going back."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._connection: Connection | None = None
        self._known: dict[str, tuple[Caller, ...]] = {}

    def __enter__(self) -> Self:
        try:
            runs = self._means.runs()
            self._connection = runs.connect() if runs is not None else None
        except (LastgoodError, SQLAlchemyError):
            self._connection = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    @property
    def counted(self) -> bool:
        """Whether the requests of all callers so far are known."""
        return self._connection is not None

    def of(self, tx: Tx, workflow: Workflow) -> tuple[Caller, ...]:
        """All callers of `workflow`: each key with each client that called within 7 days, the busiest first; and
        the keys that did not call, but the revoked ones."""
        if workflow.id not in self._known:
            self._known[workflow.id] = self._read(tx, workflow)
        return self._known[workflow.id]

    def _read(self, tx: Tx, workflow: Workflow) -> tuple[Caller, ...]:
        held = {key["id"]: key for key in keys.listing(tx, workflow)}
        slug = workflow.slug
        found = []
        for one in self._seen(workflow):
            key = held.get(one.key_id)  # a key that came back under another id is gone
            found.append(
                Caller(
                    workflow=slug,
                    channel=key["channel"] if key else channels.LIVE,
                    key=one.key_id,
                    name=key["name"] if key else one.key_id,
                    user_agent=one.user_agent,
                    day=one.requests_24h,
                    week=one.requests_7d,
                    last_at=one.last_at,
                    revoked=key is None or key["revoked_at"] is not None,
                    pinned=one.pinned,
                )
            )
        nothing = 0 if self.counted else None
        called = {one.key for one in found}
        found += [
            Caller(slug, key["channel"], key["id"], key["name"], "", nothing, nothing)
            for key in held.values()
            if key["id"] not in called and key["revoked_at"] is None
        ]
        return tuple(found)

    def _seen(self, workflow: Workflow) -> list[calls.Caller]:
        if self._connection is None:
            return []
        now = datetime.now(UTC)
        try:
            return calls.callers(self._connection, workflow.id, since=now - _WEEK, now=now)
        except SQLAlchemyError:
            self._connection.close()
            self._connection = None
            return []
