"""A small exchange-rate service for the invoice example: `python rates.py` answers on 127.0.0.1:8329.

    GET /rate?from=EUR&to=USD      with `Authorization: Bearer KEY`
    -> {"from": "EUR", "to": "USD", "rate": 1.1}

It knows EUR, USD, GBP and CHF at fixed rates (404 for another currency) and takes the two keys that the example's
history uses (401 for another). `--port 0` takes a free port; the address is the first line printed. Ctrl-C ends it.
"""

import argparse
import contextlib
import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PER_EURO = {"EUR": 1.0, "USD": 1.1, "GBP": 0.85, "CHF": 0.95}
KEYS = ("rates-demo-key-september", "rates-demo-key-october")


class Rates(BaseHTTPRequestHandler):
    """One request for a rate."""

    protocol_version = "HTTP/1.1"
    keys = frozenset(KEYS)

    def do_GET(self) -> None:
        """Answer `/rate`, and nothing else."""
        url = urlsplit(self.path)
        if url.path != "/rate":
            return self.answer(HTTPStatus.NOT_FOUND, {"error": "only /rate?from=EUR&to=USD is here"})
        scheme, _, key = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or key not in self.keys:
            return self.answer(HTTPStatus.UNAUTHORIZED, {"error": "this key is not known"})
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        pair = query.get("from", ""), query.get("to", "")
        unknown = [currency for currency in pair if currency not in PER_EURO]
        if unknown:
            return self.answer(HTTPStatus.NOT_FOUND, {"error": f"no rate for {unknown[0] or 'an empty currency'}"})
        rate = round(PER_EURO[pair[1]] / PER_EURO[pair[0]], 6)
        return self.answer(HTTPStatus.OK, {"from": pair[0], "to": pair[1], "rate": rate})

    def answer(self, status: HTTPStatus, content: dict[str, object]) -> None:
        """Send `content` as JSON."""
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a demo's terminal has better things to show."""


def main() -> None:
    """Read the command line and serve until interrupted."""
    parser = argparse.ArgumentParser(description="Exchange rates for the invoice example.")
    parser.add_argument("--port", type=int, default=8329, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--key", action="append", help="a key to accept instead of the example's; may be repeated")
    options = parser.parse_args()
    Rates.keys = frozenset(options.key or KEYS)
    with ThreadingHTTPServer(("127.0.0.1", options.port), Rates) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
