"""
npm audit JSON (``npm audit --json``), report version 2 as npm 7 and later print it.

`vulnerabilities` names each affected package; `via` holds advisories, or names of packages through which it is
affected. Only advisories become drafts: the others vanish when these are fixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from msgspec import Raw, Struct

from backlog_store.errors import Fault, InvalidInput
from backlog_store.intake import text as t
from backlog_store.intake.jsontext import decode, read_json
from backlog_store.intake.values import Finding, Notice, Parsed, Refusal, ReportContext
from backlog_store.intake.vulnerability import Vulnerability, vulnerability_draft
from backlog_store.model import Draft

__all__ = ["parse"]


class _Cvss(Struct):
    score: float | None = None


class _Advisory(Struct):
    source: int | str | None = None
    name: str | None = None
    title: str | None = None
    url: str | None = None
    severity: str | None = None
    cwe: list[str] | str | None = None
    cvss: _Cvss | None = None
    range: str | None = None


class _Fix(Struct):
    name: str
    version: str | None = None
    isSemVerMajor: bool = False  # noqa: N815 - npm's own name


class _Package(Struct):
    name: str
    via: list[_Advisory | str]
    severity: str | None = None
    nodes: list[str] | None = None
    fixAvailable: _Fix | bool | None = None  # noqa: N815


class _Report(Struct):
    vulnerabilities: dict[str, Raw] | None = None
    auditReportVersion: int = 0  # noqa: N815
    advisories: Any = None
    message: str | None = None
    error: Any = None


def parse(stream: BinaryIO, context: ReportContext) -> Iterator[Parsed]:
    """
    Yield the advisories, package by package. Raises `InvalidInput` for what npm prints when the audit itself failed.
    """
    report = read_json(stream, _Report)
    if report.vulnerabilities is None:
        if report.advisories is not None:
            fault = Fault("/auditReportVersion", "1", "a report of npm 6; run npm 7 or later")
        elif report.message or report.error is not None:
            fault = Fault("/message", t.one_line(t.clean(report.message or ""), 200), "npm says that the audit failed")
        else:
            fault = Fault("/vulnerabilities", "", "missing")
        raise InvalidInput([fault], what="report")
    for name, raw in report.vulnerabilities.items():
        pointer = f"/vulnerabilities/{name.replace('~', '~0').replace('/', '~1')}"
        try:
            package = decode(raw, _Package, pointer)
            found = _merged(package)
            if not found:
                through = ", ".join(one for one in package.via if isinstance(one, str))
                yield Notice(pointer, f"{package.name} is affected through {through}, which is counted by itself")
            for place, advisories in found.items():
                yield Finding(_draft(package, place, advisories, context), f"{pointer}/via")
        except InvalidInput as error:
            yield Refusal(pointer, error.faults)


def _merged(package: _Package) -> dict[str, list[_Advisory]]:
    """
    Return the advisories by id: one that covers two ranges of versions stands in the report twice.
    """
    found: dict[str, list[_Advisory]] = {}
    for advisory in package.via:
        if isinstance(advisory, _Advisory):
            id = (advisory.url or "").rstrip("/").rpartition("/")[2] or f"npm-{advisory.source}"
            found.setdefault(id, []).append(advisory)
    return found


def _draft(package: _Package, id: str, advisories: list[_Advisory], context: ReportContext) -> Draft:
    first = advisories[0]
    fix = package.fixAvailable
    named = fix if isinstance(fix, _Fix) else None
    ranges = sorted({advisory.range for advisory in advisories if advisory.range})
    weaknesses = [one for advisory in advisories for one in _list(advisory.cwe)]
    score = max((advisory.cvss.score or 0.0 for advisory in advisories if advisory.cvss), default=0.0)
    return vulnerability_draft(
        Vulnerability(
            scanner="npm-audit",
            id=id,
            package=package.name,
            ecosystem="npm",
            versions=tuple(ranges),
            fixed=(f"{named.name} {named.version or ''}".strip(),) if named else ("a version in range",) if fix else (),
            upgrade=named.name if named else package.name if fix else "",
            severity=first.severity or package.severity or "",
            score=str(score) if score else "",
            summary=first.title or "",
            urls=(first.url or "",),
            locations=tuple(package.nodes or ()),
            weaknesses=tuple(t.cwes(*weaknesses)),
            note="the fix is a new major version" if named and named.isSemVerMajor else "",
        ),
        context,
    )


def _list(value: list[str] | str | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []
