"""The doctor: looks at this installation and says what is wrong and what to do."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
from sqlalchemy import text

from lastgood.access.log import sending, tree
from lastgood.access.log.destinations import named
from lastgood.db import process
from lastgood.db.keyrings import File
from lastgood.errors import EngineMissing, LastgoodError, LogInconsistent
from lastgood.history import channels, smokes, versions, workflows
from lastgood.server.context import Context
from lastgood.settings import Settings
from lastgood.targets import engine
from lastgood.targets.dify import servers

Verdict = Literal["ok", "warn", "fail"]
_LITTLE_SPACE = 256 * 2**20
_SECONDS = 3.0


def examine(served: Context) -> list[dict[str, Any]]:
    """Every check's findings: ``{"check", "verdict": ok|warn|fail, "detail", "todo"}``."""
    checks: tuple[Callable[[Context], Iterator[dict[str, Any]]], ...] = (
        _store,
        _disk,
        _files,
        _audit,
        _engine,
        _servers,
        _dify,
        _workflows,
    )
    findings: list[dict[str, Any]] = []
    for check in checks:
        try:
            findings += check(served)
        except LastgoodError as error:
            findings.append(_finding(check.__name__.strip("_"), "fail", str(error), "mend this first"))
    return findings


def _finding(check: str, verdict: Verdict, detail: str, todo: str = "") -> dict[str, Any]:
    return {"check": check, "verdict": verdict, "detail": detail, "todo": todo}


def _store(served: Context) -> Iterator[dict[str, Any]]:
    store = served.store
    with store.read() as tx:
        if store.postgres:
            found = tx.connection.execute(text("SELECT version()")).scalar_one().split(" on ")[0]
            yield _finding("store", "ok", f"{found} answers")
            return
        found = tx.connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    if found == "ok":
        yield _finding("store", "ok", f"{store.url} is sound")
    else:
        yield _finding("store", "fail", f"{store.url} is damaged: {found}", "restore it from your backup")


def _disk(served: Context) -> Iterator[dict[str, Any]]:
    home = served.store.settings.home
    disk = os.statvfs(home)
    free = disk.f_bavail * disk.f_frsize
    if free < _LITTLE_SPACE:
        yield _finding("disk", "warn", f"{free // 2**20} MB are free under {home}", "free some space")
    else:
        yield _finding("disk", "ok", f"{free // 2**30} GB are free under {home}")
    if served.store.keep_reserve():
        yield _finding("reserve", "ok", "space for a rollback is set aside")
    else:
        yield _finding("reserve", "fail", "there is no room for the reserve that a rollback needs", "free some space")


def _files(served: Context) -> Iterator[dict[str, Any]]:
    if not isinstance(served.store.ring.source, File):
        yield _finding("key ring", "ok", f"it comes from {served.store.ring.source.name}")
        return
    path: Path = served.store.ring.path
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        detail = f"{path} is away ({error.strerror}), and only running processes have it"
        yield _finding("key ring", "fail", detail, "put it back from your backup before anything is started again")
        return
    if mode & 0o077:
        yield _finding("key ring", "fail", f"{path} can be read by others (mode {mode:o})", f"chmod 600 {path}")
    else:
        yield _finding("key ring", "ok", f"{path} is for its owner only")


def _audit(served: Context) -> Iterator[dict[str, Any]]:
    """The log's head, and one finding for each place that it goes to."""
    try:
        head = tree.sign_now(served.store)
        yield _finding("audit log", "ok", f"{head.size} rows are under a signed checkpoint")
    except LogInconsistent as error:
        yield _finding("audit log", "fail", str(error), "lastgood audit verify")
    wanted = {place.name for place in named(served.store.settings.audit)}
    with served.store.read() as tx:
        states = {state.destination: state for state in sending.states(tx)}
    for name in sorted(wanted):
        state = states.get(name, sending.State(name))
        if state.failures:
            since = (state.failing_since or "")[:19].replace("T", " ")
            detail = f"fails since {since} UTC ({state.failures} times): {state.problem}"
            yield _finding(f"checkpoints to {name}", "fail", detail, "mend the place; what it missed is sent then")
        elif state.done_at is None:
            yield _finding(f"checkpoints to {name}", "warn", "none was sent yet", "`lastgood serve` sends them")
        else:
            detail = f"it has the one of {state.size} rows, since {state.done_at[:19].replace('T', ' ')} UTC"
            yield _finding(f"checkpoints to {name}", "ok", detail)


def _engine(served: Context) -> Iterator[dict[str, Any]]:
    if not served.store.settings.engine_workers:
        yield _finding("engine", "ok", "none is wanted: every version runs on Dify (LASTGOOD_ENGINE_WORKERS=0)")
        return
    try:
        engine.require()
    except EngineMissing as error:
        yield _finding("engine", "warn", str(error), "pip install 'lastgood[engine]'")
        return
    llm = served.store.settings.llm_base_url
    yield _finding("engine", "ok", f"graphon is installed; llm nodes ask {llm or 'nobody (LASTGOOD_LLM_BASE_URL)'}")


def _servers(served: Context) -> Iterator[dict[str, Any]]:
    for name in ("gateway", "engine"):
        for address in str(served.facts.get(name) or "").split():
            try:
                status = httpx.get(f"{address}/healthz", timeout=_SECONDS, trust_env=False).status_code
                verdict: Verdict = "ok" if status == 200 else "fail"
                yield _finding(name, verdict, f"{address} answers {status}")
            except httpx.TransportError as error:
                detail = f"{address} does not answer ({type(error).__name__})"
                yield _finding(name, "fail", detail, "look at the server's log, then restart `lastgood serve`")
    with served.store.read() as tx:
        for row in process.listing(tx):
            if not row["live"]:
                yield _finding("process", "warn", f"{row['role']} {row['id']} has not been heard of lately")


def _dify(served: Context) -> Iterator[dict[str, Any]]:
    """One finding for each Dify server: how the watch of it stands in this process."""
    watched = {one["server"]: one for one in served.watching.watched()}
    with served.store.read() as tx:
        connected = servers.listing(tx)
    for server in connected:
        yield _finding(f"dify {server.name}", *_watch(server, watched.get(server.name), served.store.settings))


def _watch(server: servers.Server, watch: dict[str, Any] | None, settings: Settings) -> tuple[Verdict, str, str]:
    if watch is not None and watch["failing_since"] is not None:
        since = watch["failing_since"][:19].replace("T", " ")
        detail = f"the watch fails since {since} UTC ({watch['fails']} times): {watch['problem']}"
        return (
            "warn",
            detail,
            f"mend that; it is tried again by itself, and at once by `lastgood watch {server.name} --once`",
        )
    if server.facts.get("way") == "bearer":
        detail = f"{server.url} is connected by a token, which shows no versions, so it is not watched"
        return "warn", detail, f"connect it by an account: `lastgood connect {server.url} --name {server.name}`"
    if not server.captured:
        return "warn", f"{server.url} is not captured yet", f"lastgood capture {server.name}"
    if settings.watch_seconds == 0:
        return "warn", f"{server.url} is not watched (watch_seconds = 0)", f"lastgood watch {server.name}"
    if watch is None or watch["looked_at"] is None:
        return "ok", f"{server.url} is captured; the watch has not looked at it yet (`lastgood serve` runs it)", ""
    return "ok", f"looked at {watch['looked_at'][:19].replace('T', ' ')} UTC: {watch['found']}", ""


def _workflows(served: Context) -> Iterator[dict[str, Any]]:
    with served.store.read() as tx:
        for workflow in workflows.listing(tx):
            for channel in channels.listing(tx, workflow):
                if channel.version_pk is None:
                    continue
                version = versions.by_pk(tx, channel.version_pk)
                name = f"{workflow.slug} {channel.name}"
                if version.state == "failed":
                    todo = f"lastgood rollback {workflow.slug}"
                    yield _finding(name, "fail", f"{version.id} is live and marked failed", todo)
                elif version.state == "candidate":
                    todo = (
                        f"lastgood mark {version.id} stable --reason …"
                        if smokes.listing(tx, workflow)
                        else f"lastgood smoke add {workflow.slug} …"
                    )
                    yield _finding(name, "warn", f"{version.id} is live and not proven", todo)
                if channels.last_good(tx, workflow, channel) is None:
                    yield _finding(name, "warn", "there is no good version to roll back to", "prove one")
