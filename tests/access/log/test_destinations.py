"""Checkpoints reach the places that they are kept in, in the forms that those ask for; a dead place is told."""

import base64
import hmac
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from lastgood.access.log import notes, sending, tree
from lastgood.access.log.destinations import Delivery, callback, named, sigv4
from lastgood.access.log.destinations.callback import Callback
from lastgood.access.log.destinations.file import File
from lastgood.access.log.destinations.git import Git
from lastgood.access.log.destinations.s3 import S3
from lastgood.access.log.notes import Checkpoint, Signer
from lastgood.catalogue import Audit, Bucket
from lastgood.db import tables as t
from lastgood.db.store import Store
from lastgood.db.tx import Tx, parse_time, utc_now, utc_text
from lastgood.errors import CheckpointNotSent
from support.stores import on_sqlite

from .conftest import fill

LOG = Signer("lastgood.test/log", b"7" * 32)
ACCESS, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
EMPTY = sha256(b"").hexdigest()


def delivery(size: int = 3) -> Delivery:
    return Delivery(LOG.sign(Checkpoint(LOG.name, size, bytes([size % 256]) * 32).text), utc_now())


@dataclass
class Heard:
    """What a small server was sent; it answers `status`."""

    url: str = ""
    status: int = 200
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Heard]:
    heard = Heard()

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard.requests.append((self.command, self.path, headers, body))
            self.send_response(heard.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PUT = do_POST = handle_one  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    heard.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("method", "path", "headers", "payload", "query", "signature"),
    [  # "Signature Calculations for the Authorization Header", Amazon S3 API Reference
        (
            "GET", "/test.txt", {"Range": "bytes=0-9"}, EMPTY, {},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT", "/test$file.text",
            {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", {},
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET", "/", {}, EMPTY, {"lifecycle": ""},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET", "/", {}, EMPTY, {"max-keys": "2", "prefix": "J"},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)  # fmt: skip
def test_published_signatures(
    method: str, path: str, headers: dict[str, str], payload: str, query: dict[str, str], signature: str
) -> None:
    time = "20130524T000000Z"
    signed = {
        **headers,
        "Host": "examplebucket.s3.amazonaws.com",
        "x-amz-content-sha256": payload,
        "x-amz-date": time,
    }
    made = sigv4.authorization(
        method, path, signed, payload=payload, time=time, region="us-east-1", access_key=ACCESS, secret_key=SECRET,
        query=query,
    )  # fmt: skip
    assert made.endswith(f",Signature={signature}")


def test_an_s3_store_gets_an_object_whose_signature_it_can_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", SECRET)
    with listening() as heard:
        bucket = Bucket(
            endpoint=heard.url, bucket="audit-logs", prefix="a b/", access_key=ACCESS, secret_key="env:MY_SECRET"
        )
        sent = delivery(300)
        S3(bucket).send(sent)
        ((method, path, headers, body),) = heard.requests
        assert (method, path, body) == ("PUT", f"/audit-logs/a%20b/checkpoint-{300:020d}", sent.note.encode())
        signed = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
        again = sigv4.authorization(
            "PUT", "/audit-logs/a b/" + f"checkpoint-{300:020d}", {name: headers[name] for name in signed},
            payload=sha256(body).hexdigest(), time=headers["x-amz-date"], region="us-east-1", access_key=ACCESS,
            secret_key=SECRET,
        )  # fmt: skip
        assert headers["authorization"] == again
        assert {"host", "x-amz-content-sha256", "x-amz-date"} <= set(signed)
        heard.status = 403
        with pytest.raises(CheckpointNotSent, match="it answered 403") as caught:
            S3(bucket).send(sent)
        assert SECRET not in str(caught.value) + S3(bucket).name
    monkeypatch.delenv("MY_SECRET")
    with pytest.raises(CheckpointNotSent, match="MY_SECRET is not set"):
        S3(bucket).send(sent)


def test_a_callback_is_signed_as_standard_webhooks_say() -> None:
    # The example of standard-webhooks' own tests.
    body = b'{"test": 2432232314}'
    made = callback.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    with listening() as heard:
        sent = delivery(7)
        place = Callback(f"{heard.url}/hook/secret-path?token=abc", "plain text")
        place.send(sent)
        ((method, path, headers, body),) = heard.requests
        assert (method, path) == ("POST", "/hook/secret-path?token=abc")
        data = json.loads(body)
        assert (data["type"], data["data"]["checkpoint"], data["data"]["size"]) == ("audit.checkpoint", sent.note, 7)
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        right = base64.b64encode(hmac.digest(b"plain text", signed, "sha256")).decode()
        assert headers["webhook-signature"] == f"v1,{right}"
        assert "secret" not in place.name and "abc" not in place.name
        heard.status = 302
        with pytest.raises(CheckpointNotSent, match="302"):
            place.send(sent)
    with pytest.raises(CheckpointNotSent, match="ConnectError"):
        place.send(sent)


def test_a_file_grows_by_each_checkpoint_once(tmp_path: Path) -> None:
    place, first, second = File(tmp_path / "checkpoints"), delivery(3), delivery(4)
    for one in (first, first, second, second):
        place.send(one)
    assert [one.note for one in notes.read_all((tmp_path / "checkpoints").read_text())] == [first.note, second.note]
    with pytest.raises(CheckpointNotSent, match="No such file"):
        File(tmp_path / "gone" / "checkpoints").send(first)
    with pytest.raises(CheckpointNotSent, match="No space left"):
        File(Path("/dev/full")).send(first)


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_repository_gets_a_commit_for_each_checkpoint_and_pushes_it(tmp_path: Path) -> None:
    kept, work = tmp_path / "kept.git", tmp_path / "work"
    subprocess.run(["git", "init", "-q", "--bare", str(kept)], check=True)
    subprocess.run(["git", "clone", "-q", str(kept), str(work)], check=True, capture_output=True)
    git(work, "config", "push.default", "current")
    (work / "other").write_text("not ours")
    for one in (delivery(3), delivery(3), delivery(4)):
        Git(work, push=True).send(one)
    assert git(kept, "log", "--all", "--format=%s") == "Checkpoint of 4 rows\nCheckpoint of 3 rows"
    assert git(work, "status", "--porcelain") == "?? other"
    assert git(kept, "show", f"{git(work, 'rev-parse', 'HEAD')}:checkpoint") == delivery(4).note.strip()
    kept.rename(tmp_path / "moved.git")
    with pytest.raises(CheckpointNotSent, match="`git push` ended with"):
        Git(work, push=True).send(delivery(5))
    with pytest.raises(CheckpointNotSent, match="`git rev-parse` ended with"):
        Git(tmp_path, push=False).send(delivery(5))


def with_places(store: Store, **places: Any) -> Store:
    store.settings = store.settings.model_copy(update={"audit": Audit.model_validate(places)})
    return store


def later(store: Store) -> None:
    """Let an hour pass for every place."""
    store.write(lambda tx: tx.connection.execute(update(t.audit_export).values(at="2020-01-01T00:00:00.000000Z")))


def later_by(store: Store, seconds: int) -> None:
    """Let so much time pass for every place."""

    def work(tx: Tx) -> None:
        at = parse_time(tx.connection.execute(select(t.audit_export.c.at)).scalar_one()) - timedelta(seconds=seconds)
        tx.connection.execute(update(t.audit_export).values(at=utc_text(at)))

    store.write(work)


def test_a_dead_place_holds_up_no_other_and_is_tried_again(store: Store, tmp_path: Path) -> None:
    with_places(store, file=tmp_path / "gone" / "file", git=tmp_path / "no-repository")
    assert len(named(store.settings.audit)) == 2
    assert sending.send_all(store) == [], "nothing is signed yet"
    fill(store, 3)
    tree.sign_now(store)
    assert [(one.failures, one.size) for one in sending.send_all(store)] == [(1, -1), (1, -1)]
    assert sending.send_all(store) == [], "it is not tried all the time"
    later(store)
    (tmp_path / "gone").mkdir()
    states = {one.destination.split()[0]: one for one in sending.send_all(store)}
    assert (states["file"].failures, states["file"].size, states["file"].problem) == (0, 3, "")
    assert (states["git"].failures, states["git"].failing_since is None) == (2, False)
    assert "no-repository" in states["git"].problem
    later(store)
    assert [one.destination.split()[0] for one in sending.send_all(store)] == ["git"]
    fill(store, 1)
    tree.sign_now(store)
    assert {one.destination.split()[0] for one in sending.send_all(store)} == {"file"}, "git waits"


def test_of_two_servers_one_sends(store: Store, open_again: Callable[[], Store], tmp_path: Path) -> None:
    fill(store, 3)
    tree.sign_now(store)
    stores = [with_places(one, file=tmp_path / "file") for one in (store, open_again())]
    threads = [threading.Thread(target=sending.send_all, args=(one,)) for one in stores * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(notes.read_all((tmp_path / "file").read_text())) == 1


@on_sqlite
def test_no_other_server_sends_while_one_tries_a_place_that_failed_before(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_places(store, file=tmp_path / "file")
    fill(store, 1)
    tree.sign_now(store)
    meanwhile: list[list[sending.State]] = []

    def slow(place: File, one: Delivery) -> None:
        later_by(store, seconds=90)
        meanwhile.append(sending.send_all(store))
        raise CheckpointNotSent(destination=place.name, reason="it is slow")

    monkeypatch.setattr(File, "send", slow)
    for failures in (1, 2):
        assert [one.failures for one in sending.send_all(store)] == [failures]
        later_by(store, seconds=2**failures)
    assert meanwhile == [[], []]


@on_sqlite
def test_a_place_that_breaks_ends_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("boom with a secret")

    monkeypatch.setattr(File, "send", broken)
    with_places(store, file=tmp_path / "file")
    fill(store, 1)
    tree.sign_now(store)
    (state,) = sending.send_all(store)
    assert state.problem == "this should not happen (RuntimeError)"
