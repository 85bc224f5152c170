"""A small Dify for tests: it keeps real state, runs the graphs it is given, and plays the console, the Service API,
web apps, webhooks, MCP and ``/openapi/v1`` of 1.13.0 or 1.14.2.

    with FakeDify("1.14.2") as dify:
        app = dify.world.add_app("invoices", graph=graph("total"))
        dify.world.somebody_publishes(app)
        dify.faults.before("POST /workflows/publish", lambda: dify.world.editor_saves(app, graph("intruder")))

As a process, from this folder's parent: ``python -m dify_server --version 1.13.0 --port 5001 --latency-ms 40``."""

from dify_server.calls import Answer, Request
from dify_server.server import FakeDify
from dify_server.world import Timing

__all__ = ["Answer", "FakeDify", "Request", "Timing"]
