"""The stand-in as a process, for benchmarks and for trying things by hand."""

import argparse
import threading

from dify_server.graphs import chat, graph
from dify_server.people import ADMIN_KEY, EMAIL, PASSWORD
from dify_server.server import FakeDify
from dify_server.world import Timing


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m dify_server", description=__doc__)
    asked.add_argument("--version", default="1.13.0", choices=("1.13.0", "1.14.2"))
    asked.add_argument("--port", type=int, default=5001)
    asked.add_argument("--latency-ms", type=float, default=40.0, help="how long a run takes")
    asked.add_argument("--linger-ms", type=float, default=1000.0, help="how long a stream's socket stays open")
    asked.add_argument("--hang", type=float, default=300.0, help="how long a call that hangs does, in seconds")
    asked.add_argument("--slots", type=int, default=10, help="calls served at once")
    asked.add_argument("--apps", type=int, default=0, help="apps to begin with, beside two that can be called")
    asked.add_argument("--versions", type=int, default=1, help="published versions of each")
    given = asked.parse_args()
    timing = Timing(given.latency_ms / 1000, given.linger_ms / 1000, given.hang, nap=1.0)
    dify = FakeDify(given.version, port=given.port, slots=given.slots, timing=timing)
    dify.keep_requests = False
    world = dify.world
    workflow = world.add_app("workflow")
    talk = world.add_app("chat", mode="advanced-chat", graph=chat("You said {{#sys.query#}}"))
    more = [world.add_app(f"app {number}") for number in range(given.apps)]
    for app in (workflow, talk, *more):
        for number in range(given.versions):
            if app is not talk:
                world.editor_saves(app, graph(f"name_{number}"))
            world.somebody_publishes(app, f"v{number + 1}")
    dify.start()
    print(f"{dify.url} plays {given.version}")
    print(f"sign in: {EMAIL} / {PASSWORD}; admin key: {ADMIN_KEY}; workspace: {world.workspace_id}")
    print(f"workflow {workflow.id}: {world.add_key(workflow)}")
    print(f"chatflow {talk.id}: {world.add_key(talk)}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        dify.stop()


if __name__ == "__main__":
    main()
