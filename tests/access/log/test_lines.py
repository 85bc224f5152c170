"""How rows are shown."""

import csv
import io
from typing import Any

import pytest

from lastgood.access.log import lines

ROW = {
    "at": "2026-11-30T09:00:00.123456Z", "actor": "u1002", "kind": "person", "action": "workflow:read",
    "resource": "workflow/prod-invoice", "result": "allowed", "method": "GET", "path": "/v1/workflows/prod-invoice",
    "reason": "", "code": "LG100A", "place": 7,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "2026-11-30T09:00:00.123Z u1002 READ /v1/workflows/prod-invoice allowed"),
        (
            {"method": "DELETE", "action": "key:revoke", "path": "/v1/data/772", "result": "denied"},
            "2026-11-30T09:00:00.123Z u1002 DELETE /v1/data/772 denied",
        ),
        (
            {
                "method": "POST",
                "action": "workflow:rollback:force",
                "kind": "token",
                "actor": "ci",
                "result": "failed",
            },
            "2026-11-30T09:00:00.123Z token:ci ROLLBACK /v1/workflows/prod-invoice failed",
        ),
        (
            {"action": "workflow:export"},
            "2026-11-30T09:00:00.123Z u1002 EXPORT /v1/workflows/prod-invoice allowed",
        ),
        (
            {"kind": "service", "actor": "watch", "method": "", "path": "", "action": "app:serves"},
            "2026-11-30T09:00:00.123Z service:watch SERVES workflow/prod-invoice allowed",
        ),
        (
            {"kind": "local", "actor": "first start", "path": "/v1/a b\n2026 root"},
            "2026-11-30T09:00:00.123Z local:first%20start READ /v1/a%20b%0A2026%20root allowed",
        ),
        (
            {"actor": "\x1b[2J\u2028x"},
            "2026-11-30T09:00:00.123Z %1B[2J%E2%80%A8x READ /v1/workflows/prod-invoice allowed",
        ),
    ],
)
def test_a_line_has_five_fields(change: dict[str, Any], line: str) -> None:
    assert lines.line({**ROW, **change}) == line
    assert len(lines.line({**ROW, **change}).split()) == 5


def test_a_wide_line_has_the_code_the_place_and_the_reason_quoted() -> None:
    wide = lines.line({**ROW, "reason": 'said "so"\n'}, wide=True)
    assert wide.endswith(' allowed LG100A 7 "said \\"so\\"\\n"')


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1", "\n=1", "\uff1d1"])
def test_no_cell_is_a_formula(value: str) -> None:
    text = lines.csv_head() + lines.csv_line({**ROW, "actor": value, "reason": value, "note": value})
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert all(not cell or cell[0] not in "=+-@\t\r\n\uff1d" for cell in row.values())
    assert "\n" not in lines.csv_line({**ROW, "actor": value})[:-2]


def test_csv_comes_back() -> None:
    text = lines.csv_head() + lines.csv_line({**ROW, "reason": 'a, "b"', "before": 1})
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["reason"], row["facts"], row["code"]) == ('a, "b"', '{"before": 1}', "LG100A")
