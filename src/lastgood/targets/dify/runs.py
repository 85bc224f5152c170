"""What ran on a Dify server, by its own records. Recorded on 1.13.0 and 1.14.2."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from lastgood.targets.dify.asking import MOST_PER_PAGE, Asker, uuid
from lastgood.targets.dify.fields import Fields
from lastgood.targets.dify.forms import Page, Raw


@dataclass(frozen=True, slots=True)
class Run:
    """One run, by its version string. `triggered_from` is empty where a list does not tell it."""

    id: str
    version: str
    status: str
    triggered_from: str
    error: str = field(repr=False)
    elapsed_seconds: float | None
    steps: int | None
    tokens: int | None
    exceptions: int | None
    created_at: datetime | None
    finished_at: datetime | None
    raw: Raw = field(repr=False)

    @classmethod
    def read(cls, data: object) -> Self:
        """From an item of ``…/workflow-runs`` or `workflow_run` of a log entry."""
        fields = Fields(data, "a run")
        return cls(
            id=fields.text("id"),
            version=fields.text_or("version"),
            status=fields.text("status"),
            triggered_from=fields.text_or("triggered_from"),
            error=fields.text_or("error"),
            elapsed_seconds=fields.number("elapsed_time"),
            steps=fields.count("total_steps"),
            tokens=fields.count("total_tokens"),
            exceptions=fields.count("exceptions_count"),
            created_at=fields.moment("created_at"),
            finished_at=fields.moment("finished_at"),
            raw=fields.data,
        )


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A run as the app's log tells it: with where it came from (``service-api``, ``web-app``, …) and, in its run,
    what started it (``app-run``, ``webhook``, …)."""

    id: str
    run: Run
    created_from: str
    created_by_role: str
    created_at: datetime | None
    raw: Raw = field(repr=False)

    @classmethod
    def read(cls, data: object) -> Self:
        """From an item of ``…/workflow-app-logs``."""
        fields = Fields(data, "a log entry")
        return cls(
            fields.text("id"),
            Run.read(fields.mapping("workflow_run")),
            fields.text_or("created_from"),
            fields.text_or("created_by_role"),
            fields.moment("created_at"),
            fields.data,
        )


class Runs(Asker):
    """The runs of apps, through one session."""

    def logs(self, app: str, page: int = 1, limit: int = MOST_PER_PAGE, **filters: str | int) -> Page[LogEntry]:
        """One page of a workflow app's runs, newest first, web app and webhooks included; each has its version.
        `filters` are Dify's own (documented): ``status``, ``created_at__after``, ``created_at__before``, …"""
        path = f"/apps/{uuid(app)}/workflow-app-logs"
        return self.page(
            path, f"list the runs of app {app}", "data", LogEntry.read, page=page, limit=limit, **filters
        )

    def runs(
        self,
        app: str,
        *,
        after: str | None = None,
        limit: int = MOST_PER_PAGE,
        triggered_from: str = "app-run",
        chat: bool = False,
    ) -> Page[Run]:
        """Runs, newest first, those after the run `after`. Dify lists debug runs alone unless told otherwise, and
        takes ``app-run`` or ``debugging``; runs of webhooks are in `logs` only. `chat` asks the route of chatflows,
        which Dify's own page for them does; it was not recorded."""
        extra: dict[str, str | int] = {"triggered_from": triggered_from}
        if after is not None:
            extra["last_id"] = uuid(after)
        path = f"/apps/{uuid(app)}/{'advanced-chat/' if chat else ''}workflow-runs"
        return self.page(path, f"list the runs of app {app}", "data", Run.read, limit=limit, **extra)

    def run(self, app: str, run: str) -> Run:
        """A run, with the graph it ran in `raw`."""
        return self.get(f"/apps/{uuid(app)}/workflow-runs/{uuid(run)}", f"read run {run}", Run.read)
