"""A smoke request out of a run that really was: only where a person names the run, since it is somebody's data."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, bindparam, select

from lastgood.db import runs as r
from lastgood.dsl.mask import MASK
from lastgood.errors import InvalidRequest, UnknownRun
from lastgood.history.workflows import Workflow

_SYSTEM = "sys."
_RUN = (
    select(r.run.c.inputs, r.message.c.query)
    .outerjoin_from(r.run, r.message, r.message.c.run_id == r.run.c.id)
    .where(r.run.c.id == bindparam("run"), r.run.c.workflow_id == bindparam("workflow"))
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a caller sent: the inputs, and the message of a chat."""

    inputs: dict[str, Any]
    query: str


def request_of(runs: Engine, workflow: Workflow, run: str) -> Recorded:
    """What was sent for the run with the id `run` of `workflow`. Raises `UnknownRun`, and `InvalidRequest` where it
    cannot be sent again, because a secret in it was masked or its files are gone."""
    with runs.connect() as connection:
        row = connection.execute(_RUN, {"run": run, "workflow": workflow.id}).first()
    if row is None:
        raise UnknownRun(workflow=workflow.slug, run=run)
    given = {name: value for name, value in json.loads(row.inputs).items() if not name.startswith(_SYSTEM)}
    query = row.query or ""
    if MASK in json.dumps([given, query]):
        raise InvalidRequest(
            where="from_run", reason=f"a secret stood in what run {run} was sent, and is masked there"
        )
    if any(_is_file(value) for value in given.values()):
        raise InvalidRequest(where="from_run", reason=f"run {run} was sent files, which are not kept")
    return Recorded(given, query)


def _is_file(value: Any) -> bool:
    if isinstance(value, list):
        return any(_is_file(item) for item in value)
    return isinstance(value, dict) and "transfer_method" in value
