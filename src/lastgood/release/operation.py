"""Running an operation: step after step, each journalled, until it is over, parked, or waits for a person."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

from lastgood.db.tx import Tx
from lastgood.errors import LastgoodError, OperationTaken, StoreFull, StoreUnreachable
from lastgood.release import flow, journal
from lastgood.release.doing import Doing, Result
from lastgood.release.journal import Operation
from lastgood.release.means import Means
from lastgood.release.plan import Plan
from lastgood.release.steps import ACTIONS, EFFECTS

_RENEW_SECONDS = journal.LEASE_MS / 3000


@dataclass(frozen=True, slots=True)
class Outcome:
    """An operation after it ran as far as it could, and the error that ended it where one did (its sentence is in the
    journal too)."""

    operation: Operation
    error: LastgoodError | None = None


def run(means: Means, operation: str) -> Outcome:
    """Run the operation from where its journal says, in this thread.

    It ends when the operation is over or waits for a person, or parks it when `means.stopping` is set. Raises
    `OperationTaken`, `OperationOver`, `UnknownOperation`, and what the store raises: then the lease ends by itself
    and another process goes on."""
    owner = journal.owner_name()  # of this run, not of this process: two of its threads are two owners
    with means.store.read() as tx:
        entered = journal.find(tx, operation)
    claimed = _write(means, entered, lambda tx: journal.claim(tx, operation, owner))
    error: LastgoodError | None = None
    with _holding(means, claimed):
        while True:
            name = _next(claimed.plan, claimed.steps, claimed.wish)
            if name is None or name == "ask" or means.stopping.is_set():
                return Outcome(_rest(means, claimed, name), error)
            error = _step(means, claimed, name) or error
            with means.store.read() as tx:
                claimed = journal.again(tx, claimed)


def _rest(means: Means, operation: Operation, name: str | None) -> Operation:
    """Let go of an operation that goes no further now."""
    if operation.over:
        return operation

    def work(tx: Tx) -> Operation:
        if name is None:  # its last step is over, and a crash came before its end was written
            journal.settle(tx, operation, flow.ended(operation.steps))
        else:
            left = _left(tx, operation, operation.steps)
            journal.settle(tx, operation, "asking" if left == "ask" else "parked")
        return journal.find(tx, operation.id)

    return _write(means, operation, work)


def _step(means: Means, operation: Operation, name: str) -> LastgoodError | None:
    """Run one step and journal how it ended; the error is given that made it fail."""
    doing = Doing(replace(means, fence=lambda tx: journal.hold(tx, operation)), operation, name)
    began = perf_counter()
    if name in flow.OUTSIDE:
        _write(means, operation, lambda tx: journal.begin(tx, operation, name))
    try:
        if effect := EFFECTS.get(name):

            def work(tx: Tx) -> None:
                result = effect(doing, tx)
                _record(tx, doing, result, began)

            _write(means, operation, work)
            return None
        result = ACTIONS[name](doing)
    except (OperationTaken, StoreFull, StoreUnreachable):
        raise
    except LastgoodError as error:
        return _failed(doing, error, began)
    except Exception as unexpected:
        return _failed(doing, LastgoodError(detail=f"{name} ended with {type(unexpected).__name__}."), began)
    _write(means, operation, lambda tx: _record(tx, doing, result, began))
    return None


def _failed(doing: Doing, error: LastgoodError, began: float) -> LastgoodError:
    result = Result("failed", {"problem": error.problem()})
    _write(doing.means, doing.operation, lambda tx: _record(tx, doing, result, began))
    return error


def _write[T](means: Means, operation: Operation, work: Callable[[Tx], T]) -> T:
    """One transaction of an operation. A rollback may use the disk space that is kept aside for it."""
    return means.store.write(work, emergency=operation.kind in ("rollback", "heal"))


def _record(tx: Tx, doing: Doing, result: Result, began: float) -> None:
    elapsed = (perf_counter() - began) * 1000
    journal.finish(tx, doing.operation, doing.name, result.state, result.detail, elapsed)
    if doing.name in flow.LAST:
        steps: dict[str, flow.Standing] = {**doing.operation.steps, doing.name: result}
        left = _left(tx, doing.operation, steps)
        state = flow.ended(steps) if left is None else "running"
        journal.settle(tx, doing.operation, state, summary=result.summary, report=result.report)


def _left(tx: Tx, operation: Operation, steps: Mapping[str, flow.Standing]) -> str | None:
    """What is left to do after `steps`, a word included that a person said while the last of them ran: an end that
    is written over it would leave the operation to nobody."""
    journal.hold(tx, operation)  # a word comes wholly before this, or after the end
    wish = journal.again(tx, operation).wish
    return _next(operation.plan, steps, wish)


def _next(plan: Plan, steps: Mapping[str, flow.Standing], wish: str) -> str | None:
    return flow.next_step(steps, plan.on_verification_failure, wish, writes=plan.writes)


@contextmanager
def _holding(means: Means, operation: Operation) -> Iterator[None]:
    """Renew the lease while a long step runs. Losing it shows itself at the next write of the journal."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(_RENEW_SECONDS):
            try:
                means.store.write(lambda tx: journal.hold(tx, operation))
            except LastgoodError:
                continue

    thread = threading.Thread(target=renew, name=f"lease of {operation.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
