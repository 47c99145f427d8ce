"""
The formats that a report may have, and how one is recognised by its first bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import BinaryIO

from msgspec import Raw, Struct

from backlog_store.errors import Fault, InvalidInput
from backlog_store.intake import (
    alertmanager,
    csvdrafts,
    drafts,
    junit,
    npm_audit,
    osv_scanner,
    pip_audit,
    sarif,
    trivy,
)
from backlog_store.intake.jsontext import decode
from backlog_store.intake.keys import compact
from backlog_store.intake.streams import Chained
from backlog_store.intake.values import Finding, Looked, Notice, Parsed, Refusal, ReportContext, no_service
from backlog_store.rules.checks import draft_faults
from backlog_store.rules.volatile import volatile_parts

__all__ = ["FORMATS", "HEAD_BYTES", "Format", "Head", "read_report", "recognise", "recognised"]

#: How much of a report is looked at to recognise it.
HEAD_BYTES = 64 * 1024


class Head(Struct, frozen=True):
    """
    The first bytes of a report, and of a JSON one the names of its outermost members (of its first element's).
    """

    data: bytes
    shape: str  # object, array, lines, xml, text
    names: frozenset[str] = frozenset()

    def __contains__(self, name: object) -> bool:
        return name in self.names


class Format(Struct, frozen=True):
    """
    One format: its name on the command line, what it is, how it is recognised and read.

    `own_keys`: drafts bring keys of the caller's, and saying one twice is the caller's business. `about`: what such a
    report is called, where it cannot say itself which service it is about.
    """

    name: str
    title: str
    sniff: Callable[[Head], bool]
    parse: Callable[[BinaryIO, ReportContext], Iterator[Parsed]]
    own_keys: bool = False
    about: str = ""


_OSV = re.compile(rb'"packages"\s*:\s*\[\s*\{\s*"package"')
_NO_RESULTS = re.compile(rb'\s*\{\s*"results"\s*:\s*(?:\[\s*\]|null)\s*[,}]')
_HEADER = re.compile(rb"[^\x00-\x08\x0e-\x1f\r\n]*[,;\t][^\x00-\x08\x0e-\x1f\r\n]*\r?\n", re.DOTALL)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)

#: In the order in which they are tried.
FORMATS: tuple[Format, ...] = (
    Format("sarif", "SARIF 2.1.0", lambda h: h.shape == "object" and "runs" in h, sarif.parse, about="SARIF"),
    Format("npm-audit", "npm audit --json, version 2",
           lambda h: h.shape == "object" and "auditReportVersion" in h, npm_audit.parse, about="npm audit"),
    Format("pip-audit", "pip-audit -f json",
           lambda h: (h.shape == "object" and "dependencies" in h and "title" not in h)
           or (h.shape == "array" and "name" in h and ("vulns" in h or "skip_reason" in h)), pip_audit.parse,
           about="pip-audit"),
    Format("trivy", "trivy --format json",
           lambda h: h.shape == "object" and ("SchemaVersion" in h or "ArtifactName" in h), trivy.parse,
           about="Trivy"),
    Format("alertmanager", "the body of an Alertmanager webhook",
           lambda h: h.shape == "object" and ("alerts" in h or "groupLabels" in h), alertmanager.parse),
    Format("osv-scanner", "osv-scanner --format json",
           lambda h: h.shape == "object" and "results" in h
           and ("experimental_config" in h or bool(_OSV.search(h.data)) or bool(_NO_RESULTS.match(h.data))),
           osv_scanner.parse, about="OSV-Scanner"),
    Format("junit", "JUnit XML", lambda h: h.shape == "xml", junit.parse, about="JUnit"),
    Format("ndjson", "drafts, one JSON object a line", lambda h: h.shape == "lines", drafts.parse_lines, True),
    Format("json", "drafts as a JSON object or array",
           lambda h: h.shape in ("object", "array") and ("title" in h or h.data.split() == [b"[]"]),
           drafts.parse_json, True),
    Format("csv", "drafts as CSV, columns mapped with --map",
           lambda h: h.shape == "text" and bool(_HEADER.match(h.data)), csvdrafts.parse, True),
)  # fmt: skip

#: What other outputs of known tools look like, and what to ask the tool for instead.
_OTHERS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"results", "metrics", "generated_at"}), "This looks like bandit's own JSON: run it with -f sarif."),
    (frozenset({"results", "paths", "errors"}), "This looks like semgrep's own JSON: run it with --sarif."),
    (frozenset({"cell", "code", "filename"}), "This looks like ruff's own JSON: run it with --output-format sarif."),
    (frozenset({"RuleID", "Secret"}), "This looks like gitleaks' own JSON: run it with --report-format sarif."),
    (frozenset({"filePath", "messages"}), "This looks like eslint's own JSON: use its SARIF formatter."),
    (frozenset({"plugins_used", "results"}), "detect-secrets' own baseline is not read; use a tool that writes SARIF."),
    (frozenset({"bomFormat"}), "This is a CycloneDX bill of materials, which lists parts, not problems."),
    (frozenset({"advisories", "metadata"}), "This looks like npm 6's report: run npm audit with npm 7 or later."),
    (frozenset({"message", "statusCode"}), "This looks like npm's report of an audit that failed: run it again."),
    (frozenset({"error"}), "This says that the tool failed (npm audit does so without a lock file): run it again."),
    (frozenset({"receivers", "startsAt"}), "This is the list of Alertmanager's API: let it send its webhook instead."),
)


def recognise(head: bytes) -> Format:
    """
    Return the format of a report that begins with *head*.

    Raises `InvalidInput` listing the known formats, or saying where a short JSON is not well-formed.
    """
    _refuse_wrapped(head)
    seen = _look(head.removeprefix(b"\xef\xbb\xbf"))
    for one in FORMATS:
        if one.sniff(seen):
            return one
    if len(head) < HEAD_BYTES and seen.shape in ("object", "array"):
        decode(head.removeprefix(b"\xef\xbb\xbf"), Raw, "")  # what ends in the middle is of no format, and says where
    hint = next((text for names, text in _OTHERS if names <= seen.names), "")
    raise InvalidInput([Fault("", _shown(seen), f"not a known format; {_known()}")], what="report",
                       hint=hint or "Name the format with --format if it is one of these.")  # fmt: skip


def recognised(name: str) -> Format:
    """
    Return the format of this name. Raises `InvalidInput` that names the nearest one.
    """
    for one in FORMATS:
        if one.name == name:
            return one
    near = get_close_matches(name, [one.name for one in FORMATS], n=1)
    hint = f"Did you mean {near[0]!r}?" if near else ""
    raise InvalidInput([Fault("/format", name, f"not a known format; {_known()}")], what="report", hint=hint)


def read_report(stream: BinaryIO, context: ReportContext, *, format: str = "") -> tuple[Format, Iterator[Parsed]]:
    """
    Return the format of a report and an iterator of what it holds; *stream* need not be seekable.

    Every draft is checked against the limits of the store, and a problem that the report names twice is yielded once.
    The iterator raises `InvalidInput` before its first finding where the report as a whole cannot be read (cut off, not
    well-formed): nothing of it has been taken in by then. NDJSON stands line by line. A report that needs a service
    and gets none is refused before it is read.
    """
    head = b""
    while len(head) < HEAD_BYTES and (chunk := stream.read(HEAD_BYTES - len(head))):
        head += chunk
    if not head.removeprefix(b"\xef\xbb\xbf").strip():
        raise InvalidInput([Fault("", f"{len(head)} bytes", "the report is empty: the tool wrote nothing, which does "
                                  "not mean that it found nothing")], what="report")  # fmt: skip
    if format:
        _refuse_wrapped(head)
    chosen = recognised(format) if format else recognise(head)
    if chosen.about and not context.service:
        raise no_service(chosen.about)
    whole = io.BufferedReader(Chained(head, stream))
    checked = _checked(chosen.parse(whole, context), own_keys=chosen.own_keys)
    # SARIF names its tools itself; a draft may be of any source.
    source = context.source or (chosen.name if chosen.about and chosen.name != "sarif" else "")
    if source:
        checked = _looked(checked, source)
    return chosen, (_linted(checked, strict=context.strict_keys) if chosen.own_keys else checked)


def _looked(parsed: Iterator[Parsed], source: str) -> Iterator[Parsed]:
    """
    Tell of the source where it found nothing.
    """
    found = False
    for one in parsed:
        found = found or isinstance(one, Finding)
        yield one
    if not found:
        yield Looked(source)


def _linted(parsed: Iterator[Parsed], *, strict: bool) -> Iterator[Parsed]:
    """
    Tell of keys that hold what changes from report to report: of the first few, and how many more; or refuse them.
    """
    told = 0
    for one in parsed:
        if not isinstance(one, Finding) or not (found := volatile_parts(one.draft.dedupe_key, one.draft.key_inputs)):
            yield one
        elif strict:
            faults = [
                Fault(f"/key_inputs/{part.input}" if part.input else "/dedupe_key", part.text,
                      f"a {part.kind} changes from report to report")
                for part in found
            ]  # fmt: skip
            yield Refusal(one.pointer, tuple(faults))
        else:
            told += 1
            if told <= _TOLD:
                yield Notice(one.pointer, f"{found[0]}, so the next report may open another item", advice=True)
            yield one
    if told > _TOLD:
        more = f"{told - _TOLD:,} more keys hold what changes from report to report (--strict-keys --dry-run names all)"
        yield Notice("", more, advice=True)


_TOLD = 5


def _checked(parsed: Iterator[Parsed], *, own_keys: bool) -> Iterator[Parsed]:
    first: dict[bytes, str] = {}
    for one in parsed:
        if not isinstance(one, Finding):
            yield one
            continue
        faults = draft_faults(one.draft)
        if faults:
            yield Refusal(one.pointer, tuple(faults))
            continue
        key = compact(one.draft.env, one.draft.dedupe_key)
        if not own_keys and key in first:
            yield Notice(one.pointer, f"the same problem as {first[key]}")
            continue
        if not own_keys:
            first[key] = one.pointer
        yield one


def _refuse_wrapped(head: bytes) -> None:
    """
    Refuse what must be unpacked or converted first, saying how.
    """
    wrapped = ""
    if head.startswith(b"\x1f\x8b"):
        wrapped = "compressed with gzip; unpack it first: gzip -dc FILE | backlog report -"
    elif head.startswith(b"PK\x03\x04"):
        wrapped = "a zip archive; unpack it and report the file inside"
    elif head.startswith((b"\xff\xfe", b"\xfe\xff")) and b"<" not in head[:8]:
        wrapped = "UTF-16 (PowerShell's > writes that); convert it: iconv -f UTF-16 -t UTF-8 FILE | backlog report -"
    elif b"\0" in head[:4]:
        wrapped = "UTF-16, UTF-32 or binary; reports are UTF-8 text"
    if wrapped and not (b"<" in head[:8] and b"\0" in head[:8]):
        raise InvalidInput([Fault("", "", wrapped)], what="report")


def _look(head: bytes) -> Head:
    start = head.lstrip()[:1]
    if b"\0" in head[:8] or start == b"<":
        return Head(head, "xml")
    if start not in (b"{", b"["):
        return Head(head, "text")
    names: set[str] = set()
    want = 1 if start == b"{" else 2
    depth = 0
    previous = b""
    for found in _TOKEN.finditer(head):
        token = found.group()
        if token in (b"{", b"["):
            if depth == 0 and previous:
                return Head(head, "lines", frozenset(names))  # a second value after the first: one a line
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
            if want == 2 and depth == 1:
                break  # the first element says what the others are
        elif token == b":" and depth == want and previous.startswith(b'"'):
            names.add(previous[1:-1].decode("utf-8", "replace"))
        previous = token
    return Head(head, "object" if want == 1 else "array", frozenset(names))


def _shown(seen: Head) -> str:
    if seen.names:
        return f"a JSON {seen.shape} with {', '.join(sorted(seen.names)[:8])}"
    return {"object": "a JSON object", "array": "a JSON array", "text": "text"}.get(seen.shape, seen.shape)


def _known() -> str:
    return "known are " + ", ".join(f"{one.name} ({one.title})" for one in FORMATS)
