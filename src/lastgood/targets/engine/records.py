"""What the engine keeps: runs, conversations with their messages and variables, and requests to stop.

Several engine processes share one store. One thread per process writes, many changes to a transaction; whoever
must not answer before it is kept waits for that. The beginning of a run is written with its end where that comes
soon, which most do."""

import contextlib
import json
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from lastgood.db.runs import conversation, conversation_variable, message, run, stop

_log = logging.getLogger(__name__)
_KEPT_RUNS = 10_000
_KEPT_CONVERSATIONS = 10_000
_PRUNE_EVERY = 500  # changes
_STOP_SECONDS = 3600.0
_BATCH = 256
_SOON = 0.1
_TURNS = 100

type _Work = Callable[[Connection], None]

_INSERT_RUN = insert(run)
_UPDATE_RUN = update(run).where(run.c.id == bindparam("run_id"))
_INSERT_CONVERSATION = insert(conversation)
_UPDATE_CONVERSATION = update(conversation).where(conversation.c.id == bindparam("conversation_id"))
_INSERT_MESSAGE = insert(message)
_SET_VARIABLE = update(conversation_variable).where(
    conversation_variable.c.conversation_id == bindparam("owner"), conversation_variable.c.name == bindparam("called")
)
_INSERT_VARIABLE = insert(conversation_variable)
_INSERT_STOP = insert(stop)
_RUN = select(run).where(run.c.id == bindparam("run_id"))
_CONVERSATION = select(conversation).where(conversation.c.id == bindparam("conversation_id"))
_VARIABLES = (
    select(conversation_variable)
    .where(conversation_variable.c.conversation_id == bindparam("conversation_id"))
    .order_by(conversation_variable.c.pk)
)
_NEWEST = (
    select(message)
    .where(message.c.conversation_id == bindparam("conversation_id"))
    .order_by(message.c.pk.desc())
    .limit(bindparam("limit"))
)
_STOPS = select(stop).where(stop.c.pk > bindparam("after")).order_by(stop.c.pk)
_LAST_STOP = select(func.coalesce(func.max(stop.c.pk), 0))


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as a run begins on it. `variables` by name; `turns` are (query, answer), oldest first."""

    id: str
    dialogue_count: int
    variables: dict[str, Any] = field(default_factory=dict)
    turns: Sequence[tuple[str, str]] = ()


class Records:
    """The store of runs behind `engine` (tables of `lastgood.db.runs`, made already)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._begun: dict[str, tuple[float, dict[str, Any]]] = {}
        self._queue: queue.SimpleQueue[tuple[_Work | None, threading.Event | None]] = queue.SimpleQueue()
        self._changes = 0
        self._writer = threading.Thread(target=self._write, name="records", daemon=True)
        self._writer.start()
        with engine.connect() as connection:
            self._seen_stop = int(connection.execute(_LAST_STOP).scalar_one())

    def run_started(self, values: dict[str, Any]) -> None:
        """Keep a new run (the columns of `run`), within `_SOON` seconds. Does not wait."""
        with self._lock:
            self._begun[values["id"]] = (time.monotonic(), values)

    def run_finished(self, run_id: str, values: dict[str, Any]) -> None:
        """Keep how the run ended, and wait until it is kept."""
        self._put(self._ending(run_id, values))

    def turn_finished(
        self,
        run_id: str,
        values: dict[str, Any],
        talk: dict[str, Any],
        said: dict[str, Any],
        variables: list[dict[str, Any]],
    ) -> None:
        """Keep a chatflow's run with its message `said`, the conversation's new state `talk` (made if it is new) and
        its variables, all together; wait until they are kept."""

        ending = self._ending(run_id, values)

        def work(connection: Connection) -> None:
            ending(connection)
            changes = {key: talk[key] for key in ("dialogue_count", "updated_at")}
            if connection.execute(_UPDATE_CONVERSATION, {"conversation_id": talk["id"], **changes}).rowcount == 0:
                connection.execute(_INSERT_CONVERSATION, talk)
            connection.execute(_INSERT_MESSAGE, said)
            for variable in variables:
                now = {
                    "value": variable["value"],
                    "value_type": variable["value_type"],
                    "updated_at": talk["updated_at"],
                }
                where = {"owner": talk["id"], "called": variable["name"]}
                if connection.execute(_SET_VARIABLE, where | now).rowcount == 0:
                    made = {"id": str(uuid.uuid4()), "conversation_id": talk["id"], "created_at": talk["updated_at"]}
                    connection.execute(_INSERT_VARIABLE, variable | made | now)

        self._put(work)

    def run(self, run_id: str) -> Row[Any] | None:
        """The run of that id."""
        with self._engine.connect() as connection:
            return connection.execute(_RUN, {"run_id": run_id}).one_or_none()

    def runs(
        self, workflow_id: str | None, *, status: str | None, page: int, limit: int
    ) -> tuple[int, Sequence[Row[Any]]]:
        """How many runs there are of `workflow_id` (None: of all) with `status`, and one page, newest first."""
        wanted = [run.c.workflow_id == workflow_id] if workflow_id else []
        wanted += [run.c.status == status] if status else []
        with self._engine.connect() as connection:
            total = connection.execute(select(func.count()).select_from(run).where(*wanted)).scalar_one()
            rows = connection.execute(
                select(run).where(*wanted).order_by(run.c.pk.desc()).limit(limit).offset((page - 1) * limit)
            ).all()
        return int(total), rows

    def conversation(self, conversation_id: str, workflow_id: str | None, user: str) -> Conversation | None:
        """The conversation of that id, if it is `user`'s with `workflow_id`."""
        with self._engine.connect() as connection:
            found = connection.execute(_CONVERSATION, {"conversation_id": conversation_id}).one_or_none()
            if found is None or found.user != user or (workflow_id and found.workflow_id != workflow_id):
                return None
            where = {"conversation_id": conversation_id}
            variables = {row.name: json.loads(row.value) for row in connection.execute(_VARIABLES, where)}
            newest = connection.execute(_NEWEST, where | {"limit": _TURNS}).all()
        turns = [(row.query, row.answer) for row in reversed(newest) if row.status == "normal"]
        return Conversation(found.id, found.dialogue_count, variables, turns)

    def conversations(
        self, workflow_id: str | None, user: str, *, limit: int, last_id: str | None
    ) -> tuple[bool, Sequence[Row[Any]]]:
        """Whether more follow, and the `limit` conversations of `user` last spoken in (after `last_id`)."""
        wanted = [conversation.c.user == user]
        wanted += [conversation.c.workflow_id == workflow_id] if workflow_id else []
        with self._engine.connect() as connection:
            if last_id:
                last = connection.execute(_CONVERSATION, {"conversation_id": last_id}).one_or_none()
                if last is not None:
                    older = conversation.c.updated_at < last.updated_at
                    same = and_(conversation.c.updated_at == last.updated_at, conversation.c.pk < last.pk)
                    wanted.append(older | same)
            order = (conversation.c.updated_at.desc(), conversation.c.pk.desc())
            rows = connection.execute(select(conversation).where(*wanted).order_by(*order).limit(limit + 1)).all()
        return len(rows) > limit, rows[:limit]

    def messages(self, conversation_id: str, *, limit: int, first_id: str | None) -> tuple[bool, Sequence[Row[Any]]]:
        """Whether older ones exist, and the `limit` newest messages (before `first_id`), oldest first."""
        wanted = [message.c.conversation_id == conversation_id]
        with self._engine.connect() as connection:
            if first_id:
                first = connection.execute(select(message.c.pk).where(message.c.id == first_id)).scalar()
                wanted += [message.c.pk < first] if first is not None else []
            newest = select(message).where(*wanted).order_by(message.c.pk.desc()).limit(limit + 1)
            rows = connection.execute(newest).all()
        return len(rows) > limit, list(reversed(rows[:limit]))

    def variables(self, conversation_id: str, *, name: str | None, limit: int) -> tuple[bool, Sequence[Row[Any]]]:
        """Whether more follow, and the first `limit` variables of a conversation."""
        with self._engine.connect() as connection:
            rows = connection.execute(_VARIABLES, {"conversation_id": conversation_id}).all()
        found = [row for row in rows if name is None or row.name == name]
        return len(found) > limit, found[:limit]

    def ask_stop(self, task_id: str, workflow_id: str, user: str) -> None:
        """Tell every engine process to stop the task, if it is `user`'s; waits until they can hear it."""
        values = {"task_id": task_id, "workflow_id": workflow_id, "user": user, "at": time.time()}
        self._put(partial(_execute, _INSERT_STOP, values))

    def new_stops(self) -> Sequence[Row[Any]]:
        """The requests to stop since the last call."""
        with self._engine.connect() as connection:
            rows = connection.execute(_STOPS, {"after": self._seen_stop}).all()
        if rows:
            self._seen_stop = rows[-1].pk
        return rows

    def close(self) -> None:
        """Write what waits, and end."""
        self._queue.put((None, None))
        self._writer.join(10)
        self._engine.dispose()

    def _put(self, work: _Work) -> None:
        kept = threading.Event()
        self._queue.put((work, kept))
        kept.wait(30)

    def _ending(self, run_id: str, values: dict[str, Any]) -> _Work:
        with self._lock:
            _, begun = self._begun.pop(run_id, (0.0, None))
        if begun is not None:
            return partial(_execute, _INSERT_RUN, begun | values)
        return partial(_execute, _UPDATE_RUN, {"run_id": run_id, **values})

    def _still_running(self, seconds: float) -> list[_Work]:
        """The beginnings of runs that did not end within `seconds`."""
        before = time.monotonic() - seconds
        with self._lock:
            late = [run_id for run_id, (at, _) in self._begun.items() if at <= before]
            return [partial(_execute, _INSERT_RUN, self._begun.pop(run_id)[1]) for run_id in late]

    def _write(self) -> None:
        going = True
        while going:
            batch: list[tuple[_Work | None, threading.Event | None]] = []
            with contextlib.suppress(queue.Empty):
                batch.append(self._queue.get(timeout=_SOON))
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            asked = [work for work, _ in batch if work is not None]
            going = len(asked) == len(batch)
            try:
                self._commit([*self._still_running(_SOON if going else 0.0), *asked])
            finally:
                for _, kept in batch:
                    if kept is not None:
                        kept.set()

    def _commit(self, works: list[_Work]) -> None:
        """All of `works` in one transaction; if one fails, each in its own, so that only the bad one is lost."""
        if not works:
            return
        try:
            with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
                for work in works:
                    work(connection)
                self._changes += len(works)
                if self._changes >= _PRUNE_EVERY:
                    self._changes = 0
                    _prune(connection)
        except SQLAlchemyError as error:
            if len(works) > 1:
                for work in works:
                    self._commit([work])
            else:
                # The answer is worth more than its record.
                _log.error("A run could not be recorded: %s", error)


def _execute(statement: Any, values: dict[str, Any], connection: Connection) -> None:
    connection.execute(statement, values)


def _prune(connection: Connection) -> None:
    newest = select(run.c.pk).order_by(run.c.pk.desc()).offset(_KEPT_RUNS).limit(1).scalar_subquery()
    connection.execute(delete(run).where(run.c.pk <= newest))
    last = select(conversation.c.updated_at).order_by(conversation.c.updated_at.desc()).offset(_KEPT_CONVERSATIONS)
    connection.execute(delete(conversation).where(conversation.c.updated_at <= last.limit(1).scalar_subquery()))
    connection.execute(delete(stop).where(stop.c.at < time.time() - _STOP_SECONDS))
