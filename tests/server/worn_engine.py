"""A process that plays an engine: ``python -m server.worn_engine --fd N``.

The first one that starts in its folder (``WORN_FOLDER``) says at once that it is exhausted; later ones are well. Each
leaves a file ``ended-PID`` when it was ended politely."""

import argparse
import json
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

FOLDER = Path(os.environ["WORN_FOLDER"])


def first_here() -> bool:
    try:
        (FOLDER / "first").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class Handler(BaseHTTPRequestHandler):
    well = True

    def do_GET(self) -> None:
        body = json.dumps({"status": "ok" if self.well else "overdue", "pid": os.getpid()}).encode()
        self.send_response(200 if self.well or self.path != "/healthz" else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int)
    sock = socket.socket(fileno=parser.parse_args().fd)
    Handler.well = not first_here()
    server = HTTPServer(sock.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = sock

    def end(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown).start()  # it waits for the request in flight

    signal.signal(signal.SIGTERM, end)
    print(json.dumps({"ready": True, "pid": os.getpid()}), flush=True)
    server.serve_forever(poll_interval=0.05)
    (FOLDER / f"ended-{os.getpid()}").touch()


if __name__ == "__main__":
    main()
