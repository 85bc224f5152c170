"""Numbers in databases, recorded before and compared after: real SQLite files and a real PostgreSQL."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from itertools import count as count_from
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from lastgood.catalogue import DataCheck
from lastgood.db.store import Store
from lastgood.release.checks import data
from lastgood.release.checks.data import Uncounted, count, difference
from lastgood.settings import Settings
from support.stores import Postgres, clean_settings, copy_sqlite

from .conftest import Served, only, serve, verdicts

_NUMBERS = count_from(1)
FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def settings(home: Path, sqlite_template: Path) -> Settings:
    """A store on SQLite alone: these tests are about what lies outside it."""
    copy_sqlite(sqlite_template, home)
    return clean_settings(home)


class Shop:
    """A database with 100 orders."""

    def __init__(self, url: str, run: Any) -> None:
        self.url = url
        self.run = run
        run("CREATE TABLE orders (id int, total numeric(10, 2))")
        for number in range(100):
            run(f"INSERT INTO orders VALUES ({number}, 2.50)")


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as file:
            yield Shop(f"sqlite:///{tmp_path}/shop.db", file.execute)
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url, psycopg.connect(url, autocommit=True) as connection:
        yield Shop(url, connection.execute)


def declared(shop: Shop, **more: Any) -> dict[str, Any]:
    return {"data_checks": {"orders": {"url": shop.url, "table": "orders", **more}}}


def test_numbers_are_recorded_and_compared(store: Store, shop: Shop) -> None:
    served = serve(store)
    settings = declared(shop, tolerance=0.02)
    before = data.record(served.case(settings=settings))
    assert before == {"orders": {"value": "100"}}
    baseline = {"data": json.loads(json.dumps(before))}

    def now() -> tuple[str, str]:
        one = only(data.check(served.case(settings=settings, baseline=baseline)))
        assert one.expected == "rows of orders: 100, give or take 0.02 of it"
        return one.verdict, one.found

    assert now() == ("pass", "100, unchanged")
    shop.run("DELETE FROM orders WHERE id < 2")
    assert now() == ("pass", "98, -2 (2.00%)")
    shop.run("DELETE FROM orders WHERE id < 3")
    assert now() == ("fail", "97, -3 (3.00%)")
    shop.run("INSERT INTO orders SELECT id, total FROM orders")
    assert now() == ("fail", "194, +94 (94.00%)")


def test_the_value_of_a_query(store: Store, shop: Shop) -> None:
    query = "SELECT sum(total) FROM orders WHERE CAST(id AS text) LIKE '%'"
    served = serve(store)
    settings = declared(shop, table="", query=query)
    baseline = {"data": data.record(served.case(settings=settings))}
    assert Decimal(baseline["data"]["orders"]["value"]) == 250
    shop.run("UPDATE orders SET total = 2.51 WHERE id = 1")
    one = only(data.check(served.case(settings=settings, baseline=baseline)))
    assert one.verdict == "fail" and "(0.00%)" in one.found
    assert one.expected.startswith("the query's value: 250")


def test_nothing_is_written(store: Store, shop: Shop) -> None:
    for query in (
        "DELETE FROM orders",
        "INSERT INTO orders VALUES (1, 1)",
        "DROP TABLE orders",
        "SELECT 1; DELETE FROM orders",
    ):
        one = only(data.check(serve_once(store).case(settings=declared(shop, table="", query=query))))
        assert one.verdict == "unknown", one
    assert count(DataCheck(url=shop.url, table="orders")) == 100


def serve_once(store: Store) -> Served:
    return serve(store, slug=f"greet-{next(_NUMBERS)}")


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_a_file_that_is_not_there_is_not_made(store: Store, shop: Shop, tmp_path: Path) -> None:
    one = only(
        data.check(
            serve(store).case(settings={"data_checks": {"x": {"url": f"sqlite:///{tmp_path}/no.db", "table": "t"}}})
        )
    )
    assert one.verdict == "unknown" and "unable to open database file" in one.found
    assert not (tmp_path / "no.db").exists()


def test_what_takes_too_long_is_broken_off(store: Store, shop: Shop) -> None:
    query = FOREVER if "sqlite" in shop.url else "SELECT pg_sleep(60)"
    one = only(data.check(serve(store).case(settings=declared(shop, table="", query=query, timeout=0.3))))
    assert one.verdict == "unknown"
    assert "interrupted" in one.found or "statement timeout" in one.found


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT id FROM orders", "one row with one value"),
        ("SELECT id, total FROM orders WHERE id = 1", "one row with one value"),
        ("SELECT id FROM orders WHERE id = -1", "one row with one value"),
        ("SELECT max(id) FROM orders WHERE id = -1", "gave nothing"),
        ("SELECT 'many'", "no number"),
        ("SELECT 'NaN'", "no number"),
        ("SELECT 'Infinity'", "no number"),
    ],
)
def test_a_query_that_gives_no_number(shop: Shop, query: str, why: str) -> None:
    with pytest.raises(Uncounted, match=why):
        count(DataCheck(url=shop.url, query=query))


def test_an_error_of_the_database_is_told_in_its_own_words(store: Store, shop: Shop) -> None:
    one = only(data.check(serve(store).case(settings=declared(shop, table="invoices"))))
    assert one.verdict == "unknown"
    assert "no such table: invoices" in one.found or 'relation "invoices" does not exist' in one.found


@pytest.mark.parametrize("table", ['x"; DROP TABLE orders; --', "orders; DROP TABLE orders", "no.such.table"])
def test_a_table_is_only_ever_a_name(shop: Shop, table: str) -> None:
    with pytest.raises(Exception, match=r"no such table|does not exist|cross-database|unknown database|syntax error"):
        count(DataCheck(url=shop.url, table=table))
    assert count(DataCheck(url=shop.url, table="orders")) == 100


@pytest.mark.parametrize("shop", ["postgres"], indirect=True)
def test_a_table_in_a_schema(shop: Shop) -> None:
    assert count(DataCheck(url=shop.url, table="public.orders")) == 100
    assert count(DataCheck(url=shop.url, query="SELECT count(*)::int8 FROM orders WHERE id % 2 = 0")) == 50


def test_the_environment_may_hold_the_url(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", shop.url)
    assert count(DataCheck(url="env:SHOP_URL", table="orders")) == 100
    monkeypatch.delenv("SHOP_URL")
    with pytest.raises(Uncounted, match="the variable SHOP_URL"):
        count(DataCheck(url="env:SHOP_URL", table="orders"))


PASSWORD = "s3cret/pass word"


@pytest.mark.parametrize("shop", ["postgres"], indirect=True)
def test_a_password_is_never_told(store: Store, shop: Shop) -> None:
    real = make_url(shop.url)
    assert real.query, "the server listens on a socket whose folder is in the query"
    urls = [
        real.set(drivername="postgresql", password=PASSWORD, username="nobody"),
        real.set(drivername="postgresql", username="nobody", query={**real.query, "password": PASSWORD}),
        make_url("postgresql://nobody@127.0.0.1:9/x").set(password=PASSWORD),
        make_url("sqlite:////nowhere/x.db").update_query_dict({"password": PASSWORD}),
        make_url("oracle://nobody@127.0.0.1/x").set(password=PASSWORD),
    ]
    for url in urls:
        text = url.render_as_string(hide_password=False)
        case = serve_once(store).case(settings={"data_checks": {"x": {"url": text, "table": "orders"}}})
        told = json.dumps([one.as_data() for one in data.check(case)]) + json.dumps(data.record(case))
        assert '"unknown"' in told
        for form in (PASSWORD, "s3cret", "s3cret%2Fpass"):
            assert form not in told


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("not a url", "cannot be read"),
        ("postgresql://u@h:notaport/x", "cannot be read"),
        ("oracle://u@h/x", "oracle is not a database that is read here"),
        ("sqlite://", "names no SQLite file"),
        ("sqlite:///:memory:", "names no SQLite file"),
    ],
)
def test_urls_that_lead_nowhere(url: str, why: str) -> None:
    with pytest.raises(Uncounted, match=why):
        count(DataCheck(url=url, table="t"))


@pytest.mark.parametrize("more", [{}, {"table": "t", "query": "SELECT 1"}])
def test_either_a_table_or_a_query(more: dict[str, str]) -> None:
    with pytest.raises(Uncounted, match="either a table or a query"):
        count(DataCheck.model_validate({"url": "sqlite:///x.db", **more}))


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_which_checks_are_made(store: Store, shop: Shop) -> None:
    table = {"url": shop.url, "table": "orders"}
    settings = {
        "data_checks": {
            "all": table,
            "mine": {**table, "workflows": ["greet"]},
            "theirs": {**table, "workflows": ["prod-*"]},
        }
    }
    served = serve(store)
    by = {None: {"all", "mine"}, ("theirs",): {"theirs"}, (): {""}}
    for chosen, names in by.items():
        assert verdicts(data.check(served.case(settings=settings, data_checks=chosen))).keys() == names
    named = served.case(settings=settings, data_checks=("all", "nobody"))
    assert verdicts(data.check(named)) == {"all": "skipped", "nobody": "unknown"}
    assert data.record(named).keys() == {"all"}


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_what_was_not_recorded_is_no_pass(store: Store, shop: Shop) -> None:
    served = serve(store)
    one = only(data.check(served.case(settings=declared(shop))))
    assert (one.verdict, one.found) == ("skipped", "100; nothing was recorded to compare it with")
    baseline = {"data": {"orders": {"problem": "OperationalError: away"}}}
    one = only(data.check(served.case(settings=declared(shop), baseline=baseline)))
    assert (one.verdict, one.found) == (
        "unknown",
        "100; it could not be recorded before: OperationalError: away",
    )


@pytest.mark.parametrize(
    ("before", "now", "apart"),
    [
        ("100", "100", 0.0),
        ("100", "99", 0.01),
        ("100", "101", 0.01),
        ("100", "0", 1.0),
        ("-100", "-90", 0.1),
        ("0", "0", 0.0),
        ("0", "1", float("inf")),
        ("0.0", "0", 0.0),
        ("123456789012345678901234567890", "123456789012345678901234567891", 8.1e-30),
    ],
)
def test_relative_differences(before: str, now: str, apart: float) -> None:
    assert difference(Decimal(before), Decimal(now)) == pytest.approx(apart)


numbers = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=3)


@given(before=numbers, now=numbers)
def test_only_the_same_number_is_no_difference(before: Decimal, now: Decimal) -> None:
    assert (difference(before, now) == 0) == (before == now)
    assert difference(before, now) == difference(-before, -now)
