"""
What the intake tests share: the reports of tests/assets, and reading one from bytes.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from backlog_store.intake import Finding, Notice, Parsed, Refusal, ReportContext, read_report
from backlog_store.model import Draft

REPORTS = Path(__file__).parents[2] / "assets" / "reports"
DEMO = Path(__file__).parents[3] / "src" / "backlog_store" / "demo" / "reports"
SHOP = ReportContext(service="acme/shop")


def read(data: bytes | str | dict[str, Any] | list[Any], context: ReportContext = SHOP, **named: str) -> list[Parsed]:
    """
    Return all that a report (JSON data is encoded) holds.
    """
    if not isinstance(data, bytes):
        data = data.encode() if isinstance(data, str) else json.dumps(data).encode()
    return list(read_report(io.BytesIO(data), context, **named)[1])


def load(name: str, context: ReportContext = SHOP) -> list[Parsed]:
    """
    Return all that a report of tests/assets holds.
    """
    return read((REPORTS / name).read_bytes(), context)


def drafts(parsed: list[Parsed]) -> list[Draft]:
    """
    Return the drafts; a refusal among them fails the test.
    """
    assert [] == refusals(parsed)
    return [one.draft for one in parsed if isinstance(one, Finding)]


def refusals(parsed: list[Parsed]) -> list[Refusal]:
    """
    Return the refused findings.
    """
    return [one for one in parsed if isinstance(one, Refusal)]


def notices(parsed: list[Parsed]) -> list[Notice]:
    """
    Return the notices.
    """
    return [one for one in parsed if isinstance(one, Notice)]


def keys(parsed: list[Parsed]) -> list[str]:
    """
    Return the keys of the drafts, in order.
    """
    return [draft.dedupe_key for draft in drafts(parsed)]


def claims(draft: Draft) -> tuple[object, ...]:
    """
    Return all of a draft that makes a report of a known problem a change of its item: evidence and time do not.
    """
    meta = {name: value for name, value in draft.meta.items() if name not in draft.volatile}
    return (
        draft.title, draft.description, draft.service, draft.category, draft.priority, draft.tags, meta, draft.fix,
        draft.key_inputs,
    )  # fmt: skip


def sarif(*results: dict[str, Any], **run: Any) -> dict[str, Any]:
    """
    Return a SARIF report of a made-up tool.
    """
    tool = run.pop("tool", {"driver": {"name": "lint"}})
    return {"version": "2.1.0", "runs": [{"tool": tool, "results": list(results), **run}]}


def result(
    rule: str = "R1", path: str = "src/a.py", line: int = 1, *, message: str = "wrong", **more: Any
) -> dict[str, Any]:
    """
    Return a SARIF result; a `snippet` becomes that of its region.
    """
    region: dict[str, Any] = {"startLine": line}
    if "snippet" in more:
        region["snippet"] = {"text": more.pop("snippet")}
    place = {"artifactLocation": {"uri": path}, "region": region}
    return {"ruleId": rule, "message": {"text": message}, "locations": [{"physicalLocation": place}], **more}
