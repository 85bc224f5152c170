"""The engine as a whole, apart from HTTP: who may run what, the runs in flight, and what is kept of them."""

import asyncio
import hmac
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lastgood.dsl import webhook
from lastgood.dsl.interface import check_inputs, fill_inputs, inputs
from lastgood.dsl.triggers import triggers
from lastgood.errors import NoGraph, NotRunnable
from lastgood.ids import is_version
from lastgood.settings import Settings
from lastgood.targets.engine.cancel import Cancel
from lastgood.targets.engine.events import Ids, Outcome
from lastgood.targets.engine.files import UnusableFile, file_of, with_files
from lastgood.targets.engine.memory import Memory
from lastgood.targets.engine.model import Endpoint
from lastgood.targets.engine.network import anywhere, public_only
from lastgood.targets.engine.nodes import Tools
from lastgood.targets.engine.prepared import Prepared, Shelf
from lastgood.targets.engine.records import Conversation, Records
from lastgood.targets.engine.refusal import Refusal, Unpublished, bad_request, invalid, not_found
from lastgood.targets.engine.run import Order, Run
from lastgood.targets.engine.sandbox import Sandbox
from lastgood.targets.engine.source import Source
from lastgood.targets.engine.values import plain
from lastgood.targets.engine.web import Web

_log = logging.getLogger(__name__)
_THREADS = 32
_MAX_RUNS = 512  # running and waiting; beyond it a caller hears 429
_STOP_POLL = 0.2
_UNREAD = 20_000  # events that wait for a slow reader
_NAME = 100
_END_USERS = uuid.UUID("6f1d0e3c-55cb-4c31-8f3d-1f0b5e0f6a11")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the holder of a workflow's app key, or (`workflow_id` None) of the engine's own token."""

    workflow_id: str | None


@dataclass(slots=True)
class Ticket:
    """A run that was accepted. `ended` gives its outcome; `events` (of a streaming caller) then end with None."""

    run: Run
    prepared: Prepared
    events: asyncio.Queue[dict[str, Any] | None] | None
    ended: asyncio.Future[Outcome]
    alarm: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A checked request to run: the body's parts. `version` None means the one in service; `inputs` of a run that a
    trigger starts are what its node gives."""

    user: str
    inputs: Mapping[str, Any]
    streaming: bool
    version: str | None = None
    files: tuple[Mapping[str, Any], ...] = ()
    query: str = ""
    conversation: str = ""


class Service:
    """Runs the versions of `source`. Belongs to one event loop; `token` opens every version by its id; `web` makes
    the HTTP client of a run's nodes, where it shall be another than the settings say."""

    def __init__(
        self,
        source: Source,
        records: Records,
        settings: Settings,
        *,
        token: str = "",
        web: Callable[[Cancel], Web] | None = None,
    ) -> None:
        self._source = source
        self._shelf = Shelf(source)
        self.records = records
        self.settings = settings
        self._token = token
        policy = anywhere if settings.http_allow_private else public_only
        self._web = web or (lambda cancel: Web(policy, cancel))
        self._endpoint = Endpoint(settings.llm_base_url, settings.llm_api_key, settings.llm_model)
        self._sandbox = Sandbox(cpu=settings.code_timeout, memory=settings.code_memory)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="run")
        self._lookups = ThreadPoolExecutor(4, thread_name_prefix="lookup")
        self._tickets: dict[str, Ticket] = {}
        self._overdue = 0
        self._watcher: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """Runs accepted and not yet ended."""
        return len(self._tickets)

    @property
    def overdue(self) -> int:
        """Runs that ended for their callers while a thread of theirs is still busy."""
        return self._overdue

    def start(self) -> None:
        """Begin to listen for stops that other engine processes were asked for."""
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def close(self, seconds: float) -> None:
        """Let the runs in flight end, `seconds` at most, stop the others, and write everything down."""
        deadline = time.monotonic() + seconds
        await self._idle(deadline)
        for ticket in list(self._tickets.values()):
            ticket.run.stop("The engine is shutting down.")
        await self._idle(time.monotonic() + 3)
        if self._watcher is not None:
            self._watcher.cancel()
        self._sandbox.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._lookups.shutdown(wait=False)
        await asyncio.to_thread(self.records.close)

    async def _idle(self, deadline: float) -> None:
        """Returns when no run is in flight, or at the deadline (of `time.monotonic`)."""
        runs = [ticket.ended for ticket in self._tickets.values()]
        if runs:
            await asyncio.wait(runs, timeout=max(0.0, deadline - time.monotonic()))

    async def lookup[T](self, work: Callable[[], T]) -> T:
        """`work`, which reads a store, on a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._lookups, work)

    async def caller(self, key: str) -> Caller:
        """Who the bearer of `key` is. Raises `Refusal` (401)."""
        if self._token and _same(key, self._token):
            return Caller(None)
        workflow_id = await self.lookup(lambda: self._source.workflow_for_key(key)) if key else None
        if workflow_id is None:
            raise Refusal(401, "unauthorized", "Access token is invalid")
        return Caller(workflow_id)

    async def entered(self, caller: Caller, version: str | None, trigger: str | None) -> Prepared:
        """The version that `caller` means, ready to run from its start node, or from `trigger`, which only the
        engine's own token may name: others come by its address or its time. Raises `Refusal`."""
        found = await self.prepared(caller, version)
        if caller.workflow_id is not None and (found.fired or trigger is not None):
            raise invalid("This workflow is started by its triggers: call its webhook, or wait for its schedule.")
        entered = found if trigger is None else found.at(trigger)
        if entered is None or (trigger is not None and not entered.fired):
            raise invalid(f"The version has no trigger {trigger!r}.")
        return entered

    async def prepared(self, caller: Caller, version: str | None, *, hint: str = "") -> Prepared:
        """The version that `caller` means, ready to run. Raises `Refusal`."""
        if version is not None and not (is_version(version) or _is_uuid(version)):
            raise bad_request(f"Invalid workflow_id format: {version!r}. ")
        if version is None and caller.workflow_id is None:
            raise invalid("The engine's own token needs a version: give its id as workflow_id.")
        try:
            found = await self.lookup(lambda: self._found(caller, version))
        except (NotRunnable, NoGraph) as error:
            raise invalid(str(error)) from None
        if found is None or caller.workflow_id not in {None, found.runnable.workflow_id}:
            raise not_found(f"Workflow not found with id: {version}{hint}")
        return found

    def _found(self, caller: Caller, version: str | None) -> Prepared | None:
        wanted = version or self._source.live_version(caller.workflow_id or "")
        if wanted is None:
            raise Unpublished
        return self._shelf.get(wanted)

    async def accept(self, prepared: Prepared, ask: Ask) -> Ticket:
        """Check the inputs and begin. Raises `Refusal`; nothing has run then."""
        if len(self._tickets) >= _MAX_RUNS:
            words = f"The engine already has {len(self._tickets)} runs. Try again in a moment."
            raise Refusal(429, "too_many_requests", words, headers=(("retry-after", "1"),))
        try:
            given = _fired(prepared, ask.inputs) if prepared.fired else _filled(prepared, ask.inputs)
            files = [file_of(item) for item in ask.files]
        except UnusableFile as error:
            raise invalid(str(error)) from None
        talk = await self._conversation(prepared, ask) if prepared.chat else None
        workflow_id = prepared.runnable.workflow_id
        order = Order(
            prepared=prepared,
            ids=Ids(
                run=str(uuid.uuid4()),
                task=str(uuid.uuid4()),
                user=ask.user,
                end_user=end_user(workflow_id, ask.user),
                conversation=talk.id if talk else "",
                message=str(uuid.uuid4()) if talk else "",
            ),
            inputs=given,
            created=time.time(),
            files=files,
            query=ask.query,
            dialogue=talk.dialogue_count + 1 if talk else 0,
            variables=talk.variables if talk else {},
            turns=talk.turns if talk else (),
        )
        return self._begin(order, ask)

    def stop(self, task_id: str, workflow_id: str | None, user: str) -> None:
        """Stop the task if it is `user`'s, here or in another engine process."""
        ticket = self._tickets.get(task_id)
        if ticket is None:
            self.records.ask_stop(task_id, workflow_id or "", user)
        elif ticket.run.order.ids.user == user and workflow_id in {None, ticket.prepared.runnable.workflow_id}:
            ticket.run.stop()

    def _begin(self, order: Order, ask: Ask) -> Ticket:
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

        def emit(event: dict[str, Any]) -> None:
            if told.qsize() > _UNREAD:
                run.stop("The client reads too slowly.")
            loop.call_soon_threadsafe(told.put_nowait, event)

        def settled(outcome: Outcome) -> None:
            try:
                self._keep(order, ask, outcome)
            finally:
                loop.call_soon_threadsafe(self._ended, ticket, outcome)

        def work() -> None:
            try:
                run.execute()
            finally:
                loop.call_soon_threadsafe(self._gone, order.ids.task)

        run = Run(
            order,
            self._tools,
            seconds=self.settings.run_timeout,
            emit=emit if ask.streaming else None,
            settled=settled,
        )
        ticket = Ticket(run, order.prepared, told if ask.streaming else None, loop.create_future())
        self._tickets[order.ids.task] = ticket
        self.records.run_started(self._row(order))
        ticket.alarm = loop.call_later(self.settings.run_timeout, self._too_long, ticket)
        self._threads.submit(work)
        return ticket

    def _ended(self, ticket: Ticket, outcome: Outcome) -> None:
        ticket.ended.set_result(outcome)
        if ticket.alarm is not None:
            ticket.alarm.cancel()  # it holds the run with all its values
        if ticket.events is not None:
            for event in ticket.run.narrator.finished(outcome):
                ticket.events.put_nowait(event)
            ticket.events.put_nowait(None)
        if self._tickets.pop(ticket.run.order.ids.task, None) is not None:
            self._overdue += 1

    def _gone(self, task_id: str) -> None:
        self._overdue -= 1

    def _too_long(self, ticket: Ticket) -> None:
        words = f"The run took longer than {self.settings.run_timeout:g} seconds and was ended."
        ticket.run.stop(words, status="failed")

    def _tools(self, cancel: Cancel, memory: Memory | None) -> Tools:
        return Tools(self._sandbox, self._web(cancel), self._endpoint, cancel, memory)

    async def _conversation(self, prepared: Prepared, ask: Ask) -> Conversation:
        if not ask.conversation:
            return Conversation(str(uuid.uuid4()), 0)
        workflow_id = prepared.runnable.workflow_id
        found = await self.lookup(lambda: self.records.conversation(ask.conversation, workflow_id, ask.user))
        if found is None:
            raise not_found("Conversation Not Exists.")
        return found

    def _row(self, order: Order) -> dict[str, Any]:
        runnable = order.prepared.runnable
        return {
            "id": order.ids.run,
            "task_id": order.ids.task,
            "workflow_id": runnable.workflow_id,
            "version_id": runnable.version_id,
            "user": order.ids.user,
            "status": "running",
            "inputs": json.dumps(plain(order.shown(), order.prepared.mask), ensure_ascii=False),
            "outputs": "{}",
            "error": None,
            "total_steps": 0,
            "total_tokens": 0,
            "exceptions_count": 0,
            "created_at": order.created,
            "finished_at": None,
            "elapsed_time": 0.0,
        }

    def _keep(self, order: Order, ask: Ask, outcome: Outcome) -> None:
        mask = order.prepared.mask
        values = {
            "status": outcome.status,
            "outputs": json.dumps(plain(outcome.outputs, mask), ensure_ascii=False),
            "error": outcome.error,
            "total_steps": outcome.steps,
            "total_tokens": outcome.tokens,
            "exceptions_count": outcome.exceptions,
            "finished_at": outcome.finished_at,
            "elapsed_time": outcome.elapsed,
        }
        if not order.prepared.chat:
            self.records.run_finished(order.ids.run, values)
            return
        now = time.time()
        given = json.dumps(plain(dict(order.inputs), mask), ensure_ascii=False)
        talk = {
            "id": order.ids.conversation,
            "workflow_id": order.prepared.runnable.workflow_id,
            "user": order.ids.user,
            "name": mask.text(order.query)[:_NAME],
            "inputs": given,
            "introduction": order.prepared.document.features.get("opening_statement") or "",
            "dialogue_count": order.dialogue,
            "created_at": order.created,
            "updated_at": now,
        }
        said = {
            "id": order.ids.message,
            "conversation_id": order.ids.conversation,
            "run_id": order.ids.run,
            "inputs": given,
            "query": mask.text(order.query),
            "answer": mask.text(outcome.answer),
            "status": "error" if outcome.status == "failed" else "normal",
            "error": outcome.error,
            "created_at": order.created,
        }
        variables = [
            {
                "name": item.name,
                "value_type": item.value_type,
                "description": item.description,
                "value": json.dumps(plain(outcome.variables[item.name], mask), ensure_ascii=False),
            }
            for item in order.prepared.conversation
            if item.name in outcome.variables
        ]
        self.records.turn_finished(order.ids.run, values, talk, said, variables)

    async def _watch(self) -> None:
        """Stops that came to another process. Asked for only while something runs here."""
        while True:
            await asyncio.sleep(_STOP_POLL)
            if not self._tickets:
                continue
            try:
                stops = await self.lookup(self.records.new_stops)
            except Exception:
                _log.exception("Requests to stop cannot be read")
                continue
            for row in stops:
                ticket = self._tickets.get(row.task_id)
                if ticket is None or ticket.run.order.ids.user != row.user:
                    continue
                if row.workflow_id in {"", ticket.prepared.runnable.workflow_id}:
                    ticket.run.stop()


def _filled(prepared: Prepared, given: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs as the start node gives them. Raises `Refusal`, `UnusableFile`."""
    if problem := check_inputs(prepared.document, given):
        raise invalid(problem)
    kinds = {item.name: item.type for item in inputs(prepared.document)}
    filled = fill_inputs(prepared.document, given)
    return {name: with_files(value, kinds[name]) for name, value in filled.items()}


def _fired(prepared: Prepared, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the trigger that starts the run gives: all that it declares, empty where nothing came. Raises
    `UnusableFile`."""
    declared = next(trigger for trigger in triggers(prepared.document) if trigger.node == prepared.plan.root)
    if declared.webhook is None:
        return {}
    hook = declared.webhook
    kinds = {part.name: part.type for part in (*hook.params, *hook.body)}
    names = dict.fromkeys([*(part.name.replace("-", "_") for part in hook.headers), *kinds, webhook.RAW])
    return {name: with_files(given.get(name), kinds.get(name, "")) for name in names}


def end_user(workflow_id: str, user: str) -> str:
    """The id that Dify's answers give the caller's `user`: always the same for one user of one workflow."""
    return str(uuid.uuid5(_END_USERS, f"{workflow_id}/{user}"))


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _is_uuid(value: str) -> bool:
    try:
        return str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False
