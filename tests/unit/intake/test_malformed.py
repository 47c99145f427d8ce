import io
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backlog_store.codec import encode
from backlog_store.errors import Fault, InvalidInput
from backlog_store.intake import FORMATS, Finding, Looked, Notice, Parsed, Refusal, ReportContext, read_report
from backlog_store.rules.checks import draft_faults
from tests.unit.intake.reading import REPORTS, SHOP, drafts, read, result, sarif

FILES = {file.name: file.read_bytes() for file in REPORTS.iterdir() if file.name != "README.md"}
#: Inputs a property.
EXAMPLES = 1_000
FORMAT_NAMES = [one.name for one in FORMATS]


def survey(data: bytes, format: str = "") -> list[Parsed]:
    """
    Return what a report holds, or nothing where it is refused as a whole; any other error fails the test.
    """
    refused: tuple[Fault, ...] | None = None
    parsed: list[Parsed] = []
    try:
        parsed = list(read_report(io.BytesIO(data), SHOP, format=format)[1])
    except InvalidInput as error:
        refused = error.faults
    assert refused is None or (refused and all(fault.reason for fault in refused))
    for one in parsed:
        if isinstance(one, Finding):
            assert [] == draft_faults(one.draft)
            encode(one.draft)
        elif isinstance(one, Refusal):
            assert one.reason
        elif isinstance(one, Looked):
            assert one.source
        else:
            assert isinstance(one, Notice)
            assert one.reason
    return parsed


@settings(max_examples=EXAMPLES)
@given(st.sampled_from(sorted(FILES)), st.floats(0, 1, exclude_max=True))
def test_a_report_cut_off_anywhere_gives_nothing(name: str, share: float) -> None:
    """A truncated JSON or XML report is refused before its first finding, wherever it was cut."""
    data = FILES[name].rstrip()
    assert [] == survey(data[: int(share * (len(data) - 1))])


@settings(max_examples=EXAMPLES)
@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4), st.integers(0, 8)), max_size=4),
)
def test_a_mangled_report_gives_findings_or_a_clear_error(name: str, edits: list[tuple[float, bytes, int]]) -> None:
    """Bytes changed, inserted and removed at random: sound drafts, refusals with reasons, or one clear error."""
    data = FILES[name]
    for share, new, gone in edits:
        at = int(share * len(data))
        data = data[:at] + new + data[at + gone :]
    survey(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for name, member in inner for place in _places(member, (*path, name))]


TREES = {name: json.loads(data) for name, data in FILES.items() if not name.endswith(".xml")}
PLACES = {name: _places(tree) for name, tree in TREES.items()}


@settings(max_examples=EXAMPLES)
@given(st.data(), st.sampled_from(sorted(TREES)), JSON)
def test_any_member_may_be_anything(data: st.DataObject, name: str, value: Any) -> None:
    """Each member of a real report replaced by any JSON value: no error but those that say what is wrong."""
    tree = json.loads(FILES[name])
    *path, last = data.draw(st.sampled_from(PLACES[name]))
    holder = tree
    for step in path:
        holder = holder[step]
    holder[last] = value
    survey(json.dumps(tree).encode())


@pytest.mark.parametrize("value", [True, 7, "CWE-79", {"a": 1}, [None, 7, "CWE-79"]])
def test_weaknesses_of_another_type_are_passed_over(value: Any) -> None:
    """OSV leaves the member ``cwe_ids`` to each database: whatever stands there, its finding is taken in."""
    tree = json.loads(FILES["osv-scanner.json"])
    tree["results"][1]["packages"][0]["vulnerabilities"][0]["database_specific"]["cwe_ids"] = value
    assert len(survey(json.dumps(tree).encode())) == len(survey(FILES["osv-scanner.json"]))


@settings(max_examples=EXAMPLES)
@given(st.sampled_from(FORMAT_NAMES), st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@example("csv", b"\0\n\0")
@example("ndjson", b"\xff\n")
@example("junit", b"\xff\xfe<\0")
@example("pip-audit", b"[[]]")
def test_any_bytes_as_any_format(format: str, data: bytes) -> None:
    """Whatever stands in the input and whichever format was named."""
    survey(data, format)


DEEP = 200_000
BOMB = b"[" * DEEP + b"]" * DEEP


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (BOMB, "json"),
        (b'{"runs":[' + BOMB + b"]}", "sarif"),
        (b'{"runs":[{"tool":{"driver":{"name":"x"}},"results":[' + BOMB + b"]}]}", ""),
        (b'{"runs":[],"x":' + b'{"x":' * DEEP + b"1" + b"}" * DEEP + b"}", ""),
    ],
    ids=["arrays", "inside runs", "inside results", "beside them"],
)
def test_nesting_bombs_are_refused(data: bytes, format: str) -> None:
    """Two hundred thousand levels end in an error, not in a crash."""
    with pytest.raises(InvalidInput, match="nested too deeply"):
        read(data, SHOP, format=format)


def test_a_nesting_bomb_in_a_draft_refuses_that_draft() -> None:
    """The other drafts of the array go on."""
    bomb = b'{"title":"x","meta":{"a":' + b"[" * 500 + b"]" * 500 + b"}}"
    refused, taken = read(b"[" + bomb + b',{"title":"y"}]', SHOP)
    assert isinstance(refused, Refusal)
    assert "nested" in refused.reason
    assert isinstance(taken, Finding)


@pytest.mark.parametrize("format", ["ndjson", "json"])
def test_a_draft_nested_deeper_than_the_store_keeps_is_refused(format: str) -> None:
    """Meta of twenty levels is a fault of that draft alone."""
    deep = '{"title": "x", "meta": {"a": ' + "[" * 20 + "]" * 20 + "}}"
    (refused,) = read(deep, SHOP, format=format)
    assert isinstance(refused, Refusal)
    assert "nested deeper" in refused.reason


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"runs": [NaN]}', "line 1, column 11 (byte 10)"),
        ('{"runs": [\n{"a": Infinity}]}', "line 2, column 7 (byte 17)"),
        ('{"runs": ["\\ud800"]}', "line 1, column 12 (byte 11)"),
        ('{"runs": ["\\uD83D and more text than an escape"]}', "line 1, column 12 (byte 11)"),
        ('{"runs": [\n  {]}', "line 2, column 4 (byte 14)"),
        ("{'runs': []}", "line 1, column 2 (byte 1)"),
    ],
)
def test_invalid_json_names_line_column_and_byte(text: str, place: str) -> None:
    """NaN, Infinity, a lone surrogate, a stray bracket, single quotes: the error says where."""
    with pytest.raises(InvalidInput, match="not valid JSON") as caught:
        read(text, SHOP, format="sarif")
    assert place == caught.value.faults[0].value


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_a_number_that_no_float_holds_refuses_its_finding(number: str) -> None:
    """The finding with it is refused; the others go on."""
    report = json.dumps(sarif(result(), {**result("R2"), "properties": {"x": "HUGE"}})).replace('"HUGE"', number)
    parsed = read(report)
    assert ["/runs/0/results/1"] == [one.pointer for one in parsed if isinstance(one, Refusal)]
    assert 1 == len([one for one in parsed if isinstance(one, Finding)])


def test_a_huge_integer_in_a_draft_is_refused() -> None:
    """Stores hold 64 bits."""
    (refused,) = read('{"title": "x", "meta": {"n": 123456789012345678901234567890}}', ReportContext())
    assert isinstance(refused, Refusal)
    assert "64 bits" in refused.reason


def test_bytes_that_are_no_utf8_refuse_their_finding() -> None:
    """Latin-1 in one message does not cost the others."""
    report = json.dumps(sarif(result(message="caf\u00e9"), result("R2")), ensure_ascii=False).encode("latin-1")
    parsed = read(report)
    assert ["/runs/0/results/0"] == [one.pointer for one in parsed if isinstance(one, Refusal)]
    assert 1 == len([one for one in parsed if isinstance(one, Finding)])


def test_a_member_given_twice_counts_as_the_last() -> None:
    """As nearly every JSON reader has it; no finding is taken from a run that is not read."""
    one = json.dumps(sarif(result("R1"))["runs"])
    other = json.dumps(sarif(result("R2"))["runs"])
    assert ["R2"] == [draft.meta["rule"] for draft in drafts(read(f'{{"runs": {one}, "runs": {other}}}'))]
