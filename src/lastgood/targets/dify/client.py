"""One typed client of a Dify server.

It is synchronous: what calls it (operations, capture, watch) runs in threads, and a rollback is a line of calls each
of which waits for the one before. One `Client` serves any number of threads; together they keep to its `Limits`."""

from lastgood.targets.dify.caller import Caller
from lastgood.targets.dify.console import Console
from lastgood.targets.dify.integration import Integration
from lastgood.targets.dify.openapi import OpenApi
from lastgood.targets.dify.runs import Runs
from lastgood.targets.dify.service import Service
from lastgood.targets.dify.signin import KeySession, Session, Way, open_session
from lastgood.targets.dify.wire import Clock, Limits, Wire


class Client:
    """A Dify server. `console` (accounts, apps, drafts, versions), `integration` (keys, triggers, tools) and `runs`
    are what its own web pages use; `service` is the API of one app, `openapi` has the routes for tools."""

    def __init__(self, wire: Wire, session: Session) -> None:
        self.wire = wire
        self.caller = Caller(wire, session)
        self.console = Console(self.caller)
        self.integration = Integration(self.caller)
        self.runs = Runs(self.caller)
        self.openapi = OpenApi(self.caller)
        self._others: dict[str, Wire] = {}

    @property
    def url(self) -> str:
        """The server's address."""
        return self.wire.url

    def service(self, key: str, url: str | None = None) -> Service:
        """The Service API of the app that `key` (``app-…``) belongs to; at `url` where it is served elsewhere (an
        app's ``api_base_url``), with the same limits."""
        wire = self.wire if url is None else self._other(url)
        session = KeySession({"Authorization": f"Bearer {key}"}, (key,), "app key", wire.url)
        return Service(Caller(wire, session))

    def close(self) -> None:
        """Close its connections."""
        for wire in (self.wire, *self._others.values()):
            wire.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _other(self, url: str) -> Wire:
        made = self.wire.beside(url)
        if made.url == self.wire.url:
            made.close()
            return self.wire
        known = self._others.setdefault(made.url, made)
        if known is not made:
            made.close()
        return known


def connect(
    url: str, way: Way, limits: Limits | None = None, *, ca_file: str | None = None, clock: Clock | None = None
) -> Client:
    """A client of the Dify server at `url`, by `way`. Nothing is sent before the first call.

    `ca_file` names certificates (PEM) to trust instead of the usual ones. Raises `InvalidSetting`."""
    wire = Wire(url, limits, ca_file=ca_file, clock=clock)
    return Client(wire, open_session(way, wire.url, wire.send))
