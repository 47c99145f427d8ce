"""
Severity becomes priority by one table a format. The same tables stand in docs/guides/reports.md; a test compares them.

A number (CVSS, SARIF's ``security-severity``) becomes a word first: 9.0 and more ``critical``, 7.0 ``high``, 4.0
``medium``, less ``low``: the bands of CVSS 3.1, section 5. `ReportContext.severities` overrides single words,
`ReportContext.priority` everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backlog_store.intake.values import ReportContext
from backlog_store.model import Priority

__all__ = ["GRADED_ALIKE", "TABLES", "band", "priority"]

_CVSS: dict[str, Priority] = {
    "critical": "P0", "high": "P1", "medium": "P2", "moderate": "P2", "low": "P3", "info": "P3", "none": "P3",
}  # fmt: skip

#: Format → word → priority. ``unknown`` stands for a missing word and for one that the table does not have.
TABLES: Mapping[str, Mapping[str, Priority]] = {
    "sarif": {**_CVSS, "error": "P1", "warning": "P2", "note": "P3", "unknown": "P2"},
    "pip-audit": {**_CVSS, "unknown": "P2"},
    "npm-audit": {**_CVSS, "unknown": "P2"},
    "trivy": {**_CVSS, "unknown": "P2"},
    "osv-scanner": {**_CVSS, "unknown": "P2"},
    "alertmanager": {
        "page": "P0", "critical": "P0", "error": "P1", "high": "P1", "major": "P1", "warning": "P2", "medium": "P2",
        "minor": "P2", "low": "P3", "info": "P3", "none": "P3", "unknown": "P2",
    },
    "junit": {"error": "P2", "failure": "P2", "unknown": "P2"},
    "drafts": {
        "p0": "P0", "p1": "P1", "p2": "P2", "p3": "P3", **_CVSS, "blocker": "P0", "urgent": "P0", "highest": "P0",
        "major": "P1", "error": "P1", "normal": "P2", "warning": "P2", "minor": "P3", "note": "P3", "trivial": "P3",
        "lowest": "P3", "unknown": "P2",
    },
}  # fmt: skip

#: Tools that call each of their findings an error: the level says nothing, so `warning` is read instead.
GRADED_ALIKE: frozenset[str] = frozenset({"ruff", "checkov"})


def band(score: Any) -> str:
    """
    Return the word for a CVSS score (number or text); the empty text for what is no score from 0 to 10.
    """
    try:
        number = float(score)
    except (TypeError, ValueError):
        return ""
    if not 0 <= number <= 10:
        return ""
    return "critical" if number >= 9 else "high" if number >= 7 else "medium" if number >= 4 else "low"


def priority(context: ReportContext, table: str, *words: str) -> Priority:
    """
    Return the priority of the first of *words* that is not empty and is known, else that of ``unknown``.
    """
    if context.priority is not None:
        return context.priority
    for word in (*words, "unknown"):
        low = word.strip().lower()
        if low in context.severities:
            return context.severities[low]
        if low in TABLES[table]:
            return TABLES[table][low]
    raise AssertionError("every table knows `unknown`")
