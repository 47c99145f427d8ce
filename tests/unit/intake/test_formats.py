import io
import json

import pytest

from backlog_store.errors import InvalidInput
from backlog_store.intake import FORMATS, ReportContext, read_report, recognise
from tests.unit.intake.reading import REPORTS, SHOP, drafts, read, result, sarif

FORMAT_OF = {
    "alertmanager-firing.json": "alertmanager",
    "alertmanager-resolved.json": "alertmanager",
    "bandit-moved.sarif": "sarif",
    "bandit.sarif": "sarif",
    "checkov-junit.xml": "junit",
    "checkov.sarif": "sarif",
    "codeql.sarif": "sarif",
    "gitleaks.sarif": "sarif",
    "npm-audit.json": "npm-audit",
    "osv-scanner.json": "osv-scanner",
    "pip-audit-skipped.json": "pip-audit",
    "pip-audit.json": "pip-audit",
    "pytest.xml": "junit",
    "ruff-moved.sarif": "sarif",
    "ruff.sarif": "sarif",
    "semgrep-moved.sarif": "sarif",
    "semgrep.sarif": "sarif",
    "trivy.json": "trivy",
    "zizmor.sarif": "sarif",
}


def test_every_report_of_the_assets_is_listed_here() -> None:
    """A report added to the assets is recognised by a test, too."""
    assert sorted(FORMAT_OF) == sorted(file.name for file in REPORTS.iterdir() if file.name != "README.md")


@pytest.mark.parametrize(("name", "expected"), FORMAT_OF.items())
def test_real_reports_are_recognised(name: str, expected: str) -> None:
    """The first bytes of each tool's report name its format."""
    assert expected == recognise((REPORTS / name).read_bytes()[:65536]).name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"name": "a", "version": "1", "vulns": []}]', "pip-audit"),
        ('{"results": []}', "osv-scanner"),
        ('{"results": null, "experimental_config": {}}', "osv-scanner"),
        ('{"title": "x", "dependencies": 1}', "json"),
        ('[{"title": "x"}]', "json"),
        ("[]", "json"),
        ('{"title": "x"}\n{"title": "y"}\n', "ndjson"),
        ("title,owner\nx,me\n", "csv"),
        ("title;owner\r\nx;me\r\n", "csv"),
        ('<?xml version="1.0"?><testsuite/>', "junit"),
        ('\ufeff{"runs": []}', "sarif"),
        ('  \n{"$schema": "s", "version": "2.1.0", "runs": []}', "sarif"),
        ('{"meta": {"runs": 1}, "alerts": []}', "alertmanager"),
    ],
)
def test_small_reports_are_recognised(text: str, expected: str) -> None:
    """Old forms, empty reports and drafts are told apart by the names of their outermost members."""
    assert expected == recognise(text.encode()).name


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_an_unknown_format_names_all_known_ones(one: object) -> None:
    """The refusal lists what could be given instead."""
    with pytest.raises(InvalidInput, match="not a known format") as caught:
        recognise(b'{"something": "else"}')
    assert f"{one.name} ({one.title})" in str(caught.value)  # type: ignore[attr-defined]
    assert "something" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('{"errors": [], "generated_at": "x", "metrics": {}, "results": []}', "-f sarif"),
        ('{"results": [{"a": 1}], "errors": [], "paths": {}}', "--sarif"),
        ('[{"cell": null, "code": "F401", "filename": "a.py"}]', "--output-format sarif"),
        ('{"message": "405", "statusCode": 405}', "audit that failed"),
        ('{"error": {"code": "ENOLOCK", "summary": "no lock file", "detail": ""}}', "lock file"),
        ('[{"labels": {}, "receivers": [{"name": "x"}], "startsAt": "x", "status": {"state": "active"}}]', "webhook"),
    ],
)
def test_other_outputs_of_known_tools_get_a_hint(text: str, hint: str) -> None:
    """Someone who saved a tool's own JSON learns which option gives a report that is read."""
    with pytest.raises(InvalidInput) as caught:
        recognise(text.encode())
    assert hint in caught.value.hint


def test_a_misspelt_format_names_the_nearest() -> None:
    """`--format sarfi` is an error that says `sarif`."""
    with pytest.raises(InvalidInput, match="Did you mean 'sarif'"):
        read(b"{}", SHOP, format="sarfi")


def test_a_named_format_is_believed() -> None:
    """With its format named, a report of mapped drafts is read although nothing in it says what it is."""
    context = ReportContext(service="acme/shop", mapping={"title": "summary"})
    assert ["x"] == [draft.title for draft in drafts(read([{"summary": "x"}], context, format="json"))]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the report is empty"),
        (b" \n\t", "the report is empty"),
        (b"\xef\xbb\xbf", "the report is empty"),
        (b"\x1f\x8b\x08\x00abc", "gzip"),
        (b"PK\x03\x04abc", "zip archive"),
        ('{"runs": []}'.encode("utf-16"), "UTF-16"),
        ('{"runs": []}'.encode("utf-16-le"), "UTF-16"),
        ("title,owner\nx,y\n".encode("utf-16"), "UTF-16"),
        (b"\x00\x01\x02\x03", "binary"),
    ],
)
@pytest.mark.parametrize("format", ["", "sarif"])
def test_what_must_be_unpacked_first_is_said(data: bytes, reason: str, format: str) -> None:
    """Empty, compressed and UTF-16 input is refused with what to do, also when the format was named."""
    with pytest.raises(InvalidInput, match=reason):
        read(data, SHOP, format=format)


def test_a_byte_order_mark_makes_no_difference() -> None:
    """Windows tools write one before UTF-8; the report is the same."""
    plain = json.dumps(sarif(result())).encode()
    assert drafts(read(plain)) == drafts(read(b"\xef\xbb\xbf" + plain))


class _Drip(io.RawIOBase):
    """A pipe: bytes come one at a time, and there is no seeking."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        piece, self.data = self.data[:1], self.data[1:]
        buffer[: len(piece)] = piece
        return len(piece)


@pytest.mark.parametrize("name", ["codeql.sarif", "pytest.xml", "alertmanager-firing.json"])
def test_a_pipe_is_read_like_a_file(name: str) -> None:
    """A report may come from a pipe that hands out one byte at a time."""
    data = (REPORTS / name).read_bytes()
    format, parsed = read_report(_Drip(data), SHOP)  # type: ignore[arg-type]
    assert FORMAT_OF[name] == format.name
    assert read(data) == list(parsed)


@pytest.mark.parametrize("name", [name for name in FORMAT_OF if not name.startswith("alert")])
def test_without_a_service_nothing_is_taken_in(name: str) -> None:
    """Keys are namespaced by service or repository; a report that nobody placed is refused as a whole, once."""
    with pytest.raises(InvalidInput, match="--service") as error:
        read_report(io.BytesIO((REPORTS / name).read_bytes()), ReportContext())
    assert [fault.pointer for fault in error.value.faults] == ["/service"]


@pytest.mark.parametrize("name", [name for name in FORMAT_OF if not name.startswith("alert")])
def test_two_services_never_share_a_key(name: str) -> None:
    """The same file in two repositories is two problems."""
    ours = read((REPORTS / name).read_bytes())
    theirs = read((REPORTS / name).read_bytes(), ReportContext(service="acme/shop2"))
    assert not {d.dedupe_key for d in drafts(ours)} & {d.dedupe_key for d in drafts(theirs)}


@pytest.mark.parametrize("name", FORMAT_OF)
def test_the_same_report_gives_the_same_drafts(name: str) -> None:
    """Nothing in a draft depends on anything but the report and the context, and no key is given twice."""
    data = (REPORTS / name).read_bytes()
    first, second = read(data), read(data)
    assert first == second
    given = [draft.dedupe_key for draft in drafts(first)]
    assert len(given) == len(set(given))


def test_the_context_has_the_last_word() -> None:
    """Env, source, category, priority and tags given by the caller stand in every draft."""
    context = ReportContext(service="s", env="staging", source="nightly", category="c", priority="P0", tags=("t",))
    (draft,) = drafts(read(sarif(result()), context))
    assert ("staging", "nightly", "c", "P0") == (draft.env, draft.source, draft.category, draft.priority)
    assert "t" in draft.tags
