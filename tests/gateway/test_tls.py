"""Upstreams over TLS: their certificates count."""

import datetime
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .conftest import JSON, Worker, route
from .wire import upstream


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of localhost, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


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
