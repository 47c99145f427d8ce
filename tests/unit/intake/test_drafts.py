import io
import json

import pytest

from backlog_store.errors import InvalidInput
from backlog_store.intake import Finding, ReportContext, read_report
from tests.unit.intake.reading import drafts, keys, notices, read, refusals

PLAIN = ReportContext()


def test_a_draft_is_taken_as_it_is() -> None:
    """All fields of a draft, and its own key, arrive unchanged."""
    given = {
        "title": "Burn rate", "env": "staging", "service": "s", "category": "c", "priority": "P1", "owner": "me",
        "due_date": "2026-12-01", "source": "risk", "dedupe_key": "risk:s:burn", "evidence_refs": {"urls": ["u"]},
        "tags": ["b", "a"], "meta": {"score": 7}, "fix": "f", "key_inputs": {"a": "b"}, "volatile": ["score"],
        "observed_at": "2026-11-23T10:00:00Z", "description": "d",
    }  # fmt: skip
    (draft,) = drafts(read(given, PLAIN))
    stored = {name: getattr(draft, name) for name in given}
    assert {**given, "tags": ("b", "a"), "volatile": ("score",), "observed_at": "2026-11-23T10:00:00.000000Z"} == stored


def test_array_lines_and_object_are_the_same() -> None:
    """The three ways to hand in drafts give the same ones."""
    two = [{"title": "x", "service": "s"}, {"title": "y", "service": "s"}]
    lines = "\n".join(json.dumps(one) for one in two)
    assert drafts(read(two, PLAIN)) == drafts(read(lines, PLAIN)) == drafts(read(lines.replace("\n", "\r\n\n"), PLAIN))
    assert drafts(read(two[0], PLAIN)) == drafts(read(two, PLAIN))[:1]


def test_a_draft_without_a_key_gets_one_of_its_title() -> None:
    """The same list again gives the same keys, and two rows of one title are two problems."""
    rows = [{"title": "x"}, {"title": "y"}, {"title": "x"}]
    first = keys(read(rows))
    assert 3 == len(set(first))
    assert first == keys(read(rows))
    assert not set(first) & set(keys(read(rows, ReportContext(service="other"))))


def test_a_bad_draft_is_refused_with_all_its_faults() -> None:
    """Every fault is named at once; the others go on."""
    bad = {"title": 5, "priority": "P9", "colour": "red", "tags": "x"}
    parsed = read([{"title": "x"}, bad], PLAIN)
    (refused,) = refusals(parsed)
    assert "/1" == refused.pointer
    assert {"/title", "/priority", "/colour", "/tags"} == {fault.pointer for fault in refused.faults}
    assert 1 == len([one for one in parsed if isinstance(one, Finding)])


@pytest.mark.parametrize("bad", ["5", "[]", "null", '"x"', "{}", '{"title": "x"', '{"title": "\\ud800"}', "\xff"])
def test_a_bad_line_is_refused_alone(bad: str) -> None:
    """Lines stand by themselves: the refusal names the line."""
    data = b"\n".join([b'{"title": "x"}', bad.encode("latin-1"), b'{"title": "y"}'])
    parsed = read(data, PLAIN, format="ndjson")
    assert ["line 2"] == [one.pointer for one in refusals(parsed)]
    assert 2 == len([one for one in parsed if isinstance(one, Finding)])


@pytest.mark.parametrize(
    ("word", "expected"),
    [("P0", "P0"), ("p3", "P3"), ("High", "P1"), ("critical", "P0"), ("", "P2"), ("Trivial", "P3"), ("Sev1", "P0")],
)
def test_priorities_may_be_words(word: str, expected: str) -> None:
    """Other systems' words are known, and new ones can be taught."""
    context = ReportContext(severities={"sev1": "P0"})
    assert [expected] == [draft.priority for draft in drafts(read([{"title": "x", "priority": word}], context))]


def test_csv_columns_fill_fields() -> None:
    """Columns by their names, others by mapping, and what nothing takes is told."""
    text = 'Key,Summary,Due date,Priority,tags,Colour\nA-1,first,2026-12-01,High,"a, b",red\nA-2,second,,,,\n'
    context = ReportContext(service="s", mapping={"title": "Summary", "dedupe_key": "Key", "meta.ticket": "Key"})
    parsed = read(text, context)
    first, second = drafts(parsed)
    assert ("first", "A-1", "2026-12-01", "P1", ("a", "b"), {"ticket": "A-1"}, "csv") == (
        first.title, first.dedupe_key, first.due_date, first.priority, first.tags, first.meta, first.source,
    )  # fmt: skip
    assert ("second", "P2", "") == (second.title, second.priority, second.due_date)
    assert ["columns that no field takes: Colour; name them with --map"] == [one.reason for one in notices(parsed)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_dialects(delimiter: str) -> None:
    """Commas, semicolons and tabs; quotes, and line ends inside them."""
    text = f'title{delimiter}description\r\n"a{delimiter}b"{delimiter}"one\ntwo ""x"""\r\n'
    (draft,) = drafts(read(text, PLAIN))
    assert (f"a{delimiter}b", 'one\ntwo "x"') == (draft.title, draft.description)


def test_a_bad_row_is_refused_alone() -> None:
    """A row with too few cells, and one with a date that does not exist, name their lines."""
    parsed = read("title,due_date\nx,2026-12-01\ny\nz,2026-02-30\nw,\n", PLAIN)
    assert ["line 3", "line 4"] == [one.pointer for one in refusals(parsed)]
    assert 2 == len([one for one in parsed if isinstance(one, Finding)])


@pytest.mark.parametrize(
    ("data", "mapping", "reason"),
    [
        (b"name,owner\nx,y\n", {}, "no column for the title"),
        (b"title,title\nx,y\n", {}, "a column twice"),
        (b"title,owner\nx,y\n", {"category": "Area"}, "no such column"),
        (b"title,owner\nx,y\n", {"colour": "owner"}, "no field of a draft"),
        (b'title,owner\nx,y\n"x,y\n', {}, "not valid CSV"),
        (b"title,owner\nx,y\nx,\xff\n", {}, "not UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_as_a_whole(data: bytes, mapping: dict[str, str], reason: str) -> None:
    """Header, mapping, quotes and encoding are checked before the first row is taken in."""
    _, parsed = read_report(io.BytesIO(data), ReportContext(mapping=mapping))
    with pytest.raises(InvalidInput, match=reason):
        next(parsed)


def test_a_mapping_serves_json_as_well() -> None:
    """Members of other names fill fields; a missing one refuses that draft."""
    context = ReportContext(mapping={"title": "summary", "meta.id": "number"})
    parsed = read([{"summary": "x", "number": 7}, {"summary": "y"}], context, format="json")
    assert [("x", {"id": 7})] == [(one.draft.title, one.draft.meta) for one in parsed if isinstance(one, Finding)]
    assert ["/number"] == [one.faults[0].pointer for one in refusals(parsed)]


def test_an_empty_cell_of_a_mapped_column_says_nothing() -> None:
    """Trackers leave cells empty: what a row does not say is what it is without that column."""
    mapping = {"title": "Summary", "env": "Environment", "source": "Tool", "priority": "Severity", "owner": "Assignee",
               "tags": "Labels", "meta.ticket": "Key"}  # fmt: skip
    table = "Summary,Environment,Tool,Severity,Assignee,Labels,Key\nfirst,,,,,,\n"
    (mapped,) = drafts(read(table, ReportContext(service="s", mapping=mapping)))
    (plain,) = drafts(read('[{"title": "first"}]', ReportContext(service="s", source="csv")))
    assert plain == mapped
