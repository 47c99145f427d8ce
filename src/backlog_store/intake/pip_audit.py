"""
pip-audit JSON (``pip-audit -f json``): an object with `dependencies`, or their bare list as releases before 2.0 print.

It knows no severities, so all findings have the priority of ``unknown`` unless told otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from msgspec import Raw, Struct

from backlog_store.errors import InvalidInput
from backlog_store.intake.jsontext import decode
from backlog_store.intake.streams import read_all
from backlog_store.intake.values import Finding, Notice, Parsed, Refusal, ReportContext
from backlog_store.intake.vulnerability import Vulnerability, main_id, vulnerability_draft
from backlog_store.model import Draft

__all__ = ["parse"]


class _Vuln(Struct):
    id: str
    fix_versions: list[str] | None = None
    aliases: list[str] | None = None
    description: str | None = None


class _Dependency(Struct):
    name: str
    version: str | None = None
    vulns: list[Raw] | None = None
    skip_reason: str | None = None


class _Report(Struct):
    dependencies: list[Raw]


def parse(stream: BinaryIO, context: ReportContext) -> Iterator[Parsed]:
    """
    Yield the vulnerabilities, and a notice for each dependency that could not be audited.
    """
    data = read_all(stream)
    bare = data[:64].lstrip()[:1] == b"["
    prefix = "" if bare else "/dependencies"
    dependencies = decode(data, list[Raw], "") if bare else decode(data, _Report, "").dependencies
    for index, raw in enumerate(dependencies):
        pointer = f"{prefix}/{index}"
        try:
            dependency = decode(raw, _Dependency, pointer)
        except InvalidInput as error:
            yield Refusal(pointer, error.faults)
            continue
        if dependency.skip_reason:
            yield Notice(pointer, f"{dependency.name} was not audited: {dependency.skip_reason}", True)
        for number, vuln in enumerate(dependency.vulns or ()):
            place = f"{pointer}/vulns/{number}"
            try:
                yield Finding(_draft(decode(vuln, _Vuln, place), dependency, context), place)
            except InvalidInput as error:
                yield Refusal(place, error.faults)


def _draft(vuln: _Vuln, dependency: _Dependency, context: ReportContext) -> Draft:
    ids = [vuln.id, *(vuln.aliases or ())]
    id = main_id(ids)
    details = (vuln.description or "").strip()
    return vulnerability_draft(
        Vulnerability(
            scanner="pip-audit",
            id=id,
            # PEP 503: names that differ in case, dots, hyphens and underscores are one package.
            package=re.sub(r"[-_.]+", "-", dependency.name).lower(),
            ecosystem="pypi",
            aliases=tuple(sorted(set(ids))),
            versions=(dependency.version,) if dependency.version else (),
            fixed=tuple(vuln.fix_versions or ()),
            summary=details.partition("\n")[0].lstrip("# ").partition(". ")[0],
            details=details,
            urls=(f"https://osv.dev/vulnerability/{id}",),
        ),
        context,
    )
