"""
Trivy JSON (``trivy … --format json``, schema version 2): vulnerabilities, misconfigurations and secrets by target.

Of a secret only the rule, the file and the line are kept: the lines around a match, which the report quotes too, may
hold others in clear.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from msgspec import Raw, Struct

from backlog_store.errors import InvalidInput
from backlog_store.instants import Instant
from backlog_store.intake import text as t
from backlog_store.intake.jsontext import decode, read_json
from backlog_store.intake.keys import Ordinals, dedupe_key, fix_name, inputs
from backlog_store.intake.severity import priority
from backlog_store.intake.values import Finding, Parsed, Refusal, ReportContext, merge_context, observed
from backlog_store.intake.vulnerability import Vulnerability, vulnerability_draft
from backlog_store.model import Draft

__all__ = ["parse"]


class _Vuln(Struct):
    VulnerabilityID: str
    PkgName: str
    InstalledVersion: str | None = None
    FixedVersion: str | None = None
    PkgPath: str | None = None
    Severity: str | None = None
    SeveritySource: str | None = None
    Title: str | None = None
    Description: str | None = None
    PrimaryURL: str | None = None
    CweIDs: list[str] | None = None
    VendorIDs: list[str] | None = None


class _Cause(Struct):
    Resource: str | None = None
    StartLine: int = 0


class _Misconf(Struct):
    ID: str
    Title: str | None = None
    Description: str | None = None
    Message: str | None = None
    Resolution: str | None = None
    Severity: str | None = None
    PrimaryURL: str | None = None
    Status: str | None = None
    CauseMetadata: _Cause | None = None


class _Secret(Struct):
    RuleID: str
    Title: str | None = None
    Category: str | None = None
    Severity: str | None = None
    StartLine: int = 0
    EndLine: int = 0


class _Target(Struct):
    Target: str | None = None
    Class: str | None = None
    Type: str | None = None
    Vulnerabilities: list[Raw] | None = None
    Misconfigurations: list[Raw] | None = None
    Secrets: list[Raw] | None = None


class _Report(Struct):
    Results: list[Raw] | None = None
    ArtifactName: str | None = None
    ArtifactType: str | None = None
    CreatedAt: str | None = None


def parse(stream: BinaryIO, context: ReportContext) -> Iterator[Parsed]:
    """
    Yield the findings target by target.
    """
    report = read_json(stream, _Report)
    seen_at = observed(report.CreatedAt or "")
    image = _unversioned(report.ArtifactName or "") if report.ArtifactType == "container_image" else ""
    ordinals = Ordinals()
    for index, raw in enumerate(report.Results or ()):
        pointer = f"/Results/{index}"
        try:
            target = decode(raw, _Target, pointer)
        except InvalidInput as error:
            yield Refusal(pointer, error.faults)
            continue
        scan = _Scan(target, image, pointer, context, seen_at, ordinals)
        yield from scan.vulnerabilities()
        yield from scan.misconfigurations()
        yield from scan.secrets()


def _unversioned(image: str) -> str:
    """
    Return an image's name without tag and digest: ``registry:5000/acme/shop:1.4`` → ``registry:5000/acme/shop``.
    """
    image = image.partition("@")[0]
    folder, slash, name = image.rpartition("/")
    return folder + slash + name.partition(":")[0]


class _Scan:
    """
    One target: a lock file, the system packages of an image, a file of configuration or with secrets.
    """

    def __init__(self, target: _Target, image: str, pointer: str, context: ReportContext, seen_at: Instant,
                 ordinals: Ordinals) -> None:  # fmt: skip
        self.target = target
        self.pointer = pointer
        self.context = context
        self.seen_at = seen_at
        self.ordinals = ordinals
        # The target of system packages names image, tag and release of the system: all of them move.
        name = "" if target.Class == "os-pkgs" else t.relative_path(target.Target or "", context.root)
        self.file = t.clean(name)
        self.place = ":".join(filter(None, (image, self.file)))

    def vulnerabilities(self) -> Iterator[Parsed]:
        """
        Yield one finding a package and vulnerability: several installed copies of a package are one problem.
        """
        found: dict[tuple[str, str], list[tuple[_Vuln, str]]] = {}
        for index, raw in enumerate(self.target.Vulnerabilities or ()):
            where = f"{self.pointer}/Vulnerabilities/{index}"
            try:
                vuln = decode(raw, _Vuln, where)
            except InvalidInput as error:
                yield Refusal(where, error.faults)
            else:
                found.setdefault((vuln.PkgName, vuln.VulnerabilityID), []).append((vuln, where))
        for copies in found.values():
            yield self._guarded(copies[0][1], self._vulnerability, [vuln for vuln, _ in copies])

    def misconfigurations(self) -> Iterator[Parsed]:
        """
        Yield the failed checks.
        """
        for index, raw in enumerate(self.target.Misconfigurations or ()):
            where = f"{self.pointer}/Misconfigurations/{index}"
            try:
                check = decode(raw, _Misconf, where)
            except InvalidInput as error:
                yield Refusal(where, error.faults)
            else:
                if (check.Status or "FAIL") == "FAIL":
                    yield self._guarded(where, self._misconfiguration, check)

    def secrets(self) -> Iterator[Parsed]:
        """
        Yield where secrets are, without them.
        """
        for index, raw in enumerate(self.target.Secrets or ()):
            where = f"{self.pointer}/Secrets/{index}"
            try:
                secret = decode(raw, _Secret, where)
            except InvalidInput as error:
                yield Refusal(where, error.faults)
            else:
                yield self._guarded(where, self._secret, secret)

    @staticmethod
    def _guarded(where: str, make: Any, value: Any) -> Parsed:
        try:
            return Finding(make(value), where)
        except InvalidInput as error:
            return Refusal(where, error.faults)

    def _vulnerability(self, copies: list[_Vuln]) -> Draft:
        first = copies[0]
        files = sorted({self._below(copy.PkgPath) for copy in copies if copy.PkgPath})
        return vulnerability_draft(
            Vulnerability(
                scanner="trivy",
                id=first.VulnerabilityID,
                package=first.PkgName,
                ecosystem=(self.target.Type or "").lower(),
                place=self.place,
                aliases=tuple(first.VendorIDs or ()),
                versions=tuple(sorted({copy.InstalledVersion for copy in copies if copy.InstalledVersion})),
                fixed=tuple(dict.fromkeys(copy.FixedVersion for copy in copies if copy.FixedVersion)),
                severity=first.Severity or "",
                summary=first.Title or "",
                details=first.Description or "",
                urls=(first.PrimaryURL or "",),
                locations=tuple(files) or tuple(filter(None, (self.file,))),
                weaknesses=tuple(t.cwes(*(first.CweIDs or ()))),
                observed_at=self.seen_at,
            ),
            self.context,
        )

    def _below(self, path: str) -> str:
        return t.relative_path(path, self.context.root)

    def _misconfiguration(self, check: _Misconf) -> Draft:
        cause = check.CauseMetadata or _Cause()
        message = t.steady(t.clean(check.Message or "")).strip()
        facts = (
            f"{t.clip(message)}\n\n"
            + t.bullet("Check", t.link(check.ID, check.PrimaryURL or ""))
            + t.bullet("Where", t.code(self.file))
            + t.bullet("Resource", t.code(t.clean(cause.Resource or "")))
            + t.bullet("To do", t.one_line(t.clean(check.Resolution or ""), 1_000))
            + f"\n{t.clip(t.clean(check.Description or ''))}"
        )
        identity = {"check": check.ID, "resource": cause.Resource or "", "message": t.numberless(message)}
        return self._draft(
            title=f"{t.one_line(t.clean(check.Title or message), 200)} ({check.ID}, {self.file})",
            description=facts, identity=identity, name=check.ID, severity=check.Severity or "",
            lines=(cause.StartLine, 0), url=check.PrimaryURL or "", tag="misconfiguration",
        )  # fmt: skip

    def _secret(self, secret: _Secret) -> Draft:
        title = t.one_line(t.redact_quoted(t.clean(secret.Title or secret.RuleID)), 200)
        facts = (
            "A secret lies in the code. Revoke it, then remove it; the report's quote of it is not kept.\n\n"
            + t.bullet("Rule", t.code(secret.RuleID))
            + t.bullet("Where", t.code(self.file))
        )
        return self._draft(
            title=f"{title} in {self.file} ({secret.RuleID})", description=facts, identity={"secret": secret.RuleID},
            name=secret.RuleID, severity=secret.Severity or "", lines=(secret.StartLine, secret.EndLine), url="",
            tag="secret",
        )  # fmt: skip

    def _draft(self, *, title: str, description: str, identity: dict[str, str], name: str, severity: str,
               lines: tuple[int, int], url: str, tag: str) -> Draft:  # fmt: skip
        env, service, source, category = merge_context(self.context, kind="Trivy", source="trivy", category="security")
        named = {"place": self.place, **identity}
        key = dedupe_key("trivy", service, self.place, *identity.values())
        nth = self.ordinals.nth(key, *lines)
        location = f"{self.file}:{lines[0]}" if lines[0] > 0 else self.file
        evidence: dict[str, Any] = {"locations": [location]} if location else {}
        if pages := t.addresses([url]):
            evidence["urls"] = pages
        return Draft(
            title=t.one_line(title),
            env=env,
            service=service,
            category=category,
            description=description.strip(),
            priority=priority(self.context, "trivy", severity),
            source=source,
            dedupe_key=key if nth == 1 else f"{key}#{nth}",
            evidence_refs=evidence,
            tags=tuple(dict.fromkeys([*self.context.tags, "trivy", tag])),
            meta={"rule": name, "severity": severity},
            fix=fix_name("rule", name, self.file),
            key_inputs=inputs(scanner="trivy", service=service, **named, nth="" if nth == 1 else str(nth)),
            observed_at=self.seen_at,
        )
