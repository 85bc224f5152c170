"""Verification of a version by its workflow's smoke requests, on the target itself (not through the gateway)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

import httpx
import jmespath

from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.dsl.schema import output_schema
from lastgood.errors import DifyRefused, LastgoodError
from lastgood.history import smokes, versions, workflows
from lastgood.history.smokes import Smoke
from lastgood.history.versions import Version
from lastgood.release.tls import trusted
from lastgood.targets import dify

Verdict = Literal["passed", "failed", "inconclusive", "none"]
_SECONDS = 60.0
_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Upstream:
    """A target's address and the token that may run any version there. On a Dify server the token is a key of the
    app, `placed` its id of the version, and chats are asked by stream, because a blocking one may hang there."""

    base_url: str
    token: str = field(repr=False)
    placed: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One smoke request's outcome. `passed` is None when nothing could be learnt (the target was not reached)."""

    smoke: str
    passed: bool | None
    detail: str
    elapsed_ms: float

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "smoke": self.smoke,
            "passed": self.passed,
            "detail": self.detail,
            "elapsed_ms": round(self.elapsed_ms, 1),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All checks on a version, the verdict, and the state that the version has now."""

    verdict: Verdict
    checks: tuple[Check, ...]
    state: str

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {"verdict": self.verdict, "checks": [c.public() for c in self.checks], "state": self.state}


def verify(
    store: Store,
    who: Principal,
    version: Version,
    upstream: Upstream,
    *,
    condemn: bool = True,
    interface: bool = False,
    fence: Callable[[Tx], None] = lambda _: None,
) -> Report:
    """Run the smoke requests of the version's workflow on it and keep the outcome as evidence. With `interface`, what
    they answer must fit the version's output schema too. `fence` may forbid to keep anything, by raising.

    All passed: the version becomes stable. One failed: it becomes failed, unless `condemn` is off (after a rollback
    to a proven version the cause may lie elsewhere). Not reached: inconclusive, nothing changes. No smoke requests:
    verdict none, nothing is learnt."""
    with store.read() as tx:
        workflow = workflows.by_pk(tx, version.workflow_pk)
        requests = smokes.listing(tx, workflow)
        schema = output_schema(versions.document_of(tx, version)) if interface else None
    checks = tuple(run_smoke(upstream, workflow.mode, version.id, smoke, schema) for smoke in requests)
    verdict = judge(checks)
    detail = {"verdict": verdict, "checks": [check.public() for check in checks]}
    if verdict == "passed" or (verdict == "failed" and condemn):
        state: Literal["stable", "failed"] = "stable" if verdict == "passed" else "failed"
        reason = next((c.detail for c in checks if not c.passed), "every smoke request passed")

        def judged(tx: Tx) -> Version:
            fence(tx)
            return versions.set_state(tx, who, version, state, kind="smoke", reason=reason, detail=detail)

        return Report(verdict, checks, store.write(judged).state)
    if verdict != "none":

        def kept(tx: Tx) -> None:
            fence(tx)
            versions.add_evidence(tx, who, version, kind="smoke", verdict=verdict, detail=detail)

        store.write(kept)
    return Report(verdict, checks, version.state)


def judge(checks: Sequence[Check]) -> Verdict:
    """One verdict for all checks: a failure counts first, and what was not learnt is never a pass."""
    if not checks:
        return "none"
    if any(check.passed is False for check in checks):
        return "failed"
    return "passed" if all(check.passed for check in checks) else "inconclusive"


def run_smoke(
    upstream: Upstream, mode: str, version_id: str, smoke: Smoke, schema: Mapping[str, Any] | None = None
) -> Check:
    """Send one smoke request to `version_id` on its target and judge the answer (`judge_answer`)."""
    version_id = upstream.placed or version_id
    if upstream.placed and mode == "advanced-chat":
        return _run_chat(upstream, smoke, schema)
    body: dict[str, Any] = {"inputs": smoke.inputs, "response_mode": "blocking", "user": "lastgood-smoke"}
    path = f"/v1/workflows/{version_id}/run"
    if mode == "advanced-chat":
        path = "/v1/chat-messages"
        body |= {"query": smoke.query, "workflow_id": version_id}
    began = perf_counter()
    try:
        answer = httpx.post(
            upstream.base_url + path,
            json=body,
            headers={"Authorization": f"Bearer {upstream.token}"},
            timeout=_SECONDS,
            verify=trusted(),
            trust_env=False,
        )
    except httpx.RequestError as error:
        elapsed = (perf_counter() - began) * 1000
        return Check(smoke.id, None, f"the target was not reached ({type(error).__name__})", elapsed)
    elapsed = (perf_counter() - began) * 1000
    found = _mapping(answer)
    if answer.status_code == 400:
        return Check(smoke.id, False, str(found.get("message") or "the target answered 400"), elapsed)
    if answer.status_code != 200:  # the door, the engine or the load: nothing that the version did
        return Check(smoke.id, None, f"the target answered {answer.status_code}", elapsed)
    if not _is_outcome(found):
        return Check(smoke.id, None, "the target's answer is not one of Dify's", elapsed)
    return judge_answer(smoke, found, elapsed, schema)


def _run_chat(upstream: Upstream, smoke: Smoke, schema: Mapping[str, Any] | None) -> Check:
    """Ask a chatflow on Dify, by stream."""
    began = perf_counter()
    try:
        with dify.connect(upstream.base_url, dify.Bearer(upstream.token)) as client:  # its console is not asked
            said = client.service(upstream.token).chat(
                smoke.query, "lastgood-smoke", smoke.inputs, version=upstream.placed, seconds=_SECONDS
            )
    except LastgoodError as error:
        elapsed = (perf_counter() - began) * 1000
        return Check(smoke.id, False if isinstance(error, DifyRefused) else None, str(error), elapsed)
    elapsed = (perf_counter() - began) * 1000
    data = dict(said.run.raw.get("data") or {}) if said.run is not None else {}
    return judge_answer(smoke, {"answer": said.answer, "data": data}, elapsed, schema)


def _mapping(answer: httpx.Response) -> dict[str, Any]:
    """The JSON mapping that `answer` holds, empty where it is none."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_outcome(answer: dict[str, Any]) -> bool:
    """Whether this is Dify's blocking answer of a workflow or of a chat."""
    data = answer.get("data")
    if isinstance(data, dict):
        return "status" in data and isinstance(data.get("outputs") or {}, dict)
    return isinstance(answer.get("answer"), str)


def judge_answer(
    smoke: Smoke, answer: dict[str, Any], elapsed_ms: float, schema: Mapping[str, Any] | None = None
) -> Check:
    """Whether `answer` (Dify's blocking answer) satisfies `smoke`: it succeeded, each expectation is true, it fits
    the output `schema` where one is given, and it was quick enough."""
    data = answer.get("data") or {}
    facts = {
        "status": data.get("status", "succeeded"),
        "outputs": data.get("outputs") or {},
        "answer": answer.get("answer"),
        "elapsed_ms": elapsed_ms,
    }
    # partial-succeeded: a node failed and its fail branch made up for it, as the workflow means it to.
    if facts["status"] not in ("succeeded", "partial-succeeded"):
        return Check(
            smoke.id, False, f"the run {facts['status']}: {data.get('error') or 'no reason given'}", elapsed_ms
        )
    for expression in smoke.expect:
        try:
            holds = jmespath.search(expression, facts) is True
        except jmespath.exceptions.JMESPathError as error:
            return Check(smoke.id, False, f"{expression} cannot be evaluated: {error}", elapsed_ms)
        if not holds:
            return Check(smoke.id, False, f"{expression} is not true{_got(expression, facts)}", elapsed_ms)
    if schema is not None and (misfit := _misfit(answer, schema)):
        return Check(smoke.id, False, misfit, elapsed_ms)
    if smoke.max_ms is not None and elapsed_ms > smoke.max_ms:
        return Check(smoke.id, False, f"it took {elapsed_ms:.0f} ms, more than {smoke.max_ms} ms", elapsed_ms)
    return Check(smoke.id, True, "as expected", elapsed_ms)


def _misfit(answer: dict[str, Any], schema: Mapping[str, Any]) -> str:
    """What in `answer` does not fit the output `schema`, nothing where all does."""
    from jsonschema import Draft202012Validator  # slow to import
    from jsonschema.exceptions import best_match

    outputs = (answer.get("data") or {}).get("outputs") or {}
    chat = isinstance(answer.get("answer"), str)
    error = best_match(Draft202012Validator(schema).iter_errors({"answer": answer["answer"]} if chat else outputs))
    if error is None:
        return ""
    where = ".".join(["outputs", *map(str, error.absolute_path)])
    return f"{where} does not fit the version's interface: {error.message[:_LONGEST]}"


def _got(expression: str, facts: dict[str, Any]) -> str:
    """What stands where `expression` compares with ``==``, for the report; nothing where that cannot be told."""
    left, compared, _ = expression.partition("==")
    try:
        seen = jmespath.search(left, facts)
    except jmespath.exceptions.JMESPathError:
        return ""  # the == is inside a filter or brackets
    return f" (got {json.dumps(seen, ensure_ascii=False)[:_LONGEST]})" if compared else ""
