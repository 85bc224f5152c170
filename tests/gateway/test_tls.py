"""Upstreams over TLS: their certificates count."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from support.certificates import self_signed

from .conftest import JSON, Worker, route
from .wire import upstream


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls") / "localhost.pem")


@pytest.mark.parametrize(
    ("host", "trusted", "status"), [("localhost", True, 200), ("localhost", False, 502), ("127.0.0.1", True, 502)]
)
def test_a_certificate_must_be_trusted_and_of_that_host(
    start: Callable[..., Worker],
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    trusted: bool,
    status: int,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate) if trusted else "/nowhere.pem")
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with upstream(tls=context) as up:
        worker = start(route(f"https://{host}:{up.port}"), fresh=True)
        for _ in range(3):
            answer = worker.ask("POST", "/v1/workflows/run", [JSON], b"{}" * 100_000)
            assert answer.status == status
        if status == 200:
            assert up.connections == 1
            assert up.seen[0].one("host") == f"localhost:{up.port}"
        else:
            assert "TLS failed" in answer.json()["detail"]
            assert up.seen == []
