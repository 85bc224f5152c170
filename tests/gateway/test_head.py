"""Reading a head: tables of what is taken, dropped and refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.errors import InvalidRequest
from lastgood.gateway.head import answer_headers, read_head, upstream_target

Raw = list[tuple[bytes, bytes]]


def fields(headers: Raw) -> dict[bytes, bytes]:
    return dict(read_head(headers, "192.0.2.1", "http").fields)


@pytest.mark.parametrize(
    ("headers", "length", "chunked"),
    [
        ([], None, False),
        ([(b"content-length", b"0")], 0, False),
        ([(b"content-length", b"17")], 17, False),
        ([(b"transfer-encoding", b"chunked")], None, True),
        ([(b"transfer-encoding", b" Chunked ")], None, True),
        ([(b"transfer-encoding", b"chunked"), (b"content-length", b"3")], None, True),
    ],
)
def test_how_the_body_comes(headers: Raw, length: int | None, chunked: bool) -> None:
    head = read_head(headers, "192.0.2.1", "http")
    assert (head.length, head.chunked, head.has_body) == (length, chunked, chunked or bool(length))


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"")],
        [(b"content-length", b"1"), (b"content-length", b"1")],
        [(b"content-length", b"1_0")],
        [(b"content-length", b" 5")],
        [(b"content-length", "٣".encode())],
        [(b"transfer-encoding", b"gzip, chunked")],
        [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [(b"upgrade", b"h2c"), (b"content-length", b"5")],
    ],
)
def test_heads_that_could_be_read_in_two_ways_are_refused(headers: Raw) -> None:
    with pytest.raises(InvalidRequest):
        read_head(headers, "192.0.2.1", "http")


@pytest.mark.parametrize(
    ("given", "forwarded"),
    [
        ([], (b"192.0.2.1", b"", b"http")),
        ([(b"host", b"h:80")], (b"192.0.2.1", b"h:80", b"http")),
        ([(b"x-forwarded-for", b"203.0.113.7")], (b"203.0.113.7, 192.0.2.1", b"", b"http")),
        (
            [(b"host", b"inner"), (b"x-forwarded-host", b"shop.example"), (b"x-forwarded-proto", b"https")],
            (b"192.0.2.1", b"shop.example", b"https"),
        ),
    ],
)
def test_what_the_upstream_learns_of_the_client(given: Raw, forwarded: tuple[bytes, bytes, bytes]) -> None:
    sent = fields(given)
    assert (sent[b"x-forwarded-for"], sent[b"x-forwarded-host"], sent[b"x-forwarded-proto"]) == forwarded


def test_the_connection_header_cannot_take_out_what_the_gateway_adds() -> None:
    sent = fields([(b"connection", b"X-Forwarded-For, authorization"), (b"authorization", b"Bearer app-1")])
    assert sent[b"x-forwarded-for"] == b"192.0.2.1"


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        (b"/v1/info", b"", "/v1/info"),
        (b"/v1/info", b"a=b&a=c&x=%2e%2e%2f", "/v1/info?a=b&a=c&x=%2e%2e%2f"),
        (b"/v1/a.b/...c/..d", b"", "/v1/a.b/...c/..d"),
        (b"/v1/~x/$y;z=1,2/@a:b", b"", "/v1/~x/$y;z=1,2/@a:b"),
        (b"/v1/info", b"q=caf\xc3\xa9", "/v1/info?q=caf%C3%A9"),
        (b"/v1/info", b"q='a'[0]%zz", "/v1/info?q='a'[0]%zz"),
    ],
)
def test_targets_go_on_as_they_came(path: bytes, query: bytes, target: str) -> None:
    assert upstream_target(path, path.decode(), query) == target


@given(st.text(alphabet="./%25eEfFcC\\;av\x00 -", max_size=24))
def test_no_accepted_path_leaves_v1(rest: str) -> None:
    """Whatever is accepted stays below /v1/ however often it is decoded and resolved."""
    from posixpath import normpath
    from urllib.parse import unquote

    raw = f"/v1/{rest}"
    try:
        target = upstream_target(raw.encode(), unquote(raw), b"")
    except InvalidRequest:
        return
    assert target == raw
    for _ in range(3):
        raw = unquote(raw)
        assert normpath(raw.replace("\\", "/").partition(";")[0]).startswith("/v1"), rest
        assert ".." not in raw.replace("\\", "/").split("/")


def test_answers_lose_what_concerns_one_connection() -> None:
    raw: Raw = [
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"5"),
        (b"trailer", b"X"),
        (b"x-lastgood-version", b"forged"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
    ]
    assert answer_headers(raw, 200) == [(b"set-cookie", b"a"), (b"set-cookie", b"b")]
    assert answer_headers([(b"content-length", b"5")], 200) == [(b"content-length", b"5")]
    assert answer_headers([(b"content-length", b"5")], 304) == []
