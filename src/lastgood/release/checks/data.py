"""Numbers that a rollback must not change: rows of tables and values of queries, held against what was recorded
before.

The databases are only read: the transactions are read-only, and what takes too long is broken off there. A URL and
what a driver says of it are never told with a password in them."""

import os
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import partial
from time import monotonic
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from lastgood.catalogue import DataCheck, matches
from lastgood.dsl.mask import Mask
from lastgood.release.checks.case import Case, Checked, Verdict
from lastgood.release.checks.together import Job, Late, together

_FROM_ENVIRONMENT = "env:"
_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
_CONNECT_SECONDS = 10
_STEPS = 10_000  # of SQLite's machine, between two looks at the clock
_LONGEST = 200


class Uncounted(Exception):
    """A number that could not be had; its words may be told."""


def check(case: Case) -> Iterator[Checked]:
    """One item for each data check: the number before, the number now, and the relative difference."""
    chosen = _chosen(case)
    for name in case.data_checks or ():
        if name not in chosen:
            yield Checked("data", "unknown", "a data check of this name", "lastgood.toml declares none", subject=name)
    if not chosen and not case.data_checks:
        yield Checked("data", "skipped", "the numbers that were recorded", "no data check is declared")
    recorded = case.baseline.get("data", {})
    for (name, one), found in zip(chosen.items(), _count_all(chosen), strict=True):
        if isinstance(found, Exception):
            yield Checked("data", "unknown", _expected(one, recorded.get(name)), _words(one, found), subject=name)
            continue
        verdict, told = _judge(one, recorded.get(name), found)
        yield Checked("data", verdict, _expected(one, recorded.get(name)), told, subject=name)


def record(case: Case) -> dict[str, Any]:
    """The numbers as they are now, by name: ``{"value": "1234"}``, or ``{"problem": …}`` in words."""
    chosen = _chosen(case)
    return {
        name: {"problem": _words(one, found)} if isinstance(found, Exception) else {"value": str(found)}
        for (name, one), found in zip(chosen.items(), _count_all(chosen), strict=True)
    }


def seconds(case: Case) -> float:
    """How long all of it may take."""
    return max((one.timeout for one in _chosen(case).values()), default=0.0) + _CONNECT_SECONDS + 5


def difference(before: Decimal, now: Decimal) -> float:
    """The relative difference: ``0.02`` for 100 and 98. From nothing to something it is infinite."""
    if before == now:
        return 0.0
    return float(abs(now - before) / abs(before)) if before else float("inf")


def _chosen(case: Case) -> dict[str, DataCheck]:
    """The checks that the plan names, or those of the workflow."""
    declared = case.means.settings.data_checks
    if case.data_checks is not None:
        return {name: declared[name] for name in case.data_checks if name in declared}
    return {name: one for name, one in declared.items() if matches(one.workflows, case.workflow.slug)}


def _count_all(chosen: dict[str, DataCheck]) -> list[Decimal | Exception]:
    return together([Job(partial(count, one), one.timeout + _CONNECT_SECONDS) for one in chosen.values()])


def _expected(one: DataCheck, before: Any) -> str:
    what = f"rows of {one.table}" if one.table else "the query's value"
    value = (before or {}).get("value")
    if value is None:
        return f"{what} as recorded before"
    allowed = f", give or take {one.tolerance:.4g} of it" if one.tolerance else ""
    return f"{what}: {value}{allowed}"


def _judge(one: DataCheck, before: Any, now: Decimal) -> tuple[Verdict, str]:
    """The verdict on a number, and what is told of it."""
    if before is None:
        return "skipped", f"{now}; nothing was recorded to compare it with"
    if "value" not in before:
        return "unknown", f"{now}; it could not be recorded before: {before.get('problem', '')}"
    was = Decimal(before["value"])
    apart = difference(was, now)
    told = f"{now}, unchanged" if apart == 0 else f"{now}, {now - was:+} ({apart:.2%})"
    return ("pass" if apart <= one.tolerance else "fail"), told


def count(one: DataCheck) -> Decimal:
    """The number that `one` asks for, as it is now. Raises `Uncounted`, and what the driver does."""
    if bool(one.table) == bool(one.query):
        raise Uncounted("it needs either a table or a query")
    engine = _engine(_url(one), one.timeout)
    try:
        with engine.connect() as connection, connection.begin():
            # Without parameters a percent sign or a colon in a query is only that.
            plain = connection.execution_options(no_parameters=True)
            rows = plain.exec_driver_sql(_statement(one, connection)).fetchmany(2)
    finally:
        engine.dispose()
    if len(rows) != 1 or len(rows[0]) != 1:
        raise Uncounted("the query must give one row with one value")
    value = rows[0][0]
    try:
        if value is None or isinstance(value, bool | bytes):
            raise InvalidOperation
        number = Decimal(str(value))
    except InvalidOperation:
        raise Uncounted(f"the query gave {'nothing' if value is None else 'something that is no number'}") from None
    if not number.is_finite():
        raise Uncounted("the query gave something that is no number")
    return number


def _statement(one: DataCheck, connection: Connection) -> str:
    if one.query:
        return one.query
    name = connection.dialect.identifier_preparer.quote_identifier
    return f"SELECT count(*) FROM {'.'.join(map(name, one.table.split('.')))}"  # noqa: S608 (quoted names)


def _url(one: DataCheck) -> URL:
    given = one.url
    if given.startswith(_FROM_ENVIRONMENT):
        variable = given.removeprefix(_FROM_ENVIRONMENT)
        given = os.environ.get(variable, "")
        if not given:
            raise Uncounted(f"the variable {variable}, which should hold its URL, is not set")
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise Uncounted("its URL cannot be read") from None
    url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
    if url.get_backend_name() not in {"sqlite", "postgresql", "mysql", "mariadb"}:
        raise Uncounted(f"{url.get_backend_name()} is not a database that is read here")
    return url


def _engine(url: URL, seconds: float) -> Engine:
    """An engine whose connections only read, and break off what takes longer than `seconds`."""
    kind = url.get_backend_name()
    options: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS}
    if kind == "sqlite":
        if not url.database or url.database == ":memory:":
            raise Uncounted("its URL names no SQLite file")
        # `mode=ro` makes no file where there is none.
        file = url.database.removeprefix("file:").partition("?")[0]
        url = url.set(database=f"file:{quote(file)}", query={"mode": "ro", "uri": "true"})
        options = {"timeout": min(seconds, float(_CONNECT_SECONDS))}
    elif kind in ("mysql", "mariadb"):
        # Wider than the server's own limit, which ends the statement there too.
        options["read_timeout"] = options["write_timeout"] = int(seconds) + 2
    try:
        engine = create_engine(url, poolclass=NullPool, connect_args=options)
    except ModuleNotFoundError as error:
        hint = " (pip install 'lastgood[mysql]')" if error.name == "pymysql" else ""
        raise Uncounted(f"the driver {error.name} is not installed{hint}") from None
    except NoSuchModuleError:
        raise Uncounted(f"there is no driver for {url.drivername}") from None

    @event.listens_for(engine, "begin")
    def _only_read(connection: Connection) -> None:
        if kind == "sqlite":
            until = monotonic() + seconds
            driver: Any = connection.connection.dbapi_connection
            driver.set_progress_handler(lambda: monotonic() > until, _STEPS)
            connection.exec_driver_sql("PRAGMA query_only = ON")
        elif kind == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
        else:
            # The transaction that the driver begins by itself comes after this.
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
            mariadb = getattr(connection.dialect, "is_mariadb", False)
            limit = f"max_statement_time = {seconds:f}" if mariadb else f"max_execution_time = {int(seconds * 1000)}"
            connection.exec_driver_sql(f"SET SESSION {limit}")

    return engine


def _words(one: DataCheck, error: Exception) -> str:
    """What of `error` may be told: a driver's own sentence, without what the URL keeps secret."""
    if isinstance(error, Late):
        return f"no number within {one.timeout:g} s"
    if isinstance(error, Uncounted):
        return str(error)
    if not isinstance(error, DBAPIError):
        return f"it could not be counted ({type(error).__name__})"
    said = _mask(one).text(" ".join(str(error.orig).split("\n")[0].split()))
    return f"{type(error.orig).__name__}: {said[:_LONGEST]}"


def _mask(one: DataCheck) -> Mask:
    """Hides what in the URL must not be told."""
    try:
        url = _url(one)
    except Uncounted:
        return Mask([one.url])
    given = [[value] if isinstance(value, str) else value for value in url.query.values()]
    return Mask([str(url.password or ""), *(value for values in given for value in values)])
