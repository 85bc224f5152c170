"""The rate service that the invoice example looks rates up in."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

OLD, NEW = "rates-demo-key-september", "rates-demo-key-october"


@pytest.mark.parametrize(
    ("path", "key", "status", "content"),
    [
        ("/rate?from=EUR&to=USD", f"Bearer {OLD}", 200, {"from": "EUR", "to": "USD", "rate": 1.1}),
        ("/rate?from=USD&to=EUR", f"bearer {NEW}", 200, {"from": "USD", "to": "EUR", "rate": 0.909091}),
        ("/rate?from=CHF&to=CHF", f"Bearer {NEW}", 200, {"from": "CHF", "to": "CHF", "rate": 1.0}),
        ("/rate?from=EUR&to=XAU", f"Bearer {NEW}", 404, {"error": "no rate for XAU"}),
        ("/rate?from=EUR", f"Bearer {NEW}", 404, {"error": "no rate for an empty currency"}),
        ("/rates", f"Bearer {NEW}", 404, {"error": "only /rate?from=EUR&to=USD is here"}),
        ("/rate?from=EUR&to=USD", "Bearer stolen", 401, {"error": "this key is not known"}),
        ("/rate?from=EUR&to=USD", f"Basic {NEW}", 401, {"error": "this key is not known"}),
        ("/rate?from=EUR&to=USD", "", 401, {"error": "this key is not known"}),
    ],
)
def test_an_answer(rates: str, path: str, key: str, status: int, content: dict[str, Any]) -> None:
    answer = httpx.get(rates + path, headers={"Authorization": key})
    assert (answer.status_code, answer.json()) == (status, content)


def test_a_key_can_be_taken_away(start_rates: Callable[..., str]) -> None:
    address = start_rates("--key", NEW) + "/rate?from=EUR&to=GBP"
    assert httpx.get(address, headers={"Authorization": f"Bearer {NEW}"}).json()["rate"] == 0.85
    assert httpx.get(address, headers={"Authorization": f"Bearer {OLD}"}).status_code == 401


def test_one_connection_serves_many_requests(rates: str) -> None:
    with httpx.Client(base_url=rates, headers={"Authorization": f"Bearer {NEW}"}) as client:
        assert [client.get("/rate?from=EUR&to=EUR").status_code for _ in range(3)] == [200, 200, 200]
