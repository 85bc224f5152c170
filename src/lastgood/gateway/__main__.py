"""``python -m lastgood.gateway``: one gateway worker."""

import argparse
import logging
import os
import socket
import sys
import threading
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from lastgood import dsl
from lastgood.db.presence import Part, Presence
from lastgood.db.store import Store, open_runs, open_store
from lastgood.dsl.triggers import triggers
from lastgood.dsl.webhook import Webhook
from lastgood.errors import LastgoodError
from lastgood.gateway.app import Gateway
from lastgood.gateway.conversations import Conversations
from lastgood.gateway.knowledge import StoreKnowledge
from lastgood.gateway.ledger import Ledger
from lastgood.gateway.metrics import Metrics
from lastgood.gateway.recorder import Recorder
from lastgood.gateway.rehasher import Rehasher
from lastgood.gateway.router import Router, SqliteRouter
from lastgood.gateway.server import address_of, listen, serve
from lastgood.gateway.webhook import Webhooks
from lastgood.history import versions
from lastgood.settings import Settings, load
from lastgood.targets.engine.confine import hide

_TURN_SECONDS = 0.0002


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lastgood.gateway", description="One gateway worker.")
    parser.add_argument("--host", help="address to listen on (LASTGOOD_GATEWAY_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for any free one (LASTGOOD_GATEWAY_PORT)")
    parser.add_argument("--fd", type=int, help="an inherited listening socket, which workers may share")
    parser.add_argument("--engine", action="append", default=[], metavar="URL", help="an engine process; repeatable")
    parser.add_argument("--no-stdin", action="store_true", help="do not end when stdin ends")
    return parser.parse_args()


def _router(store: Store, settings: Settings, address: str, process_id: str | None) -> Router:
    if not store.postgres:
        return SqliteRouter(store.engine, store.ring.lookup_key, settings.on_store_loss)
    from lastgood.gateway.lease import LeaseRouter, StoreMembership  # with psycopg, a tenth of a worker's start

    lease, on_store_loss = settings.lease_seconds, settings.on_store_loss
    member = StoreMembership(store, address=address, lease_seconds=lease, on_store_loss=on_store_loss, id=process_id)
    router = LeaseRouter(member, store.ring.lookup_key, lease_seconds=lease, on_store_loss=on_store_loss)
    router.start()
    return router


def main() -> int:
    """Run until told to stop. Gives the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    arguments = _arguments()
    # It opens every version: code nodes run as the same user.
    token = os.environ.pop("LASTGOOD_ENGINE_TOKEN", "")
    hide()
    try:
        settings = load(gateway_host=arguments.host, gateway_port=arguments.port)
        sock = (
            listen(settings.gateway_host, settings.gateway_port)
            if arguments.fd is None
            else socket.socket(fileno=arguments.fd)
        )
        store = open_store(settings)
        address, process_id = address_of(sock), os.environ.pop("LASTGOOD_PROCESS_ID", None)
        router = _router(store, settings, address, process_id)
    except (LastgoodError, OSError) as error:
        print(f"lastgood gateway: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)

    def parameters(version: str) -> Mapping[str, Any]:
        with store.read() as tx:
            return dsl.parameters(versions.document_of(tx, versions.find(tx, version)))

    def hooks(version: str) -> Mapping[str, Webhook]:
        with store.read() as tx:
            found = triggers(versions.document_of(tx, versions.find(tx, version)))
        return {trigger.node: trigger.webhook for trigger in found if trigger.webhook is not None}

    # No thread may wait 5 ms (the default) for its turn: not the one that hears of moves, several times per move, nor
    # the one that serves requests, while another counts calls.
    sys.setswitchinterval(_TURN_SECONDS)
    opening = threading.Lock()

    def runs() -> Engine:
        with opening:  # two threads come for it, and migrations are not made for that
            return open_runs(settings)

    rehasher = Rehasher(store, router)
    rehasher.start()
    metrics = Metrics()
    recorder = Recorder(lambda: Ledger(runs()), metrics.observed)
    if settings.record_calls:
        recorder.start()
    record = recorder.add if settings.record_calls else None
    webhooks = Webhooks(hooks, settings, token)
    conversations = Conversations(runs)
    app = Gateway(
        router,
        parameters,
        settings,
        tuple(arguments.engine),
        record,
        webhooks,
        knowledge=StoreKnowledge(store),
        conversations=conversations,
        metrics=metrics,
    )
    # On PostgreSQL its lease lists it; on SQLite nobody waits for it, and this does.
    presence = Presence(store, *(() if store.postgres else (Part("gateway", address, process_id),)))
    presence.start()
    try:
        serve(app, sock, grace=settings.gateway_grace, watch_stdin=not arguments.no_stdin)
    finally:
        presence.close()
        recorder.close()
        conversations.close()
        router.close()
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
