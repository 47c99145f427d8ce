"""
OSV-Scanner JSON (``osv-scanner --format json``): results by source, packages, vulnerabilities and groups of aliases.

A group is one vulnerability that several databases describe; it becomes one draft.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from msgspec import Raw, Struct, field

from backlog_store.errors import InvalidInput
from backlog_store.intake import text as t
from backlog_store.intake.jsontext import decode, read_json
from backlog_store.intake.values import Finding, Notice, Parsed, Refusal, ReportContext
from backlog_store.intake.vulnerability import Vulnerability, main_id, vulnerability_draft
from backlog_store.model import Draft

__all__ = ["parse"]


class _Name(Struct):
    name: str
    version: str | None = None
    ecosystem: str | None = None


class _Range(Struct):
    type: str | None = None
    events: list[dict[str, str]] | None = None


class _Affected(Struct):
    package: _Name | None = None
    ranges: list[_Range] | None = None


class _Reference(Struct):
    url: str | None = None
    type: str | None = None


class _Record(Struct):
    id: str
    aliases: list[str] | None = None
    summary: str | None = None
    details: str | None = None
    affected: list[_Affected] | None = None
    references: list[_Reference] | None = None
    database_specific: dict[str, Any] | None = None


class _Group(Struct):
    ids: list[str]
    aliases: list[str] | None = None
    max_severity: str | None = None


class _Package(Struct):
    package: _Name
    vulnerabilities: list[_Record] | None = None
    groups: list[_Group] | None = None


class _Source(Struct):
    path: str | None = None
    type: str | None = None


class _Result(Struct):
    source: _Source = field(default_factory=_Source)
    packages: list[Raw] | None = None


class _Report(Struct):
    results: list[Raw] | None


def parse(stream: BinaryIO, context: ReportContext) -> Iterator[Parsed]:
    """
    Yield one finding a package and group.
    """
    told = False
    for index, raw in enumerate(read_json(stream, _Report).results or ()):
        pointer = f"/results/{index}"
        try:
            result = decode(raw, _Result, pointer)
        except InvalidInput as error:
            yield Refusal(pointer, error.faults)
            continue
        place = t.relative_path(result.source.path or "", context.root)
        if t.is_absolute(place) and not told:
            told = True
            yield Notice(pointer, f"{place} is an absolute path, so its keys hold only where the folder has the same "
                                  "name; name the folder with --root")  # fmt: skip
        for number, package in enumerate(result.packages or ()):
            where = f"{pointer}/packages/{number}"
            try:
                yield from _findings(decode(package, _Package, where), place, where, context)
            except InvalidInput as error:
                yield Refusal(where, error.faults)


def _findings(package: _Package, place: str, pointer: str, context: ReportContext) -> Iterator[Finding]:
    records = {record.id: record for record in package.vulnerabilities or ()}
    groups = list(package.groups or ())
    grouped = {id for group in groups for id in group.ids}
    groups += [_Group(ids=[id]) for id in records if id not in grouped]
    for group in groups:
        members = [records[id] for id in group.ids if id in records]
        if members:
            draft = _draft(package.package, group, members, place, context)
            yield Finding(draft, f"{pointer}/groups/{groups.index(group)}")


def _draft(name: _Name, group: _Group, records: list[_Record], place: str, context: ReportContext) -> Draft:
    ids = sorted({*group.ids, *(group.aliases or ()), *(alias for one in records for alias in one.aliases or ())})
    id = main_id(ids)
    first = next((record for record in records if record.id == id), records[0])
    specific = first.database_specific or {}
    listed = specific.get("cwe_ids")
    weaknesses = [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
    severity = specific.get("severity")
    urls = [f"https://osv.dev/vulnerability/{first.id}", *(one.url or "" for one in first.references or ())]
    return vulnerability_draft(
        Vulnerability(
            scanner="osv-scanner",
            id=id,
            package=name.name,
            ecosystem=(name.ecosystem or "").lower(),
            place=place,
            aliases=tuple(ids),
            versions=(name.version,) if name.version else (),
            fixed=tuple(_fixed(name, first)),
            severity=severity if isinstance(severity, str) else "",
            score=group.max_severity or "",
            summary=first.summary or "",
            details=first.details or "",
            urls=tuple(urls),
            locations=(place,) if place else (),
            weaknesses=tuple(t.cwes(*weaknesses)),
        ),
        context,
    )


def _fixed(name: _Name, record: _Record) -> Iterator[str]:
    """
    Yield the versions of this package that the record calls fixed.

    A record may tell of several packages, and of several releases of a distribution.
    """
    named = [one for one in record.affected or () if one.package is None or one.package.name == name.name]
    exact = [one for one in named if one.package and one.package.ecosystem == name.ecosystem]
    for affected in exact or [one for one in named if _related(one.package, name)]:
        for span in affected.ranges or ():
            for event in span.events or ():
                if "fixed" in event and span.type != "GIT":  # there it is a commit
                    yield event["fixed"]


def _related(one: _Name | None, other: _Name) -> bool:
    """
    Tell whether two names are of one ecosystem, whatever its release (``Debian:12``), as far as they say.
    """
    ecosystems = {(name.ecosystem or "").partition(":")[0] for name in (one or other, other)}
    return len(ecosystems - {""}) <= 1
