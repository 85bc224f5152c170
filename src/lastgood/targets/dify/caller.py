"""Calls to a Dify server with one session: signed in, tried again where that is safe, and refused in our words."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lastgood.errors import DifyError, DifyUnreachable, DifyUnreadable
from lastgood.targets.dify.fields import Misshapen
from lastgood.targets.dify.refusal import NOT_SET_UP, refusal, retry_after, saying
from lastgood.targets.dify.signin import Pass, Session
from lastgood.targets.dify.wire import Call, Reply, Wire

_BACKOFF_SECONDS = 0.5
_PASSING = (502, 503, 504)


class Caller:
    """Calls with one session: what is asked is what is answered, or one of our errors."""

    def __init__(self, wire: Wire, session: Session) -> None:
        self.wire = wire
        self._session = session

    def ask(self, call: Call) -> Any:
        """The JSON answer of `call`; None for an empty one. Raises `DifyError`."""
        reply = self.reply(call)
        if not reply.body and reply.status in (200, 201, 202, 204):
            return None
        try:
            return reply.json()
        except ValueError:
            kind = reply.headers.get("Content-Type", "").split(";")[0] or "nothing that says what it is"
            raise self.wire.unreadable(call, f"it is not JSON but {kind}") from None

    def reply(self, call: Call, take: Collection[int] = ()) -> Reply:
        """The answer of `call`, whatever it holds. Of the statuses from 400 on, those in `take` are given back, the
        rest raised as `DifyError`.

        A call that changes nothing is tried again after a broken connection, 502, 503, 504 or 429; one that writes
        only where it surely was not done. A refused session is renewed once."""
        tried, renewed = 0, False
        while True:
            tried += 1
            shown = self._session.show()
            try:
                reply = self.wire.send(call, shown.headers)
            except DifyUnreachable as error:
                if tried >= self.wire.limits.tries or not _again(call, error):
                    raise
                self._pause(_BACKOFF_SECONDS * 2 ** (tried - 1))
                continue
            if reply.status < 400 or reply.status in take:
                return reply
            if reply.status == 401:
                if renewed or not self._renew(shown, reply):
                    raise self._unauthorised(call, reply, shown)
                renewed = True
                continue
            wait = self._wait(call, reply, tried)
            if wait is None:
                raise refusal(call, reply, self.wire.url, self._secrets(call))
            self._pause(wait)

    @contextmanager
    def stream(self, call: Call) -> Iterator[Iterator[str]]:
        """The lines of an answer as they come. Raises `DifyError`; never tried again."""
        shown = self._session.show()
        with self.wire.stream(call, shown.headers) as (reply, lines):
            if reply.status >= 400:
                if reply.status == 401:
                    raise self._unauthorised(call, reply, shown)
                raise refusal(call, reply, self.wire.url, self._secrets(call))
            yield lines

    def misshapen(self, call: Call, error: Misshapen) -> DifyUnreadable:
        """The error for an answer to `call` without what it must have."""
        return self.wire.unreadable(call, str(error))

    def _renew(self, shown: Pass, reply: Reply) -> bool:
        # "Not set up" is a 401 too, and no session helps there.
        return saying(reply)[0] not in NOT_SET_UP and self._session.renew(shown)

    def _unauthorised(self, call: Call, reply: Reply, shown: Pass) -> DifyError:
        code, said = saying(reply, self._secrets(call))
        if code in NOT_SET_UP:
            return refusal(call, reply, self.wire.url, self._secrets(call))
        return self._session.lost(shown, said)

    def _wait(self, call: Call, reply: Reply, tried: int) -> float | None:
        """Seconds until the next try; None where there is none. A 429 was not done, whatever the call."""
        if tried >= self.wire.limits.tries:
            return None
        if reply.status == 429 or (reply.status in _PASSING and not call.writes):
            asked = retry_after(reply)
            wait = _BACKOFF_SECONDS * 2 ** (tried - 1) if asked is None else asked
            return wait if wait <= self.wire.limits.longest_wait else None
        return None

    def _pause(self, seconds: float) -> None:
        self.wire.clock.sleep(seconds)

    def _secrets(self, call: Call) -> tuple[str, ...]:
        return (*self._session.secrets(), *_secret_values(call.json))


def _again(call: Call, error: DifyUnreachable) -> bool:
    # A timeout is not tried again: whatever hangs there hangs longer with two calls on it.
    return error.data.get("done") == "no" and "seconds" not in error.data


def _secret_values(body: Any) -> tuple[str, ...]:
    """The values of the secret variables in what is sent: Dify may quote them when it refuses."""
    items = body.get("environment_variables") if isinstance(body, Mapping) else None
    if not isinstance(items, list):
        return ()
    return tuple(
        item["value"]
        for item in items
        if isinstance(item, Mapping) and item.get("value_type") == "secret" and isinstance(item.get("value"), str)
    )
